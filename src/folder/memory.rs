//! What a handle remembers of its rivals.

use std::ffi::CString;
use std::sync::Arc;

use crate::folder::lease::watch::Watch;
use crate::owner::bid;
use crate::owner::rival::{Entry, Rival};

/// What a handle remembers from one check to the next.
#[derive(Default)]
pub(crate) struct Memory {
    /// The names in the folder that the last listing showed.
    pub entries: Vec<Entry>,
    /// The numbers of the bids that were reaped, and whose claims are still to be swept.
    pub reaped: Vec<u64>,
    /// The last live rival that kept us out. While its bid is there and its liveness probe answers, we need not judge it
    /// again.
    pub last: Option<Arc<Rival>>,
    /// The same for the live rivals that were counted before it, and did not keep us out. If there are many, only the first ones.
    pub company: Vec<Arc<Rival>>,
    /// The same for the look before.
    pub known: Vec<Arc<Rival>>,
    /// Rivals that are forgotten, and whose descriptors are still to be closed.
    pub past: Vec<Arc<Rival>>,
    /// Our last bid met a rival that the glance before it had not shown. Posting and withdrawing a bid are events that
    /// wake waiters, including ourselves. To avoid an endless loop, the next glance lists the whole folder.
    pub was_surprised: bool,
    /// The leases of the rivals.
    pub leases: Watch,
    /// The newest bid of the last look of a waiter, and that of its look before. (Names sort by the time of posting.)
    newest: [Option<CString>; 2],
}

/// A waiter watches no more rivals than this beside the one that keeps it out. (Windows waits for 64 handles at most.)
pub(crate) const MOST_WATCHED: usize = 32;
/// Where nobody watches them, we remember so many. This saves the next look a judgement. Each of them holds descriptors.
pub(crate) const FEW: usize = 4;

impl Memory {
    /// Notes which bids the look showed that has just been made.
    pub fn note_newest(&mut self) {
        let posted = self.entries.iter().filter(|(name, _)| bid::posted_at(name).is_some());
        let newest = posted.map(|(name, _)| name).max().cloned();
        self.newest = [newest, self.newest[0].take()];
    }

    /// Whether this bid was posted after the look before the last one that was noted.
    pub fn has_come_since(&self, rival: &Rival) -> bool {
        bid::posted_at(&rival.name).is_some() && self.newest[1].as_ref().is_none_or(|newest| rival.name > *newest)
    }

    /// The memory of a rival holds descriptors. To close them takes time, so that waits until [`Self::close`], or until others are
    /// forgotten: a waiter may look for days.
    pub fn forget_rivals(&mut self) {
        if self.last.is_some() || !self.company.is_empty() {
            self.past.clear();
            self.past.extend(self.last.take());
            self.past.append(&mut self.company);
        }
    }

    /// Closes what was kept of rivals that are forgotten.
    pub fn close(&mut self) {
        self.past.clear();
    }

    /// We hold the lock, and wait for no rival.
    pub fn forget_most_rivals(&mut self) {
        self.company.truncate(FEW);
    }
}
