//! While a thread waits for the lock, this thread heeds signals, and says on a terminal who has the lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lockfolder::{Guard, LockFolder, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::signals::{note, Mask, Record, Signals};
use crate::run::status_line::StatusLine;
use crate::run::Obtained;
use crate::Ending;

impl Signals {
    /// The outcome, unless a signal has come meanwhile.
    pub(in crate::run) fn unless_interrupted(&mut self, outcome: Obtained) -> Obtained {
        match self.interrupted.take().or_else(|| self.ending()) {
            Some(signal) => Obtained::Interrupted(Ending::Signal(signal)),
            None => outcome,
        }
    }

    /// Waits by this call for the lock. A signal cancels the wait.
    pub(in crate::run) fn while_waiting(
        &mut self,
        folder: &LockFolder,
        wait: impl FnOnce() -> Result<Guard> + Send,
    ) -> Result<Guard> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let before = Mask::block_all(); // the new thread inherits this: signals come to this thread
            let waiter = scope.spawn(|| {
                let waited = wait();
                is_over.store(true, Ordering::SeqCst);
                note(Record { receiver: 0, signal: 0, sender: 0, value: 0 });
                waited
            });
            before.set();
            let mut line = StatusLine::new(folder);
            while !is_over.load(Ordering::SeqCst) {
                if self.interrupted.is_none() {
                    self.interrupted = self.ending();
                }
                let pause = match self.interrupted {
                    // The wait may not have begun, and then there is nothing to cancel yet.
                    Some(_) => folder.cancel().map_or(Duration::MAX, |()| Duration::from_millis(5)),
                    None => line.show(),
                };
                let pause = Timespec::try_from(pause.min(Duration::from_secs(3600))).ok();
                let _ = poll(&mut [PollFd::new(self, PollFlags::IN)], pause.as_ref());
            }
            line.clear();
            waiter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
