//! What a user asks of a claimant, but for the lock itself.

use std::io;
use std::sync::Arc;

use super::bidding::Found;
use super::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::claim::Claim;
use crate::folder::fence;
use crate::folder::location::{join, sweep_staged};
use crate::folder::names;
use crate::folder::queue;
use crate::folder::strays;
use crate::folder::sweep;
use crate::owner::bid::BidName;
use crate::owner::rival::Rival;
use crate::sys::Dir;

impl Folder {
    pub fn holds(&self, bid: &BidName) -> Result<()> {
        match Dir::id_at(&self.path) {
            Ok(now) if now == self.location.id => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("find the lock folder", &*self.path, e))
            }
            // The path leads elsewhere now, because this process has another root. Where it led, the folder is as it was.
            _ if super::root() != self.root => {}
            _ => {
                let text = format!(
                    "the lock folder {} was deleted, moved or replaced while we held it, or this process has other mounts now",
                    self.path.display()
                );
                return Err(Error::new(ErrorKind::Lost, text));
            }
        }
        match self.find_bid(bid)? {
            Found::Ours => Ok(()),
            Found::Another | Found::Nothing => Err(self.lost(bid)),
        }
    }

    /// All bids, judged, and whether each is ours.
    pub fn bids(&mut self, held: Option<&BidName>) -> Result<Vec<(Rival, bool)>> {
        self.find_folder_unless(held.is_some())?;
        let rivals = self.scanner_of(&self.location.dir).rivals();
        let rivals = rivals.map_err(|e| Error::io("read the bids in", &*self.path, e))?;
        let stray = self.stray.map(|stray| stray.bid);
        let own = [held, stray.as_ref()].map(|bid| bid.map(BidName::as_c_str));
        let info = |rival: Rival| {
            let is_own = own.contains(&Some(rival.name.as_c_str()));
            (rival, is_own)
        };
        Ok(rivals.into_iter().map(info).collect())
    }

    pub fn reap_stale(&mut self, held: Option<&BidName>) -> Result<usize> {
        strays::delete();
        self.find_folder_unless(held.is_some())?;
        let reaped = self.scanner_of(&self.location.dir).reap_all(held.map(BidName::as_c_str));
        let reaped = reaped.map_err(|e| Error::io("reap the bids in", &*self.path, e))?;
        sweep_staged(&self.location.dir, names::HIDDEN);
        if let Ok(hidden) = self.location.dir.open_dir(names::HIDDEN) {
            sweep_staged(&hidden, names::QUEUE);
            sweep::sweep_all(&self.scanner_of(&hidden), self.claim.as_ref().map(Claim::id));
            queue::sweep(&hidden, |claim| self.is_gone(&hidden, claim));
        }
        Ok(reaped)
    }

    pub fn fence(&mut self, bid: &BidName) -> Result<u64> {
        self.holds(bid)?;
        let failed = |doing| {
            let path = self.hidden_path();
            move |e| Error::io(doing, path, e)
        };
        // Somebody may have moved aside the sub-folder that the claim is in. Then others count in the one at its place.
        let claim = self.claim.as_ref().expect("a holder has a claim");
        let hidden =
            self.location.dir.file_id(names::HIDDEN).and_then(|now| match now == Some(claim.hidden().stat()?.id) {
                true => Ok(Arc::clone(claim.hidden())),
                false => self.location.dir.open_dir(names::HIDDEN).map(Arc::new),
            });
        let hidden = hidden.map_err(failed("find the last fencing token in"))?;
        self.check_counter(&hidden)?;
        let token = fence::next(&hidden, !self.location.on.is_local(), || self.holds(bid));
        let token = token.map_err(failed("make a fencing token in"))??;
        // The folders above may be as new as their first token. Cheap where nothing is to be written.
        self.location.sync().map_err(failed("make a fencing token durable in"))?;
        self.holds(bid)?; // a disk may have taken its time, and others may have been given a larger one
        Ok(token)
    }

    /// The sub-folder's owner could delete tokens, so it must be a user who could do as much in the lock folder.
    fn check_counter(&self, hidden: &Dir) -> Result<()> {
        let failed = |e| Error::io("look at", self.hidden_path(), e);
        let (above, below) = (self.location.dir.stat().map_err(failed)?, hidden.stat().map_err(failed)?);
        if below.may_be_trusted_in(&above) {
            return Ok(());
        }
        let text = format!(
            "no fencing token: {} {}, so a user could delete the tokens there who {}; have it made by root or by the owner of the \
             lock folder",
            self.hidden_path().display(),
            below.access(),
            match above.is_sticky() {
                true => "could delete nothing of others in the lock folder, which is sticky",
                false => "may not write to the lock folder",
            },
        );
        Err(Error::new(ErrorKind::Unsafe, text))
    }

    /// A holder stays with the folder that the bid is in.
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
