use std::time::Duration;

use super::convert::{call, call_from_signal_handler, lf_folder, out};
use super::status::lf_status;
use crate::Slots;

/// For `lf_set_slots`: any number of claimants may hold the lock together, as readers do.
pub const LF_SLOTS_ANY: u32 = 0;

/// Takes the lock if it is free.
///
/// It makes one round of check-bid-check, and deletes stale bids on its way. It never waits until another claimant
/// unlocks (if two bid at the same moment, it takes a few milliseconds at most to decide). For about 100 ms it may go
/// ahead of callers that wait in `lf_lock_wait`. Then it gives the first waiter a few milliseconds to take the lock,
/// and returns `LF_BUSY` if that waiter takes it.
///
/// A failed attempt leaves no bid of its own. If the bid can't be deleted, the message names it.
/// `LF_ERR_ALREADY_HELD` changes nothing: a lock that is held stays held.
///
/// Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_BUSY`: `lf_error_message` says who has it;
/// `LF_ERR_ALREADY_HELD`: this handle holds the lock; also after the bid was lost, until `lf_unlock` has reported it;
/// `LF_ERR_IO`; `LF_ERR_UNSAFE`: `LF_OPEN_PRIVATE` is set, and the folder, or what the library keeps in it, is not
/// private now; `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and `lf_open` would refuse the new one, or
/// a listing does not show our own bid, or /proc can't be read; `LF_ERR_INVALID`: also where another number of slots is
/// in use (see `lf_set_slots`); `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_lock(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().acquire()) }
}

/// Waits for the lock, for a limited time or for ever.
///
/// `timeout_ms` is in milliseconds, on the monotonic clock. A value below 0 means for ever. With 0 it acts like
/// `lf_lock`, but returns `LF_TIMEOUT` instead of `LF_BUSY`. Callers that wait are served first come, first served.
/// Signals do not end the wait.
///
/// A failed attempt leaves no bid of its own. If the bid can't be deleted, the message names it.
/// `LF_ERR_ALREADY_HELD` changes nothing: a lock that is held stays held.
///
/// Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_TIMEOUT`: `lf_error_message` says who had
/// it; `LF_CANCELLED`: see `lf_cancel`; `LF_BUSY`: another thread's lock call on this handle is in progress;
/// `LF_ERR_ALREADY_HELD`: this handle holds the lock; also after the bid was lost, until `lf_unlock` has reported it;
/// `LF_ERR_IO`; `LF_ERR_UNSAFE`: `LF_OPEN_PRIVATE` is set, and the folder, or what the library keeps in it, is not
/// private now; `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and `lf_open` would refuse the new one, or
/// a listing does not show our own bid, or /proc can't be read; `LF_ERR_INVALID`: also where another number of slots is
/// in use (see `lf_set_slots`); `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_lock_wait(folder: *mut lf_folder, timeout_ms: i64) -> lf_status {
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().acquire_within(timeout)) }
}

/// Makes a wait in progress on this handle return `LF_CANCELLED`.
///
/// A wait that this call found in progress never returns `LF_OK` or `LF_TIMEOUT`: if it has just taken the lock, it
/// gives the lock back. It can still return an error. Without a wait in progress the call does nothing, and a later
/// wait is not affected. It returns `LF_OK` in both cases.
///
/// To end a wait for certain, also one that is about to begin: set your own flag, which the waiting thread checks
/// before it waits. Then call `lf_cancel` repeatedly until that thread has finished. A signal handler can't loop: let
/// it set the flag, call `lf_cancel`, and start a timer (alarm(2)) whose handler does the same. The man page
/// lf_cancel(3) has an example.
///
/// Other threads and signal handlers may call it: it is async-signal-safe and leaves `errno` alone. It does not
/// change what `lf_error_message` says.
///
/// Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`.
#[no_mangle]
pub unsafe extern "C" fn lf_cancel(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call_from_signal_handler(folder, |folder| folder.cancel()) }
}

/// Gives the lock back: deletes the bid.
///
/// It goes by the name of the bid. It does not notice if the folder, or the file of the bid, was replaced while the
/// lock was held. If that can happen, call `lf_holds` first.
///
/// Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: somebody deleted the bid, or its lease is over (see
/// `lf_set_lease`). Others may have held the lock meanwhile, and this handle no longer holds it; `LF_ERR_IO`: the bid
/// could not be deleted, this handle still holds the lock, and you can try again (with a lease, the lock counts as lost
/// from then on); `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_unlock(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.handle().call(|claimant| claimant.unlock())) }
}

/// Checks that this handle holds the lock.
///
/// Returns `LF_OK`: it does, and the bid is still in the folder; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: it did, but the
/// bid, or the folder itself, is gone or was replaced, or its lease is over (call `lf_unlock` to clear this state);
/// `LF_ERR_IO`;
/// `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_holds(folder: *mut lf_folder) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.holds()) }
}

/// Tells whether another claimant has a bid that is not stale.
///
/// It changes nothing in the folder. `*in_use` is set on `LF_OK` only.
///
/// Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and
/// `lf_open` would refuse the new one; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
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

/// Deletes every bid whose owner is provably gone.
///
/// It also deletes other files that these owners left in the sub-folder `.lockfolder`. `*reaped`, set on `LF_OK`
/// only, is the number of bids that it deleted; `reaped` may be NULL. `lf_lock` deletes stale bids too, so this is
/// only for tidiness.
///
/// Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and
/// `lf_open` would refuse the new one; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
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

/// Gives a fencing token: a number that is larger than every earlier one of this folder.
///
/// Each call gives a new, larger number, also after crashes and power loss (it is on the disk, by fsync, before the
/// call returns). Hand it to the resource, which refuses any number smaller than the largest that it has seen. `*token`
/// is 1 or more, and is set on `LF_OK` only. If the folder is deleted, the numbers begin again.
///
/// Where several hold the lock together (`lf_set_slots`), no two get the same number, and each number is larger than
/// those of all that had left before its owner came. The holders of one moment have smaller and larger numbers, so there
/// a smaller number does not show that its owner has lost the lock. On etcd all calls during one lock give one number.
///
/// In a sticky folder only root and the owner of the folder get tokens. Any other user could delete its own token there,
/// and a later token could be smaller. For users who trust each other, use a folder that is not sticky.
///
/// Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`; `LF_ERR_UNSAFE`: a user who can't delete others' files in the
/// folder could delete tokens, because the sub-folder's permissions are weaker than the folder's (by owner, mode and
/// access control list; the members of a group are not looked up), or because the folder is sticky and this user is
/// neither root nor its owner; `LF_ERR_IO`;
/// `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_fence(folder: *mut lf_folder, token: *mut u64) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe {
        call(folder, |folder| {
            out(token, "token")?.write(folder.handle().call(|claimant| claimant.fence())?);
            Ok(())
        })
    }
}

/// Sets how many may hold the lock together with this handle.
///
/// `n` is 1, the default: nobody else, as a writer needs it; more than 1: so many, this one included, as in a semaphore;
/// `LF_SLOTS_ANY`: any number, as readers need it. It holds from the next lock on. A handle of 1 holds the lock alone,
/// whatever the others name, and so does a peer of the Python package. Callers that wait in `lf_lock_wait` are served
/// first come, first served, and those next to each other in line that may hold the lock together get it together. So no
/// stream of readers keeps a writer out. Where there is no line, as on NFS, there is no order, and such a stream can.
///
/// All handles that share a folder name the same number. If another number (other than 1) is in use there, `lf_lock` and
/// `lf_lock_wait` return `LF_ERR_INVALID`, and `lf_error_message` has both numbers.
///
/// Returns `LF_OK`; `LF_BUSY`: a lock call on this handle is in progress, or a wait that `lf_wait_begin` began;
/// `LF_ERR_ALREADY_HELD`: not while the lock is held; `LF_ERR_UNSUPPORTED`: the lock is on etcd, and `n` is not 1;
/// `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_set_slots(folder: *mut lf_folder, n: u32) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.set_slots(Slots::of_number(n))) }
}

/// Sets after how long a cut-off bid counts as stale.
///
/// A bid is cut off if its file is empty, has NUL bytes alone, or is the beginning of a JSON object that breaks off. A
/// Python peer may be between its open and its write, so give it seconds. `ms` is in milliseconds. 0, the default,
/// means never. On a local filesystem, a cut-off bid that is older than this boot is stale whatever the grace.
/// A server of files tells the time of a bid by its own clock, so there the grace must also be longer than the clocks
/// differ.
///
/// The grace has no effect on a file that is named like a bid but is not one (other JSON, no PID in it, larger than 4
/// KiB, not a regular file). That counts as live for ever, and the library never deletes it. `lf_error_message` names
/// it.
///
/// Returns `LF_OK`; `LF_ERR_UNSUPPORTED`: the lock is on etcd, and `ms` is not 0; `LF_ERR_INVALID`; `LF_ERR_FORKED`;
/// `LF_ERR_INTERNAL`.
#[no_mangle]
pub unsafe extern "C" fn lf_set_malformed_grace(folder: *mut lf_folder, ms: u32) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe { call(folder, |folder| folder.set_malformed_grace(Duration::from_millis(ms.into()))) }
}
