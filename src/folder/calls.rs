//! What a user can ask of a claimant, apart from the lock itself.

use std::io;
use std::sync::Arc;

use super::bidding::Found;
use super::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::broom::Hidden;
use crate::folder::claim::Claim;
use crate::folder::fence;
use crate::folder::lease::files;
use crate::folder::location::{join, not_listed, sweep_staged};
use crate::folder::names;
use crate::folder::queue;
use crate::folder::strays;
use crate::folder::sweep;
use crate::owner::bid::BidName;
use crate::owner::liveness::Verdict;
use crate::owner::rival::{Entry, Rival};
use crate::sys::{self, Dir};

impl Folder {
    pub fn holds(&self, bid: &BidName) -> Result<()> {
        self.loss_of_lease().map_or(Ok(()), Err)?;
        match Dir::id_at(&self.path) {
            Ok(now) if now == self.location.id => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("find the lock folder", &*self.path, e))
            }
            // The path leads elsewhere because this process has another root now. Nothing happened to the folder that
            // it led to.
            _ if super::root() != self.root => {}
            _ => {
                let text = format!(
                    "the lock folder {} was deleted, moved or replaced while we held the lock, or the mounts of this process \
                     changed",
                    self.path.display()
                );
                return Err(Error::new(ErrorKind::Lost, text));
            }
        }
        match self.find_bid(bid)? {
            Found::Ours => self.loss_of_lease().map_or(Ok(()), Err), // the look may have taken long
            Found::Another | Found::Nothing => Err(self.lost(bid)),
        }
    }

    /// All bids with their verdicts, and for each whether it is ours.
    pub fn bids(&mut self, held: Option<&BidName>) -> Result<Vec<(Rival, bool)>> {
        self.find_folder_unless(held.is_some())?;
        let rivals = self.scanner_of(&self.location.dir).rivals();
        let rivals = rivals.map_err(|e| Error::io("read the bids in", &*self.path, e))?;
        let stray = self.stray.map(|stray| stray.bid);
        let own = [held, stray.as_ref()].map(|bid| bid.map(BidName::as_c_str));
        let leased: Vec<Entry> =
            rivals.iter().filter(|rival| rival.lease().is_some()).map(|rival| (rival.name.clone(), 0)).collect();
        if !leased.is_empty() {
            let looked = self.memory.leases.look(&self.location.dir, &leased);
            looked.map_err(|e| Error::io("look at the leases in", self.hidden_path(), e))?;
        }
        let leases = &self.memory.leases;
        let info = |mut rival: Rival| {
            if rival.verdict == Verdict::Unknown && leases.was_renewed(&rival.name) {
                rival.verdict = Verdict::Live;
            }
            let is_own = own.contains(&Some(rival.name.as_c_str()));
            (rival, is_own)
        };
        Ok(rivals.into_iter().map(info).collect())
    }

    pub fn reap_stale(&mut self, held: Option<&BidName>) -> Result<usize> {
        strays::delete(&self.path, &self.location.dir, self.location.id);
        self.find_folder_unless(held.is_some())?;
        let taker = self.taker_by_claim(held.is_some())?;
        let mut leases = std::mem::take(&mut self.memory.leases);
        let scanner = self.scanner_of(&self.location.dir);
        let reaped = scanner.reap_all(&mut leases, held.map(BidName::as_c_str), taker.as_ref());
        self.memory.leases = leases;
        let reaped = reaped.map_err(|e| not_listed("reap the bids in", &self.path, e))?;
        sweep_staged(&self.location.dir, names::HIDDEN);
        Hidden::clean(&self.location.dir, |broom| {
            if self.location.on.is_local() {
                files::remove_orphans(&self.location.dir, broom);
            }
            sweep_staged(broom.dir(), names::QUEUE);
            sweep::sweep_all(&self.scanner_of(broom.dir()), broom, self.claim.as_ref().map(Claim::id));
            queue::sweep(broom.dir(), Some(broom), usize::MAX, |ticket| self.is_gone(broom.dir(), ticket.claim));
        });
        Ok(reaped)
    }

    pub fn fence(&mut self, bid: &BidName) -> Result<u64> {
        self.holds(bid)?;
        let failed = |doing| {
            let path = self.hidden_path();
            move |e| Error::io(doing, path, e)
        };
        // Somebody may have moved the claim's sub-folder aside. Other claimants then make their tokens in the
        // sub-folder that replaced it.
        let claim = self.claim.as_ref().expect("a holder has a claim");
        let hidden =
            self.location.dir.file_id(names::HIDDEN).and_then(|now| match now == Some(claim.hidden().stat()?.id) {
                true => Ok(Arc::clone(claim.hidden())),
                false => Hidden::open(&self.location.dir).map(Arc::new),
            });
        let hidden = hidden.map_err(failed("find the last fencing token in"))?;
        self.check_counter(&hidden)?;
        hidden.look(&self.location.dir);
        let is_alone = self.slots.tolerates_company().then_some(|| {
            let mut others = Vec::new();
            let listed = self.scanner_of(&self.location.dir).list(&mut others, Some(bid.as_c_str()));
            listed.is_ok() && others.is_empty()
        });
        let token = fence::next(&hidden, !self.location.on.is_local(), || self.holds(bid), is_alone);
        let token = token.map_err(failed("make a fencing token in"))??;
        // The folders above may be as new as their first token. Where nothing is to be written, this is cheap.
        self.location.sync().map_err(failed("make a fencing token durable in"))?;
        self.holds(bid)?; // a slow disk may have delayed us, and another holder may have got a larger token meanwhile
        Ok(token)
    }

    /// The owner of the sub-folder could delete tokens, and so could the owner of a token: we. Each must therefore be a
    /// user that could also delete bids of others in the lock folder.
    fn check_counter(&self, hidden: &Dir) -> Result<()> {
        let failed = |e| Error::io("look at", self.hidden_path(), e);
        if sys::may_be_trusted_in(hidden, &self.location.dir).map_err(failed)? {
            return match sys::may_delete_no_more_in(hidden, &self.location.dir).map_err(failed)? {
                true => Ok(()),
                false => Err(Error::new(
                    ErrorKind::Unsafe,
                    format!(
                        "no fencing token: {} is sticky, so this user could delete its own token there, and a later \
                         token could be smaller. In a sticky folder only root and the owner of the lock folder get \
                         tokens. Let one of them lock, or use a folder that is not sticky, for users who trust each other",
                        self.hidden_path().display()
                    ),
                )),
            };
        }
        let (above, below) = (self.location.dir.stat().map_err(failed)?, hidden.stat().map_err(failed)?);
        let text = format!(
            "no fencing token: {} {}, so tokens there could be deleted by a user who {}. Let root or the owner of the lock \
             folder make it",
            self.hidden_path().display(),
            below.access(),
            match above.is_sticky() {
                true => "can't delete others' files in the lock folder, which is sticky",
                false => "may not write to the lock folder",
            },
        );
        Err(Error::new(ErrorKind::Unsafe, text))
    }

    /// While we hold the lock or have a stray bid, we stay with the folder that our bid is in.
    fn find_folder_unless(&mut self, held: bool) -> Result<()> {
        match held || self.stray.is_some() {
            true => Ok(()),
            false => self.find_folder(),
        }
    }

    pub(super) fn lost(&self, bid: &BidName) -> Error {
        let bid = join(&self.path, bid.as_c_str());
        let text = format!("the lock was lost: somebody deleted, renamed or replaced our bid {}", bid.display());
        Error::new(ErrorKind::Lost, text)
    }
}
