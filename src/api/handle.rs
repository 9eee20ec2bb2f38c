//! What a [`LockFolder`](crate::LockFolder) shares with its [`Guard`](crate::Guard): the rules of threads and of fork, and the
//! lock itself. Here a lock has no guard. Only the C interface uses it so; other crates can't see this type.

use std::path::Path;
use std::sync::{Arc, PoisonError, TryLockError};

use crate::api::options::OpenOptions;
use crate::api::waiter::Waiter;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::Folder;
use crate::owner::bid::BidName;
use crate::owner::opener::Opener;
use crate::protocol::Session;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub(crate) struct Handle {
    pub path: Arc<Path>,
    opener: Opener,
    claimant: Arc<Mutex<Session<Folder>>>,
    /// A lock call is under way.
    locking: AtomicBool,
    pub waiter: Waiter,
}

impl Handle {
    pub fn open(path: &Path, options: OpenOptions) -> Result<Handle> {
        let claimant = Folder::open(path, options.of_folder)?;
        Ok(Handle {
            path: Arc::clone(claimant.path()),
            opener: Opener::this_process(),
            claimant: Arc::new(Mutex::new(Session::new(claimant))),
            locking: AtomicBool::new(false),
            waiter: Waiter::default(),
        })
    }

    /// Async-signal-safe.
    pub fn cancel(&self) -> Result<()> {
        self.check_owner()?;
        self.waiter.cancel();
        Ok(())
    }

    /// The claimant, for a call that does not wait.
    pub fn enter(&self) -> Result<MutexGuard<'_, Session<Folder>>> {
        self.check_owner()?;
        Ok(self.claimant())
    }

    /// The same, if the claimant holds the lock by this bid.
    pub fn holding(&self, bid: &BidName) -> Result<MutexGuard<'_, Session<Folder>>> {
        let claimant = self.enter()?;
        match claimant.held() == Some(*bid) {
            true => Ok(claimant),
            false => Err(self.misused(ErrorKind::NotHeld, "does not hold the lock")),
        }
    }

    /// Whether this process is the one that opened the handle.
    pub fn check_owner(&self) -> Result<()> {
        self.opener.check(&self.path)
    }

    /// Never held for long: a wait lets go of it while it sleeps.
    pub fn claimant(&self) -> MutexGuard<'_, Session<Folder>> {
        self.claimant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to lock this handle, which one thread at a time has.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        self.check_owner()?;
        if self.locking.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            let what = "is being locked by another thread; threads that should exclude each other open a handle each";
            return Err(self.misused(ErrorKind::Busy, what));
        }
        let turn = Turn(&self.locking);
        if self.claimant().held().is_some() {
            return Err(self.misused(ErrorKind::AlreadyHeld, "holds the lock already"));
        }
        Ok(turn)
    }

    fn misused(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::misuse(kind, &self.path, what)
    }
}

pub(super) struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Handle {
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
