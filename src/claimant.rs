//! One claimant on one lock folder, as seen by one thread: what is open, what is remembered, and the steps that the
//! protocol (`lock.rs`) is made of.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bid::Guid;
use crate::bids::{BidInfo, BidState};
use crate::claim::{self, Claim, ClaimId};
use crate::error::{Error, ErrorKind, Result};
use crate::folder::Options;
use crate::liveness::Verdict;
use crate::place::{join, open_shared, Place};
use crate::queue::{self, Line};
use crate::random::Randomness;
use crate::survey::{Check, Eyes, Memory, Rival};
use crate::sys::{self, Dir, FileId, Filesystem, Identity, News};
use crate::{fence, sweep};

pub(crate) struct Claimant {
    path: Arc<Path>,
    options: Options,
    place: Place,
    me: Arc<Identity>,
    /// For waiting: our place in line, until we give back what we waited for. (Goes before the claim that it names.)
    pub line: Option<Line>,
    pub claim: Option<Claim>,
    /// Our bid, while we hold the lock.
    held: Option<Guid>,
    /// A bid of ours that should have been deleted and couldn't be.
    stray: Option<Guid>,
    memory: Memory,
    random: Randomness,
    pub malformed_grace_ms: u32,
}

impl Claimant {
    pub fn open(path: &Path, options: Options) -> Result<Claimant> {
        if path.as_os_str().is_empty() {
            return Err(Error::fixed(ErrorKind::Invalid, "the path of the lock folder is empty"));
        }
        let path = std::path::absolute(path).map_err(|e| Error::io("resolve", path, e))?;
        if !options.no_create {
            let mode = if options.private { 0o700 } else { 0o777 };
            Dir::make(&path, mode).map_err(|e| Error::io("make the lock folder", &path, e))?;
        }
        Ok(Claimant {
            me: identity()?,
            place: Place::open(&path, options)?,
            path: path.into(),
            options,
            line: None,
            claim: None,
            held: None,
            stray: None,
            memory: Memory::default(),
            random: Randomness::default(),
            malformed_grace_ms: 0,
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

    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    // ---- the steps of the protocol ----

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

    /// A check before we bid: it may miss something.
    pub fn glance(&mut self) -> Result<Option<Arc<Rival>>> {
        self.look(|eyes, memory| eyes.glance(memory))
    }

    /// Lists the bids, deletes the stale, and finds the first live rival.
    pub fn check(&mut self, own: Option<&Guid>) -> Result<Check> {
        self.look(|eyes, memory| eyes.check(memory, own.map(Guid::as_c_str)))
    }

    fn look<T>(&mut self, look: impl FnOnce(&Eyes<'_>, &mut Memory) -> io::Result<T>) -> Result<T> {
        let eyes =
            Eyes { dir: &self.place.dir, me: &self.me, on: self.place.on, malformed_grace_ms: self.malformed_grace_ms };
        look(&eyes, &mut self.memory).map_err(|e| Error::io("read the bids in", &*self.path, e))
    }

    /// Deletes the claims behind the stale bids that were deleted.
    pub fn sweep_reaped(&mut self) {
        if !self.memory.reaped.is_empty() {
            let mut reaped = std::mem::take(&mut self.memory.reaped);
            if let Ok(hidden) = self.place.dir.open_dir(claim::HIDDEN) {
                sweep::sweep_twins(&self.eyes_on(&hidden), &mut reaped);
            }
        }
    }

    /// Posts a bid under a fresh name.
    pub fn publish(&mut self) -> Result<Guid> {
        let bid = self.fresh_name()?;
        let is_new = self.renew_claim()?;
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
    fn withdraw(&self, bid: &Guid) -> io::Result<bool> {
        let Some(claim) = &self.claim else {
            return Ok(false);
        };
        match claim.withdraw(&self.place.dir, bid) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether a bid of ours has its name in the folder.
    pub fn bid_is_there(&self, bid: &Guid) -> Result<bool> {
        let found = self.place.dir.file_id(bid.as_c_str());
        let found = found.map_err(|e| Error::io("look for our bid", join(&self.path, bid.as_c_str()), e))?;
        // A file's links may have a number each (sshfs); but a bid's name is never used twice.
        let same = || self.place.on == Filesystem::Trusted || found == self.claim.as_ref().map(Claim::file_id);
        Ok(found.is_some() && same())
    }

    // ---- what else a claimant does ----

    /// A number from 0 to 1, to be out of step with others.
    pub fn chance(&mut self) -> f64 {
        self.random.number().unwrap_or(0) as f64 / u64::MAX as f64
    }

    pub fn unlock(&mut self) -> Result<()> {
        let bid = *self.held_bid()?;
        let was_there = self.withdraw(&bid);
        let was_there = was_there.map_err(|e| Error::io("delete the bid", join(&self.path, bid.as_c_str()), e))?;
        self.held = None;
        self.leave_line(News::HandedOver);
        self.sweep_reaped();
        if was_there {
            return Ok(());
        }
        // It may have been the claim too, where the claim moves.
        self.claim = None;
        Err(self.lost(&bid))
    }

    /// Held, and seen to be held by everybody who goes by the path.
    pub fn holds(&self) -> Result<()> {
        let bid = self.held_bid()?;
        match Dir::id_at(&self.path) {
            Ok(now) if now == self.place.id => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("find the lock folder", &*self.path, e))
            }
            _ => {
                let text =
                    format!("the lock folder {} was deleted, moved or replaced while we held it", self.path.display());
                return Err(Error::new(ErrorKind::Lost, text));
            }
        }
        match self.bid_is_there(bid)? {
            true => Ok(()),
            false => Err(self.lost(bid)),
        }
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

    fn is_gone(&self, hidden: &Dir, claim: ClaimId) -> bool {
        let owner = self.eyes_on(hidden).judge(&(claim.file(), 0));
        owner.is_ok_and(|owner| owner.is_none_or(|owner| owner.verdict == Verdict::Stale))
    }

    pub fn in_use(&mut self) -> Result<bool> {
        let bids = self.bids()?;
        Ok(bids.iter().any(|bid| !matches!(bid.state, BidState::Own | BidState::Stale)))
    }

    pub fn bids(&mut self) -> Result<Vec<BidInfo>> {
        self.find_folder_unless_held()?;
        let rivals = self.eyes_on(&self.place.dir).rivals();
        let rivals = rivals.map_err(|e| Error::io("read the bids in", &*self.path, e))?;
        let own = self.held.as_ref().map(Guid::as_c_str);
        let info = |rival: Rival| {
            let is_own = own == Some(rival.name.as_c_str());
            BidInfo::new(rival, is_own)
        };
        Ok(rivals.into_iter().map(info).collect())
    }

    pub fn reap_stale(&mut self) -> Result<usize> {
        self.find_folder_unless_held()?;
        let reaped = self.eyes_on(&self.place.dir).reap_all(self.held.as_ref().map(Guid::as_c_str));
        let reaped = reaped.map_err(|e| Error::io("reap the bids in", &*self.path, e))?;
        if let Ok(hidden) = self.place.dir.open_dir(claim::HIDDEN) {
            sweep::sweep_all(&self.eyes_on(&hidden), self.claim.as_ref().map(Claim::name));
            queue::sweep(&hidden, |claim| self.is_gone(&hidden, claim));
        }
        Ok(reaped)
    }

    pub fn fence(&mut self) -> Result<u64> {
        self.holds()?;
        let claim = self.claim.as_ref().expect("who holds has a claim");
        let failed = |doing| {
            let path = self.hidden_path();
            move |e| Error::io(doing, path, e)
        };
        let token = fence::next(claim.hidden(), !self.place.on.is_local());
        let token = token.map_err(failed("make a fencing token in"))?;
        // The folders above may be as new as their first token. Cheap where nothing is to be written.
        self.place.sync(&self.path).map_err(failed("make a fencing token durable in"))?;
        Ok(token)
    }

    /// Whoever holds stays with the folder that the bid is in.
    fn find_folder_unless_held(&mut self) -> Result<()> {
        match self.held.or(self.stray) {
            Some(_) => Ok(()),
            None => self.find_folder(),
        }
    }

    fn held_bid(&self) -> Result<&Guid> {
        let not_held = || Error::misuse(ErrorKind::NotHeld, &self.path, "does not hold the lock");
        self.held.as_ref().ok_or_else(not_held)
    }

    fn lost(&self, bid: &Guid) -> Error {
        let bid = join(&self.path, bid.as_c_str());
        let text = format!("the lock was lost: somebody deleted our bid {}", bid.display());
        Error::new(ErrorKind::Lost, text)
    }

    pub fn hidden_path(&self) -> PathBuf {
        join(&self.path, claim::HIDDEN)
    }

    fn eyes_on<'a>(&'a self, dir: &'a Dir) -> Eyes<'a> {
        Eyes { dir, me: &self.me, on: self.place.on, malformed_grace_ms: self.malformed_grace_ms }
    }

    /// Makes sure that there is a claim that says who we are now. True: it is a new one.
    pub fn renew_claim(&mut self) -> Result<bool> {
        if self.claim.as_ref().is_some_and(Claim::is_current) {
            return Ok(false);
        }
        self.claim = None;
        let path = self.hidden_path();
        self.me = identity()?;
        let hidden = open_shared(&self.place.dir, claim::HIDDEN);
        let hidden = hidden.map_err(|e| Error::io("open or make the sub-folder", &path, e))?;
        let random = || self.random.number();
        let claim = Claim::prepare(hidden, &path, Arc::clone(&self.me), self.place.on, random)?;
        let chance = self.random.number().unwrap_or(0);
        sweep::sweep_some(&self.eyes_on(claim.hidden()), Some(claim.name()), chance);
        self.claim = Some(claim);
        Ok(true)
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
        for bid in [self.held, self.stray].into_iter().flatten() {
            let _ = self.withdraw(&bid);
        }
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

#[cfg(test)]
mod tests;
