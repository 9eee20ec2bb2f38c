//! The promises of the binding. The holder is a real process. It is forked before it opens its own handle.

const std = @import("std");
const lockfolder = @import("lockfolder");
const Error = lockfolder.Error;
const Folder = lockfolder.Folder;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;
const expectError = std.testing.expectError;

extern "c" fn fork() c_int;
extern "c" fn pause() c_int;
extern "c" fn prctl(option: c_int, ...) c_int;
extern "c" fn usleep(microseconds: c_uint) c_int;

const guard_ms = 60_000; // ends a test that hangs, and measures nothing

const Place = struct {
    dir: std.testing.TmpDir,
    buffer: [128]u8 = undefined,

    fn init() Place {
        return .{ .dir = std.testing.tmpDir(.{ .iterate = true }) };
    }

    fn deinit(place: *Place) void {
        place.dir.cleanup();
    }

    fn path(place: *Place) ![:0]const u8 {
        return std.fmt.bufPrintSentinel(&place.buffer, ".zig-cache/tmp/{s}", .{place.dir.sub_path}, 0);
    }
};

const Holder = struct {
    pid: c_int,

    fn start(path: [:0]const u8) !Holder {
        var ends: [2]c_int = undefined;
        if (std.c.pipe(&ends) != 0) return error.Pipe;
        const pid = fork();
        if (pid == 0) {
            _ = prctl(1, @as(c_ulong, 9)); // PR_SET_PDEATHSIG: the kernel kills the holder when the test dies
            const folder = Folder.open(path, .{}) catch std.c._exit(1);
            folder.tryLock() catch std.c._exit(1);
            _ = std.c.write(ends[1], "!", 1);
            while (true) _ = pause();
        }
        _ = std.c.close(ends[1]);
        defer _ = std.c.close(ends[0]);
        const holder: Holder = .{ .pid = pid };
        var byte: [1]u8 = undefined;
        if (std.c.read(ends[0], &byte, 1) != 1) {
            holder.kill();
            return error.HolderFailed;
        }
        return holder;
    }

    fn kill(holder: Holder) void {
        _ = std.c.kill(holder.pid, .KILL);
        _ = std.c.waitpid(holder.pid, null, 0);
    }
};

test "lock, fence, unlock" {
    var place: Place = .init();
    defer place.deinit();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();
    try expectError(Error.NotHeld, folder.holds());
    try expectError(Error.NotHeld, folder.unlock());
    try folder.tryLock();
    try expectError(Error.AlreadyHeld, folder.tryLock());
    try folder.holds();
    const first = try folder.fence();
    try folder.unlock();
    try folder.lock(guard_ms);
    try expect(try folder.fence() > first);
    try folder.unlock();
    try folder.lock(null);
}

test "a busy folder says who has it" {
    var place: Place = .init();
    defer place.deinit();
    const holder: Holder = try .start(try place.path());
    defer holder.kill();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();

    var buffer: [1024]u8 = undefined;
    var pid_buffer: [32]u8 = undefined;
    const pid = try std.fmt.bufPrint(&pid_buffer, "PID {d}", .{holder.pid});
    try expectError(Error.Busy, folder.tryLock());
    try expect(std.mem.find(u8, folder.errorMessage(&buffer), pid) != null);
    try expect(std.mem.find(u8, folder.errorMessage(&buffer), &place.dir.sub_path) != null);
    try expectEqual(0, folder.errorCode());
    try expectError(Error.Timeout, folder.lock(1));
    try expectEqual(19, folder.errorMessage(buffer[0..20]).len); // cut

    try expect(try folder.inUse());
    const bids = try folder.bids();
    defer bids.deinit();
    try expectEqual(1, bids.len());
    try expectEqual(null, bids.get(1));
    const bid = bids.get(0).?;
    try expectEqual(holder.pid, bid.pid.?);
    try expectEqual(.live, bid.state);
    try expect(std.mem.endsWith(u8, bid.name, ".json"));
    try expect(bid.host.?.len > 0 and bid.command.?.len > 0 and bid.created.? > 0 and bid.age_ms >= 0);
}

test "a killed holder is passed over, and reaped" {
    var place: Place = .init();
    defer place.deinit();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();
    {
        const holder: Holder = try .start(try place.path());
        try expectEqual(0, try folder.reapStale());
        holder.kill();
        try expectEqual(1, try folder.reapStale());
    }
    const holder: Holder = try .start(try place.path());
    holder.kill();
    try folder.lock(guard_ms);
}

fn waitIn(folder: Folder, outcome: *?Error, over: *std.atomic.Value(bool)) void {
    folder.lock(null) catch |err| {
        outcome.* = err;
    };
    over.store(true, .release);
}

test "cancel ends a wait in another thread" {
    var place: Place = .init();
    defer place.deinit();
    const holder: Holder = try .start(try place.path());
    defer holder.kill();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();

    var outcome: ?Error = null;
    var over: std.atomic.Value(bool) = .init(false);
    const thread = try std.Thread.spawn(.{}, waitIn, .{ folder, &outcome, &over });
    while (!over.load(.acquire)) { // repeated: a cancellation before the wait begins has no effect
        try folder.cancel();
        _ = usleep(1000);
    }
    thread.join();
    try expectEqual(Error.Cancelled, outcome.?);
    var buffer: [256]u8 = undefined;
    try expect(std.mem.find(u8, folder.errorMessage(&buffer), "cancelled") != null);
}

test "a deleted bid is a lost lock" {
    var place: Place = .init();
    defer place.deinit();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();
    try folder.tryLock();
    const bids = try folder.bids();
    defer bids.deinit();
    try expectEqual(.own, bids.get(0).?.state);
    try place.dir.dir.deleteFile(std.testing.io, bids.get(0).?.name);
    try expectError(Error.Lost, folder.holds());
    try expectError(Error.Lost, folder.unlock());
    try expectError(Error.NotHeld, folder.unlock());
}

fn isReadable(fd: c_int, within_ms: c_int) bool {
    var one = [1]std.c.pollfd{.{ .fd = fd, .events = std.c.POLL.IN, .revents = 0 }};
    return std.c.poll(&one, 1, within_ms) == 1;
}

/// Takes each step when it is due, until the wait is over.
fn goOn(folder: Folder) Error!void {
    while (true) {
        _ = isReadable(folder.waitFd().?, guard_ms);
        if (try folder.stepWait()) return;
    }
}

fn beginAndGoOn(folder: Folder, timeout_ms: ?u63) !void {
    if (!try folder.beginWait(timeout_ms)) try goOn(folder);
}

test "a wait in steps" {
    var place: Place = .init();
    defer place.deinit();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();
    const fd = folder.waitFd().?;
    try expectError(Error.Invalid, folder.stepWait());
    try folder.endWait(); // of no wait: does nothing
    try expect(try folder.beginWait(null)); // the lock is free
    try folder.unlock();

    const holder: Holder = try .start(try place.path());
    try expect(!try folder.beginWait(null));
    try expectError(Error.Busy, folder.tryLock());
    try expectEqual(fd, folder.waitFd().?);
    try expect(!try folder.stepWait()); // a step too many does no harm
    try place.dir.dir.access(std.testing.io, ".lockfolder/queue", .{});
    try folder.endWait();
    try expectError(error.FileNotFound, place.dir.dir.access(std.testing.io, ".lockfolder/queue", .{}));

    try expectError(Error.Timeout, beginAndGoOn(folder, 1)); // the time may be over in the first step
    try expectError(Error.Timeout, folder.beginWait(0));
    try expect(!try folder.beginWait(guard_ms));
    try folder.cancel();
    try expectError(Error.Cancelled, goOn(folder));
    try expect(!try folder.beginWait(guard_ms));
    holder.kill();
    try goOn(folder);
    try folder.holds();
}

/// The child's part: how it ends after it was stopped. 7: as it should.
fn afterTheStop(folder: Folder, is_shared: bool) !u8 {
    const fd = folder.lostFd() orelse return 1;
    if (!is_shared) {
        if (isReadable(fd, 1000)) return 2;
        if (try folder.validFor() != null) return 3;
        try folder.renew();
        try folder.unlock();
        return 7;
    }
    if (!isReadable(fd, guard_ms)) return 4;
    try expectError(Error.Lost, folder.holds());
    try expectError(Error.Lost, folder.renew());
    try expectError(Error.Lost, folder.validFor());
    try expectError(Error.Lost, folder.unlock());
    try folder.lock(guard_ms);
    return if (isReadable(fd, 0)) 5 else 7;
}

test "a holder that was stopped for too long has lost its lease, and without a lease there is no loss" {
    for ([2]bool{ true, false }) |is_shared| {
        var place: Place = .init();
        defer place.deinit();
        if (is_shared) { // other hosts use the folder too
            try place.dir.dir.createDir(std.testing.io, ".lockfolder", .default_dir);
            try place.dir.dir.writeFile(std.testing.io, .{ .sub_path = ".lockfolder/shared", .data = "" });
        }
        const path = try place.path();
        var ready: [2]c_int = undefined;
        var go: [2]c_int = undefined;
        if (std.c.pipe(&ready) != 0 or std.c.pipe(&go) != 0) return error.Pipe;
        defer for ([_]c_int{ ready[0], go[0], go[1] }) |fd| {
            _ = std.c.close(fd);
        };
        const pid = fork();
        var byte = [1]u8{'!'};
        if (pid == 0) {
            _ = prctl(1, @as(c_ulong, 9)); // PR_SET_PDEATHSIG
            const folder = Folder.open(path, .{}) catch std.c._exit(10);
            folder.setLease(5000) catch std.c._exit(11);
            folder.tryLock() catch std.c._exit(12);
            _ = std.c.write(ready[1], &byte, 1);
            _ = std.c.read(go[0], &byte, 1);
            std.c._exit(afterTheStop(folder, is_shared) catch 13);
        }
        _ = std.c.close(ready[1]);
        try expectEqual(1, std.c.read(ready[0], &byte, 1));
        _ = std.c.kill(pid, .STOP);
        _ = usleep(4_500_000); // more than two thirds of the lease
        _ = std.c.kill(pid, .CONT);
        _ = std.c.write(go[1], &byte, 1);
        var status: c_int = undefined;
        try expectEqual(pid, std.c.waitpid(pid, &status, 0));
        try expectEqual(7 << 8, status);
    }
}

test "without a thread the program renews" {
    var place: Place = .init();
    defer place.deinit();
    try place.dir.dir.createDir(std.testing.io, ".lockfolder", .default_dir);
    try place.dir.dir.writeFile(std.testing.io, .{ .sub_path = ".lockfolder/shared", .data = "" });
    const folder = try Folder.open(try place.path(), .{ .renewing_thread = false });
    defer folder.close();
    for ([_]u32{ 0, 4999, 3_600_001 }) |wrong| try expectError(Error.Invalid, folder.setLease(wrong));
    try folder.setLease(3_600_000);
    try expectError(Error.NotHeld, folder.renew());
    try expectError(Error.NotHeld, folder.validFor());
    try folder.tryLock();
    try folder.renew();
    const left = (try folder.validFor()).?;
    try expect(left > 0 and left <= 2_400_000);
    try folder.unlock();
    try folder.setLease(5000);
    try folder.tryLock();
    try expect(isReadable(folder.lostFd().?, guard_ms)); // the program does not renew
    try expectError(Error.Lost, folder.unlock());
}

test "errors of open" {
    var buffer: [1024]u8 = undefined;
    try expectError(Error.InputOutput, Folder.open("/nowhere/at/all", .{}));
    try expect(std.mem.find(u8, lockfolder.openErrorMessage(&buffer), "/nowhere/at/all") != null);
    try expectEqual(@as(c_int, @backingInt(std.c.E.NOENT)), lockfolder.openErrorCode());
    try expectError(Error.Invalid, Folder.open("", .{}));
    try expectError(Error.Invalid, Folder.open("lock\x00other", .{}));
    var place: Place = .init();
    defer place.deinit();
    _ = std.c.chmod(try place.path(), 0o777);
    try expectError(Error.Unsafe, Folder.open(try place.path(), .{ .private = true }));
}

test "the version of the library" {
    try expect(lockfolder.version().len >= 5);
}

test "a forked child may leave the scope of its parent's lock" {
    var place: Place = .init();
    defer place.deinit();
    const folder = try Folder.open(try place.path(), .{});
    defer folder.close();
    const scope = struct {
        fn leave(of: Folder) !c_int {
            try of.tryLock();
            defer of.unlock() catch {};
            const pid = fork();
            if (pid == 0) return error.TheChildsOwn; // this runs the `defer`
            var status: c_int = undefined;
            try expectEqual(pid, std.c.waitpid(pid, &status, 0));
            try of.holds();
            return status;
        }
    };
    const status = scope.leave(folder) catch |failed| std.c._exit(if (failed == error.TheChildsOwn) 7 else 8);
    try expectEqual(7 << 8, status);
}

test "readers are in together, and a writer is alone" {
    var place: Place = .init();
    defer place.deinit();
    const path = try place.path();
    const first = try Folder.open(path, .{ .slots = .any });
    defer first.close();
    const second = try Folder.open(path, .{ .slots = .any });
    defer second.close();
    const writer = try Folder.open(path, .{});
    defer writer.close();
    try first.tryLock();
    try second.lock(guard_ms);
    try expectError(Error.AlreadyHeld, second.setSlots(.one));
    try expect(!try writer.beginWait(guard_ms));
    try expectError(Error.Busy, writer.setSlots(.any));
    try first.unlock();
    try expect(!try writer.stepWait());
    const late = try Folder.open(path, .{ .slots = .any });
    defer late.close();
    try expectError(Error.Busy, late.tryLock()); // it is behind the writer
    try second.unlock();
    while (!try writer.stepWait()) _ = usleep(1000);
    try expectError(Error.Busy, first.tryLock());
    try writer.unlock();
    try first.tryLock();
}

test "as many are in as there are places" {
    var place: Place = .init();
    defer place.deinit();
    const path = try place.path();
    var folders: [4]Folder = undefined;
    for (&folders) |*folder| folder.* = try Folder.open(path, .{ .slots = .{ .at_most = 3 } });
    defer for (folders) |folder| folder.close();
    for (folders[0..3]) |folder| try folder.tryLock();
    try expectError(Error.Busy, folders[3].tryLock());
    try expect(!try folders[3].beginWait(guard_ms));
    try folders[1].unlock();
    while (!try folders[3].stepWait()) _ = usleep(1000);
    try expect(try folders[0].fence() != try folders[3].fence());

    const other = try Folder.open(path, .{});
    defer other.close();
    try expectError(Error.Busy, other.tryLock());
    try other.setSlots(.{ .at_most = 2 });
    try expectError(Error.Invalid, other.tryLock());
    var buffer: [512]u8 = undefined;
    const said = other.errorMessage(&buffer);
    try expect(std.mem.indexOf(u8, said, "2 slots") != null and std.mem.indexOf(u8, said, "3 slots") != null);
    try expectError(Error.Invalid, other.setSlots(.{ .at_most = 0 }));
    try expectError(Error.Invalid, Folder.open(path, .{ .slots = .{ .at_most = 0 } }));
}
