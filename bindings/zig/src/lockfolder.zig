//! A mutex between processes that lives in a folder.
//!
//!     const folder = try lockfolder.Folder.open("/var/lib/app/lock", .{});
//!     defer folder.close();
//!     try folder.lock(null);
//!     defer folder.unlock() catch {};
//!
//! Threads: any thread may call any function on one Folder at any time. `close` comes last. One Folder is one claimant: threads
//! that should exclude each other open a Folder each.
//!
//! Errors: one for each status of the C library. `Folder.errorMessage` has the reason as text.

const std = @import("std");
const c = @import("c");

/// The results of a call other than success. The first three are normal results.
pub const Error = error{
    /// Another claimant holds the lock or bids for it, or another thread is locking this Folder.
    Busy,
    /// The timeout of the wait is over.
    Timeout,
    /// `cancel` ended the wait.
    Cancelled,
    /// A bad argument, such as an empty path, or a path with a NUL byte.
    Invalid,
    /// The lock is not held by this Folder.
    NotHeld,
    /// The lock is held by this Folder already.
    AlreadyHeld,
    /// The lock is lost: its lease is over, or somebody deleted the bid. Others may have held the lock since.
    Lost,
    /// The Folder belongs to the parent process.
    Forked,
    /// The system reported an error: see `errorCode`.
    InputOutput,
    /// `private` was set, and others can write to this folder.
    Unsafe,
    /// This filesystem or system can't keep the promises of the lock.
    Unsupported,
    /// The library has a bug, and has noticed it. Or the status is newer than this file.
    Internal,
};

/// How many hold the lock together.
pub const Slots = union(enum) {
    /// Only this one, as a writer needs it.
    one,
    /// So many, this one included, as with a semaphore. All that use the folder name the same number. 0 is `Error.Invalid`.
    at_most: u32,
    /// Any number, as readers need it.
    any,

    fn number(slots: Slots) Error!u32 {
        return switch (slots) {
            .one => 1,
            .at_most => |n| if (n == 0) Error.Invalid else n,
            .any => c.LF_SLOTS_ANY,
        };
    }
};

pub const Options = struct {
    /// Make the folder if it is missing (one level).
    create: bool = true,
    /// Refuse a folder that another user owns, or that group or others can write: `Error.Unsafe`.
    private: bool = false,
    /// Use the folder although its filesystem may not show every bid in a listing: see LF_OPEN_TRUST_FILESYSTEM.
    trust_filesystem: bool = false,
    /// After how many milliseconds a bid that is cut off counts as stale. 0: never.
    malformed_grace_ms: u32 = 0,
    /// A thread of the library renews the lease. If not, the program calls `renew`, at least every sixth of the lease.
    renewing_thread: bool = true,
    /// How many hold the lock together. `setSlots` changes it.
    slots: Slots = .one,
};

/// One claimant on one lock folder. Two exclude each other, also in one process.
pub const Folder = struct {
    handle: *c.lf_folder,

    /// Opens a lock folder. Locks nothing. After a failure `openErrorMessage` says why, on the same thread.
    pub fn open(path: [:0]const u8, options: Options) Error!Folder {
        // To C the path would end at a NUL byte, and be another folder's.
        if (std.mem.indexOfScalar(u8, path, 0) != null) return Error.Invalid;
        const slots = try options.slots.number();
        var flags: u32 = c.LF_OPEN_DEFAULT;
        if (!options.create) flags |= c.LF_OPEN_NO_CREATE;
        if (options.private) flags |= c.LF_OPEN_PRIVATE;
        if (options.trust_filesystem) flags |= c.LF_OPEN_TRUST_FILESYSTEM;
        if (!options.renewing_thread) flags |= c.LF_OPEN_NO_THREAD;
        var handle: ?*c.lf_folder = null;
        try check(c.lf_open(path.ptr, flags, &handle));
        const folder: Folder = .{ .handle = handle.? };
        errdefer folder.close();
        if (options.malformed_grace_ms > 0) {
            try check(c.lf_set_malformed_grace(folder.handle, options.malformed_grace_ms));
        }
        try check(c.lf_set_slots(folder.handle, slots));
        return folder;
    }

    /// Unlocks if the lock is held, and frees the handle. No other thread may be using it.
    pub fn close(folder: Folder) void {
        c.lf_close(folder.handle);
    }

    /// Takes the lock if it is free, else returns `Error.Busy`. Never waits until a holder unlocks.
    pub fn tryLock(folder: Folder) Error!void {
        try check(c.lf_lock(folder.handle));
    }

    /// Waits for the lock, for `timeout_ms` milliseconds at most (`Error.Timeout`). null: without a limit.
    pub fn lock(folder: Folder, timeout_ms: ?u63) Error!void {
        try check(c.lf_lock_wait(folder.handle, timeout_ms orelse -1));
    }

    /// Begins a wait for the lock, for a program that has an event loop. true: the lock is held. false: the wait goes on, so poll
    /// `waitFd`, and call `stepWait` when it is readable. Until the wait is over, other lock calls on this Folder return `Error.Busy`.
    pub fn beginWait(folder: Folder, timeout_ms: ?u63) Error!bool {
        return isOver(c.lf_wait_begin(folder.handle, timeout_ms orelse -1));
    }

    /// The descriptor that is readable when a step is due, also by time. Poll it, and never read from it or close it. It stays the
    /// same until `close`. null: this system has none, or none is free. Then call `stepWait` every 10 ms.
    pub fn waitFd(folder: Folder) ?c_int {
        const fd = c.lf_wait_fd(folder.handle);
        return if (fd < 0) null else fd;
    }

    /// Takes a step of the wait. The result is as that of `beginWait`. If no step is due, it returns false at once.
    pub fn stepWait(folder: Folder) Error!bool {
        return isOver(c.lf_wait_step(folder.handle));
    }

    /// Gives up the wait, if one is in progress. A lock that is held stays held.
    pub fn endWait(folder: Folder) Error!void {
        try check(c.lf_wait_end(folder.handle));
    }

    /// Ends a wait in progress on this Folder with `Error.Cancelled`. Without a wait it does nothing. Another thread and a signal
    /// handler may call it.
    pub fn cancel(folder: Folder) Error!void {
        try check(c.lf_cancel(folder.handle));
    }

    /// Gives the lock back. After `Error.InputOutput` the lock is still held, and you can try again.
    pub fn unlock(folder: Folder) Error!void {
        try check(c.lf_unlock(folder.handle));
    }

    /// Succeeds if the lock is held and the bid is still in the folder. Otherwise returns `Error.NotHeld` or `Error.Lost`.
    pub fn holds(folder: Folder) Error!void {
        try check(c.lf_holds(folder.handle));
    }

    /// True if a bid of another claimant is there that is not stale. Changes nothing.
    pub fn inUse(folder: Folder) Error!bool {
        var result = false;
        try check(c.lf_in_use(folder.handle, &result));
        return result;
    }

    /// Deletes every bid whose owner is provably gone, and returns the number of these bids. Locking does this too.
    pub fn reapStale(folder: Folder) Error!usize {
        var result: usize = 0;
        try check(c.lf_reap_stale(folder.handle, &result));
        return result;
    }

    /// A fencing token, while the lock is held. It is larger than every earlier token of this folder, also after a crash.
    pub fn fence(folder: Folder) Error!u64 {
        var result: u64 = 0;
        try check(c.lf_fence(folder.handle, &result));
        return result;
    }

    /// Sets how many hold the lock together with this Folder, from its next lock on. `Error.AlreadyHeld` while the lock is held,
    /// `Error.Busy` while a wait is in progress. If another number is in use in the folder, a lock or a wait is `Error.Invalid`.
    pub fn setSlots(folder: Folder, slots: Slots) Error!void {
        try check(c.lf_set_slots(folder.handle, try slots.number()));
    }

    /// Sets how long the lease of the next lock lasts, from 5,000 to 3,600,000 ms (else `Error.Invalid`). Without this call: 30 s. It
    /// has an effect where other hosts use the folder too.
    pub fn setLease(folder: Folder, ms: u32) Error!void {
        try check(c.lf_set_lease(folder.handle, ms));
    }

    /// Renews the lease now. Without a lease it does nothing. After `Error.InputOutput` the lock is still held, and you can try again.
    pub fn renew(folder: Folder) Error!void {
        try check(c.lf_renew(folder.handle));
    }

    /// For how many milliseconds it is certain that the lock is held, without another renewal. null: as long as this process lives,
    /// because there is no lease. `Error.Lost` after a loss.
    pub fn validFor(folder: Folder) Error!?u63 {
        var ms: i64 = 0;
        try check(c.lf_valid_for(folder.handle, &ms));
        return if (ms < 0) null else @intCast(ms);
    }

    /// A descriptor that becomes readable when the lease is lost. Poll it, and never read from it or close it. It is valid until
    /// `close`. null: this system has none, or none is free. Then ask `holds` once in a while.
    pub fn lostFd(folder: Folder) ?c_int {
        const fd = c.lf_lost_fd(folder.handle);
        return if (fd < 0) null else fd;
    }

    /// A snapshot of the bids, in order of their names. The caller must call its `deinit`.
    pub fn bids(folder: Folder) Error!Bids {
        var list: ?*c.lf_bid_list = null;
        try check(c.lf_bids(folder.handle, &list));
        return .{ .list = list.? };
    }

    /// Why the last failed call on this Folder failed. The sentence names the folder and the holder, and is cut to the buffer.
    pub fn errorMessage(folder: Folder, buffer: []u8) []const u8 {
        return message(folder.handle, buffer);
    }

    /// The `errno` of that failure, or 0.
    pub fn errorCode(folder: Folder) c_int {
        return c.lf_error_code(folder.handle);
    }
};

/// Why the last failed `Folder.open` of this thread failed, cut to the buffer.
pub fn openErrorMessage(buffer: []u8) []const u8 {
    return message(null, buffer);
}

/// The `errno` of that failure, or 0.
pub fn openErrorCode() c_int {
    return c.lf_error_code(null);
}

/// The version of the C library that is loaded.
pub fn version() []const u8 {
    return std.mem.span(c.lf_version());
}

/// A snapshot of bids. It never changes, and any thread may read it.
pub const Bids = struct {
    list: *c.lf_bid_list,

    pub fn deinit(bids: Bids) void {
        c.lf_bid_list_free(bids.list);
    }

    pub fn len(bids: Bids) usize {
        return c.lf_bid_list_len(bids.list);
    }

    /// The bid at `index`, or null past the end. Its strings belong to the snapshot.
    pub fn get(bids: Bids, index: usize) ?Bid {
        const bid: *const c.lf_bid = c.lf_bid_list_get(bids.list, index) orelse return null;
        return .{
            .name = text(bid.name).?,
            .host = text(bid.host),
            .command = text(bid.command),
            .pid = if (bid.pid > 0) bid.pid else null,
            .created = if (bid.created >= 0) bid.created else null,
            .age_ms = bid.age_ms,
            .state = @fromBackingInt(bid.state),
        };
    }
};

/// One bid. A value is null where the bid does not have it. Any user of the folder may have written any characters into
/// `host` and `command`: escape them before you print them.
pub const Bid = struct {
    /// File name in the lock folder.
    name: []const u8,
    host: ?[]const u8,
    command: ?[]const u8,
    /// In its owner's PID namespace.
    pid: ?i64,
    /// The time at which the owner's process started, in Unix seconds.
    created: ?i64,
    /// Milliseconds since the bid was posted.
    age_ms: i64,
    state: State,

    /// The state of the owner. `unknown` and `malformed` count as live.
    pub const State = enum(i32) {
        own = c.LF_BID_OWN,
        live = c.LF_BID_LIVE,
        stale = c.LF_BID_STALE,
        unknown = c.LF_BID_UNKNOWN,
        malformed = c.LF_BID_MALFORMED,
        _,
    };
};

fn check(status: c.lf_status) Error!void {
    return switch (status) {
        c.LF_OK => {},
        c.LF_BUSY => Error.Busy,
        c.LF_TIMEOUT => Error.Timeout,
        c.LF_CANCELLED => Error.Cancelled,
        c.LF_ERR_INVALID => Error.Invalid,
        c.LF_ERR_NOT_HELD => Error.NotHeld,
        c.LF_ERR_ALREADY_HELD => Error.AlreadyHeld,
        c.LF_ERR_LOST => Error.Lost,
        c.LF_ERR_FORKED => Error.Forked,
        c.LF_ERR_IO => Error.InputOutput,
        c.LF_ERR_UNSAFE => Error.Unsafe,
        c.LF_ERR_UNSUPPORTED => Error.Unsupported,
        else => Error.Internal,
    };
}

/// False: the wait goes on.
fn isOver(status: c.lf_status) Error!bool {
    if (status == c.LF_PENDING) return false;
    try check(status);
    return true;
}

fn message(handle: ?*const c.lf_folder, buffer: []u8) []const u8 {
    const length = c.lf_error_message(handle, buffer.ptr, buffer.len);
    if (length < buffer.len) return buffer[0..length];
    return std.mem.sliceTo(buffer, 0); // cut between two characters
}

fn text(said: ?[*:0]const u8) ?[]const u8 {
    return std.mem.span(said orelse return null);
}
