//! How a bid of ours gets into the folder, and out of it again.

use std::io;

use super::Claimant;
use crate::bid::Guid;
use crate::error::{Error, Result};
use crate::place::join;
use crate::sys::{Filesystem, News};

impl Claimant {
    /// Posts a bid under a fresh name in the folder that is at the path now. If that isn't the one that is open any more, the
    /// next check finds no bid of ours there.
    pub fn publish(&mut self) -> Result<Guid> {
        let bid = self.fresh_name()?;
        let was_new = self.renew_claim()?;
        if self.publish_through_path(&bid) {
            return Ok(bid);
        }
        self.find_folder()?;
        let is_new = self.renew_claim()? || was_new;
        match self.publish_as(&bid) {
            Ok(()) => Ok(bid),
            // Somebody deleted the claim or the sub-folder: make them again, once.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !is_new => {
                self.claim = None;
                self.publish()
            }
            Err(e) => {
                let error = Error::io("publish the bid", join(&self.path, bid.as_c_str()), e);
                // What a network reports as failed may have been done all the same.
                Err(self.withdraw_after(bid, error))
            }
        }
    }

    /// One system call less than to look first which folder is at the path. False: it can't be done so.
    fn publish_through_path(&self, bid: &Guid) -> bool {
        // Whether another folder is private must be seen before anything gets into it.
        self.place.on == Filesystem::Local
            && !self.options.private
            && self.claim.as_ref().is_some_and(|claim| claim.publish_through(&self.path, bid).is_ok())
    }

    fn publish_as(&mut self, bid: &Guid) -> io::Result<()> {
        let claim = self.claim.as_mut().expect("prepared by the caller");
        claim.publish(&self.place.dir, bid)
    }

    pub fn hold(&mut self, bid: Guid) {
        self.held = Some(bid);
    }

    /// Takes back a bid that didn't win. The result is `error`, which says so if even that fails.
    pub fn withdraw_after(&mut self, bid: Guid, error: Error) -> Error {
        match self.withdraw(&bid) {
            Ok(_) => error,
            Err(_) => {
                self.stray = Some(bid);
                error.leaving(join(&self.path, bid.as_c_str()))
            }
        }
    }

    /// Takes back a bid that won all the same, if we still have it.
    pub fn give_back(&mut self, error: Error) -> Error {
        self.leave_line(News::Left);
        match self.held.take() {
            Some(bid) => self.withdraw_after(bid, error),
            None => error,
        }
    }

    pub fn has_stray(&self) -> bool {
        self.stray.is_some()
    }

    /// Tries again what [`Self::withdraw_after`] could not do.
    pub fn delete_stray(&mut self) -> Result<()> {
        if let Some(stray) = self.stray {
            self.withdraw(&stray)
                .map_err(|e| Error::io("delete our old bid", join(&self.path, stray.as_c_str()), e))?;
            self.stray = None;
        }
        Ok(())
    }

    /// False: the bid was not there any more.
    pub(super) fn withdraw(&mut self, bid: &Guid) -> io::Result<bool> {
        let Some(claim) = &self.claim else {
            return Ok(false);
        };
        match claim.withdraw(&self.place.dir, bid) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if claim.recall(&self.path, bid) {
                    self.claim = None;
                }
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// A name that nobody has used or will use.
    pub fn fresh_name(&mut self) -> Result<Guid> {
        self.random.name().map_err(|e| Error::io("get random bits for a name in", &*self.path, e))
    }
}
