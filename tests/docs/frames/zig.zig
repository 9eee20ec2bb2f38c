const std = @import("std");
const lockfolder = @import("lockfolder");

// A snippet that declares no folder of its own uses this one.
pub fn main() !void {
    const given = try lockfolder.Folder.open("given", .{});
    defer given.close();
    try snippet(given);
}

fn snippet(GIVEN: lockfolder.Folder) !void {
    SNIPPET
}
