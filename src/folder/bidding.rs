//! The claimant's own bid: how it is published, found, and taken back, whatever other processes did to it meanwhile.

use std::ffi::{CStr, CString};
use std::io;

use super::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::claim::{self, Claim};
use crate::folder::location::{self, join, TRIES};
use crate::folder::strays::{self, Stray};
use crate::owner::bid::{is_bid_name, BidName, MAX_BYTES};
use crate::protocol::Place;
use crate::sys::{Dir, Filesystem, Opened};

/// What the folder has under the name of our bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The file that we prepared.
    Ours,
    /// Another file, which somebody else put there.
    Another,
    Nothing,
}

/// The result of taking a bid back.
pub(super) enum Withdrawn {
    Deleted,
    /// The bid was already missing. `Some`: it has been renamed, and we can't delete it under this name.
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

    /// The name under which the bid is left.
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
            let is_new = self.renew_claim()?;
            self.note_posting();
            let file = self.claim.as_ref().map(Claim::file_id);
            self.stray = Some(Stray { bid, file });
            // A signal handler may have forked. From here to the link the name is chosen. A child that is forked in
            // between uses the same name; the parent then finds the name taken, and deletes the child's bid below.
            self.check_process()?;
            let published = self.publish_as(&bid);
            self.check_process()?;
            let Err(error) = published else { return Ok(bid) };
            let advice = claim::advice(&error).or_else(|| location::advice(&self.path, &error));
            // Somebody deleted the claim or the sub-folder: make them again. (If it is the lock folder, that fails.) Or the claim
            // is another user's, because the process has another user now, or because somebody changes the owners (`chown -R`).
            let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
            let can_be_mended =
                is_taken || Dir::has_vanished(&error) || Dir::is_not_ours(&error) && (!is_new || !self.claim_is_ours());
            let error = Error::io("publish the bid", join(&self.path, bid.as_c_str()), error).advising(advice);
            // A network filesystem may have carried out an operation that it reports as failed.
            let error = self.withdraw_after(bid, error);
            if !can_be_mended || self.stray.is_some() || left == 0 {
                return Err(error);
            }
            if !is_taken {
                self.claim = None;
            }
        }
        unreachable!("the last try returns")
    }

    fn publish_as(&mut self, bid: &BidName) -> io::Result<()> {
        let claim = self.claim.as_mut().expect("prepared by the caller");
        claim.publish(&self.location.dir, bid)
    }

    /// Takes back a bid that did not win, and returns `error`. If the bid can't be taken back after an ordinary outcome
    /// (busy, timeout, cancelled), the result is an I/O error instead: the caller must learn that our bid still keeps
    /// other claimants out.
    pub fn withdraw_after(&mut self, bid: BidName, error: Error) -> Error {
        if let Err(forked) = self.check_process() {
            return forked; // the bid is our parent's
        }
        let path = join(&self.path, bid.as_c_str());
        match self.delete_own(&bid) {
            Ok(withdrawn) => {
                self.stray = None;
                self.end_lease(true);
                match withdrawn.left() {
                    Some(name) => error.leaving(join(&self.path, name)),
                    None => error,
                }
            }
            Err(e) => {
                self.keep_as_stray(bid);
                self.end_lease(false);
                let is_outcome = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Timeout | ErrorKind::Cancelled);
                let error = match is_outcome {
                    true => {
                        let advice = location::advice_on_withdrawal(&self.path, bid.as_c_str(), &e).or(Some(
                            "the lock is not held, but the bid keeps others out while this process lives. The next call on \
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

    pub(super) fn keep_as_stray(&mut self, bid: BidName) {
        self.stray = Some(Stray { bid, file: self.claim.as_ref().map(Claim::file_id) });
    }

    /// Tries again to delete the stray that [`Self::withdraw_after`] could not delete.
    pub fn delete_stray(&mut self) -> Result<()> {
        self.check_process()?;
        strays::delete(&self.path, &self.location.dir, self.location.id);
        let Some(Stray { bid: stray, file }) = self.stray else { return Ok(()) };
        if let Err(e) = self.delete(&stray) {
            // We published another file, which somebody had put in the place of our claim. That file is judged like the
            // bid of any rival.
            let is_anothers = file.is_some_and(
                |ours| matches!(self.location.dir.file_id(stray.as_c_str()), Ok(Some(found)) if found != ours),
            ) && self.location.on.has_stable_numbers();
            if !is_anothers && !Dir::id_at(&self.path).is_ok_and(|now| now != self.location.id) {
                let advice = location::advice_on_withdrawal(&self.path, stray.as_c_str(), &e);
                return Err(Error::io("delete our old bid", join(&self.path, stray.as_c_str()), e).advising(advice));
            }
            if !is_anothers {
                // The stray is in a folder that is no longer at the path.
                strays::remember(&self.path, self.location.id, stray);
            }
        }
        self.stray = None;
        Ok(())
    }

    /// Deletes a bid that is a link of our claim.
    pub(super) fn delete_own(&self, bid: &BidName) -> io::Result<Withdrawn> {
        match &self.claim {
            Some(claim) => match Withdrawn::of(claim.withdraw(&self.location.dir, bid))? {
                Withdrawn::Missing(_) => Ok(Withdrawn::Missing(self.delete_renamed(claim))),
                Withdrawn::Deleted => Ok(Withdrawn::Deleted),
            },
            None => self.delete(bid),
        }
    }

    /// Deletes a bid that need not be a link of our claim.
    pub(super) fn delete(&self, bid: &BidName) -> io::Result<Withdrawn> {
        match self.find_bid(bid) {
            Ok(Found::Ours) => self.delete_own(bid), // where the claim moves, the bid is the claim itself
            _ => Withdrawn::of(self.location.dir.unlink(bid.as_c_str())),
        }
    }

    /// Our bid is not at its name. Somebody may have given it the name of another bid, and under that name it would
    /// count as live while this process lives. This deletes it there. The result is a name that could not be deleted.
    fn delete_renamed(&self, claim: &Claim) -> Option<CString> {
        // In a forked child the claim is the parent's, and may be the parent's next bid by now. And where file numbers
        // are not stable, we can't tell one file from another.
        if self.check_process().is_err() || !self.location.on.has_stable_numbers() {
            return None;
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

    /// Whether the bid that a listing shows with this number is the file that we prepared. It is another file if
    /// somebody swapped our claim just before we published it. Rivals would then judge that file and not ours.
    pub fn is_ours(&mut self, bid: &BidName, number: Option<u64>) -> Result<bool> {
        let Some(number) = number else { return Ok(false) };
        let is_ours = self.claim.as_ref().is_some_and(|claim| claim.file_id().number() == number)
            || self.find_bid(bid)? == Found::Ours;
        if !is_ours {
            self.claim.iter_mut().for_each(Claim::distrust); // the next try makes a new claim
        }
        Ok(is_ours)
    }

    /// What the folder has under the name of our bid.
    pub fn find_bid(&self, bid: &BidName) -> Result<Found> {
        let found = self.location.dir.stat_at(bid.as_c_str()).and_then(|found| match (found, &self.claim) {
            (None, _) => Ok(Found::Nothing),
            (Some(found), Some(claim)) if found.id == claim.file_id() => match claim.is_as_made(&found) {
                true => Ok(Found::Ours),
                false => self.find_unforged(bid, claim),
            },
            // Here the names of one file may have different numbers (sshfs), so we compare the content; another
            // file has other content.
            (Some(_), Some(claim)) if self.location.on == Filesystem::Trusted => {
                let content = self.read_bid(bid)?.ok_or_else(unreadable)?;
                Ok(match (content, self.location.dir.stat_at(bid.as_c_str())?) {
                    (Some(content), Some(stat)) if claim.says(&content, &stat) => Found::Ours,
                    (_, None) => Found::Nothing,
                    _ => Found::Another,
                })
            }
            _ => Ok(Found::Another),
        });
        found.map_err(|e| Error::io("look for our bid", join(&self.path, bid.as_c_str()), e))
    }

    /// Our bid is not as we made it. Other users may then have changed its content, and rivals judge us by it.
    fn find_unforged(&self, bid: &BidName, claim: &Claim) -> io::Result<Found> {
        Ok(match self.read_bid(bid)? {
            Some(Some(content)) if !claim.has(&content) => Found::Another,
            _ => Found::Ours,
        })
    }

    /// The content of our bid. The outer `None`: we can't read it now. The inner: it is no file, or is gone.
    fn read_bid(&self, bid: &BidName) -> io::Result<Option<Option<Vec<u8>>>> {
        Ok(match self.location.dir.open_small(bid.as_c_str())? {
            Opened::File(file) => file.read(MAX_BYTES)?.map(Some),
            Opened::Denied => None,
            Opened::Gone | Opened::Mounted | Opened::NotRegular { .. } => Some(None),
        })
    }
}

/// Whether it is our bid can't be told.
fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "it can't be read now")
}
