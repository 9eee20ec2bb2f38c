//! Check, bid, check. The whole protocol is on this page. Its rules are in section 5 of `docs/contract.md`, and
//! `docs/protocol.md` says why they suffice.

use std::time::Duration;

use super::{Backoff, Check, Place};
use crate::error::{ErrorKind, Result};

/// How long the first of several bidders waits for the others to withdraw. They need two system calls for it; a holder never does.
pub(super) const TIE_BREAK: Duration = Duration::from_millis(5);

/// One round of check-bid-check. It never waits for another's critical section. The result is the bid that holds the lock.
pub(crate) fn acquire<P: Place>(place: &mut P) -> Result<P::Bid> {
    place.enter()?;

    // 1. Check. (This only spares others a bid that could not win.)
    if let Some(rival) = place.glance()? {
        return Err(place.busy(&rival));
    }

    // 2. Bid.
    let bid = place.post()?;

    // 3. Check again, and break ties. Whatever comes of it, a bid that did not win does not stay.
    match win(place, &bid).and_then(|()| place.check_process()) {
        Ok(()) => {
            place.keep(&bid);
            Ok(bid)
        }
        // The bid is our parent's.
        Err(error) if error.kind() == ErrorKind::Forked => Err(error),
        Err(error) => Err(place.take_back(bid, error)),
    }
}

/// Succeeds once our bid is the only live one. Of several bids the first waits for the others to go, and each other one goes at once.
fn win<P: Place>(place: &mut P, bid: &P::Bid) -> Result<()> {
    let mut backoff = Backoff::new(place.now(), TIE_BREAK);
    loop {
        place.check_process()?; // a signal handler may have forked
        let refusal = match place.check(bid)? {
            // This proves exclusion: each later bidder sees our bid, and it is the file that we prepared.
            Check::Alone => return Ok(()),
            Check::Unseen => place.unseen(bid)?,
            // It wins, or a bid before it does.
            Check::Rival(rival) if place.precedes(&rival, bid) => return Err(place.busy(&rival)),
            Check::Rival(rival) => place.busy(&rival),
        };
        if !place.pause(&mut backoff) {
            return Err(refusal);
        }
    }
}
