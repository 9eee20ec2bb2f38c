//! While we wait for the lock, we heed signals, and say on a terminal who has the lock. One thread does all of it: the wait is one for
//! event loops.

use std::time::{Duration, Instant};

use lockfolder::{Guard, LockFolder, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::signals::Signals;
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

    /// Waits for the lock, at most for the time of the limit. A signal cancels the wait.
    pub(in crate::run) fn wait_for(&mut self, folder: &LockFolder, limit: Option<Duration>) -> Result<Guard> {
        let mut wait = folder.begin_lock(limit)?;
        let mut line = StatusLine::new(folder);
        let waited = loop {
            self.interrupted = self.interrupted.or_else(|| self.ending());
            if self.interrupted.is_some() {
                let _ = folder.cancel(); // the next step says so
            }
            if let Some(over) = wait.step().transpose() {
                break over;
            }
            if self.interrupted.is_some() {
                continue;
            }
            let shown = line.show();
            let left = wait.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
            let pause = Timespec::try_from(shown.min(left).min(Duration::from_secs(3600))).ok();
            let descriptor = wait.descriptor();
            let mut sources = vec![PollFd::new(self, PollFlags::IN)];
            sources.extend(descriptor.as_ref().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)));
            let _ = poll(&mut sources, pause.as_ref());
        };
        line.clear();
        waited
    }
}
