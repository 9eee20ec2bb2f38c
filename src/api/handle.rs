//! The part that a [`LockFolder`](crate::LockFolder) shares with its [`Guard`](crate::Guard): the lock itself, and the
//! rules of threads and of fork. Here a lock has no guard. Only the C interface uses it without one; other crates can't see
//! this type.

use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, TryLockError};

use crate::api::options::OpenOptions;
use crate::api::place::{self, AnyPlace};
use crate::api::waiter::Waiter;
use crate::api::waiting::Waiting;
use crate::error::{Error, ErrorKind, Result};
use crate::owner::opener::Opener;
use crate::protocol::{Place, Session};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::sys::WaitSet;

pub(crate) struct Handle {
    pub path: Arc<Path>,
    opener: Opener,
    claimant: Arc<Mutex<Session<AnyPlace>>>,
    /// A lock call is in progress.
    locking: AtomicBool,
    pub waiter: Waiter,
    /// The wait of an event loop. Nobody keeps this for longer than a step.
    pub(super) ongoing: Arc<Mutex<Option<Waiting>>>,
    pub(super) wait_set: OnceLock<Option<WaitSet>>,
}

impl Handle {
    pub fn open(path: &Path, options: OpenOptions) -> Result<Handle> {
        let claimant = place::open(path, options)?;
        Ok(Handle {
            path: Arc::clone(claimant.path()),
            opener: Opener::this_process(),
            claimant: Arc::new(Mutex::new(Session::new(claimant))),
            locking: AtomicBool::new(false),
            waiter: Waiter::default(),
            ongoing: Arc::new(Mutex::new(None)),
            wait_set: OnceLock::new(),
        })
    }

    /// Async-signal-safe.
    pub fn cancel(&self) -> Result<()> {
        self.check_owner()?;
        self.waiter.cancel();
        Ok(())
    }

    /// A call that does not wait.
    pub fn call<T>(&self, call: impl FnOnce(&mut Session<AnyPlace>) -> Result<T>) -> Result<T> {
        self.in_opener(|| call(&mut self.claimant()))
    }

    /// The same, if the claimant holds the lock by this bid.
    pub fn call_holding<T>(
        &self,
        bid: &<AnyPlace as Place>::Bid,
        call: impl FnOnce(&mut Session<AnyPlace>) -> Result<T>,
    ) -> Result<T> {
        self.call(|claimant| match claimant.held() == Some(*bid) {
            true => call(claimant),
            false => Err(self.misused(ErrorKind::NotHeld, "does not hold the lock")),
        })
    }

    /// The result of a call, in the process that opened the handle. A forked child gets an error instead, even if a signal handler forked
    /// in the middle of the call.
    pub(super) fn in_opener<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check_owner()?;
        let result = call();
        self.check_owner()?;
        result
    }

    /// Fails if another process opened the handle. Then this process is a forked child.
    pub fn check_owner(&self) -> Result<()> {
        self.opener.check(&self.path)
    }

    /// No thread keeps this for long, because a wait releases it while it sleeps.
    pub fn claimant(&self) -> MutexGuard<'_, Session<AnyPlace>> {
        self.claimant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to lock this handle. One thread at a time has it.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        if self.locking.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            let what = "is in a lock call of another thread, or in a wait that the program has begun: threads and waits that should \
                        exclude each other open a handle each";
            return Err(self.misused(ErrorKind::Busy, what));
        }
        let turn = Turn(&self.locking);
        if self.claimant().held().is_some() {
            return Err(
                self.misused(ErrorKind::AlreadyHeld, "holds the lock already, or lost it and was not unlocked since")
            );
        }
        Ok(turn)
    }

    /// A call that changes how the next lock is taken. Until it has returned, no lock call is in progress.
    pub fn call_between_locks<T>(&self, call: impl FnOnce(&mut Session<AnyPlace>) -> Result<T>) -> Result<T> {
        self.in_opener(|| {
            let _turn = self.turn()?;
            call(&mut self.claimant())
        })
    }

    /// Ends a turn that was kept.
    pub(super) fn end_turn(&self) {
        self.locking.store(false, Ordering::Release);
    }

    pub(super) fn misused(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::misuse(kind, &self.path, what)
    }
}

pub(super) struct Turn<'a>(&'a AtomicBool);

impl Turn<'_> {
    /// The turn goes on until [`Handle::end_turn`].
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.check_owner().is_ok() {
            let _ = self.end_wait();
            return;
        }
        if matches!(self.ongoing.try_lock(), Err(TryLockError::WouldBlock)) {
            std::mem::forget(Arc::clone(&self.ongoing));
        }
        match self.claimant.try_lock() {
            Ok(mut claimant) => claimant.abandon(),
            Err(TryLockError::Poisoned(claimant)) => claimant.into_inner().abandon(),
            // A thread that fork did not copy was changing the value. In the child that change never ends, so the value can't be freed.
            Err(TryLockError::WouldBlock) => std::mem::forget(Arc::clone(&self.claimant)),
        }
    }
}
