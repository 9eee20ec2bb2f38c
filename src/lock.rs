//! Check, bid, check. The whole protocol is on this page. Its rules are in section 5 of `docs/contract.md`, and
//! `docs/protocol.md` says why they suffice.

use std::thread;
use std::time::{Duration, Instant};

use crate::bid::Guid;
use crate::claimant::{Claimant, Found};
use crate::error::{Error, ErrorKind, Result};

/// How long the first of several bidders waits for the others to withdraw. They need two system calls for it; a holder
/// never does.
const TIE_BREAK: Duration = Duration::from_millis(5);

impl Claimant {
    /// One round of check-bid-check. Never waits for another's critical section.
    pub(crate) fn lock(&mut self) -> Result<()> {
        let locked = self.check_bid_check();
        if locked.is_err() {
            self.sweep_reaped(); // who holds has better things to do, and does it after unlocking
        }
        locked
    }

    fn check_bid_check(&mut self) -> Result<()> {
        self.enter_folder()?;

        // 1. Check. (For the sake of others: it spares them a bid that could not win.)
        if let Some(rival) = self.glance()? {
            return Err(Error::busy(self.path(), rival.holder()));
        }

        // 2. Bid.
        let bid = self.publish()?;

        // 3. Check again; 4. break ties. Whatever comes of it, a bid that didn't win doesn't stay.
        match self.wins(&bid).and_then(|()| self.check_owner()) {
            Ok(()) => {
                self.hold(bid);
                Ok(())
            }
            // The bid is our parent's.
            Err(error) if error.kind() == ErrorKind::Forked => Err(error),
            Err(error) => Err(self.withdraw_after(bid, error)),
        }
    }

    fn wins(&mut self, bid: &Guid) -> Result<()> {
        let mut patience = Patience::new(TIE_BREAK);
        loop {
            self.check_owner()?; // a signal handler may have forked
            let check = self.check(Some(bid))?;
            let refusal = match check.rival {
                // The proof of exclusion: each later bidder sees our bid, and it is the file that we prepared.
                None if self.is_ours(bid, check.own)? => return Ok(()),
                // Our own bid isn't in the listing, so the listing proves nothing.
                None => self.own_bid_missing(bid)?,
                Some(rival) => {
                    let refusal = Error::busy(self.path(), rival.holder());
                    if rival.name.as_c_str() < bid.as_c_str() {
                        return Err(refusal); // it is before us: it wins, or somebody before it does
                    }
                    refusal
                }
            };
            if !patience.pause() {
                return Err(refusal);
            }
        }
    }

    /// Why a listing did not show our own bid; an error where that can't mend itself.
    fn own_bid_missing(&self, bid: &Guid) -> Result<Error> {
        Ok(match self.find_bid(bid)? {
            Found::Ours => Error::new(
                ErrorKind::Unsupported,
                format!(
                    "a listing of {} does not show a bid that is there, so this filesystem can't carry the lock \
                     (mount it without a directory cache)",
                    self.path().display()
                ),
            ),
            Found::Another => Error::new(
                ErrorKind::Busy,
                format!(
                    "somebody put another file in the place of our bid in {}; the next try makes a new one",
                    self.path().display()
                ),
            ),
            Found::Nothing => Error::new(
                ErrorKind::Busy,
                format!("somebody deleted our bid from {} before it won", self.path().display()),
            ),
        })
    }
}

/// Pauses that grow, up to some time in all.
pub(crate) struct Patience {
    end: Instant,
    next: Duration,
}

impl Patience {
    pub fn new(time: Duration) -> Patience {
        Patience { end: Instant::now() + time, next: Duration::from_micros(20) }
    }

    /// False: the time is over.
    pub fn pause(&mut self) -> bool {
        if Instant::now() >= self.end {
            return false;
        }
        thread::sleep(self.next);
        self.next *= 2;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// Alone in the listing is not enough: whoever bids after such a listing may not see our bid.
    #[test]
    fn a_bid_that_the_listing_does_not_show_never_wins() {
        let folder = Scratch::new();
        let mut claimant = folder.claimant();
        let bid = claimant.publish().unwrap();
        std::fs::remove_file(folder.join(bid.as_c_str().to_str().unwrap())).unwrap();
        let refusal = claimant.wins(&bid).map_err(|e| e.kind());
        assert_eq!(refusal, Err(ErrorKind::Busy));
    }

    /// Of two bids the first waits for the other to go, and the second goes at once. (Of very many times once at least: the
    /// machine may be busy.)
    #[test]
    fn the_first_of_two_bids_waits_and_the_second_goes_at_once() {
        let folder = Scratch::new();
        let (mut first, mut second) = (folder.claimant(), folder.claimant());
        let (bid, later) = (first.publish().unwrap(), second.publish().unwrap());
        assert!(bid.as_c_str() < later.as_c_str());
        let refused_after = |claimant: &mut Claimant, bid: &Guid| {
            let began = Instant::now();
            assert_eq!(claimant.wins(bid).map_err(|e| e.kind()), Err(ErrorKind::Busy));
            began.elapsed()
        };
        let waited = refused_after(&mut first, &bid);
        let at_once = (0..2000).any(|_| refused_after(&mut second, &later) < TIE_BREAK);
        for (claimant, bid) in [(&mut first, bid), (&mut second, later)] {
            claimant.withdraw_after(bid, Error::fixed(ErrorKind::Busy, ""));
        }
        assert!(waited >= TIE_BREAK);
        assert!(at_once);
    }

    #[test]
    fn pauses_grow_and_come_to_an_end() {
        let mut patience = Patience { end: Instant::now() + Duration::from_secs(3600), ..Patience::new(TIE_BREAK) };
        let first = patience.next;
        assert!(patience.pause() && patience.pause());
        assert_eq!(patience.next, first * 4);
        patience.end = Instant::now();
        assert!(!patience.pause());
    }
}
