//! A wait on a handle from its beginning to its end, and how another thread, or a signal handler, cancels it. What happens in
//! between is `wait.rs`.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use crate::api::handle::Handle;
use crate::api::wait::wait_in_line;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Leaving, Line};
use crate::sync::atomic::{AtomicU8, Ordering};
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
            // A wait begins only after its bell is hung.
            if let Some(bell) = self.bell.get() {
                bell.ring();
            }
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CANCELLED
    }

    /// From here on `cancel` finds a wait. The bell is what it rings.
    fn begin(&self) -> io::Result<&Bell> {
        let bell = match self.bell.get() {
            Some(bell) => bell,
            None => {
                let bell = Bell::new()?;
                self.bell.get_or_init(|| bell)
            }
        };
        self.state.store(WAITING, Ordering::SeqCst);
        Ok(bell)
    }

    /// From here on `cancel` finds no wait, so a later one is safe from it. True: this one was cancelled.
    fn end(&self) -> bool {
        self.state.swap(IDLE, Ordering::SeqCst) == CANCELLED
    }
}

/// Waits until the lock is had, the time is over, or somebody cancels. The caller has the turn.
pub(crate) fn wait(handle: &Handle, timeout: Option<Duration>) -> Result<()> {
    if timeout == Some(Duration::ZERO) {
        return handle.claimant().lock_unless_owed().map_err(|e| match e.kind() {
            ErrorKind::Busy => e.into_kind(ErrorKind::Timeout),
            _ => e,
        });
    }
    let bell = handle.waiter.begin();
    let bell = bell.map_err(|e| Error::io("prepare to wait for", &*handle.path, e))?;
    let waited = wait_in_line(handle, bell, timeout);
    handle.check_owner()?; // else all that follows is the parent's
    let cancelled = handle.waiter.end();
    if waited.is_ok() && !cancelled {
        return Ok(());
    }
    let mut claimant = handle.claimant();
    match waited {
        // Whoever cancelled was told that it is cancelled.
        Ok(()) => {
            let error = Error::fixed(ErrorKind::Cancelled, "just when it got the lock, which was given back");
            Err(claimant.give_back(error))
        }
        Err(e) => {
            claimant.place.leave(Leaving::GivesUp);
            let out_of_time = e.kind() == ErrorKind::Timeout;
            Err(if cancelled && out_of_time { e.into_kind(ErrorKind::Cancelled) } else { e })
        }
    }
}
