//! Converts pointers to references, results to statuses, and panics to `LF_ERR_INTERNAL`. Every call on a handle goes through
//! here, so neither a panic nor a cancellation of the thread leaves a call.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::status::{self, lf_status, LF_ERR_INVALID, LF_OK};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Uncancellable;
use crate::LockFolder;

/// One claimant on one lock folder. Opaque: made by `lf_open`, freed by `lf_close`.
///
/// Any thread may call any function on one handle at any time; `lf_close` comes last.
pub struct lf_folder {
    folder: LockFolder,
    failure: Arc<Mutex<Option<Error>>>,
}

impl lf_folder {
    pub(super) fn new(folder: LockFolder) -> lf_folder {
        lf_folder { folder, failure: Arc::default() }
    }

    /// The reason for the last failure.
    fn failure(&self) -> Option<Error> {
        // In a forked child the mutex may stay locked for ever, so we do not touch it. There the reason is always the fork.
        match self.folder.handle().check_owner() {
            Ok(()) => self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Err(forked) => Some(forked),
        }
    }

    fn remember(&self, error: Error) {
        if self.folder.handle().check_owner().is_ok() {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

impl Drop for lf_folder {
    fn drop(&mut self) {
        // A thread that fork did not copy may have been changing the reason. In the child that change never ends, so the reason can't be
        // freed.
        if self.folder.handle().check_owner().is_err()
            && matches!(self.failure.try_lock(), Err(TryLockError::WouldBlock))
        {
            std::mem::forget(Arc::clone(&self.failure));
        }
    }
}

thread_local! {
    static OPEN_FAILURE: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// The reason for this thread's last failed `lf_open`.
fn open_failure() -> Option<Error> {
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
    let _until_it_is_remembered = Uncancellable::new();
    match guarded(|| body(&handle.folder)) {
        Ok(()) => LF_OK,
        Err(error) => {
            let status = status::of(error.kind());
            handle.remember(error);
            status
        }
    }
}

/// The same for a signal handler. It does not remember the reason for a failure, because that takes a mutex.
///
/// # Safety
/// As [`call`].
pub(super) unsafe fn call_from_signal_handler(
    handle: *const lf_folder,
    body: impl FnOnce(&LockFolder) -> Result<()>,
) -> lf_status {
    // SAFETY: by the caller's promise.
    let Some(handle) = (unsafe { handle.as_ref() }) else {
        return LF_ERR_INVALID;
    };
    match guarded(|| body(&handle.folder)) {
        Ok(()) => LF_OK,
        Err(error) => status::of(error.kind()),
    }
}

/// Gives `body` the reason for the last failure on this handle. With NULL, it gives the reason for this thread's last failed `lf_open`.
///
/// # Safety
/// As [`call`].
pub(super) unsafe fn with_failure<T: Default>(handle: *const lf_folder, body: impl FnOnce(Option<Error>) -> T) -> T {
    // SAFETY: by the caller's promise.
    let handle = unsafe { handle.as_ref() };
    let result = guarded(|| Ok(body(handle.map_or_else(open_failure, lf_folder::failure))));
    result.unwrap_or_default()
}

/// Runs `body`, and turns a panic into an error. A cancellation of the thread stays pending until `body` has ended. A panic and a
/// cancellation unwind the stack, and no unwinding may reach C.
pub(super) fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let _until_it_is_done = Uncancellable::new();
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::new(ErrorKind::Internal, text.unwrap_or("a panic without a message")))
    })
}

/// Converts a pointer to a place for a result. NULL is an error.
///
/// # Safety
/// `out` is NULL or valid for a write of a `T`.
pub(super) unsafe fn out<'a, T>(out: *mut T, name: &str) -> Result<&'a mut std::mem::MaybeUninit<T>> {
    // SAFETY: by the caller's promise. A `MaybeUninit` need not be initialized.
    unsafe { out.cast::<std::mem::MaybeUninit<T>>().as_mut() }
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("`{name}` is NULL")))
}
