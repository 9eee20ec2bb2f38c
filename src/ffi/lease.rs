use std::ffi::c_int;
use std::time::Duration;

use super::convert::{call, lf_folder, out};
use super::status::lf_status;

/// Sets how long the lease of the next lock lasts, where a lease is needed.
///
/// A lease is needed where other hosts can write to the folder (NFS, GlusterFS: see docs/filesystems.md), because no
/// host sees whether a process of another host lives. A thread of the library renews it while the lock is held. If a
/// host that holds the lock dies, another host gets the lock after the longer one of the two leases. A holder that can't
/// renew its lease has lost the lock after two thirds of it: `lf_holds` is `LF_ERR_LOST`, and `lf_lost_fd` is readable.
///
/// `ms` is in milliseconds, from 5,000 to 3,600,000. The default is 30,000.
///
/// Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_ALREADY_HELD`: not while the lock is held; `LF_ERR_FORKED`;
/// `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_set_lease(folder: *mut lf_folder, ms: u32) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.set_lease(Duration::from_millis(ms.into()))) }
}

/// Renews the lease now.
///
/// For programs that open with `LF_OPEN_NO_THREAD`: call it at least every sixth of the lease. It can take as long as
/// the server of the folder takes to answer. Where there is no lease, it does nothing.
///
/// Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: the lease is over, or another claimant took it over;
/// `LF_ERR_IO`: this try failed and the lock is still held, so try again (`lf_valid_for` says for how long that helps);
/// `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_renew(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().call(|claimant| claimant.renew())) }
}

/// Tells for how long the lock is certainly held.
///
/// That is without another renewal of the lease. `*ms` is in milliseconds, and is set on `LF_OK` only. -1: for as long
/// as this process lives, because there is no lease. A virtual machine that is paused from outside can't know it, so a
/// program that can be paused between this call and its work uses `lf_fence` too.
///
/// Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_valid_for(folder: *mut lf_folder, ms: *mut i64) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe {
        call(folder, |folder| {
            let left = folder.handle().call(|claimant| claimant.valid_for())?;
            let left = left.map_or(-1, |left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
            out(ms, "ms")?.write(left);
            Ok(())
        })
    }
}

/// Gives a descriptor that tells when a lease is lost.
///
/// It becomes readable when this handle loses a lock because its lease is over or was taken over.
/// Poll it for reading, and never read from it or close it. It is the library's, is the same for the whole life of the
/// handle, and is valid until `lf_close`. After the unlock it is unreadable again. It does not tell that somebody
/// deleted the bid in a folder without leases: `lf_holds` does.
///
/// Returns the descriptor; -1: this system has none (only Linux has), no descriptor is free, the handle is NULL, or it
/// belongs to the parent process. `lf_error_message` says why, except for a NULL and where the system has none.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_lost_fd(folder: *mut lf_folder) -> c_int {
    let mut descriptor = -1;
    // SAFETY: by the caller's promise.
    let _ = unsafe {
        call(folder, |folder| {
            descriptor = folder.lost_descriptor()?.unwrap_or(-1);
            Ok(())
        })
    };
    descriptor
}
