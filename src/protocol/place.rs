//! What the protocol needs of the place where bids are posted. A lock folder is one such place; the model's is memory.

use std::time::Instant;

use super::Backoff;
use crate::error::{Error, ErrorKind, Result};

/// Where claimants post bids and see those of others, from the eyes of one claimant.
///
/// Exclusion rests on two promises of a place. A bid that [`Place::post`] has posted is in each [`Place::check`] of each claimant that
/// begins later, until it is taken back or its claimant is dead. And a place never removes the bid of a claimant that may be alive.
pub(crate) trait Place {
    /// A bid of ours. Its name was never used before, and never will be again.
    type Bid: Copy;
    /// Another claimant's bid, as we saw it.
    type Rival: Clone;

    /// Prepares an attempt: no earlier bid of ours is left, and the place is the one that is in use now.
    fn enter(&mut self) -> Result<()>;

    /// The same, as far as nothing of ours may be left.
    fn clear(&mut self) -> Result<()>;

    /// Looks for a live rival before we bid. It may miss a bid: nothing depends on it.
    fn glance(&mut self) -> Result<Option<Self::Rival>>;

    /// Posts a bid, whole, in one step. After an error none of ours is there, or the error says so.
    fn post(&mut self) -> Result<Self::Bid>;

    /// Looks at all bids, and removes those of the dead.
    fn check(&mut self, own: &Self::Bid) -> Result<Check<Self::Rival>>;

    /// Whether the rival comes first when two bid at once. All claimants must agree on that.
    fn precedes(&self, rival: &Self::Rival, own: &Self::Bid) -> bool;

    /// Why a check did not show our own bid. An error: to look again is of no use.
    fn unseen(&mut self, own: &Self::Bid) -> Result<Error>;

    /// Our bid won: it stays until it is taken back.
    fn keep(&mut self, own: &Self::Bid);

    /// Takes back a bid that did not win because of `error`. The result is that error; it says so if even this fails.
    fn take_back(&mut self, bid: Self::Bid, error: Error) -> Error;

    /// Takes back the bid by which we hold the lock. An error: it is still there. `Some`: it was there no more, so the lock was lost, and
    /// this error says so.
    fn withdraw(&mut self, own: &Self::Bid) -> Result<Option<Error>>;

    /// Removes what was found to be in nobody's use, but could wait.
    fn tidy(&mut self);

    /// In a forked child: forgets everything without touching what is the parent's.
    fn abandon(&mut self);

    /// The error that names the rival that keeps us from the lock.
    fn busy(&self, rival: &Self::Rival) -> Error;

    /// Fails in a forked child: the bid is the parent's, and so is all that follows.
    fn check_process(&self) -> Result<()>;

    /// The error of a call that does not fit the state of its handle.
    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error;

    /// The time now, by a clock that nobody sets.
    fn now(&self) -> Instant;

    /// Sleeps for the next pause. False: the time is over.
    fn pause(&mut self, backoff: &mut Backoff) -> bool;
}

/// What a check showed.
pub(crate) enum Check<R> {
    /// Our bid is there, and no live rival's.
    Alone,
    /// Our bid is not there, or another file has its name. So what is missing proves nothing.
    Unseen,
    /// The live rival that comes first.
    Rival(R),
}
