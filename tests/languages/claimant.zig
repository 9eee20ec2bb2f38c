//! A claimant in Zig: see README.md.

const std = @import("std");
const Folder = @import("lockfolder").Folder;

extern "c" fn usleep(microseconds: c_uint) c_int;
extern "c" fn rename(from: [*:0]const u8, to: [*:0]const u8) c_int;

fn violation(what: []const u8) noreturn {
    std.debug.print("zig: VIOLATION: {s}\n", .{what});
    std.c._exit(3);
}

fn work(token: u64) !void {
    var me_buffer: [32]u8 = undefined;
    var found_buffer: [64]u8 = undefined;
    var line_buffer: [96]u8 = undefined;
    var there: [32]u8 = undefined;
    const me = try std.fmt.bufPrintSentinel(&me_buffer, "{d}", .{std.c.getpid()}, 0);
    if (std.c.symlink(me, "inside") != 0) {
        const found = try std.fmt.bufPrintSentinel(&found_buffer, "found/{d}", .{token}, 0);
        if (rename("inside", found) != 0 or std.c.symlink(me, "inside") != 0) violation("another is inside");
    }
    const line = try std.fmt.bufPrint(&line_buffer, "zig {s} {d}\n", .{ me, token });
    const log = std.c.open("log", .{ .ACCMODE = .WRONLY, .CREAT = true, .APPEND = true }, @as(c_uint, 0o644));
    if (log < 0 or std.c.write(log, line.ptr, line.len) != @as(isize, @intCast(line.len))) return error.Log;
    _ = std.c.close(log);
    _ = usleep(2000);
    const length = std.c.readlink("inside", &there, there.len);
    if (length < 0 or !std.mem.eql(u8, there[0..@intCast(length)], me) or std.c.unlink("inside") != 0) {
        violation("another was inside");
    }
}

fn contend(folder: Folder) !void {
    while (std.c.access("stop", 0) != 0) {
        try folder.lock(null);
        defer folder.unlock() catch {};
        try work(try folder.fence());
    }
}

pub fn main(init: std.process.Init) !u8 {
    const args = try init.minimal.args.toSlice(init.arena.allocator());
    if (args.len != 3 or std.c.chdir(args[2]) != 0) return 2;
    const folder = try Folder.open(args[1], .{});
    defer folder.close();
    contend(folder) catch |err| {
        var buffer: [1024]u8 = undefined;
        std.debug.print("zig: {s}: {s}\n", .{ @errorName(err), folder.errorMessage(&buffer) });
        return 1;
    };
    return 0;
}
