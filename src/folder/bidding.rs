//! The claimant's own bid: to publish it, to find it, and to take it back, whatever others did to it meanwhile.

use std::ffi::{CStr, CString};
use std::io;

use super::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::claim::{self, Claim};
use crate::folder::location::{join, TRIES};
use crate::folder::strays::{self, Stray};
use crate::owner::bid::{is_bid_name, BidName, MAX_BYTES};
use crate::sys::{Dir, Filesystem, Opened};

/// What has the name of a bid of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The file that we prepared.
    Ours,
    /// Somebody put it there.
    Another,
    Nothing,
}

/// What became of a bid that we took back.
pub(super) enum Withdrawn {
    Deleted,
    /// It was not there any more; or it has this name now, where we can't delete it.
    Missing(Option<CString>),
}

impl Withdrawn {
    fn of(deleted: io::Result<()>) -> io::Result<Withdrawn> {
        match deleted {
            Ok(()) => Ok(Withdrawn::Deleted),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Withdrawn::Missing(None)),
            Err(e) => Err(e),
        }
    }

    /// The name that it keeps.
    pub fn left(&self) -> Option<&CStr> {
        match self {
            Withdrawn::Missing(Some(name)) => Some(name),
            _ => None,
        }
    }
}

impl Folder {
    /// Posts a bid under a fresh name.
    pub fn publish(&mut self) -> Result<BidName> {
        for left in (0..TRIES).rev() {
            let bid = self.fresh_name()?;
            let is_new = !self.claim.as_ref().is_some_and(Claim::is_current);
            self.renew_claim()?;
            let file = self.claim.as_ref().map(Claim::file_id);
            self.stray = Some(Stray { bid, file });
            let error = match self.publish_as(&bid) {
                Ok(()) => return Ok(bid),
                Err(e) => e,
            };
            let advice = claim::advice(&error);
            // Somebody deleted the claim or the sub-folder: make them again. (If it is the lock folder, that fails.) Or the claim
            // is another user's, because the process has another user now; a new one is not.
            let can_be_mended = Dir::has_vanished(&error) || Dir::is_not_ours(&error) && !is_new;
            let error = Error::io("publish the bid", join(&self.path, bid.as_c_str()), error).advising(advice);
            // What a network reports as failed may have been done all the same.
            let error = self.withdraw_after(bid, error);
            if !can_be_mended || self.stray.is_some() || left == 0 {
                return Err(error);
            }
            self.claim = None;
        }
        unreachable!("the last try returns")
    }

    fn publish_as(&mut self, bid: &BidName) -> io::Result<()> {
        let claim = self.claim.as_mut().expect("prepared by the caller");
        claim.publish(&self.location.dir, bid)
    }

    /// Takes back a bid that didn't win. The result is `error`. If even that fails, it is an error that says so: nobody goes on as after
    /// an outcome to expect, while a bid of ours keeps everybody out.
    pub fn withdraw_after(&mut self, bid: BidName, error: Error) -> Error {
        let path = join(&self.path, bid.as_c_str());
        match self.delete_own(&bid) {
            Ok(withdrawn) => {
                self.stray = None;
                match withdrawn.left() {
                    Some(name) => error.leaving(join(&self.path, name)),
                    None => error,
                }
            }
            Err(e) => {
                self.keep_as_stray(bid);
                let is_outcome = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Timeout | ErrorKind::Cancelled);
                let error = match is_outcome {
                    true => {
                        let advice = claim::advice_on_withdrawal(&e).or(Some(
                            "the lock is not held, but the bid keeps others out while this process lives; the next call on \
                             this handle, or the next lock of this process, tries again to delete it",
                        ));
                        Error::io("delete our bid", &*path, e).advising(advice)
                    }
                    false => error,
                };
                error.leaving(path)
            }
        }
    }

    fn keep_as_stray(&mut self, bid: BidName) {
        self.stray = Some(Stray { bid, file: self.claim.as_ref().map(Claim::file_id) });
    }

    /// Tries again what [`Self::withdraw_after`] could not do.
    pub fn delete_stray(&mut self) -> Result<()> {
        strays::delete();
        let Some(Stray { bid: stray, file }) = self.stray else { return Ok(()) };
        if let Err(e) = self.delete(&stray) {
            // What was in the claim's place when we published it: a rival's, to be judged like any other.
            let is_anothers = file.is_some_and(
                |ours| matches!(self.location.dir.file_id(stray.as_c_str()), Ok(Some(found)) if found != ours),
            ) && self.location.on.has_stable_numbers();
            if !is_anothers && !Dir::id_at(&self.path).is_ok_and(|now| now != self.location.id) {
                return Err(Error::io("delete our old bid", join(&self.path, stray.as_c_str()), e));
            }
            if !is_anothers {
                strays::remember(&self.path, self.location.id, stray); // it is in a folder that is not at the path any more
            }
        }
        self.stray = None;
        Ok(())
    }

    /// Deletes the bid of our claim.
    pub(super) fn delete_own(&self, bid: &BidName) -> io::Result<Withdrawn> {
        match &self.claim {
            Some(claim) => match Withdrawn::of(claim.withdraw(&self.location.dir, bid))? {
                Withdrawn::Missing(_) => Ok(Withdrawn::Missing(self.delete_renamed(claim))),
                Withdrawn::Deleted => Ok(Withdrawn::Deleted),
            },
            None => self.delete(bid),
        }
    }

    /// The same for a bid that need not be of our claim.
    pub(super) fn delete(&self, bid: &BidName) -> io::Result<Withdrawn> {
        match self.find_bid(bid) {
            Ok(Found::Ours) => self.delete_own(bid), // where the claim moves, it is the claim itself
            _ => Withdrawn::of(self.location.dir.unlink(bid.as_c_str())),
        }
    }

    /// Our bid is not at its name. Somebody may have given it the name of another bid: by that it would count as live while this
    /// process lives. The result is a name that it keeps, because it could not be deleted there.
    fn delete_renamed(&self, claim: &Claim) -> Option<CString> {
        if !self.location.on.has_stable_numbers() {
            return None; // nothing tells two files apart
        }
        let (ours, mut names) = (claim.file_id(), Vec::new());
        let note = |name: &CStr, number| {
            if number == ours.number() && is_bid_name(name) {
                names.push(name.to_owned());
            }
        };
        let _ = self.location.dir.list(false, note);
        names.retain(|name| matches!(self.location.dir.file_id(name), Ok(Some(found)) if found == ours));
        names.into_iter().find(|name| Withdrawn::of(self.location.dir.unlink(name)).is_err())
    }

    /// Whether the bid that a listing shows, with this number, is the file that we prepared. Another file has our name where
    /// somebody swapped the claim just before we published it; others would judge that file, and not us.
    pub fn is_ours(&mut self, bid: &BidName, number: Option<u64>) -> Result<bool> {
        let Some(number) = number else { return Ok(false) };
        let is_ours = self.claim.as_ref().is_some_and(|claim| claim.file_id().number() == number)
            || self.find_bid(bid)? == Found::Ours;
        if !is_ours {
            self.claim.iter_mut().for_each(Claim::distrust); // the next try makes a new one
        }
        Ok(is_ours)
    }

    /// What has the name of a bid of ours in the folder.
    pub fn find_bid(&self, bid: &BidName) -> Result<Found> {
        let found = self.location.dir.file_id(bid.as_c_str()).and_then(|found| {
            Ok(match (found, &self.claim) {
                (None, _) => Found::Nothing,
                (Some(found), Some(claim)) if found == claim.file_id() => Found::Ours,
                // A file's names may have a number each here (sshfs), but another file says something else.
                (Some(_), Some(claim)) if self.location.on == Filesystem::Trusted => {
                    match (self.location.dir.open_small(bid.as_c_str())?, self.location.dir.stat_at(bid.as_c_str())?) {
                        (Opened::File(file), Some(stat)) if claim.says(&file.read(MAX_BYTES)?, &stat) => Found::Ours,
                        (Opened::Gone, _) | (_, None) => Found::Nothing,
                        _ => Found::Another,
                    }
                }
                _ => Found::Another,
            })
        });
        found.map_err(|e| Error::io("look for our bid", join(&self.path, bid.as_c_str()), e))
    }
}
