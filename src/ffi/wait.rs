use std::ffi::c_int;
use std::time::Duration;

use super::convert::{call, lf_folder};
use super::status::{lf_status, LF_OK, LF_PENDING};
use crate::error::Result;
use crate::LockFolder;

/// Begins a wait for the lock, for a program that has an event loop.
///
/// It is `lf_lock_wait` in steps: begin, poll `lf_wait_fd` until it is readable, call `lf_wait_step`, and so on until
/// the result is not `LF_PENDING`. No thread is started, and no call takes longer than one round of check-bid-check.
/// Callers of this and of `lf_lock_wait` wait in one line. `timeout_ms` is as for `lf_lock_wait`.
///
/// Until the wait is over, other lock calls on this handle return `LF_BUSY`. `lf_cancel` ends it: the next step returns
/// `LF_CANCELLED`. `lf_close` ends it too.
///
/// Returns `LF_PENDING`: the wait has begun; `LF_OK`: the lock is held, and no step follows; `LF_TIMEOUT` if
/// `timeout_ms` is 0; all others as `lf_lock_wait`. After these the wait is over.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_wait_begin(folder: *mut lf_folder, timeout_ms: i64) -> lf_status {
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    // SAFETY: by the caller's promise.
    unsafe { call_pending(folder, |folder| folder.handle().begin_wait(timeout)) }
}

/// Gives the descriptor that is readable when the wait has something to do, also by time.
///
/// Poll it for reading while a wait is in progress, with any event loop (poll(2), epoll(7), libuv, asyncio). Never
/// read from it or close it. It is the library's, is the same for the whole life of the handle, and is valid until
/// `lf_close`. It can be asked before a wait begins.
///
/// Returns the descriptor; -1: this system has none (only Linux has: elsewhere call `lf_wait_step` every 10 ms or so,
/// which costs little), no descriptor is free, the handle is NULL, or it belongs to the parent process.
/// `lf_error_message` says why, except for a NULL and where the system has none.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_wait_fd(folder: *mut lf_folder) -> c_int {
    let mut descriptor = -1;
    // SAFETY: by the caller's promise.
    let _ = unsafe {
        call(folder, |folder| {
            descriptor = folder.handle().wait_set()?.map_or(-1, |set| set.descriptor());
            Ok(())
        })
    };
    descriptor
}

/// Takes a step of the wait that `lf_wait_begin` began.
///
/// Call it when `lf_wait_fd` is readable. If there is nothing to do yet, it returns `LF_PENDING` at once.
///
/// Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_PENDING`: the wait goes on; `LF_TIMEOUT`;
/// `LF_CANCELLED`; `LF_ERR_INVALID`: no wait is in progress; all others as `lf_lock_wait`. After all but `LF_PENDING`
/// the wait is over.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_wait_step(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call_pending(folder, |folder| folder.handle().step_wait()) }
}

/// Gives up the wait that `lf_wait_begin` began.
///
/// It leaves the line, and leaves no bid. It does nothing if no wait is in progress: a lock that is held stays held.
///
/// Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_wait_end(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().end_wait()) }
}

/// The result of a call that says whether it has the lock by now.
///
/// # Safety
/// As [`call`].
unsafe fn call_pending(folder: *mut lf_folder, body: impl FnOnce(&LockFolder) -> Result<bool>) -> lf_status {
    let mut has_lock = false;
    // SAFETY: by the caller's promise.
    let status = unsafe {
        call(folder, |folder| {
            has_lock = body(folder)?;
            Ok(())
        })
    };
    match status {
        LF_OK if !has_lock => LF_PENDING,
        status => status,
    }
}
