//! A lock folder as the [`Place`] of the protocol: each step is an act on the folder.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Claimant, Found};
use crate::bid::Guid;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Backoff, Check, Place};
use crate::rival::Rival;

/// How long the first of several bidders waits for the others to withdraw. They need two system calls for it; a holder
/// never does.
const TIE_BREAK: Duration = Duration::from_millis(5);

impl Place for Claimant {
    type Bid = Guid;
    type Rival = Arc<Rival>;

    fn enter(&mut self) -> Result<()> {
        self.enter_folder()
    }

    fn glance(&mut self) -> Result<Option<Arc<Rival>>> {
        self.look(|eyes, memory| eyes.glance(memory))
    }

    fn post(&mut self) -> Result<Guid> {
        self.publish()
    }

    fn check(&mut self, own: &Guid) -> Result<Check<Arc<Rival>>> {
        let seen = self.scan(Some(own))?;
        Ok(match seen.rival {
            Some(rival) => Check::Rival(rival),
            None if self.is_ours(own, seen.own)? => Check::Alone,
            None => Check::Unseen,
        })
    }

    /// By its name, which begins with the time.
    fn precedes(&self, rival: &Arc<Rival>, own: &Guid) -> bool {
        rival.name.as_c_str() < own.as_c_str()
    }

    fn unseen(&mut self, own: &Guid) -> Result<Error> {
        Ok(match self.find_bid(own)? {
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

    fn take_back(&mut self, bid: Guid, error: Error) -> Error {
        self.withdraw_after(bid, error)
    }

    fn busy(&self, rival: &Arc<Rival>) -> Error {
        Error::busy(self.path(), rival.holder())
    }

    fn check_process(&self) -> Result<()> {
        self.check_owner()
    }

    fn tie_break(&mut self) -> Backoff {
        Backoff::new(Instant::now(), TIE_BREAK)
    }

    fn pause(&mut self, backoff: &mut Backoff) -> bool {
        let pause = backoff.next(Instant::now());
        pause.into_iter().for_each(thread::sleep);
        pause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_check_shows_our_bid_alone_or_unseen_or_the_first_rival() {
        let folder = Scratch::new();
        let (mut first, mut second) = (folder.claimant(), folder.claimant());
        let bid = first.post().unwrap();
        assert!(matches!(first.check(&bid), Ok(Check::Alone)));
        let later = second.post().unwrap();
        let rival_of = |claimant: &mut Claimant, own: &Guid| match claimant.check(own).unwrap() {
            Check::Rival(rival) => (rival.name.clone(), claimant.precedes(&rival, own)),
            _ => panic!("no rival"),
        };
        assert_eq!(rival_of(&mut first, &bid), (later.as_c_str().to_owned(), false));
        assert_eq!(rival_of(&mut second, &later), (bid.as_c_str().to_owned(), true));
        second.take_back(later, Error::fixed(ErrorKind::Busy, ""));
        std::fs::remove_file(folder.join(bid.as_c_str().to_str().unwrap())).unwrap();
        assert!(matches!(first.check(&bid), Ok(Check::Unseen)));
        assert_eq!(first.unseen(&bid).unwrap().kind(), ErrorKind::Busy);
    }

    /// The first of two bids gives the other at least 5 ms to withdraw.
    #[test]
    fn a_tie_break_lasts_as_long_as_it_says() {
        let folder = Scratch::new();
        let mut claimant = folder.claimant();
        let began = Instant::now();
        let mut backoff = claimant.tie_break();
        while claimant.pause(&mut backoff) {}
        assert!(began.elapsed() >= TIE_BREAK);
    }
}
