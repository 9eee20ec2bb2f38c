//! A lock that does not wait lets those who wait have their turn. In a tight loop it would be back before the first in line has
//! woken up, again and again.
//!
//! To look for a line costs a system call, so it is done once in a while: between two looks a loop overtakes. Once somebody was seen
//! to be the first in line, it is owed a turn until it has had one, so several loops soon owe it together. One that does not come
//! although the lock is free (it is stopped, say) holds nobody up for longer than a moment.

use std::time::{Duration, Instant};

use super::{Backoff, Line};
use crate::error::Result;

/// Between two looks for a line.
const LOOK: Duration = Duration::from_millis(20);
/// How long the lock is left to the first in line. To wake up and to bid takes far less, unless the machine has too much to do.
const TURN: Duration = Duration::from_millis(5);
/// Until the next look, if the first in line did not come.
const AFTER_NO_SHOW: Duration = Duration::from_millis(100);

/// What a session remembers of the line from one lock to the next.
pub(crate) struct Courtesy<T> {
    /// `None`: it has not looked yet.
    next_look: Option<Instant>,
    owed: Option<T>,
}

impl<T> Default for Courtesy<T> {
    fn default() -> Courtesy<T> {
        Courtesy { next_look: None, owed: None }
    }
}

impl<T: Copy + PartialEq> Courtesy<T> {
    pub fn is_due(&self, now: Instant) -> bool {
        self.owed.is_some() || self.next_look.is_none_or(|next| now >= next)
    }

    /// The bid that was in the place, or came while we gave way. `None`: nobody is owed a turn, or it did not come.
    pub fn give_way<P: Line<Ticket = T>>(&mut self, place: &mut P) -> Result<Option<P::Rival>> {
        place.approach()?;
        let first = place.first_in_line();
        let Some(first) = first.filter(|first| self.owed.is_none_or(|owed| owed == *first)) else {
            self.settle(place.now() + LOOK); // there is no line, or it has had its turn
            return Ok(None);
        };
        if place.refresh()? {
            self.settle(place.now()); // that was another place's line
            return Ok(None);
        }
        if self.owed.is_none() && place.bury(first) {
            self.settle(place.now() + LOOK); // then another claimant is the first, or nobody is
            return Ok(None);
        }
        self.owed = Some(first);
        let mut backoff = Backoff::new(place.now(), TURN);
        loop {
            if let Some(rival) = place.glance()? {
                return Ok(Some(rival));
            }
            if !place.pause(&mut backoff) {
                self.settle(place.now() + AFTER_NO_SHOW);
                return Ok(None);
            }
        }
    }

    fn settle(&mut self, next_look: Instant) {
        (self.owed, self.next_look) = (None, Some(next_look));
    }
}
