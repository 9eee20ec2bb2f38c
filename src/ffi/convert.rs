//! Pointers to references, results to statuses, panics to `LF_ERR_INTERNAL`.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::status::{self, lf_status, LF_ERR_INVALID, LF_OK};
use crate::error::{Error, ErrorKind, Result};
use crate::LockFolder;

/// One claimant on one lock folder. Opaque: made by `lf_open`, freed by `lf_close`.
///
/// Any thread may call any function on one handle at any time; `lf_close` comes last.
pub struct lf_folder {
    pub(super) folder: LockFolder,
    failure: Arc<Mutex<Option<Error>>>,
}

impl lf_folder {
    pub(super) fn new(folder: LockFolder) -> lf_folder {
        lf_folder { folder, failure: Arc::default() }
    }

    /// Why the last call that failed did so.
    pub(super) fn failure(&self) -> Option<Error> {
        // In a forked child the mutex may be locked for ever; there is only one thing to say there.
        match self.folder.check_owner() {
            Ok(()) => self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Err(forked) => Some(forked),
        }
    }

    fn remember(&self, error: Error) {
        if self.folder.check_owner().is_ok() {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

impl Drop for lf_folder {
    fn drop(&mut self) {
        // In a forked child a thread that was not forked may be in the middle of changing it, for ever: then it can't be freed.
        if self.folder.check_owner().is_err() && matches!(self.failure.try_lock(), Err(TryLockError::WouldBlock)) {
            std::mem::forget(Arc::clone(&self.failure));
        }
    }
}

thread_local! {
    static OPEN_FAILURE: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Why this thread's last failed `lf_open` failed.
pub(super) fn open_failure() -> Option<Error> {
    OPEN_FAILURE.try_with(|error| error.borrow().clone()).ok().flatten()
}

pub(super) fn remember_open_failure(error: Error) -> lf_status {
    let status = status::of(error.kind());
    let _ = OPEN_FAILURE.try_with(|last| *last.borrow_mut() = Some(error));
    status
}

/// Calls into the library on behalf of a handle.
///
/// # Safety
/// `handle` is NULL or came from `lf_open` and is not closed yet.
pub(super) unsafe fn call(handle: *const lf_folder, body: impl FnOnce(&LockFolder) -> Result<()>) -> lf_status {
    // SAFETY: by the caller's promise.
    let Some(handle) = (unsafe { handle.as_ref() }) else {
        return LF_ERR_INVALID;
    };
    match guarded(|| body(&handle.folder)) {
        Ok(()) => LF_OK,
        Err(error) => {
            let status = status::of(error.kind());
            handle.remember(error);
            status
        }
    }
}

/// Runs `body`, and turns a panic into an error: unwinding must not reach C.
pub(super) fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::new(ErrorKind::Internal, text.unwrap_or("a panic without words")))
    })
}

/// A place for a result.
///
/// # Safety
/// `out` is NULL or valid for a write of a `T`.
pub(super) unsafe fn out<'a, T>(out: *mut T, name: &str) -> Result<&'a mut std::mem::MaybeUninit<T>> {
    // SAFETY: by the caller's promise; as `MaybeUninit` it need not be initialized.
    unsafe { out.cast::<std::mem::MaybeUninit<T>>().as_mut() }
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("`{name}` is NULL")))
}
