//! What a user asks of a claimant, but for the lock itself: to give it back, and who is there.

use std::io;
use std::sync::Arc;

use super::bidding::Withdrawn;
use super::{Claimant, Found};
use crate::bid::Guid;
use crate::bids::BidInfo;
use crate::claim::{self, Claim};
use crate::error::{BidState, Error, ErrorKind, Result};
use crate::place::{join, sweep_staged};
use crate::rival::Rival;
use crate::sys::{Dir, News};
use crate::{fence, queue, strays, sweep};

impl Claimant {
    pub fn unlock(&mut self) -> Result<()> {
        let bid = *self.held_bid()?;
        let withdrawn = match self.withdraw(&bid) {
            // Something else is there, which unlink(2) can't delete: a folder.
            Err(_) if matches!(self.find_bid(&bid), Ok(Found::Another)) => Withdrawn::Missing(None),
            withdrawn => withdrawn.map_err(|e| {
                let advice = claim::advice_on_withdrawal(&e);
                Error::io("delete the bid", join(&self.path, bid.as_c_str()), e).advising(advice)
            })?,
        };
        self.held = None;
        self.leave_line(News::HandedOver);
        self.sweep_reaped();
        if matches!(withdrawn, Withdrawn::Deleted) {
            return Ok(());
        }
        // It may have been the claim too, where the claim moves.
        self.claim = None;
        let lost = self.lost(&bid);
        Err(match withdrawn.left() {
            Some(name) => lost.leaving(join(&self.path, name)),
            None => lost,
        })
    }

    /// The lock is held, and everybody who goes by the path sees that.
    pub fn holds(&self) -> Result<()> {
        let bid = self.held_bid()?;
        match Dir::id_at(&self.path) {
            Ok(now) if now == self.place.id => {}
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

    pub fn in_use(&mut self) -> Result<bool> {
        let bids = self.bids()?;
        Ok(bids.iter().any(|bid| !matches!(bid.state, BidState::Own | BidState::Stale)))
    }

    pub fn bids(&mut self) -> Result<Vec<BidInfo>> {
        self.find_folder_unless_held()?;
        let rivals = self.eyes_on(&self.place.dir).rivals();
        let rivals = rivals.map_err(|e| Error::io("read the bids in", &*self.path, e))?;
        let stray = self.stray.map(|stray| stray.bid);
        let own = [&self.held, &stray].map(|bid| bid.as_ref().map(Guid::as_c_str));
        let info = |rival: Rival| {
            let is_own = own.contains(&Some(rival.name.as_c_str()));
            BidInfo::new(rival, is_own)
        };
        Ok(rivals.into_iter().map(info).collect())
    }

    pub fn reap_stale(&mut self) -> Result<usize> {
        strays::delete();
        self.find_folder_unless_held()?;
        let reaped = self.eyes_on(&self.place.dir).reap_all(self.held.as_ref().map(Guid::as_c_str));
        let reaped = reaped.map_err(|e| Error::io("reap the bids in", &*self.path, e))?;
        sweep_staged(&self.place.dir, claim::HIDDEN);
        if let Ok(hidden) = self.place.dir.open_dir(claim::HIDDEN) {
            sweep_staged(&hidden, queue::QUEUE);
            sweep::sweep_all(&self.eyes_on(&hidden), self.claim.as_ref().map(Claim::id));
            queue::sweep(&hidden, |claim| self.is_gone(&hidden, claim));
        }
        Ok(reaped)
    }

    pub fn fence(&mut self) -> Result<u64> {
        self.holds()?;
        let failed = |doing| {
            let path = self.hidden_path();
            move |e| Error::io(doing, path, e)
        };
        // Somebody may have moved aside the sub-folder that the claim is in. Then others count in the one at its place.
        let claim = self.claim.as_ref().expect("who holds has a claim");
        let hidden =
            self.place.dir.file_id(claim::HIDDEN).and_then(|now| match now == Some(claim.hidden().stat()?.id) {
                true => Ok(Arc::clone(claim.hidden())),
                false => self.place.dir.open_dir(claim::HIDDEN).map(Arc::new),
            });
        let hidden = hidden.map_err(failed("find the last fencing token in"))?;
        self.check_counter(&hidden)?;
        let token = fence::next(&hidden, !self.place.on.is_local(), || self.holds());
        let token = token.map_err(failed("make a fencing token in"))??;
        // The folders above may be as new as their first token. Cheap where nothing is to be written.
        self.place.sync().map_err(failed("make a fencing token durable in"))?;
        self.holds()?; // a disk may have taken its time, and others may have been given a larger one
        Ok(token)
    }

    /// The sub-folder's owner could delete tokens, so it must be somebody who could do as much in the lock folder.
    fn check_counter(&self, hidden: &Dir) -> Result<()> {
        let failed = |e| Error::io("look at", self.hidden_path(), e);
        let (above, below) = (self.place.dir.stat().map_err(failed)?, hidden.stat().map_err(failed)?);
        if below.may_be_trusted_in(&above) {
            return Ok(());
        }
        let text = format!(
            "no fencing token: {} {}, so a user could delete the tokens there who {}; have it made by root or by the owner of the \
             lock folder",
            self.hidden_path().display(),
            below.access(),
            if above.is_sticky() { "could delete nothing of others in the lock folder, which is sticky" } else { "may not write to the lock folder" },
        );
        Err(Error::new(ErrorKind::Unsafe, text))
    }

    /// A holder stays with the folder that the bid is in.
    fn find_folder_unless_held(&mut self) -> Result<()> {
        match self.held.is_some() || self.stray.is_some() {
            true => Ok(()),
            false => self.find_folder(),
        }
    }

    fn held_bid(&self) -> Result<&Guid> {
        let not_held = || Error::misuse(ErrorKind::NotHeld, &self.path, "does not hold the lock");
        self.held.as_ref().ok_or_else(not_held)
    }

    fn lost(&self, bid: &Guid) -> Error {
        let bid = join(&self.path, bid.as_c_str());
        let text = format!("the lock was lost: somebody deleted, renamed or replaced our bid {}", bid.display());
        Error::new(ErrorKind::Lost, text)
    }
}
