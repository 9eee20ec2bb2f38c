use std::time::Duration;

use super::convert::{call, call_from_signal_handler, lf_folder, out};
use super::status::lf_status;

/// Takes the lock if it is free: one round of check-bid-check. Reaps stale bids on its way. Never waits for another's
/// critical section (where two bid at the same moment, it takes a few milliseconds at most to decide). It may overtake those who wait
/// in `lf_lock_wait`, but not for more than about 100 ms: then it leaves the lock, for a few milliseconds at most, to the first of
/// them, and returns `LF_BUSY` if that one comes.
///
/// Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_BUSY`: `lf_error_message` says who has it;
/// `LF_ERR_ALREADY_HELD`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_IO`, and `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED` if another
/// folder is at the path than before, or a listing misses our own bid; `LF_ERR_INTERNAL`. After anything but `LF_OK` no
/// bid of ours is left in the folder, or else the message names it.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_lock(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().acquire()) }
}

/// Waits for the lock, `timeout_ms` milliseconds at most: below 0 for ever; 0 is `lf_lock`, but with `LF_TIMEOUT` for `LF_BUSY`.
/// Signals don't end it. The time is taken from the monotonic clock.
///
/// Returns what `lf_lock` returns (`LF_BUSY` only while another thread's lock call on this handle is under way), and
/// `LF_TIMEOUT`: `lf_error_message` says who had it; `LF_CANCELLED`: see `lf_cancel`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_lock_wait(folder: *mut lf_folder, timeout_ms: i64) -> lf_status {
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().acquire_within(timeout)) }
}

/// Makes a wait in progress on this handle return `LF_CANCELLED`. Without a wait in progress it does nothing, and a later
/// wait is not affected.
///
/// To end a wait for certain, also one that is about to begin: set a flag of your own, at which the waiting thread looks before it
/// waits, and call this again and again until that thread says that it is done.
///
/// Callable from another thread and from a signal handler: it is async-signal-safe and leaves `errno` alone.
///
/// Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`. It does not change what `lf_error_message` says.
#[no_mangle]
pub unsafe extern "C" fn lf_cancel(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call_from_signal_handler(folder, |folder| folder.cancel()) }
}

/// Gives the lock back: deletes the bid. It looks at the bid's name alone: whether another folder took the place of ours while
/// we held, or another file that of our bid, `lf_holds` says, so ask it first where that can happen.
///
/// Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: somebody had deleted the bid, others may have been in, and the handle no
/// longer holds; `LF_ERR_IO`: the bid could not be deleted, the handle still holds, and you can try again;
/// `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_unlock(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().enter()?.unlock()) }
}

/// Does this handle hold the lock?
///
/// Returns `LF_OK`: yes, and the bid is still in the folder; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: it was held, but the bid, or the
/// folder itself, is gone (`lf_unlock` then ends it); `LF_ERR_IO`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_holds(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.holds()) }
}

/// Is any other claimant's bid there that is not stale? Changes nothing in the folder. `*in_use` is set on `LF_OK` only.
///
/// Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED` if another folder
/// is at the path than before; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_in_use(folder: *mut lf_folder, in_use: *mut bool) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe {
        call(folder, |folder| {
            out(in_use, "in_use")?.write(folder.in_use()?);
            Ok(())
        })
    }
}

/// Deletes every bid whose owner is provably gone, and what else such owners left in the sub-folder `.lockfolder`. `*reaped`,
/// set on `LF_OK` only, is the number of bids deleted; `reaped` may be NULL. `lf_lock` does this too, so it is only for
/// tidiness.
///
/// Returns as `lf_in_use`.
#[no_mangle]
pub unsafe extern "C" fn lf_reap_stale(folder: *mut lf_folder, reaped: *mut usize) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe {
        call(folder, |folder| {
            let count = folder.reap_stale()?;
            if !reaped.is_null() {
                out(reaped, "reaped")?.write(count);
            }
            Ok(())
        })
    }
}

/// A fencing token: larger than every token given before in this folder, also across crashes and power loss (it is on the
/// disk, by fsync, before it is given out). Hand it to the resource, which refuses any smaller one than it has seen.
/// `*token`, from 1 upwards, is set on `LF_OK` only. Deleting the folder starts the count anew.
///
/// Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`; `LF_ERR_UNSAFE`: a user could delete tokens in the
/// sub-folder who could not delete others' files in the folder (as far as mode bits tell); `LF_ERR_IO`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_fence(folder: *mut lf_folder, token: *mut u64) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe {
        call(folder, |folder| {
            out(token, "token")?.write(folder.handle().enter()?.fence()?);
            Ok(())
        })
    }
}

/// After how many milliseconds a bid that is *cut off* counts as stale; 0, the default: never. Cut off means: the file is
/// empty, or it is the beginning of a JSON object that breaks off. It may be a Python peer's between its open and its write,
/// so give it seconds. On a local filesystem, one that is older than this boot is stale whatever the grace.
///
/// It has no effect on a file that has the name of a bid and is none (other JSON, no PID in it, larger than 4 KiB, not a regular
/// file): that counts as live for ever, and the library never deletes it. `lf_error_message` names it.
///
/// Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_set_malformed_grace(folder: *mut lf_folder, ms: u32) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.set_malformed_grace(Duration::from_millis(ms.into()))) }
}
