//! A wait of an event loop: the program polls one descriptor, and takes a step when it is readable. No thread waits.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::api::guard::Guard;
use crate::api::handle::Handle;
use crate::api::lock_folder::LockFolder;
use crate::api::place::AnyPlace;
use crate::api::wait::finish;
use crate::api::waiting::Waiting;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{after_jump, Line};
use crate::sync::MutexGuard;
use crate::sys::{self, Clocks, WaitSet};

impl Handle {
    /// What tells when a step is due. It stays the same for the whole life of the handle. `None`: this system has nothing like it.
    pub fn wait_set(&self) -> Result<Option<&WaitSet>> {
        self.check_owner()?;
        if let Some(set) = self.wait_set.get() {
            return Ok(set.as_ref());
        }
        let made = self.waiter.bell().and_then(WaitSet::new);
        let set = made.map_err(|e| Error::io("prepare to wait for", &*self.path, e))?;
        Ok(self.wait_set.get_or_init(|| set).as_ref())
    }

    /// Begins a wait. True: it has the lock already. After false the turn is taken until the wait is over.
    pub fn begin_wait(&self, timeout: Option<Duration>) -> Result<bool> {
        self.in_opener(|| {
            let turn = self.turn()?;
            if timeout == Some(Duration::ZERO) {
                return self.acquire_at_once().map(|()| true);
            }
            let set = self.wait_set()?;
            match Waiting::begin(self, timeout) {
                Ok(Some(mut waiting)) => {
                    watch(set, &mut waiting);
                    *self.ongoing() = Some(waiting);
                    turn.keep();
                    Ok(false)
                }
                begun => finish(self, begun.map(drop)).map(|()| true),
            }
        })
    }

    /// One step of the wait. True: it has the lock. After true or an error the wait is over.
    pub fn step_wait(&self) -> Result<bool> {
        self.in_opener(|| {
            let mut ongoing = self.ongoing();
            let Some(waiting) = ongoing.as_mut() else {
                self.waiter.silence(); // a cancel may have rung after the end of a wait
                return Err(self.misused(ErrorKind::Invalid, NONE_BEGUN));
            };
            let set = self.wait_set()?;
            self.follow_clock(waiting);
            let is_due = |waiting: &Waiting| sys::now() >= waiting.until || self.waiter.is_cancelled();
            if !is_due(waiting) && !set.is_some_and(WaitSet::is_ready) {
                return Ok(false);
            }
            if let Some(set) = set {
                set.forget(&AnyPlace::sources(waiting.wait.waits_for()));
            }
            let woken = self
                .waiter
                .bell()
                .is_ok_and(|bell| bell.sleep(&AnyPlace::sources(waiting.wait.waits_for()), Duration::ZERO));
            self.check_owner()?; // a signal handler may have forked
            let is_others_change = woken && AnyPlace::is_others_change(waiting.wait.waits_for());
            // The look has silenced the bell, so the bell would not make the next step due.
            let has_lock = match is_others_change && !is_due(waiting) {
                true => Ok(false),
                false => waiting.go_on(self, woken && !is_others_change),
            };
            if matches!(has_lock, Ok(false)) {
                watch(set, waiting);
                return Ok(false);
            }
            *ongoing = None;
            let result = finish(self, has_lock.map(drop));
            self.end_turn();
            result.map(|()| true)
        })
    }

    /// Gives up the wait, if there is one.
    pub fn end_wait(&self) -> Result<()> {
        self.in_opener(|| {
            let mut ongoing = self.ongoing();
            let Some(waiting) = ongoing.take() else { return Ok(()) };
            if let Some(set) = self.wait_set()? {
                set.forget(&AnyPlace::sources(waiting.wait.waits_for()));
            }
            drop(waiting);
            let _ = finish(self, Err(Error::fixed(ErrorKind::Cancelled, "the program gave up the wait")));
            self.end_turn();
            Ok(())
        })
    }

    /// When the next step is due. `None`: there is no wait.
    fn due(&self) -> Option<Instant> {
        self.check_owner().ok()?;
        let mut ongoing = self.ongoing();
        let waiting = ongoing.as_mut()?;
        self.follow_clock(waiting);
        Some(waiting.until)
    }

    /// The program may have entered another time namespace, where the clock shows another time.
    fn follow_clock(&self, waiting: &mut Waiting) {
        let jump = waiting.clocks.map_or(0, |clocks| clocks.jump());
        if jump == 0 {
            return;
        }
        waiting.end = waiting.end.map(|end| after_jump(end, jump));
        waiting.until = after_jump(waiting.until, jump);
        waiting.wait.follow_jump(jump);
        self.claimant().place.bound(waiting.end);
        waiting.clocks = Clocks::now();
    }

    fn ongoing(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.ongoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NONE_BEGUN: &str = "has no wait in progress: begin one, and take no step after its end";

fn watch(set: Option<&WaitSet>, waiting: &mut Waiting) {
    waiting.clocks = Clocks::now();
    let Some(set) = set else { return };
    let now = sys::now();
    match waiting.quiet_until().filter(|quiet| *quiet > now) {
        Some(quiet_until) => set.watch(&AnyPlace::sources_but_news(waiting.wait.waits_for()), quiet_until - now),
        None => set.watch(&AnyPlace::sources(waiting.wait.waits_for()), waiting.until.saturating_duration_since(now)),
    }
}

/// A wait for the lock that the program drives: see [`LockFolder::begin_lock`]. Dropping it gives up the wait.
#[must_use = "dropping it gives up the wait"]
pub struct PendingLock {
    folder: LockFolder,
    /// The lock was free. The first step gives this.
    at_once: Option<Guard>,
    is_over: bool,
}

impl LockFolder {
    /// Begins a wait for the lock, for programs that have an event loop. It is [`LockFolder::lock`], or
    /// [`LockFolder::lock_timeout`], without a thread that waits.
    ///
    /// Neither this call nor a step takes longer than one round of check-bid-check. Until the wait is over, other lock calls on this
    /// handle fail with [`ErrorKind::Busy`]. [`LockFolder::cancel`] ends it: the next step fails with [`ErrorKind::Cancelled`].
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::lock_timeout`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-begin-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let mut pending = folder.begin_lock(None)?;
    /// let guard = loop {
    ///     if let Some(guard) = pending.step()? {
    ///         break guard;
    ///     }
    ///     // wait here until the descriptor of `pending` is readable, or until `pending.due()`
    ///     # std::thread::sleep(std::time::Duration::from_millis(1));
    /// };
    /// # drop((folder, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn begin_lock(&self, timeout: Option<Duration>) -> Result<PendingLock> {
        let at_once = self.handle().begin_wait(timeout)?.then(|| self.guard());
        Ok(PendingLock { folder: self.shared(), is_over: at_once.is_some(), at_once })
    }
}

impl PendingLock {
    /// Takes a step. `None`: the wait goes on, and there is nothing to do until the descriptor is readable.
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::lock_timeout`]. After an error the wait is over. A step after the end fails with
    /// [`ErrorKind::Invalid`].
    pub fn step(&mut self) -> Result<Option<Guard>> {
        if let Some(guard) = self.at_once.take() {
            return Ok(Some(guard));
        }
        let stepped = self.folder.handle().step_wait();
        self.is_over = !matches!(stepped, Ok(false));
        Ok(stepped?.then(|| self.folder.guard()))
    }

    /// When the next step is due, if the descriptor does not become readable before. Where there is no descriptor, the program waits
    /// until then. `None`: the wait is over.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.folder.handle().due()
    }

    /// The descriptor that is readable when a step is due, also by time. It is the same for each wait of this handle, and it is
    /// readable only while a wait is in progress. Do not read from it. `None`: this system has nothing like it (only Linux has).
    #[cfg(unix)]
    #[must_use]
    pub fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.folder.handle().wait_set().ok().flatten().map(WaitSet::source)
    }
}

impl Drop for PendingLock {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.folder.handle().end_wait();
        }
    }
}

impl fmt::Debug for PendingLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLock").field("folder", &self.folder).field("is_over", &self.is_over).finish()
    }
}
