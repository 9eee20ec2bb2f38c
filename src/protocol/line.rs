//! What waiting needs of a place beside check-bid-check: a line of tickets, and a way to learn what the claimants
//! before us do.

use std::time::Instant;

use super::Place;
use crate::error::{Error, Result};

/// A place in which claimants can stand in line. A wrong answer costs time, and never breaks exclusion.
pub(crate) trait Line: Place {
    /// A place in the line. Tickets sort by arrival.
    type Ticket: Copy + Ord;
    /// The claimant right before us, and the means to learn what it does.
    type Predecessor;
    /// Reports that something changed in the place.
    type Watch;

    /// Prepares a look at the line. It does as much of [`Place::enter`] as that look needs.
    fn approach(&mut self) -> Result<()>;

    /// Makes sure that we use the place that is in use now. True: it is another place than before.
    fn refresh(&mut self) -> Result<bool>;

    /// The first in line. If there is no line, this is one cheap look.
    fn first_in_line(&self) -> Option<Self::Ticket>;

    /// Whether claimants stand in line. It may be true by mistake: a wait then joins the line, and finds that it is the first.
    fn has_line(&self) -> bool;

    /// If the owner of the ticket `first` is dead, this takes it and many other dead claimants out of the line. True: it was, so the
    /// caller must not wait for it.
    fn bury(&mut self, first: Self::Ticket) -> bool;

    /// Makes sure that we have a ticket.
    fn stand(&mut self) -> Result<Standing<Self::Ticket>>;

    /// Whether we have a ticket, as far as we know without a look.
    fn has_ticket(&self) -> bool;

    /// The line as we see it from our place in it.
    fn view(&mut self) -> Result<View<Self::Ticket>>;

    /// Watches the ticket before ours. `known` is what we have watched so far. `None`: the ticket is gone. If its owner
    /// was dead, this call removed the ticket.
    fn watch_predecessor(
        &mut self,
        ticket: Self::Ticket,
        known: Option<Self::Predecessor>,
    ) -> Result<Option<Self::Predecessor>>;

    /// The predecessor had the lock and gives it back now, so no claimant is before us any more.
    fn has_handed_over(predecessor: &Self::Predecessor) -> bool;

    /// Whether this bid is that of a predecessor that has handed over and gives the lock back, as far as we can tell. (One that
    /// tolerates company hands over too, and keeps the lock.)
    fn is_leaving(predecessor: &Self::Predecessor, rival: &Self::Rival) -> bool;

    /// The same as [`Place::glance`] after this predecessor has handed over. It need not judge that one's bid.
    fn glance_after(&mut self, predecessor: &Self::Predecessor) -> Result<Option<Self::Rival>>;

    /// Whether we are notified when the predecessor leaves or dies.
    fn tells(predecessor: &Self::Predecessor) -> bool;

    /// Watches the place. Each change from now on counts as news; earlier changes do not. `None`: the place can't be
    /// watched.
    fn watch(&mut self, known: Option<Self::Watch>) -> Option<Self::Watch>;

    /// Keeps what woke us, which we no longer need, until we leave the line, because closing it takes time.
    fn put_by(&mut self, watch: Option<Self::Watch>, predecessor: Option<Self::Predecessor>);

    /// The live rival that keeps the first in line out, if there is one. Without `first` it is the one that keeps us out. We have no bid
    /// at that moment. (Where nobody shares, any live rival keeps everybody out, so the first in line does not matter.)
    fn rival(&mut self, first: Option<Self::Ticket>) -> Result<Option<Self::Rival>>;

    /// The same as a quick look, which may miss a bid (see [`Place::glance`]).
    fn glance_for(&mut self, first: Self::Ticket) -> Result<Option<Self::Rival>>;

    /// The live rivals that made our last attempt fail, if we can watch them all. As soon as one of them is gone, another attempt may
    /// succeed. The last one is that which kept us out.
    fn last_rivals(&self) -> Vec<Self::Rival>;

    /// Whether two looks showed the same bid.
    fn is_same_bid(one: &Self::Rival, other: &Self::Rival) -> bool;

    /// Two looks showed these two bids, one after the other. Whether the ticket's owner could have had the lock in between, and let
    /// another claimant have it: the ticket is still there, and the bid `now` is not that of its owner. False if that is not certain.
    /// (Two readers may have been there all the time, and only the first of them has left.)
    fn is_overtaken(&self, ticket: Self::Ticket, before: &Self::Rival, now: &Self::Rival) -> bool;

    /// Whether we are notified when this rival dies.
    fn tells_death(rival: &Self::Rival) -> bool;

    /// Called by the first in line. If the holder's ticket is behind ours, this removes it, so that the waiters behind
    /// that ticket read the line again.
    fn restore_order(&mut self, holder: &Self::Rival) -> Result<()>;

    /// Takes another claimant's ticket out of the line.
    fn discard(&mut self, ticket: Self::Ticket);

    /// We hold the lock. A claimant that tolerates company leaves the line now, so that its successor can try at once. Any other one
    /// keeps its ticket until it gives the lock back.
    fn pass_on(&mut self);

    /// Tells our successor, if we are in line, that we are about to give the lock back. We are still in line.
    fn tell(&mut self);

    /// Leaves the line, if we are in it.
    fn leave(&mut self, why: Leaving);

    /// The error of a claimant that gives way to the first in line. The rival keeps that one out.
    fn comes_later(&self, rival: &Self::Rival) -> Error;

    /// An error that tells a person what keeps us from the lock.
    fn why_not_yet(&mut self) -> Error;

    /// A random number from 0 to 1, used as jitter.
    fn chance(&mut self) -> f64;

    /// From now on a call should not take longer than until this time. It matters only to a place that a network can keep waiting.
    /// `None`: the place has its own limit.
    fn bound(&mut self, _end: Option<Instant>) {}

    /// Whether a wait goes on after this error, because it may pass by itself. The wait keeps its place in line meanwhile.
    fn rides_out(&mut self, _error: &Error) -> bool {
        false
    }
}

/// Why a claimant leaves the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It had the lock and gave it back, or it has the lock and tolerates company. No claimant is before its successor.
    HandsOver,
    /// It did not have the lock, so other claimants may still be before its successor.
    GivesUp,
}

/// Whether we have a ticket.
pub(crate) enum Standing<T> {
    /// We already had one.
    Stood,
    /// We have one now. The value is the ticket right before ours, if we know it. (Another claimant may have joined
    /// between the two at that moment.)
    Joined(Option<T>),
    /// We had one, and somebody removed it.
    Lost,
    /// We can't have one here: other hosts may write to the place and could not be notified, or the filesystem has no
    /// FIFOs or links, or the disk is full. We then try without a ticket.
    Nowhere,
}

/// The line as one claimant sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View<T> {
    /// The first in line, if that is another claimant.
    pub first: Option<T>,
    /// The ticket right before ours.
    pub predecessor: Option<T>,
    /// The tickets before the predecessor, in their order.
    pub before: Vec<T>,
    /// The ticket right behind ours.
    pub successor: Option<T>,
    /// How many tickets are before ours, if we have read the line.
    pub ahead: usize,
    /// How many tickets there are in all, as far as we know. 0: we are not in line.
    pub length: usize,
}

impl<T> Default for View<T> {
    fn default() -> View<T> {
        View { first: None, predecessor: None, before: Vec::new(), successor: None, ahead: 0, length: 0 }
    }
}

impl<T: Copy> View<T> {
    /// The view of a claimant that has just joined and has not read the line.
    pub fn of_predecessor(ticket: T) -> View<T> {
        View { predecessor: Some(ticket), length: 2, ..View::default() }
    }

    /// The second in line, if it is before us.
    pub fn second(&self) -> Option<T> {
        match self.before.len() {
            0 => None,
            1 => self.predecessor,
            _ => Some(self.before[1]),
        }
    }

    /// Our predecessor is gone, so the ticket before it is now right before ours. `None`: we know of no other.
    pub fn step_back(&mut self) -> Option<T> {
        self.predecessor = self.before.pop();
        self.predecessor
    }
}
