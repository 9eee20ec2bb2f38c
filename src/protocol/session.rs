//! One claimant on one place: what it holds, how it takes the lock, and how it gives it back.

use super::{acquire, Courtesy, Leaving, Line};
use crate::error::{Error, ErrorKind, Result};

pub(crate) struct Session<P: Line> {
    pub place: P,
    /// Our bid, while we hold the lock.
    held: Option<P::Bid>,
    courtesy: Courtesy<P::Ticket>,
}

impl<P: Line> Session<P> {
    pub fn new(place: P) -> Session<P> {
        Session { place, held: None, courtesy: Courtesy::default() }
    }

    /// Our bid, while we hold the lock.
    pub fn held(&self) -> Option<P::Bid> {
        self.held
    }

    /// The same, or the error of a call that needs it.
    pub fn held_bid(&self) -> Result<P::Bid> {
        self.held.ok_or_else(|| self.place.misuse(ErrorKind::NotHeld, "does not hold the lock"))
    }

    /// One round of check-bid-check.
    pub fn lock(&mut self) -> Result<()> {
        let locked = acquire(&mut self.place).map(|bid| self.held = Some(bid));
        if locked.is_err() {
            self.place.tidy(); // a holder defers this until after unlock
        }
        locked
    }

    /// The same, unless it is another's turn. It never waits for another's critical section. (A claimant in line calls
    /// [`Session::lock`]: it gives way to nobody.)
    pub fn lock_unless_owed(&mut self) -> Result<()> {
        if self.courtesy.is_due(self.place.now()) {
            if let Some(rival) = self.courtesy.give_way(&mut self.place)? {
                self.place.tidy();
                return Err(self.place.busy(&rival));
            }
        }
        self.lock()
    }

    /// [`Session::lock`]. False: a rival holds the lock.
    pub(super) fn lock_if_free(&mut self) -> Result<bool> {
        match self.lock() {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::Busy => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Takes the lock if it is free and nobody waits for it. One cheap look more than [`Session::lock`].
    pub fn lock_unless_line(&mut self) -> Result<bool> {
        self.place.approach()?;
        if self.place.first_in_line().is_some() {
            return Ok(false);
        }
        self.lock_if_free()
    }

    /// After an error other than [`ErrorKind::Lost`] the lock is still held.
    pub fn unlock(&mut self) -> Result<()> {
        let bid = self.held_bid()?;
        let lost = self.place.withdraw(&bid)?;
        self.held = None;
        self.place.leave(Leaving::HandsOver);
        self.place.tidy();
        lost.map_or(Ok(()), Err)
    }

    /// Takes back a bid that won all the same, if we still have it.
    pub fn give_back(&mut self, error: Error) -> Error {
        let error = self.take_back(error);
        self.place.leave(Leaving::GivesUp); // what the next in line waits for comes last
        error
    }

    /// Unlocks without a word. A bid that can't be deleted is no longer held, and the next attempt tries again.
    pub fn let_go(&mut self) {
        if let Err(e) = self.unlock() {
            if e.kind() == ErrorKind::Io {
                self.place.leave(Leaving::GivesUp);
                self.take_back(e);
            }
        }
    }

    fn take_back(&mut self, error: Error) -> Error {
        match self.held.take() {
            Some(bid) => self.place.take_back(bid, error),
            None => error,
        }
    }

    /// In a forked child: forgets everything without touching what is the parent's.
    pub fn abandon(&mut self) {
        self.held = None;
        self.place.abandon();
    }
}

impl<P: Line> Drop for Session<P> {
    fn drop(&mut self) {
        self.take_back(Error::fixed(ErrorKind::Cancelled, "the handle is closed"));
    }
}
