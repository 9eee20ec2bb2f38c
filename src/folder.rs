//! The handle that everybody uses: [`LockFolder`], which any thread may call, and its [`Guard`].

use std::path::Path;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use crate::bids::BidInfo;
use crate::claimant::Claimant;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::sys::{process_mark, ProcessMark};
use crate::waiter::{self, Waiter};

/// How to open a lock folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Don't make the folder if it is missing.
    pub no_create: bool,
    /// Refuse a folder that the effective user doesn't own, or that group or others can write.
    pub private: bool,
    /// Believe that this filesystem shows every bid in a listing that was opened after the bid was posted, although nobody
    /// has shown that it does: all claimants use this one mount, or its caches are off.
    pub trust_filesystem: bool,
}

/// One claimant on one lock folder.
///
/// Any thread may call any method at any time. Two handles exclude each other, in one process too: threads that should
/// exclude each other open a handle each. In a forked child every method fails with [`ErrorKind::Forked`], and dropping the
/// handle leaves the folder alone.
pub struct LockFolder {
    path: Arc<Path>,
    owner: ProcessMark,
    claimant: Arc<Mutex<Claimant>>,
    /// A lock call is under way.
    locking: AtomicBool,
    pub(crate) waiter: Waiter,
}

impl LockFolder {
    /// Opens a lock folder, and makes it if it is missing (one level). A relative path is resolved here and now.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<LockFolder> {
        let claimant = Claimant::open(path.as_ref(), options)?;
        Ok(LockFolder {
            path: Arc::clone(claimant.path()),
            owner: process_mark(),
            claimant: Arc::new(Mutex::new(claimant)),
            locking: AtomicBool::new(false),
            waiter: Waiter::default(),
        })
    }

    /// Takes the lock if it is free: one round of check-bid-check, which never waits for another's critical section.
    /// [`ErrorKind::Busy`] if it is not. It may overtake those who wait, but not for more than about 100 ms: then it leaves the
    /// lock, for a few milliseconds at most, to the first of them.
    pub fn try_lock(&self) -> Result<Guard<'_>> {
        self.lock().map(|()| Guard { folder: self })
    }

    /// Waits for the lock, for ever or for some time ([`ErrorKind::Timeout`]).
    pub fn lock_wait(&self, timeout: Option<Duration>) -> Result<Guard<'_>> {
        self.wait(timeout).map(|()| Guard { folder: self })
    }

    /// Makes a wait in progress on this handle fail with [`ErrorKind::Cancelled`]; without one, does nothing.
    /// Async-signal-safe.
    pub fn cancel(&self) -> Result<()> {
        self.check_owner()?;
        self.waiter.cancel();
        Ok(())
    }

    /// [`LockFolder::try_lock`] without a guard: [`LockFolder::unlock`] ends it.
    pub fn lock(&self) -> Result<()> {
        let _turn = self.turn()?;
        self.claimant().lock_unless_owed()
    }

    /// [`LockFolder::lock_wait`] without a guard: [`LockFolder::unlock`] ends it.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        let _turn = self.turn()?;
        waiter::wait(self, timeout)
    }

    /// Deletes the bid. After an error other than [`ErrorKind::Lost`] the lock is still held, so it can be tried again.
    pub fn unlock(&self) -> Result<()> {
        self.enter()?.unlock()
    }

    /// Succeeds if the lock is held and the bid is still in the folder.
    pub fn holds(&self) -> Result<()> {
        self.enter()?.holds()
    }

    /// Whether any other claimant's bid is there that is not stale.
    pub fn in_use(&self) -> Result<bool> {
        self.enter()?.in_use()
    }

    /// Deletes every bid whose owner is provably gone, and says how many; deletes their other leftovers too.
    pub fn reap_stale(&self) -> Result<usize> {
        self.enter()?.reap_stale()
    }

    /// Every bid in the folder, with the state of each, by name. Our own is among them while we hold.
    pub fn bids(&self) -> Result<Vec<BidInfo>> {
        self.enter()?.bids()
    }

    /// A fencing token, larger than every token given before in this folder, also across crashes and power loss.
    /// Only while held.
    pub fn fence(&self) -> Result<u64> {
        self.enter()?.fence()
    }

    /// After how many milliseconds a bid that is *cut off* (empty, or the beginning of a JSON object that breaks off) counts as
    /// stale; 0 (the default): never. It has no effect on what is no bid at all: that counts as live for ever.
    pub fn set_malformed_grace(&self, grace_ms: u32) -> Result<()> {
        self.enter()?.malformed_grace_ms = grace_ms;
        Ok(())
    }

    /// Whether this process is the one that opened the handle.
    pub(crate) fn check_owner(&self) -> Result<()> {
        if process_mark() == self.owner {
            return Ok(());
        }
        Err(self.misused(ErrorKind::Forked, "belongs to the parent process: open one after the fork"))
    }

    fn enter(&self) -> Result<MutexGuard<'_, Claimant>> {
        self.check_owner()?;
        Ok(self.claimant())
    }

    /// Never held for long: a wait lets go of it while it sleeps.
    pub(crate) fn claimant(&self) -> MutexGuard<'_, Claimant> {
        self.claimant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to lock this handle, which one thread at a time has.
    fn turn(&self) -> Result<Turn<'_>> {
        self.check_owner()?;
        if self.locking.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            let what = "is being locked by another thread; threads that should exclude each other open a handle each";
            return Err(self.misused(ErrorKind::Busy, what));
        }
        let turn = Turn(&self.locking);
        if self.claimant().is_held() {
            return Err(self.misused(ErrorKind::AlreadyHeld, "holds the lock already"));
        }
        Ok(turn)
    }

    fn misused(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::misuse(kind, &self.path, what)
    }
}

struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for LockFolder {
    fn drop(&mut self) {
        if self.check_owner().is_ok() {
            return;
        }
        match self.claimant.try_lock() {
            Ok(mut claimant) => claimant.abandon(),
            Err(TryLockError::Poisoned(claimant)) => claimant.into_inner().abandon(),
            // A thread that was not forked is in the middle of something, for ever: what it changes can't be freed.
            Err(TryLockError::WouldBlock) => std::mem::forget(Arc::clone(&self.claimant)),
        }
    }
}

/// The lock, held. Dropping it unlocks; [`Guard::unlock`] does so too, and says whether it went well.
#[must_use = "dropping the guard unlocks"]
pub struct Guard<'a> {
    folder: &'a LockFolder,
}

impl Guard<'_> {
    /// Unlocks, and says whether the lock was still there.
    pub fn unlock(self) -> Result<()> {
        let folder = self.folder;
        std::mem::forget(self);
        folder.unlock()
    }

    /// The folder that is locked.
    pub fn folder(&self) -> &LockFolder {
        self.folder
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = self.folder.unlock();
    }
}
