//! How a handle waits for the lock. A wait takes the steps of [`Wait`]. Between them a thread sleeps until the system wakes it
//! ([`Handle::acquire_within`]), or the event loop of the program waits (`pending.rs`).

use std::time::{Duration, Instant};

use crate::api::handle::Handle;
use crate::api::place::AnyPlace;
use crate::api::waiting::Waiting;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Leaving, Line, Step, Wait};
use crate::sys;

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
            if timeout == Some(Duration::ZERO) {
                return self.acquire_at_once();
            }
            let waited = Waiting::begin(self, timeout).and_then(|begun| match begun {
                Some(mut waiting) => waiting.block(self),
                None => Ok(()),
            });
            finish(self, waited)
        })
    }

    /// A wait that does not wait. The caller has the turn.
    pub(super) fn acquire_at_once(&self) -> Result<()> {
        self.claimant().lock_unless_owed().map_err(out_of_time)
    }
}

/// The pause after a failure that may pass by itself.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Ends a wait with this result, or with another one if it was cancelled. The caller has the turn.
pub(super) fn finish(handle: &Handle, waited: Result<()>) -> Result<()> {
    handle.check_owner()?; // in a forked child, the state that is used below belongs to the parent
    let cancelled = handle.waiter.end();
    let waited = ended(handle, cancelled, waited);
    handle.claimant().place.bound(None);
    waited
}

fn ended(handle: &Handle, cancelled: bool, waited: Result<()>) -> Result<()> {
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

impl Waiting {
    /// `None`: it took the lock. After a success or an error, the caller calls [`finish`] when the wait is over.
    pub fn begin(handle: &Handle, timeout: Option<Duration>) -> Result<Option<Waiting>> {
        handle.waiter.begin().map_err(|e| Error::io("prepare to wait for", &*handle.path, e))?;
        let now = sys::now();
        let end = timeout.and_then(|timeout| now.checked_add(timeout));
        handle.claimant().place.bound(end);
        let locked = handle.claimant().lock_unless_line();
        match locked {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(e) if handle.claimant().place.rides_out(&e) => {}
            Err(e) => return Err(e),
        }
        let wait = Wait::new(&mut handle.claimant().place);
        let mut waiting = Waiting { wait, end, until: now, clocks: None };
        Ok(if waiting.go_on(handle, false)? { None } else { Some(waiting) })
    }

    /// Takes steps until it has the lock, or has nothing to do until a wake-up. True: it has the lock.
    pub fn go_on(&mut self, handle: &Handle, mut woken: bool) -> Result<bool> {
        loop {
            let stepped = self.wait.step(&mut handle.claimant(), sys::now(), woken);
            if matches!(stepped, Ok(Step::Acquired)) {
                return Ok(true);
            }
            let now = sys::now();
            let left = self.end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
            let step = match stepped {
                Err(e) if !left.is_zero() && handle.claimant().place.rides_out(&e) => {
                    Step::SleepUntil(now + AFTER_FAILURE)
                }
                stepped => stepped?,
            };
            if handle.waiter.is_cancelled() {
                return Err(handle.claimant().place.why_not_yet().into_kind(ErrorKind::Cancelled));
            }
            if left.is_zero() {
                return handle.claimant().lock_out_of_turn().map(|()| true).map_err(out_of_time);
            }
            if let Step::SleepUntil(until) = step {
                self.until = now + until.saturating_duration_since(now).min(left);
                return Ok(false);
            }
            woken = false;
        }
    }

    /// Until this time, only the death of the holder and a cancel end a sleep.
    pub fn quiet_until(&self) -> Option<Instant> {
        self.wait.quiet_until().map(|quiet| quiet.min(self.until))
    }

    /// Blocks this thread until it has the lock, the time is over, or the wait is cancelled.
    fn block(&mut self, handle: &Handle) -> Result<()> {
        loop {
            let woken = self.sleep(handle)?;
            if self.go_on(handle, woken)? {
                return Ok(());
            }
        }
    }

    /// True: there is news of the lock. Other changes in the folder do not count.
    fn sleep(&self, handle: &Handle) -> Result<bool> {
        let bell = handle.waiter.bell().expect("it was made when the wait began");
        if let Some(quiet_until) = self.quiet_until() {
            let quiet = quiet_until.saturating_duration_since(sys::now());
            let _ = bell.sleep(&AnyPlace::sources_but_news(self.wait.waits_for()), quiet);
            handle.check_owner()?; // a signal handler may have forked
            if handle.waiter.is_cancelled() || sys::now() < quiet_until {
                return Ok(false);
            }
        }
        loop {
            let woken =
                bell.sleep(&AnyPlace::sources(self.wait.waits_for()), self.until.saturating_duration_since(sys::now()));
            handle.check_owner()?; // a signal handler may have forked
            if !woken || !AnyPlace::is_others_change(self.wait.waits_for()) {
                return Ok(woken);
            }
            // The sleep has silenced the bell, so the bell would not end the next sleep.
            if handle.waiter.is_cancelled() || sys::now() >= self.until {
                return Ok(false);
            }
        }
    }
}
