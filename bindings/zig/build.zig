const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});

    // The C module and the Zig module find the installed library through pkg-config.
    const c = b.addTranslateC(.{ .root_source_file = b.path("src/c.h"), .target = target, .optimize = optimize });
    c.linkSystemLibrary("lockfolder", .{});
    const lockfolder = b.addModule("lockfolder", .{
        .root_source_file = b.path("src/lockfolder.zig"),
        .target = target,
        .optimize = optimize,
        .link_libc = true,
        .imports = &.{.{ .name = "c", .module = c.createModule() }},
    });
    lockfolder.linkSystemLibrary("lockfolder", .{});

    const example = b.addExecutable(.{
        .name = "example",
        .root_module = b.createModule(.{
            .root_source_file = b.path("example/main.zig"),
            .target = target,
            .optimize = optimize,
            .imports = &.{.{ .name = "lockfolder", .module = lockfolder }},
        }),
    });
    const run_example = b.addRunArtifact(example);
    run_example.addPassthruArgs();
    b.step("example", "Build the example and run it: -- FOLDER").dependOn(&run_example.step);

    const tests = b.addTest(.{ .root_module = b.createModule(.{
        .root_source_file = b.path("src/test.zig"),
        .target = target,
        .optimize = optimize,
        .imports = &.{.{ .name = "lockfolder", .module = lockfolder }},
    }) });
    b.step("test", "Run the tests").dependOn(&b.addRunArtifact(tests).step);
}
