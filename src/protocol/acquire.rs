//! Check, bid, check: the whole protocol. Its rules are in section 5 of `docs/contract.md`; `docs/protocol.md` proves
//! that they suffice.

use super::{Backoff, Check, Place};
use crate::error::{ErrorKind, Result};

/// One round of check-bid-check. It never waits for a rival's critical section. The result is our bid, which now holds
/// the lock.
pub(crate) fn acquire<P: Place>(place: &mut P) -> Result<P::Bid> {
    place.enter()?;

    // 1. Check. This step is an optimisation: it spares rivals the sight of a bid that could not win.
    if let Some(rival) = place.glance()? {
        return Err(place.busy(&rival));
    }
    bid_and_check(place)
}

/// The same after a holder has told us that it gives the lock back now. If the `glance` still shows the bid of that holder
/// (`is_leaving`), we look again for a moment. It may have been stopped in between, or may be unable to delete its bid. So a bid of ours
/// would do no good yet.
pub(crate) fn acquire_told<P: Place>(
    place: &mut P,
    glance: impl Fn(&mut P) -> Result<Option<P::Rival>>,
    is_leaving: impl Fn(&P::Rival) -> bool,
) -> Result<P::Bid> {
    place.enter()?;
    let mut backoff = None;
    while let Some(rival) = glance(place)? {
        let backoff = backoff.get_or_insert_with(|| Backoff::new(place.now(), place.tie_break()));
        if !is_leaving(&rival) || !place.pause(backoff) {
            return Err(place.busy(&rival));
        }
    }
    bid_and_check(place)
}

fn bid_and_check<P: Place>(place: &mut P) -> Result<P::Bid> {
    // 2. Bid.
    let bid = place.post()?;

    // 3. Check again, and break ties. A bid that did not win is always taken back.
    match win(place, &bid).and_then(|()| place.check_process()) {
        Ok(()) => {
            place.keep(&bid);
            Ok(bid)
        }
        // The bid is our parent's, so we leave it alone.
        Err(error) if error.kind() == ErrorKind::Forked => Err(error),
        Err(error) => Err(place.take_back(bid, error)),
    }
}

/// Succeeds once no live bid keeps ours out: for a claimant that tolerates no company, once our bid is the only live one. Of several
/// bids, the first ones, as many as there are places, wait until the others are gone; each of the others gives up at once.
fn win<P: Place>(place: &mut P, bid: &P::Bid) -> Result<()> {
    let mut backoff = None;
    loop {
        place.check_process()?; // a signal handler may have forked
        let refusal = match place.check(bid)? {
            // This proves exclusion: each later bidder sees and counts our bid, and the bid is the file that we prepared.
            Check::Alone => return Ok(()),
            Check::Unseen => place.unseen(bid)?,
            // That rival wins, or a bid that precedes it.
            Check::Rival(rival) if place.precedes(&rival, bid) => return Err(place.busy(&rival)),
            Check::Rival(rival) => place.busy(&rival),
        };
        let backoff = backoff.get_or_insert_with(|| Backoff::new(place.now(), place.tie_break()));
        if !place.pause(backoff) {
            return Err(refusal);
        }
    }
}
