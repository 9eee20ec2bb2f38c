//! Says whether a thread waits on a handle, and lets another thread, or a signal handler, end that wait. The wait itself is
//! in `wait.rs`.

use std::io;
use std::sync::OnceLock;

use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sys::Waker;

/// Whether a thread waits on this handle, and its waker.
#[derive(Default)]
pub(crate) struct Waiter {
    state: AtomicU8,
    waker: OnceLock<Waker>,
}

const IDLE: u8 = 0;
const WAITING: u8 = 1;
const CANCELLED: u8 = 2;

impl Waiter {
    /// Cancels the wait in progress, if there is one. A later wait is not affected. Async-signal-safe.
    pub fn cancel(&self) {
        let was = self.state.compare_exchange(WAITING, CANCELLED, Ordering::SeqCst, Ordering::SeqCst);
        if was.is_ok() {
            // A wait begins only after its waker is set.
            if let Some(waker) = self.waker.get() {
                waker.ring();
            }
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CANCELLED
    }

    /// The waker. It is made when it is needed first.
    pub fn bell(&self) -> io::Result<&Waker> {
        match self.waker.get() {
            Some(waker) => Ok(waker),
            None => {
                let waker = Waker::new()?;
                Ok(self.waker.get_or_init(|| waker))
            }
        }
    }

    /// From now on `cancel` finds a wait, and rings the bell.
    pub fn begin(&self) -> io::Result<()> {
        self.bell()?;
        self.state.store(WAITING, Ordering::SeqCst);
        Ok(())
    }

    /// Whether a wait has begun and not ended.
    #[cfg(loom)]
    pub fn is_in_progress(&self) -> bool {
        self.state.load(Ordering::SeqCst) != IDLE
    }

    /// From now on `cancel` finds no wait, so a late cancel does not end a later wait. True: this wait was cancelled.
    pub fn end(&self) -> bool {
        let is_cancelled = self.state.swap(IDLE, Ordering::SeqCst) == CANCELLED;
        if is_cancelled {
            self.silence(); // the bell would otherwise ring until the next wait
        }
        is_cancelled
    }

    pub fn silence(&self) {
        self.waker.get().into_iter().for_each(Waker::silence);
    }
}
