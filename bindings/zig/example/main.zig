//! Waits for the lock of a folder, and prints its fencing token.

const std = @import("std");
const Folder = @import("lockfolder").Folder;
const openErrorMessage = @import("lockfolder").openErrorMessage;

pub fn main(init: std.process.Init) !u8 {
    const args = try init.minimal.args.toSlice(init.arena.allocator());
    if (args.len != 2) {
        std.debug.print("usage: example FOLDER\n", .{});
        return 2;
    }
    var buffer: [1024]u8 = undefined;
    const folder = Folder.open(args[1], .{}) catch {
        std.debug.print("{s}\n", .{openErrorMessage(&buffer)});
        return 1;
    };
    defer folder.close();
    run(folder) catch |err| {
        std.debug.print("{s}: {s}\n", .{ @errorName(err), folder.errorMessage(&buffer) });
        return 1;
    };
    return 0;
}

fn run(folder: Folder) !void {
    try folder.lock(60_000);
    defer folder.unlock() catch {}; // `close` unlocks too
    std.debug.print("held; fencing token {d}\n", .{try folder.fence()});
}
