//! A lock folder as the [`Place`] of the protocol: each step is an operation on the folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bidding::{Found, Withdrawn};
use super::Folder;
use crate::error::{Error, ErrorKind, Result, Taken};
use crate::folder::location::{self, join};
use crate::owner::bid::BidName;
use crate::owner::rival::Rival;
use crate::protocol::{Backoff, Check, Place, TIE_BREAK};
use crate::slots::Slots;
use crate::sys;

impl Place for Folder {
    type Bid = BidName;
    type Rival = Arc<Rival>;

    fn enter(&mut self) -> Result<()> {
        self.delete_stray()?;
        self.find_folder()?;
        self.check_private()
    }

    fn clear(&mut self) -> Result<()> {
        self.delete_stray()
    }

    fn glance(&mut self) -> Result<Option<Arc<Rival>>> {
        self.look(self.slots, |scanner, memory| scanner.glance(memory))
    }

    fn post(&mut self) -> Result<BidName> {
        self.publish()
    }

    fn check(&mut self, own: &BidName) -> Result<Check<Arc<Rival>>> {
        let seen = self.scan(Some(own))?;
        Ok(match seen.rival {
            Some(rival) => Check::Rival(rival),
            None if self.is_ours(own, seen.own)? => {
                self.begin_lease(own, seen.own.unwrap_or(0))?;
                Check::Alone
            }
            None => Check::Unseen,
        })
    }

    /// Bids are ordered by name, and a name begins with the time.
    fn precedes(&self, rival: &Arc<Rival>, own: &BidName) -> bool {
        rival.name.as_c_str() < own.as_c_str()
    }

    fn unseen(&mut self, own: &BidName) -> Result<Error> {
        Ok(match self.find_bid(own)? {
            Found::Ours => Error::new(
                ErrorKind::Unsupported,
                format!(
                    "a listing of {} does not show a bid that is there, so this filesystem can't guarantee the lock: \
                     mount it without a directory cache",
                    self.path().display()
                ),
            ),
            Found::Another => Error::new(
                ErrorKind::Busy,
                format!(
                    "somebody put another file in the place of our bid in {}; the next try makes a new bid",
                    self.path().display()
                ),
            ),
            Found::Nothing => Error::new(
                ErrorKind::Busy,
                format!("somebody deleted our bid from {} before it won", self.path().display()),
            ),
        })
    }

    fn keep(&mut self, _: &BidName) {
        self.stray = None;
        self.memory.forget_most_rivals();
    }

    fn take_back(&mut self, bid: BidName, error: Error) -> Error {
        self.withdraw_after(bid, error)
    }

    fn withdraw(&mut self, bid: &BidName) -> Result<Option<Error>> {
        self.check_process()?;
        // Before we give the lock back, because it may be another's by now.
        let lost = self.loss_of_lease();
        self.stop_lease();
        let withdrawn = match self.delete_own(bid) {
            // Something else has the bid's name, and unlink(2) can't delete it: a folder.
            Err(_) if matches!(self.find_bid(bid), Ok(Found::Another)) => Withdrawn::Missing(None),
            Err(e) => {
                // A server may have deleted it, or may still do so. So with a lease we can't rely on the lock any more.
                self.doubt_lease();
                if let Some(lost) = lost {
                    self.keep_as_stray(*bid);
                    self.end_lease(false);
                    return Ok(Some(lost));
                }
                let advice = location::advice_on_withdrawal(self.path(), bid.as_c_str(), &e);
                return Err(Error::io("delete the bid", join(self.path(), bid.as_c_str()), e).advising(advice));
            }
            Ok(withdrawn) => withdrawn,
        };
        if matches!(withdrawn, Withdrawn::Deleted) {
            self.end_lease(true);
            return Ok(lost);
        }
        // Where a bid is the moved claim itself, the claim is missing too.
        self.claim = None;
        let lost = lost.unwrap_or_else(|| self.lost(bid));
        self.end_lease(true);
        Ok(Some(match withdrawn.left() {
            Some(name) => lost.leaving(join(self.path(), name)),
            None => lost,
        }))
    }

    fn tidy(&mut self) {
        self.memory.close();
        self.sweep_reaped();
    }

    fn abandon(&mut self) {
        // The files of these belong to the parent. The drop of each checks the process, and leaves them alone.
        (self.stray, self.queue, self.claim) = (None, None, None);
        self.lease.abandon();
    }

    fn busy(&self, rival: &Arc<Rival>) -> Error {
        let (ours, theirs) = (self.slots, rival.slots());
        match ours {
            Slots::AtMost(places) if ours.tolerates(theirs) => {
                Error::busy(self.path(), rival.holder(), Taken::Places(places))
            }
            _ if ours.tolerates_company() && theirs.tolerates_company() => self.differs(rival),
            _ => Error::busy(self.path(), rival.holder(), Taken::Alone),
        }
    }

    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::misuse(kind, self.path(), what)
    }

    fn check_process(&self) -> Result<()> {
        self.opener.check(&self.path)
    }

    fn now(&self) -> Instant {
        sys::now()
    }

    /// Where a server takes part, a rival needs about as long for its check and its withdrawal as we needed for our bid and our check.
    fn tie_break(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(2);
        match self.location.on.is_shared() {
            true => (3 * sys::since_boot().saturating_sub(self.lease.posted)).clamp(TIE_BREAK, LONGEST),
            false => TIE_BREAK,
        }
    }

    fn pause(&mut self, backoff: &mut Backoff) -> bool {
        let pause = backoff.next(sys::now());
        pause.into_iter().for_each(sys::sleep);
        pause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_check_shows_our_bid_alone_or_the_rival_that_keeps_us_out() {
        let folder = Scratch::new();
        let (mut first, mut second) = (folder.folder(), folder.folder());
        let bid = first.post().unwrap();
        assert!(matches!(first.check(&bid), Ok(Check::Alone)));
        let later = second.post().unwrap();
        let rival_of = |claimant: &mut Folder, own: &BidName| match claimant.check(own).unwrap() {
            Check::Rival(rival) => (rival.name.clone(), claimant.precedes(&rival, own)),
            _ => panic!("no rival"),
        };
        assert_eq!(rival_of(&mut first, &bid), (later.as_c_str().to_owned(), false));
        assert_eq!(rival_of(&mut second, &later), (bid.as_c_str().to_owned(), true));
    }

    /// On other systems a deleted name stays while its file is open.
    #[cfg(unix)]
    #[test]
    fn a_bid_that_was_deleted_is_unseen() {
        let folder = Scratch::new();
        let mut claimant = folder.folder();
        let bid = claimant.post().unwrap();
        std::fs::remove_file(folder.join(bid.as_c_str().to_str().unwrap())).unwrap();
        assert!(matches!(claimant.check(&bid), Ok(Check::Unseen)));
        assert_eq!(claimant.unseen(&bid).unwrap().kind(), ErrorKind::Busy);
    }
}
