use std::ffi::{c_char, CStr};
use std::ptr;

use super::convert::{self, guarded, remember_open_failure};
use super::status::{lf_status, LF_OK};
use crate::error::{Error, ErrorKind, Result};
use crate::sys;
use crate::LockFolder;

pub use super::convert::lf_folder;

/// For `lf_open`: no options.
pub const LF_OPEN_DEFAULT: u32 = 0;
/// For `lf_open`: do not make the folder if it is missing.
pub const LF_OPEN_NO_CREATE: u32 = 1;
/// For `lf_open`: refuse a folder that the effective user does not own, or that group or others can write
/// (`LF_ERR_UNSAFE`). Each lock checks this again, also for the sub-folder `.lockfolder` and what is in it.
pub const LF_OPEN_PRIVATE: u32 = 2;
/// For `lf_open`: use the folder although other hosts or mounts can write to it and its filesystem is not known to
/// show every bid in a listing. Correct only if all claimants use this one mount or its caches are off. Otherwise two
/// can hold the lock at once.
pub const LF_OPEN_TRUST_FILESYSTEM: u32 = 4;

/// For `lf_open`: no thread of the library renews a lease (see `lf_set_lease`). The program calls `lf_renew`, at least
/// every sixth of the lease.
pub const LF_OPEN_NO_THREAD: u32 = 8;

const FLAGS: u32 = LF_OPEN_NO_CREATE | LF_OPEN_PRIVATE | LF_OPEN_TRUST_FILESYSTEM | LF_OPEN_NO_THREAD;

/// Opens a lock folder, and makes it if it is missing. It locks nothing.
///
/// It makes one level only, with mode 0777 less the umask, or 0700 with `LF_OPEN_PRIVATE`.
///
/// A `path` that begins with `etcd://` or `etcds://` is a URL, `etcd://HOST:PORT[,HOST:PORT]/PREFIX`: the lock is on
/// etcd, with the same calls. Only a library built with etcd can do that (`make ETCD=1`): see docs/etcd.md.
///
/// `path` is bytes on Unix and UTF-8 on Windows. It is resolved now, so a later chdir changes nothing. Each lock uses
/// the folder that is at the resolved path at that time. `flags` is a sum of `LF_OPEN_…`.
///
/// On success `*out` is a handle that `lf_close` frees. After a failure it is NULL, and `lf_error_message` and
/// `lf_error_code` say why: call them on the same thread, with NULL for the handle. Threads that should exclude each
/// other open a handle each.
///
/// Returns `LF_OK`; `LF_ERR_INVALID`: a NULL, an empty path, an unknown flag; `LF_ERR_IO`: `ENOENT`, `EACCES`,
/// `ENOTDIR`…; `LF_ERR_UNSAFE`: `LF_OPEN_PRIVATE` is set, and the folder has another owner, or group or others can
/// write to it; `LF_ERR_UNSUPPORTED`: the filesystem is not known to show every bid in a listing, /proc can't be read,
/// or the path is a URL of etcd and this library was built without it; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_open(path: *const c_char, flags: u32, out: *mut *mut lf_folder) -> lf_status {
    let opened = guarded(|| {
        // SAFETY: by the caller's promise.
        let out = unsafe { convert::out(out, "out") }?;
        out.write(ptr::null_mut());
        // SAFETY: by the caller's promise.
        let folder = unsafe { open(path, flags) }?;
        out.write(Box::into_raw(Box::new(lf_folder::new(folder))));
        Ok(())
    });
    match opened {
        Ok(()) => LF_OK,
        Err(error) => remember_open_failure(error),
    }
}

/// # Safety
/// `path` is NULL or a C string.
unsafe fn open(path: *const c_char, flags: u32) -> Result<LockFolder> {
    if path.is_null() {
        return Err(Error::fixed(ErrorKind::Invalid, "`path` is NULL"));
    }
    if flags & !FLAGS != 0 {
        let text = format!("`flags` has bits that mean nothing: {:#x}", flags & !FLAGS);
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    // SAFETY: not NULL, and a C string by the caller's promise.
    let path = sys::path(unsafe { CStr::from_ptr(path) });
    LockFolder::options()
        .create(flags & LF_OPEN_NO_CREATE == 0)
        .private(flags & LF_OPEN_PRIVATE != 0)
        .trust_filesystem(flags & LF_OPEN_TRUST_FILESYSTEM != 0)
        .renew_in_thread(flags & LF_OPEN_NO_THREAD == 0)
        .open(path.ok_or_else(|| Error::fixed(ErrorKind::Invalid, "`path` is not UTF-8"))?)
}

/// Closes a handle, and unlocks first if the lock is held.
///
/// It frees the handle. NULL is allowed. No other thread may be using the handle. It can't report an error of the
/// unlock; call `lf_unlock` first to see it.
///
/// In a forked child it frees the memory and leaves the folder alone: the parent keeps its lock.
#[no_mangle]
pub unsafe extern "C" fn lf_close(folder: *mut lf_folder) {
    if !folder.is_null() {
        let _ = guarded(|| {
            // SAFETY: by the caller's promise it came from `Box::into_raw` in `lf_open`.
            drop(unsafe { Box::from_raw(folder) });
            Ok(())
        });
    }
}
