//! A wait that sleeps: it takes the steps of [`Wait`], and between them it sleeps until the system tells something. `waiter.rs` has what
//! goes before and after.

use std::time::{Duration, Instant};

use crate::api::handle::Handle;
use crate::error::{ErrorKind, Result};
use crate::folder::Folder;
use crate::protocol::{Line, Step, Wait};
use crate::sys::Bell;

/// Waits until the lock is had, the time is over, or somebody cancels.
pub(crate) fn wait_in_line(handle: &Handle, bell: &Bell, timeout: Option<Duration>) -> Result<()> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if handle.claimant().lock_unless_line()? {
        return Ok(());
    }
    let mut wait = Wait::new(&mut handle.claimant().place);
    let mut woken = false;
    loop {
        let step = wait.step(&mut handle.claimant(), Instant::now(), woken)?;
        if step == Step::Acquired {
            return Ok(());
        }
        let now = Instant::now();
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
        if handle.waiter.is_cancelled() {
            return Err(handle.claimant().place.why_not_yet().into_kind(ErrorKind::Cancelled));
        }
        if left.is_zero() {
            return Err(handle.claimant().place.why_not_yet().into_kind(ErrorKind::Timeout));
        }
        woken = false;
        if let Step::SleepUntil(until) = step {
            woken = bell.sleep(Folder::sources(&wait), until.saturating_duration_since(now).min(left));
            handle.check_owner()?; // a signal handler may have forked
        }
    }
}
