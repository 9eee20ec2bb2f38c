//! A lock that does not wait lets those who wait have their turn. In a tight loop it would be back before the first in line has
//! woken up, again and again.
//!
//! To look for a line costs a system call, so it is done once in a while: between two looks a loop overtakes. Once somebody was seen
//! to be the first in line, it is owed a turn until it has had one, so several loops soon owe it together. One that does not come
//! although the lock is free (it is stopped, say) holds nobody up for longer than a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::claimant::Claimant;
use crate::error::{Error, Result};
use crate::names::Ticket;
use crate::protocol::{Backoff, Place};
use crate::rival::Rival;

/// Between two looks for a line.
const LOOK: Duration = Duration::from_millis(20);
/// How long the lock is left to the first in line. To wake up and to bid takes far less, unless the machine has too much to do.
const TURN: Duration = Duration::from_millis(5);
/// Until the next look, if the first in line did not come.
const AFTER_NO_SHOW: Duration = Duration::from_millis(100);

/// What a handle remembers of the line from one lock to the next.
#[derive(Default)]
pub(crate) struct Courtesy {
    /// `None`: this handle has not looked yet.
    next_look: Option<Instant>,
    owed: Option<Ticket>,
}

impl Courtesy {
    /// The clock is no system call.
    fn is_due(&self) -> bool {
        self.owed.is_some() || self.next_look.is_none_or(|next| Instant::now() >= next)
    }

    fn settle(&mut self, pause: Duration) {
        (self.owed, self.next_look) = (None, Some(Instant::now() + pause));
    }
}

impl Claimant {
    /// One round of check-bid-check, unless it is another's turn. Never waits for another's critical section. (A claimant in line
    /// calls [`Claimant::lock`]: it gives way to nobody.)
    pub(crate) fn lock_unless_owed(&mut self) -> Result<()> {
        if self.courtesy.is_due() {
            if let Some(rival) = self.give_way()? {
                self.sweep_reaped();
                return Err(Error::busy(self.path(), rival.holder()));
            }
        }
        self.lock()
    }

    /// The bid that was in the folder, or came while we gave way. `None`: nobody is owed a turn, or it did not come.
    fn give_way(&mut self) -> Result<Option<Arc<Rival>>> {
        self.approach_folder()?;
        let first = self.first_in_line();
        let Some(first) = first.filter(|first| self.courtesy.owed.is_none_or(|owed| owed == *first)) else {
            self.courtesy.settle(LOOK); // there is no line, or it has had its turn
            return Ok(None);
        };
        let seen_in = self.folder_id();
        self.find_folder()?;
        if self.folder_id() != seen_in {
            self.courtesy.settle(Duration::ZERO); // that was another folder's line
            return Ok(None);
        }
        if self.courtesy.owed.is_none() && self.bury_first(first) {
            self.courtesy.settle(LOOK); // then somebody else is the first, or nobody is
            return Ok(None);
        }
        self.courtesy.owed = Some(first);
        let mut backoff = Backoff::new(Instant::now(), TURN);
        loop {
            if let Some(rival) = self.glance()? {
                return Ok(Some(rival));
            }
            if !self.pause(&mut backoff) {
                self.courtesy.settle(AFTER_NO_SHOW);
                return Ok(None);
            }
        }
    }
}
