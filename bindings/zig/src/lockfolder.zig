//! A mutex between processes that lives in a folder.
//!
//!     const folder = try lockfolder.Folder.open("/var/lib/app/lock", .{});
//!     defer folder.close();
//!     try folder.lock(null);
//!     defer folder.unlock() catch {};
//!
//! Threads: any thread may call any function on one Folder at any time; `close` comes last. One Folder is one claimant: threads
//! that should exclude each other open one each.
//!
//! Errors: one for each status of the C library; `Folder.errorMessage` says more.

const std = @import("std");
const c = @import("c");

/// What a call can come to, beside success. The first three are outcomes to expect.
pub const Error = error{
    /// Another claimant holds the lock or bids for it; or another thread is locking this Folder.
    Busy,
    /// The time to wait is over.
    Timeout,
    /// `cancel` ended the wait.
    Cancelled,
    /// A bad argument, such as an empty path.
    Invalid,
    /// The lock is not held by this Folder.
    NotHeld,
    /// The lock is held by this Folder already.
    AlreadyHeld,
    /// The lock was held, and somebody deleted the bid. Others may have been in.
    Lost,
    /// The Folder belongs to the parent process.
    Forked,
    /// The system refused; see `errorCode`.
    InputOutput,
    /// A private folder was asked for, and others can write to this one.
    Unsafe,
    /// This filesystem or system can't carry the lock's promise.
    Unsupported,
    /// A bug of the library, caught; or a status that is newer than this file.
    Internal,
};

pub const Options = struct {
    /// Make the folder if it is missing (one level).
    create: bool = true,
    /// Refuse a folder that this user doesn't own, or that group or others can write: `Error.Unsafe`.
    private: bool = false,
    /// Use the folder although its filesystem is not known to show every bid in a listing; see LF_OPEN_TRUST_FILESYSTEM.
    trust_filesystem: bool = false,
    /// After how many milliseconds a bid that is cut off counts as stale; 0: never.
    malformed_grace_ms: u32 = 0,
};

/// One claimant on one lock folder. Two exclude each other, in one process too.
pub const Folder = struct {
    handle: *c.lf_folder,

    /// Opens a lock folder. Locks nothing. If it fails, `openErrorMessage` says why, on the same thread.
    pub fn open(path: [:0]const u8, options: Options) Error!Folder {
        var flags: u32 = c.LF_OPEN_DEFAULT;
        if (!options.create) flags |= c.LF_OPEN_NO_CREATE;
        if (options.private) flags |= c.LF_OPEN_PRIVATE;
        if (options.trust_filesystem) flags |= c.LF_OPEN_TRUST_FILESYSTEM;
        var handle: ?*c.lf_folder = null;
        try check(c.lf_open(path.ptr, flags, &handle));
        const folder: Folder = .{ .handle = handle.? };
        errdefer folder.close();
        if (options.malformed_grace_ms > 0) {
            try check(c.lf_set_malformed_grace(folder.handle, options.malformed_grace_ms));
        }
        return folder;
    }

    /// Unlocks if the lock is held, and frees the handle. No other thread may be using it.
    pub fn close(folder: Folder) void {
        c.lf_close(folder.handle);
    }

    /// Takes the lock if it is free; else `Error.Busy`. Never waits for another's critical section.
    pub fn tryLock(folder: Folder) Error!void {
        try check(c.lf_lock(folder.handle));
    }

    /// Waits for the lock: `null` for ever, else so many milliseconds at most (`Error.Timeout`).
    pub fn lock(folder: Folder, timeout_ms: ?u63) Error!void {
        try check(c.lf_lock_wait(folder.handle, timeout_ms orelse -1));
    }

    /// Makes a wait in progress on this Folder fail with `Error.Cancelled`; without one, does nothing. Callable from another
    /// thread and from a signal handler.
    pub fn cancel(folder: Folder) Error!void {
        try check(c.lf_cancel(folder.handle));
    }

    /// Gives the lock back. After `Error.InputOutput` it is still held, and you can try again.
    pub fn unlock(folder: Folder) Error!void {
        try check(c.lf_unlock(folder.handle));
    }

    /// Succeeds if the lock is held and the bid is still in the folder; else `Error.NotHeld` or `Error.Lost`.
    pub fn holds(folder: Folder) Error!void {
        try check(c.lf_holds(folder.handle));
    }

    /// Is any other claimant's bid there that is not stale? Changes nothing.
    pub fn inUse(folder: Folder) Error!bool {
        var result = false;
        try check(c.lf_in_use(folder.handle, &result));
        return result;
    }

    /// Deletes every bid whose owner is provably gone, and returns their number. Locking does this too.
    pub fn reapStale(folder: Folder) Error!usize {
        var result: usize = 0;
        try check(c.lf_reap_stale(folder.handle, &result));
        return result;
    }

    /// A fencing token: larger than every token given before in this folder, also across crashes. Only while held.
    pub fn fence(folder: Folder) Error!u64 {
        var result: u64 = 0;
        try check(c.lf_fence(folder.handle, &result));
        return result;
    }

    /// A snapshot of the bids, by name. The caller calls its `deinit`.
    pub fn bids(folder: Folder) Error!Bids {
        var list: ?*c.lf_bid_list = null;
        try check(c.lf_bids(folder.handle, &list));
        return .{ .list = list.? };
    }

    /// Why the last call on this Folder that failed did so, as a sentence that names the folder and the holder, cut to the buffer.
    pub fn errorMessage(folder: Folder, buffer: []u8) []const u8 {
        return message(folder.handle, buffer);
    }

    /// The `errno` behind it, or 0.
    pub fn errorCode(folder: Folder) c_int {
        return c.lf_error_code(folder.handle);
    }
};

/// Why this thread's last `Folder.open` that failed did so, cut to the buffer.
pub fn openErrorMessage(buffer: []u8) []const u8 {
    return message(null, buffer);
}

/// The `errno` behind it, or 0.
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

/// One bid; null is what it does not say.
pub const Bid = struct {
    /// File name in the lock folder.
    name: []const u8,
    host: ?[]const u8,
    command: ?[]const u8,
    /// In its owner's PID namespace.
    pid: ?i64,
    /// When the owner's process started, Unix seconds.
    created: ?i64,
    /// Since the bid was posted.
    age_ms: i64,
    state: State,

    /// What is known of the owner. `unknown` and `malformed` count as live.
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

fn message(handle: ?*const c.lf_folder, buffer: []u8) []const u8 {
    const length = c.lf_error_message(handle, buffer.ptr, buffer.len);
    if (length < buffer.len) return buffer[0..length];
    return std.mem.sliceTo(buffer, 0); // cut, between two characters
}

fn text(said: ?[*:0]const u8) ?[]const u8 {
    return std.mem.span(said orelse return null);
}
