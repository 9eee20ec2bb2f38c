//! One claimant in one place: what it holds, how it takes the lock, and how it gives the lock back.

use super::courtesy::leave_turn;
use super::{acquire, acquire_told, Courtesy, Leaving, Line};
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

    /// Our bid, or the error of a call that needs the lock.
    pub fn held_bid(&self) -> Result<P::Bid> {
        self.held.ok_or_else(|| self.place.misuse(ErrorKind::NotHeld, "does not hold the lock"))
    }

    /// One round of check-bid-check.
    pub fn lock(&mut self) -> Result<()> {
        let locked = acquire(&mut self.place);
        self.note(locked)
    }

    /// What an attempt came to.
    fn note(&mut self, locked: Result<P::Bid>) -> Result<()> {
        let locked = locked.map(|bid| self.held = Some(bid));
        if locked.is_err() {
            self.place.tidy(); // a holder defers this until after unlock
        }
        locked
    }

    /// One round of check-bid-check, unless a waiter is owed the turn. It never waits for a rival's critical section.
    /// (A claimant in line calls [`Session::lock`] instead, which gives way to no claimant.)
    pub fn lock_unless_owed(&mut self) -> Result<()> {
        if self.courtesy.is_due(self.place.now()) {
            if let Some(rival) = self.courtesy.give_way(&mut self.place)? {
                return self.fail(&rival);
            }
        }
        self.lock()
    }

    /// The last try of a wait whose time is over. It leaves the line, and takes the lock if the first in line does not come. So a wait
    /// never ends without the lock where [`Session::lock_unless_owed`] would take it, for example because the first in line is stopped.
    pub fn lock_out_of_turn(&mut self) -> Result<()> {
        self.place.leave(Leaving::GivesUp);
        self.place.approach()?;
        if let Some(first) = self.place.first_in_line() {
            if let Some(rival) = leave_turn(&mut self.place, first)? {
                return self.fail(&rival);
            }
        }
        self.lock()
    }

    fn fail(&mut self, rival: &P::Rival) -> Result<()> {
        self.place.tidy();
        Err(self.place.comes_later(rival))
    }

    /// [`Session::lock`], with a rival that holds the lock as `false` in place of an error.
    pub(super) fn lock_if_free(&mut self) -> Result<bool> {
        not_busy(self.lock())
    }

    /// The same after our predecessor has told us that it is our turn.
    pub(super) fn lock_after(&mut self, predecessor: &P::Predecessor) -> Result<bool> {
        let glance = |place: &mut P| place.glance_after(predecessor);
        let locked = acquire_told(&mut self.place, glance, |rival| P::is_leaving(predecessor, rival));
        not_busy(self.note(locked))
    }

    /// Takes the lock if it is free and no claimant waits for it. It costs one cheap system call more than
    /// [`Session::lock`].
    pub fn lock_unless_line(&mut self) -> Result<bool> {
        self.place.approach()?;
        if self.place.has_line() {
            return Ok(false);
        }
        self.lock_if_free()
    }

    /// After an error other than [`ErrorKind::Lost`] we still hold the lock.
    pub fn unlock(&mut self) -> Result<()> {
        let bid = self.held_bid()?;
        // Our successor wakes up while we delete our bid.
        self.place.tell();
        let lost = self.place.withdraw(&bid)?;
        self.held = None;
        self.place.leave(Leaving::HandsOver);
        self.place.tidy();
        lost.map_or(Ok(()), Err)
    }

    /// Takes back our bid because of `error`, even if it has already won.
    pub fn give_back(&mut self, error: Error) -> Error {
        let error = self.take_back(error);
        self.place.leave(Leaving::GivesUp); // last, because our successor waits for this
        error
    }

    /// Unlocks and reports no error. Even if the bid can't be deleted, we no longer hold the lock; the next
    /// attempt deletes the bid.
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

    /// In a forked child: forgets everything, and does not touch what belongs to the parent.
    pub fn abandon(&mut self) {
        self.held = None;
        self.place.abandon();
    }
}

/// A rival that holds the lock as `false` in place of an error.
fn not_busy(locked: Result<()>) -> Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::Busy => Ok(false),
        Err(e) => Err(e),
    }
}

impl<P: Line> Drop for Session<P> {
    fn drop(&mut self) {
        self.take_back(Error::fixed(ErrorKind::Cancelled, "the handle is closed"));
    }
}
