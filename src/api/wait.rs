//! How a handle takes the lock. A wait takes the steps of [`Wait`]. Between them it sleeps until the system wakes it.

use std::time::{Duration, Instant};

use crate::api::handle::Handle;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::Folder;
use crate::protocol::{Leaving, Line, Step, Wait};
use crate::sys::{self, Waker};

impl Handle {
    /// Takes the lock if it is free.
    pub fn acquire(&self) -> Result<()> {
        self.in_opener(|| {
            let _turn = self.turn()?;
            self.claimant().lock_unless_owed()
        })
    }

    /// Waits for the lock, for ever or for some time.
    pub fn acquire_within(&self, timeout: Option<Duration>) -> Result<()> {
        self.in_opener(|| {
            let _turn = self.turn()?;
            wait(self, timeout)
        })
    }
}

/// Waits until it has the lock, the time is over, or the wait is cancelled. The caller has the turn.
fn wait(handle: &Handle, timeout: Option<Duration>) -> Result<()> {
    if timeout == Some(Duration::ZERO) {
        return handle.claimant().lock_unless_owed().map_err(out_of_time);
    }
    let waker = handle.waiter.begin();
    let waker = waker.map_err(|e| Error::io("prepare to wait for", &*handle.path, e))?;
    let waited = wait_in_line(handle, waker, timeout);
    handle.check_owner()?; // in a forked child, the state that is used below belongs to the parent
    let cancelled = handle.waiter.end();
    if waited.is_ok() && !cancelled {
        return Ok(());
    }
    let mut claimant = handle.claimant();
    match waited {
        // The caller of `cancel` was told that this wait is cancelled.
        Ok(()) => {
            let error = Error::fixed(ErrorKind::Cancelled, "it had just taken the lock, and gave it back");
            Err(claimant.give_back(error))
        }
        Err(e) => {
            claimant.place.leave(Leaving::GivesUp);
            let is_out_of_time = e.kind() == ErrorKind::Timeout;
            Err(if cancelled && is_out_of_time { e.into_kind(ErrorKind::Cancelled) } else { e })
        }
    }
}

fn out_of_time(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Busy => error.into_kind(ErrorKind::Timeout),
        _ => error,
    }
}

/// Waits until it has the lock, the time is over, or the wait is cancelled.
fn wait_in_line(handle: &Handle, waker: &Waker, timeout: Option<Duration>) -> Result<()> {
    let end = timeout.and_then(|timeout| sys::now().checked_add(timeout));
    if handle.claimant().lock_unless_line()? {
        return Ok(());
    }
    let mut wait = Wait::new(&mut handle.claimant().place);
    let mut woken = false;
    loop {
        let step = wait.step(&mut handle.claimant(), sys::now(), woken)?;
        if step == Step::Acquired {
            return Ok(());
        }
        let now = sys::now();
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
        if handle.waiter.is_cancelled() {
            return Err(handle.claimant().place.why_not_yet().into_kind(ErrorKind::Cancelled));
        }
        if left.is_zero() {
            return handle.claimant().lock_out_of_turn().map_err(out_of_time);
        }
        woken = match step {
            Step::SleepUntil(until) => {
                sleep(handle, waker, &wait, now + until.saturating_duration_since(now).min(left))?
            }
            _ => false,
        };
    }
}

/// True: there is news of the lock. Other changes in the folder do not count.
fn sleep(handle: &Handle, waker: &Waker, wait: &Wait<Folder>, until: Instant) -> Result<bool> {
    if let Some(quiet_until) = wait.quiet_until().map(|quiet| quiet.min(until)) {
        let _ = waker.sleep(Folder::sources_but_news(wait), quiet_until.saturating_duration_since(sys::now()));
        handle.check_owner()?; // a signal handler may have forked
        if handle.waiter.is_cancelled() || sys::now() < quiet_until {
            return Ok(false);
        }
    }
    loop {
        let woken = waker.sleep(Folder::sources(wait), until.saturating_duration_since(sys::now()));
        handle.check_owner()?; // a signal handler may have forked
        if !woken || !Folder::is_others_change(wait) {
            return Ok(woken);
        }
        // The sleep has silenced the bell, so the bell would not end the next sleep.
        if handle.waiter.is_cancelled() || sys::now() >= until {
            return Ok(false);
        }
    }
}
