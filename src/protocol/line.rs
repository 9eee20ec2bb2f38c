//! What waiting needs of a place, beside check-bid-check: a line of tickets, and to be told what becomes of those before us.

use super::Place;
use crate::error::{Error, Result};

/// A place in which claimants can stand in line. What it says costs time if it is wrong, and never exclusion.
pub(crate) trait Line: Place {
    /// A place in the line. Tickets sort by arrival.
    type Ticket: Copy + Ord;
    /// The claimant before us, and what tells what becomes of it.
    type Predecessor;
    /// Tells that something changed in the place.
    type Watch;

    /// Prepares a look at the line, as far as [`Place::enter`] must be done for that.
    fn approach(&mut self) -> Result<()>;

    /// Makes sure that we use the place that is in use now. True: it is another one than before.
    fn refresh(&mut self) -> Result<bool>;

    /// The first in line. Where nobody waits this is one cheap look.
    fn first_in_line(&self) -> Option<Self::Ticket>;

    /// Removes the tickets of the dead. True: `first` was one of them, so it is passed over.
    fn bury(&mut self, first: Self::Ticket) -> bool;

    /// Makes sure that we have a ticket.
    fn stand(&mut self) -> Result<Standing<Self::Ticket>>;

    /// Whether we have a ticket, as far as we know.
    fn has_ticket(&self) -> bool;

    /// What we see from our place in line.
    fn view(&mut self) -> Result<View<Self::Ticket>>;

    /// Watches the ticket before ours. `known` is what we watched so far. `None`: it is gone, or its owner is, and the ticket with it.
    fn watch_predecessor(
        &mut self,
        ticket: Self::Ticket,
        known: Option<Self::Predecessor>,
    ) -> Result<Option<Self::Predecessor>>;

    /// It had the lock and gave it back, so nobody is before us any more.
    fn has_handed_over(predecessor: &Self::Predecessor) -> bool;

    /// Whether we are told when it leaves or dies.
    fn tells(predecessor: &Self::Predecessor) -> bool;

    /// Watches the place. From here on each change is news; what came before is none. `None`: it can't be watched.
    fn watch(&mut self, known: Option<Self::Watch>) -> Option<Self::Watch>;

    /// Keeps what is no longer needed until we leave the line, because to give it up takes time.
    fn put_by(&mut self, watch: Self::Watch);

    /// The live rival that comes first, if there is one. We have no bid.
    fn rival(&mut self) -> Result<Option<Self::Rival>>;

    /// The live rival that the last look found.
    fn last_rival(&self) -> Option<Self::Rival>;

    /// Whether we are told when this rival dies.
    fn tells_death(rival: &Self::Rival) -> bool;

    /// For the first in line: if the holder came later, its ticket goes, so that those behind it look at the line again.
    fn restore_order(&mut self, holder: &Self::Rival) -> Result<()>;

    /// Takes another's ticket out of the line.
    fn discard(&mut self, ticket: Self::Ticket);

    /// Leaves the line, if we are in it.
    fn leave(&mut self, why: Leaving);

    /// What keeps us from the lock, for a person.
    fn why_not_yet(&mut self) -> Error;

    /// A number from 0 to 1, to be out of step with others.
    fn chance(&mut self) -> f64;
}

/// Why a claimant leaves the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It had the lock and gave it back.
    HandsOver,
    /// It had not, so others may be before the next one.
    GivesUp,
}

/// Whether we have a ticket.
pub(crate) enum Standing<T> {
    /// We had one.
    Stood,
    /// We have one now, and perhaps know whose is right before it. (Another claimant may have come between at that moment.)
    Joined(Option<T>),
    /// We had one, and somebody took it.
    Lost,
    /// There is none to be had here (other hosts could not be told of it, the filesystem has no FIFOs or links, the disk is full), so we
    /// try without.
    Nowhere,
}

/// What is in the line before us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View<T> {
    /// The first in line, if it is not us.
    pub first: Option<T>,
    /// The one right before us.
    pub predecessor: Option<T>,
    /// Those before that one, in their order.
    pub before: Vec<T>,
    /// The one right behind us.
    pub successor: Option<T>,
    /// How many are before us, where the line was read.
    pub ahead: usize,
    /// How many there are in all, as far as we know. 0: we are not in line.
    pub length: usize,
}

impl<T> Default for View<T> {
    fn default() -> View<T> {
        View { first: None, predecessor: None, before: Vec::new(), successor: None, ahead: 0, length: 0 }
    }
}

impl<T: Copy> View<T> {
    /// What a claimant that has just joined sees without reading the line.
    pub fn of_predecessor(ticket: T) -> View<T> {
        View { predecessor: Some(ticket), length: 2, ..View::default() }
    }

    /// The one right before us is gone, so the one before it is right before us now. `None`: none is left that we know of.
    pub fn step_back(&mut self) -> Option<T> {
        self.predecessor = self.before.pop();
        self.predecessor
    }
}
