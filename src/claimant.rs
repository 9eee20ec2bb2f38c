//! One claimant on one lock folder, as seen by one thread: what is open, what is remembered, and the steps that the
//! protocol (`lock.rs`) is made of.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bid::{Guid, MAX_BYTES};
use crate::claim::{self, Claim};
use crate::courtesy::Courtesy;
use crate::error::{Error, ErrorKind, Result};
use crate::liveness::Verdict;
use crate::names::ClaimId;
use crate::options::OpenOptions;
use crate::place::{join, open_shared, Place, TRIES};
use crate::queue::Line;
use crate::random::Randomness;
use crate::survey::{Check, Eyes, Memory, Rival};
use crate::sys::{self, process_mark, Dir, FileId, Filesystem, Identity, News, Opened, ProcessMark, View};
use crate::{place, strays, sweep};

pub(crate) struct Claimant {
    path: Arc<Path>,
    options: OpenOptions,
    place: Place,
    me: Arc<Identity>,
    /// For waiting: our place in line, until we give back what we waited for. (Goes before the claim that it names.)
    pub line: Option<Line>,
    pub claim: Option<Claim>,
    /// Our bid, while we hold the lock.
    held: Option<Guid>,
    /// A bid of ours that should have been deleted and couldn't be. It stays ours when the claim is renewed.
    stray: Option<Guid>,
    /// Which file that is, if it is what we prepared.
    stray_file: Option<FileId>,
    owner: ProcessMark,
    /// The root folder of this process when it opened the handle; chroot(2) and setns(2) change it.
    root: Option<FileId>,
    memory: Memory,
    random: Randomness,
    pub malformed_grace_ms: u32,
    pub courtesy: Courtesy,
}

/// What has the name of a bid of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The file that we prepared.
    Ours,
    /// Somebody put it there.
    Another,
    Nothing,
}

impl Claimant {
    pub fn open(path: &Path, options: OpenOptions) -> Result<Claimant> {
        if path.as_os_str().is_empty() {
            return Err(Error::fixed(ErrorKind::Invalid, "the path of the lock folder is empty"));
        }
        let path = std::path::absolute(path).map_err(|e| Error::io("resolve", path, e))?;
        if options.create {
            let mode = if options.private { 0o700 } else { 0o777 };
            let made = Dir::make(&path, mode).map_err(|e| Error::io("make the lock folder", &path, e));
            made.map_err(|e| e.advising(place::advice(&path)))?;
        }
        let place = Place::open(&path, options);
        Ok(Claimant {
            me: identity()?,
            place: place.map_err(|e| e.advising(place::advice(&path)))?,
            path: path.into(),
            options,
            line: None,
            claim: None,
            held: None,
            stray: None,
            stray_file: None,
            owner: process_mark(),
            root: root(),
            memory: Memory::default(),
            random: Randomness::default(),
            malformed_grace_ms: 0,
            courtesy: Courtesy::default(),
        })
    }

    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub fn dir(&self) -> &Dir {
        &self.place.dir
    }

    /// Which folder it is that we use now.
    pub fn folder_id(&self) -> FileId {
        self.place.id
    }

    pub fn is_on_local_filesystem(&self) -> bool {
        self.place.on.is_local()
    }

    /// Our bid, while we hold the lock.
    pub fn held(&self) -> Option<Guid> {
        self.held
    }

    // ---- the steps of the protocol ----

    /// What each attempt begins with: nothing of ours is left behind, and the folder is the one that is at the path now, and
    /// private where only a private one will do.
    pub fn enter_folder(&mut self) -> Result<()> {
        self.delete_stray()?;
        self.find_folder()?;
        self.check_private()
    }

    /// The same for a look at the line before an attempt, as far as it must be done for that.
    pub fn approach_folder(&mut self) -> Result<()> {
        match self.options.private {
            true => self.enter_folder(),
            false => self.delete_stray(),
        }
    }

    /// In the midst of a call a signal handler can fork, and the child goes on with it.
    pub fn check_owner(&self) -> Result<()> {
        match process_mark() == self.owner {
            true => Ok(()),
            false => Err(Error::misuse(
                ErrorKind::Forked,
                &self.path,
                "belongs to the parent process: open one after the fork",
            )),
        }
    }

    /// Makes sure that the open folder is the one that is at the path now.
    pub fn find_folder(&mut self) -> Result<()> {
        let now = Dir::id_at(&self.path);
        if now.map_err(|e| Error::io("find the lock folder", &*self.path, e))? != self.place.id {
            self.place = Place::open(&self.path, self.options)?;
            self.line = None;
            self.claim = None;
            self.memory = Memory::default();
        }
        Ok(())
    }

    /// Where only a private folder will do: makes sure that it still is one.
    pub fn check_private(&self) -> Result<()> {
        match self.options.private {
            true => self.place.check_private(&self.path),
            false => Ok(()),
        }
    }

    /// A check before we bid: it may miss something.
    pub fn glance(&mut self) -> Result<Option<Arc<Rival>>> {
        self.look(|eyes, memory| eyes.glance(memory))
    }

    /// Lists the bids, deletes the stale, and finds the first live rival.
    pub fn check(&mut self, own: Option<&Guid>) -> Result<Check> {
        self.look(|eyes, memory| eyes.check(memory, own.map(Guid::as_c_str)))
    }

    fn look<T>(&mut self, look: impl FnOnce(&Eyes<'_>, &mut Memory) -> io::Result<T>) -> Result<T> {
        let eyes = Eyes {
            dir: &self.place.dir,
            me: &self.me,
            view: View::default(),
            on: self.place.on,
            malformed_grace_ms: self.malformed_grace_ms,
        };
        look(&eyes, &mut self.memory).map_err(|e| Error::io("read the bids in", &*self.path, e))
    }

    /// Deletes the claims behind the stale bids that were deleted.
    pub fn sweep_reaped(&mut self) {
        if !self.memory.reaped.is_empty() {
            let mut reaped = std::mem::take(&mut self.memory.reaped);
            if let Ok(hidden) = self.place.dir.open_dir(claim::HIDDEN) {
                sweep::sweep_twins(&self.eyes_on(&hidden), self.claim.as_ref().map(Claim::id), &mut reaped);
            }
        }
    }

    /// Posts a bid under a fresh name.
    pub fn publish(&mut self) -> Result<Guid> {
        for left in (0..TRIES).rev() {
            let bid = self.fresh_name()?;
            let is_new = !self.claim.as_ref().is_some_and(Claim::is_current);
            self.renew_claim()?;
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
                self.keep_as_stray(bid);
                error.leaving(join(&self.path, bid.as_c_str()))
            }
        }
    }

    /// Takes back a bid that won all the same, if we still have it.
    pub fn give_back(&mut self, error: Error) -> Error {
        let error = match self.held.take() {
            Some(bid) => self.withdraw_after(bid, error),
            None => error,
        };
        self.leave_line(News::Left); // what the next in line waits for comes last
        error
    }

    /// Unlocks without a word. A bid that can't be deleted is no longer held, and the next attempt tries again.
    pub fn let_go(&mut self) {
        if self.unlock().is_err_and(|e| e.kind() == ErrorKind::Io) {
            self.leave_line(News::Left);
            self.held.take().into_iter().for_each(|bid| self.keep_as_stray(bid));
        }
    }

    fn keep_as_stray(&mut self, bid: Guid) {
        self.stray = Some(bid);
        self.stray_file = self.claim.as_ref().map(Claim::file_id);
    }

    /// Tries again what [`Self::withdraw_after`] could not do.
    pub fn delete_stray(&mut self) -> Result<()> {
        strays::delete();
        let Some(stray) = self.stray else { return Ok(()) };
        if let Err(e) = self.delete(&stray) {
            // What was in the claim's place when we published it: a rival's, to be judged like any other.
            let is_anothers = self.stray_file.is_some_and(
                |ours| matches!(self.place.dir.file_id(stray.as_c_str()), Ok(Some(found)) if found != ours),
            ) && self.place.on.has_stable_numbers();
            if !is_anothers && !Dir::id_at(&self.path).is_ok_and(|now| now != self.place.id) {
                return Err(Error::io("delete our old bid", join(&self.path, stray.as_c_str()), e));
            }
            if !is_anothers {
                strays::remember(&self.path, self.place.id, stray); // it is in a folder that is not at the path any more
            }
        }
        self.stray = None;
        Ok(())
    }

    /// False: the bid was not there any more.
    fn withdraw(&self, bid: &Guid) -> io::Result<bool> {
        match &self.claim {
            Some(claim) => was_there(claim.withdraw(&self.place.dir, bid)),
            None => self.delete(bid),
        }
    }

    /// The same for a bid that need not be of our claim.
    fn delete(&self, bid: &Guid) -> io::Result<bool> {
        match self.find_bid(bid) {
            Ok(Found::Ours) => self.withdraw(bid), // where the claim moves, it is the claim itself
            _ => was_there(self.place.dir.unlink(bid.as_c_str())),
        }
    }

    /// Whether the bid that a listing shows, with this number, is the file that we prepared. Another file has our name where
    /// somebody swapped the claim just before we published it; others would judge that file, and not us.
    pub fn is_ours(&mut self, bid: &Guid, number: Option<u64>) -> Result<bool> {
        let Some(number) = number else { return Ok(false) };
        let is_ours = self.claim.as_ref().is_some_and(|claim| claim.file_id().number() == number)
            || self.find_bid(bid)? == Found::Ours;
        if !is_ours {
            self.claim.iter_mut().for_each(Claim::distrust); // the next try makes a new one
        }
        Ok(is_ours)
    }

    /// What has the name of a bid of ours in the folder.
    pub fn find_bid(&self, bid: &Guid) -> Result<Found> {
        let found = self.place.dir.file_id(bid.as_c_str()).and_then(|found| {
            Ok(match (found, &self.claim) {
                (None, _) => Found::Nothing,
                (Some(found), Some(claim)) if found == claim.file_id() => Found::Ours,
                // A file's names may have a number each here (sshfs), but another file says something else.
                (Some(_), Some(claim)) if self.place.on == Filesystem::Trusted => {
                    match (self.place.dir.open_small(bid.as_c_str())?, self.place.dir.stat_at(bid.as_c_str())?) {
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

    // ---- what else a claimant does ----

    /// A number from 0 to 1, to be out of step with others.
    pub fn chance(&mut self) -> f64 {
        self.random.number().unwrap_or(0) as f64 / u64::MAX as f64
    }

    /// The live rival that the last check found.
    pub fn last_rival(&self) -> Option<Arc<Rival>> {
        self.memory.last.clone()
    }

    /// Who made a claim. `None`: it is gone.
    pub fn judge_claim(&self, claim: ClaimId) -> Result<Option<Rival>> {
        let Some(ours) = &self.claim else { return Ok(None) };
        let owner = self.eyes_on(ours.hidden()).judge(&(claim.file(), 0));
        owner.map_err(|e| Error::io("read a claim in", self.hidden_path(), e))
    }

    pub fn is_gone(&self, hidden: &Dir, claim: ClaimId) -> bool {
        let owner = self.eyes_on(hidden).judge(&(claim.file(), 0));
        owner.is_ok_and(|owner| owner.is_none_or(|owner| owner.verdict == Verdict::Stale))
    }

    pub fn hidden_path(&self) -> PathBuf {
        join(&self.path, claim::HIDDEN)
    }

    fn eyes_on<'a>(&'a self, dir: &'a Dir) -> Eyes<'a> {
        let view = View::default();
        Eyes { dir, me: &self.me, view, on: self.place.on, malformed_grace_ms: self.malformed_grace_ms }
    }

    /// Makes sure that there is a claim that says who we are now.
    pub fn renew_claim(&mut self) -> Result<()> {
        if self.claim.as_ref().is_some_and(Claim::is_current) {
            return Ok(());
        }
        self.claim = None;
        let path = self.hidden_path();
        self.me = identity()?;
        for left in (0..TRIES).rev() {
            let hidden = open_shared(&self.place.dir, claim::HIDDEN);
            let hidden = hidden.map_err(|e| {
                let advice = claim::advice_on_sub_folder(&e);
                Error::io("open or make the sub-folder", &path, e).advising(advice)
            })?;
            let random = || self.random.number();
            match Claim::prepare(hidden, &path, Arc::clone(&self.me), self.place.on, random) {
                Err(e) if says_gone(&e) && left > 0 => {} // somebody deletes the sub-folder at this moment
                claim => {
                    self.claim = Some(claim?);
                    break;
                }
            }
        }
        let claim = self.claim.as_ref().expect("the last try fails or makes one");
        let chance = self.random.number().unwrap_or(0);
        sweep::sweep_some(&self.eyes_on(claim.hidden()), claim.id(), chance);
        Ok(())
    }

    /// A name that nobody has used or will use.
    pub fn fresh_name(&mut self) -> Result<Guid> {
        self.random.name().map_err(|e| Error::io("get random bits for a name in", &*self.path, e))
    }

    /// In a forked child: forgets everything without touching the parent's files.
    pub fn abandon(&mut self) {
        (self.held, self.stray) = (None, None);
        if let Some(line) = self.line.take() {
            line.abandon();
        }
        if let Some(claim) = self.claim.take() {
            claim.abandon();
        }
    }
}

impl Drop for Claimant {
    fn drop(&mut self) {
        let left = [
            self.held.filter(|bid| self.withdraw(bid).is_err()), //
            self.stray.filter(|bid| self.delete(bid).is_err()),
        ];
        left.into_iter().flatten().for_each(|bid| strays::remember(&self.path, self.place.id, bid));
    }
}

fn root() -> Option<FileId> {
    Dir::id_at(Path::new("/")).ok()
}

/// The system says that something is not there, or not any more.
fn says_gone(error: &Error) -> bool {
    error.io_error().is_some_and(Dir::has_vanished)
}

fn was_there(deleted: io::Result<()>) -> io::Result<bool> {
    match deleted {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn identity() -> Result<Arc<Identity>> {
    Identity::current().map_err(|e| {
        // No descriptor, no memory: it may go better next time.
        if e.raw_os_error().is_some() && e.kind() != io::ErrorKind::NotFound {
            return Error::io("tell who this process is from", sys::PROCESS_TABLE, e);
        }
        let text =
            format!("cannot tell from {} who this process is, so nobody could judge its bids: {e}", sys::PROCESS_TABLE);
        Error::new(ErrorKind::Unsupported, text)
    })
}

mod calls;
#[cfg(test)]
mod tests;
