//! Waiting for the lock, and being told to stop.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::folder::LockFolder;
use crate::sys::Bell;

/// Whether a thread waits on this handle, and how to wake it.
#[derive(Default)]
pub(crate) struct Waiter {
    state: AtomicU8,
    bell: OnceLock<Bell>,
}

const IDLE: u8 = 0;
const WAITING: u8 = 1;
const CANCELLED: u8 = 2;

impl Waiter {
    /// Cancels the wait in progress, if there is one; a later one is not affected. Async-signal-safe.
    pub fn cancel(&self) {
        let was = self.state.compare_exchange(WAITING, CANCELLED, Ordering::SeqCst, Ordering::SeqCst);
        if was.is_ok() {
            // No bell yet: whoever hangs it looks at the state before sleeping.
            if let Some(bell) = self.bell.get() {
                bell.ring();
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CANCELLED
    }

    fn bell(&self) -> Result<&Bell> {
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        let bell = Bell::new().map_err(|e| Error::io("make what lf_cancel rings for a wait in", "this process", e))?;
        Ok(self.bell.get_or_init(|| bell))
    }
}

/// Waits until the lock is had, the time is over, or somebody cancels. The caller has the turn.
pub(crate) fn wait(folder: &LockFolder, timeout: Option<Duration>) -> Result<()> {
    let waiter = &folder.waiter;
    waiter.state.store(WAITING, Ordering::SeqCst);
    let waited = wait_by_looking(folder, timeout);
    // From here on `cancel` finds no wait, so a later one is safe from it.
    if waiter.state.swap(IDLE, Ordering::SeqCst) != CANCELLED {
        return waited;
    }
    if waited.is_ok() {
        folder.claimant().unlock()?; // whoever cancelled was told that it is cancelled
    }
    Err(Error::fixed(ErrorKind::Cancelled, "somebody called for it"))
}

/// Looks again and again, with pauses that grow and vary by chance, so that waiters don't march in step.
fn wait_by_looking(folder: &LockFolder, timeout: Option<Duration>) -> Result<()> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut pause = SHORTEST_PAUSE;
    loop {
        let busy = match folder.claimant().lock() {
            Err(e) if e.kind() == ErrorKind::Busy => e,
            done => return done,
        };
        if folder.waiter.is_cancelled() {
            return Err(busy.into_kind(ErrorKind::Cancelled));
        }
        let left = match end {
            None => Duration::MAX,
            Some(end) => end.saturating_duration_since(Instant::now()),
        };
        if left.is_zero() {
            return Err(busy.into_kind(ErrorKind::Timeout));
        }
        let chance = folder.claimant().chance();
        folder.waiter.bell()?.sleep(pause.mul_f64(0.5 + 0.5 * chance).min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Where the kernel can't tell, a waiter looks no more often than this, and no more seldom than that.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
