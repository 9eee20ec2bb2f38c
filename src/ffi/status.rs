use std::ffi::{c_char, CStr};

use crate::ErrorKind;

/// The result of a call. Zero: done. Above zero: an outcome to expect. Below zero: an error. `lf_error_message` says
/// more.
pub type lf_status = i32;

/// Done.
pub const LF_OK: lf_status = 0;
/// Another claimant holds the lock or bids for it, or another thread's lock call on this handle is in progress.
pub const LF_BUSY: lf_status = 1;
/// The time given to `lf_lock_wait` is over.
pub const LF_TIMEOUT: lf_status = 2;
/// `lf_cancel` ended the wait.
pub const LF_CANCELLED: lf_status = 3;
/// The wait that `lf_wait_begin` began goes on: poll `lf_wait_fd`, and then call `lf_wait_step`.
pub const LF_PENDING: lf_status = 4;
/// A bad argument: NULL, an empty path, an unknown flag.
pub const LF_ERR_INVALID: lf_status = -1;
/// This handle does not hold the lock.
pub const LF_ERR_NOT_HELD: lf_status = -2;
/// This handle holds the lock already. Also after the bid was lost, until `lf_unlock` has reported it. To know, ask
/// `lf_holds`.
pub const LF_ERR_ALREADY_HELD: lf_status = -3;
/// The lock was held, and the bid is gone: somebody deleted it. Others may have held the lock meanwhile.
pub const LF_ERR_LOST: lf_status = -4;
/// The handle belongs to the parent process.
pub const LF_ERR_FORKED: lf_status = -5;
/// The system refused; `lf_error_code` has its `errno`.
pub const LF_ERR_IO: lf_status = -6;
/// The wrong users have access. `LF_OPEN_PRIVATE` is set, and the folder, or what the library keeps in it, has
/// another owner, or group or others can write to it. Or, from `lf_fence`, whatever the flags: a user who can't
/// delete others' files in the folder could delete tokens.
pub const LF_ERR_UNSAFE: lf_status = -7;
/// This filesystem or system can't guarantee that only one process holds the lock. Or the call has no meaning where the
/// lock is, as on etcd.
pub const LF_ERR_UNSUPPORTED: lf_status = -8;
/// An internal error in the library.
pub const LF_ERR_INTERNAL: lf_status = -9;

pub(super) fn of(kind: ErrorKind) -> lf_status {
    match kind {
        ErrorKind::Busy => LF_BUSY,
        ErrorKind::Timeout => LF_TIMEOUT,
        ErrorKind::Cancelled => LF_CANCELLED,
        ErrorKind::Invalid => LF_ERR_INVALID,
        ErrorKind::NotHeld => LF_ERR_NOT_HELD,
        ErrorKind::AlreadyHeld => LF_ERR_ALREADY_HELD,
        ErrorKind::Lost => LF_ERR_LOST,
        ErrorKind::Forked => LF_ERR_FORKED,
        ErrorKind::Io => LF_ERR_IO,
        ErrorKind::Unsafe => LF_ERR_UNSAFE,
        ErrorKind::Unsupported => LF_ERR_UNSUPPORTED,
        ErrorKind::Internal => LF_ERR_INTERNAL,
    }
}

fn name(status: lf_status) -> &'static CStr {
    match status {
        LF_OK => c"LF_OK",
        LF_BUSY => c"LF_BUSY",
        LF_TIMEOUT => c"LF_TIMEOUT",
        LF_CANCELLED => c"LF_CANCELLED",
        LF_PENDING => c"LF_PENDING",
        LF_ERR_INVALID => c"LF_ERR_INVALID",
        LF_ERR_NOT_HELD => c"LF_ERR_NOT_HELD",
        LF_ERR_ALREADY_HELD => c"LF_ERR_ALREADY_HELD",
        LF_ERR_LOST => c"LF_ERR_LOST",
        LF_ERR_FORKED => c"LF_ERR_FORKED",
        LF_ERR_IO => c"LF_ERR_IO",
        LF_ERR_UNSAFE => c"LF_ERR_UNSAFE",
        LF_ERR_UNSUPPORTED => c"LF_ERR_UNSUPPORTED",
        LF_ERR_INTERNAL => c"LF_ERR_INTERNAL",
        _ => c"LF_UNKNOWN",
    }
}

/// Gives the name of a status, such as "LF_BUSY".
///
/// It is "LF_UNKNOWN" for a value that is not a valid status. The string is static: it is valid as long as the
/// library is loaded, and is never freed.
#[no_mangle]
pub extern "C" fn lf_status_name(status: lf_status) -> *const c_char {
    name(status).as_ptr()
}
