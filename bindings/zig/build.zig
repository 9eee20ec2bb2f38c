const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});

    // The package that `make zig` makes carries the library in bundled/. Otherwise the C module and the Zig module find the installed
    // one through pkg-config.
    const carried = false;
    const bundled = b.option(bool, "bundled", "Link the library of bundled/ (the default where the package carries one)") orelse carried;
    const c = b.addTranslateC(.{ .root_source_file = b.path("src/c.h"), .target = target, .optimize = optimize });
    if (bundled) c.addIncludePath(b.path("bundled/include")) else c.linkSystemLibrary("lockfolder", .{});
    const lockfolder = b.addModule("lockfolder", .{
        .root_source_file = b.path("src/lockfolder.zig"),
        .target = target,
        .optimize = optimize,
        .link_libc = true,
        .imports = &.{.{ .name = "c", .module = c.createModule() }},
    });
    if (bundled) {
        lockfolder.addObjectFile(b.path("bundled/liblockfolder.a"));
        // Rust unwinds. A C compiler links its own library for that, and Zig has LLVM's.
        lockfolder.linkSystemLibrary("unwind", .{ .use_pkg_config = .no });
    } else lockfolder.linkSystemLibrary("lockfolder", .{});

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
