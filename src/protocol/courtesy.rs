//! A lock call that does not wait gives way to waiters. A program that locks and unlocks in a tight loop would
//! otherwise take the lock again before the first in line has woken up, time after time.
//!
//! A look for a line costs a system call, so a session looks only once in a while; between two looks it may overtake
//! waiters. After a session has seen the first in line, it owes that claimant a turn until the claimant has had one.
//! Several loops therefore soon owe the same claimant a turn. A claimant that does not come although the lock is free
//! (it may be stopped) delays the others only for a moment.

use std::time::{Duration, Instant};

use super::{Backoff, Line};
use crate::error::Result;

/// The pause between two looks for a line.
const LOOK: Duration = Duration::from_millis(20);
/// How long we leave the lock to the first in line. A claimant needs far less to wake up and bid, unless the machine is
/// overloaded.
const TURN: Duration = Duration::from_millis(5);
/// The pause before the next look after a no-show.
const AFTER_NO_SHOW: Duration = Duration::from_millis(100);

/// What a session remembers of the line from one lock to the next.
pub(crate) struct Courtesy<T> {
    /// `None`: the session has not looked yet.
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
        // A clock that went back (the process entered another time namespace) must not put the look off.
        let is_due = |next: Instant| now >= next || next.saturating_duration_since(now) > AFTER_NO_SHOW;
        self.owed.is_some() || self.next_look.is_none_or(is_due)
    }

    /// Gives way, and returns the rival's bid that was in the place or came meanwhile. `None`: we owe no turn, or the
    /// first in line did not come.
    pub fn give_way<P: Line<Ticket = T>>(&mut self, place: &mut P) -> Result<Option<P::Rival>> {
        place.approach()?;
        let first = place.first_in_line();
        let Some(first) = first.filter(|first| self.owed.is_none_or(|owed| owed == *first)) else {
            self.settle(place.now() + LOOK); // there is no line, or the claimant that we owed a turn has had it
            return Ok(None);
        };
        if place.refresh()? {
            self.settle(place.now()); // we saw the line of another place
            return Ok(None);
        }
        if self.owed.is_none() && place.bury(first) {
            self.settle(place.now() + LOOK); // the first in line was dead, so we owe it nothing
            return Ok(None);
        }
        self.owed = Some(first);
        let rival = leave_turn(place, first)?;
        if rival.is_none() {
            self.settle(place.now() + AFTER_NO_SHOW);
        }
        Ok(rival)
    }

    fn settle(&mut self, next_look: Instant) {
        (self.owed, self.next_look) = (None, Some(next_look));
    }
}

/// Leaves the lock to the first in line for a moment. The result is the rival's bid that was in the place or came meanwhile, and that
/// keeps the first in line out. So a reader never goes ahead of a writer that waits until other readers leave.
pub(super) fn leave_turn<P: Line>(place: &mut P, first: P::Ticket) -> Result<Option<P::Rival>> {
    let mut backoff = Backoff::new(place.now(), TURN);
    loop {
        if let Some(rival) = place.glance_for(first)? {
            return Ok(Some(rival));
        }
        if !place.pause(&mut backoff) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_due_after_the_pause_and_after_a_clock_that_went_back() {
        let now = Instant::now();
        let is_due = |next_look| Courtesy::<u8> { next_look, owed: None }.is_due(now);
        assert!(is_due(None) && is_due(Some(now)) && is_due(Some(now + Duration::from_secs(3600))));
        assert!(!is_due(Some(now + LOOK)) && !is_due(Some(now + AFTER_NO_SHOW)));
    }
}
