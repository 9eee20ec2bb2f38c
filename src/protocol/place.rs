//! What the protocol needs of the place where bids are posted. A lock folder is one such place. The model keeps another
//! in memory.

use std::time::{Duration, Instant};

use super::{Backoff, TIE_BREAK};
use crate::error::{Error, ErrorKind, Result};

/// Where one claimant posts its bids and sees the bids of its rivals.
///
/// Exclusion rests on two promises of a place. First: after [`Place::post`] has posted a bid, each [`Place::check`]
/// that begins later, by any claimant, sees it until it is taken back or its claimant is dead. Second: a place never
/// removes the bid of a claimant that may be alive.
pub(crate) trait Place {
    /// A bid of ours. Its name was never used before and will never be used again.
    type Bid: Copy;
    /// A rival's bid, as we saw it.
    type Rival: Clone;

    /// Prepares an attempt. Afterwards no earlier bid of ours is left, and the place is the one that is in use now.
    fn enter(&mut self) -> Result<()>;

    /// Does only the first half of [`Place::enter`]: no earlier bid of ours is left.
    fn clear(&mut self) -> Result<()>;

    /// Looks for a live rival that keeps us out, before we bid. A glance may miss a bid; exclusion does not depend on it.
    fn glance(&mut self) -> Result<Option<Self::Rival>>;

    /// Posts a complete bid in one atomic step. After an error no bid of ours is there, or the error says that one is.
    /// In a forked child it fails, and neither posts a bid nor takes one back.
    fn post(&mut self) -> Result<Self::Bid>;

    /// Looks at all bids, and removes the bids of dead claimants.
    fn check(&mut self, own: &Self::Bid) -> Result<Check<Self::Rival>>;

    /// Whether the rival's bid precedes ours when both bid at once. All claimants must agree on this order.
    fn precedes(&self, rival: &Self::Rival, own: &Self::Bid) -> bool;

    /// The reason why a check did not show our own bid. It fails if another check could not help.
    fn unseen(&mut self, own: &Self::Bid) -> Result<Error>;

    /// Our bid won. It stays until it is taken back.
    fn keep(&mut self, own: &Self::Bid);

    /// Takes back a bid that did not win because of `error`. The result is that error. If the bid can't be taken back
    /// either, the error says so.
    fn take_back(&mut self, bid: Self::Bid, error: Error) -> Error;

    /// Takes back the bid by which we hold the lock. After an error the bid is still there. `Some`: the bid was already
    /// missing, so the lock was lost; the value is the error that says so.
    fn withdraw(&mut self, own: &Self::Bid) -> Result<Option<Error>>;

    /// Removes leftovers that nobody uses, and whose removal could wait until now.
    fn tidy(&mut self);

    /// In a forked child: forgets everything, and does not touch what belongs to the parent.
    fn abandon(&mut self);

    /// The error that names the rival that keeps us from the lock.
    fn busy(&self, rival: &Self::Rival) -> Error;

    /// Fails in a forked child, because the bid and all that follows belong to the parent.
    fn check_process(&self) -> Result<()>;

    /// The error of a call that does not fit the state of its handle.
    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error;

    /// The time now, by a clock that nobody can set.
    fn now(&self) -> Instant;

    /// How long the bidder with the first bid waits for its rivals to withdraw. It is asked after the first check.
    fn tie_break(&self) -> Duration {
        TIE_BREAK
    }

    /// Sleeps for the next pause of the backoff. False: the time is over.
    fn pause(&mut self, backoff: &mut Backoff) -> bool;
}

/// What a check showed.
pub(crate) enum Check<R> {
    /// Our bid is there, and no live rival keeps us out (see [`Count`](super::Count)). For a claimant that tolerates no company: no live
    /// rival has a bid.
    Alone,
    /// Our bid is missing, or another file has its name. The absence of rivals then proves nothing.
    Unseen,
    /// This live rival keeps us out. If there are several, this is the first of them.
    Rival(R),
}
