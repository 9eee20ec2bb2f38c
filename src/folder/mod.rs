//! A lock folder as one claimant sees it: what this claimant has open, and what it remembers. It implements the
//! [`Place`](crate::protocol::Place) of the protocol (`place.rs`) and the line of the waiters (`line.rs`).

mod bidding;
mod broom;
mod calls;
pub(crate) mod claim;
mod claims;
mod fence;
mod lease;
mod line;
pub(crate) mod location;
mod memory;
mod names;
mod onlook;
pub(crate) mod options;
mod place;
mod queue;
mod random;
mod scan;
mod sightings;
mod slots;
mod strays;
mod sweep;
#[cfg(test)]
#[cfg(not(feature = "etcd"))] // they use the calls of users, which are on one type of place
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::folder::broom::Hidden;
use crate::folder::claim::{Claim, Said};
use crate::folder::lease::Lease;
use crate::folder::location::{join, not_listed, Location, TRIES};
use crate::folder::memory::Memory;
use crate::folder::names::ClaimId;
use crate::folder::options::Options;
use crate::folder::queue::Queue;
use crate::folder::random::Randomness;
use crate::folder::scan::Scanner;
use crate::folder::sightings::Sightings;
use crate::folder::strays::Stray;
use crate::owner::bid::BidName;
use crate::owner::liveness::Verdict;
use crate::owner::opener::Opener;
use crate::owner::rival::Rival;
use crate::slots::Slots;
use crate::sys::{self, Dir, FileId, Filesystem, Identity, SpareWatch, View};

pub(crate) struct Folder {
    path: Arc<Path>,
    options: Options,
    location: Location,
    me: Arc<Identity>,
    /// The command that our bids name, if it is not that of this process.
    command: Option<String>,
    /// Our place in line, from the start of a wait until we give back the lock that it won. (Declared before the claim
    /// that it names, so that it is dropped first.)
    pub queue: Option<Queue>,
    pub claim: Option<Claim>,
    /// The stray: a bid of ours that is in the folder, or may be, while we do not hold the lock. Either the attempt
    /// still runs, or the bid could not be deleted. However an attempt ends, the next call therefore deletes its bid.
    /// The bid stays ours when the claim is renewed.
    stray: Option<Stray>,
    opener: Opener,
    /// The root folder of this process when it opened the handle. chroot(2) and setns(2) change the root.
    root: Option<FileId>,
    memory: Memory,
    random: Randomness,
    pub malformed_grace_ms: u32,
    /// How many may hold the lock together with us.
    slots: Slots,
    seen: Sightings,
    spare_watch: SpareWatch,
    lease: Box<Lease>,
}

impl Folder {
    pub fn open(path: &Path, options: Options) -> Result<Folder> {
        if path.as_os_str().is_empty() {
            return Err(Error::fixed(ErrorKind::Invalid, "the path of the lock folder is empty"));
        }
        let path = location::fixed(path).map_err(|e| Error::io("resolve", path, e))?;
        let location = match options.create {
            true => make_and_open(&path, options),
            false => Location::open(&path, options),
        };
        Ok(Folder {
            me: identity()?,
            command: None,
            location: location.map_err(|e| advised(e, &path))?,
            path: path.into(),
            options,
            queue: None,
            claim: None,
            stray: None,
            opener: Opener::this_process(),
            root: root(),
            memory: Memory::default(),
            random: Randomness::default(),
            malformed_grace_ms: 0,
            slots: Slots::One,
            seen: Sightings::default(),
            spare_watch: SpareWatch::default(),
            lease: Box::default(),
        })
    }

    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub fn dir(&self) -> &Dir {
        &self.location.dir
    }

    /// Identifies the folder that we use now.
    pub fn folder_id(&self) -> FileId {
        self.location.id
    }

    pub fn is_on_local_filesystem(&self) -> bool {
        self.location.on.is_local()
    }

    pub fn is_private_only(&self) -> bool {
        self.options.private
    }

    /// Makes sure that the open folder is the folder that is at the path now.
    pub fn find_folder(&mut self) -> Result<()> {
        let now = Dir::look_up(&self.path);
        let (id, rights) = now.map_err(|e| Error::io("find the lock folder", &*self.path, e))?;
        self.location.rights = rights.unwrap_or(self.location.rights);
        if id != self.location.id {
            self.location = Location::open(&self.path, self.options)?;
            self.queue = None;
            self.claim = None;
            self.memory = Memory::default();
            self.lease.has_no_links = false;
        }
        match self.location.on {
            Filesystem::Local => Ok(()), // each listing shows it
            _ => self.location.check_descriptor(&self.path),
        }
    }

    /// If this handle accepts only a private folder: makes sure that the folder still is private.
    pub fn check_private(&self) -> Result<()> {
        match self.options.private {
            true => self.location.check_private(&self.path),
            false => Ok(()),
        }
    }

    /// Lists the bids, deletes the stale ones, and finds the first live rival that keeps us out.
    pub fn scan(&mut self, own: Option<&BidName>) -> Result<scan::Check> {
        self.look(self.slots, |scanner, memory| scanner.check(memory, own.map(BidName::as_c_str)))
    }

    /// A look with the eyes of a claimant of so many slots.
    fn look<T>(&mut self, slots: Slots, look: impl FnOnce(&Scanner<'_>, &mut Memory) -> io::Result<T>) -> Result<T> {
        let scanner = Scanner {
            dir: &self.location.dir,
            rights: self.location.rights,
            me: &self.me,
            view: View::default(),
            on: self.location.on,
            malformed_grace_ms: self.malformed_grace_ms,
            seen: &self.seen,
            lease: self.lease.length,
            slots,
        };
        let seen = look(&scanner, &mut self.memory).map_err(|e| not_listed("read the bids in", &self.path, e));
        self.notice_leases();
        seen
    }

    /// Deletes the claims behind the stale bids that were deleted.
    pub fn sweep_reaped(&mut self) {
        if !self.memory.reaped.is_empty() {
            let mut reaped = std::mem::take(&mut self.memory.reaped);
            let own = self.claim.as_ref().map(Claim::id);
            Hidden::clean(&self.location.dir, |broom| {
                sweep::sweep_twins(&self.scanner_of(broom.dir()), broom, own, &mut reaped);
            });
        }
    }

    /// A random number from 0 to 1.
    pub fn random_share(&mut self) -> f64 {
        self.random.number().unwrap_or(0) as f64 / u64::MAX as f64
    }

    /// The owner of a claim. `None`: the claim is gone.
    pub fn judge_claim(&self, claim: ClaimId) -> Result<Option<Rival>> {
        let Some(ours) = &self.claim else { return Ok(None) };
        let owner = self.scanner_of(ours.hidden()).judge(&(claim.file(), 0));
        owner.map_err(|e| Error::io("read a claim in", self.hidden_path(), e))
    }

    pub fn is_gone(&self, hidden: &Dir, claim: ClaimId) -> bool {
        let owner = self.scanner_of(hidden).judge(&(claim.file(), 0));
        owner.is_ok_and(|owner| owner.is_none_or(|owner| owner.verdict == Verdict::Stale))
    }

    pub fn hidden_path(&self) -> PathBuf {
        join(&self.path, names::HIDDEN)
    }

    fn scanner_of<'a>(&'a self, dir: &'a Dir) -> Scanner<'a> {
        let view = View::default();
        let (on, malformed_grace_ms, lease) = (self.location.on, self.malformed_grace_ms, self.lease.length);
        Scanner {
            dir,
            rights: self.location.rights,
            me: &self.me,
            view,
            on,
            malformed_grace_ms,
            seen: &self.seen,
            lease,
            slots: self.slots,
        }
    }

    /// Whether there is a claim that describes this process, and that only we may change.
    fn has_current_claim(&mut self) -> bool {
        let rights = self.location.rights;
        self.claim.as_mut().is_some_and(|claim| claim.is_current() && claim.is_untouched(rights))
    }

    /// Makes sure that there is a claim, and that it describes this process as it is now. True: it is a new one.
    pub fn renew_claim(&mut self) -> Result<bool> {
        if self.has_current_claim() && self.states_its_lease() {
            return Ok(false);
        }
        self.claim = None;
        let path = self.hidden_path();
        self.me = identity()?;
        for left in (0..TRIES).rev() {
            let hidden = Hidden::open_or_make(&self.location.dir);
            let hidden = hidden.map_err(|e| {
                let advice = claim::advice_on_sub_folder(&e).or_else(|| location::advice(&self.path, &e));
                Error::io("open or make the sub-folder", &path, e).advising(advice)
            })?;
            let lease = self.lease_of_claim(&hidden);
            self.lease.look_later();
            let me = self.named();
            let random = || self.random.number();
            let said = lease.map(|lease| Said { lease, slots: self.slots });
            match said.and_then(|said| Claim::prepare(hidden, &path, me, self.location.on, said, random)) {
                Err(e) if says_gone(&e) && left > 0 => {} // another process deletes the sub-folder at this moment
                Ok(claim) if !self.can_be_renewed(&claim) && left > 0 => {}
                claim => {
                    let claim = self.claim.insert(claim?);
                    claim.is_untouched(self.location.rights); // from now on it notices a change of these
                    break;
                }
            }
        }
        let claim = self.claim.as_ref().expect("the last try fails or makes one");
        let chance = self.random.number().unwrap_or(0);
        let hidden = claim.hidden();
        sweep::sweep_some(
            &self.scanner_of(hidden),
            || {
                hidden.look(&self.location.dir);
                hidden.broom()
            },
            claim.id(),
            chance,
        );
        Ok(true)
    }

    /// This process as our bids describe it.
    fn named(&self) -> Arc<Identity> {
        match &self.command {
            None => Arc::clone(&self.me),
            Some(command) => {
                let mut me = (*self.me).clone();
                me.command.clone_from(command);
                Arc::new(me)
            }
        }
    }

    /// A name that was never used before and will never be used again.
    pub fn fresh_name(&mut self) -> Result<BidName> {
        self.random.name(self.slots).map_err(|e| Error::io("get random bits for a name in", &*self.path, e))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(stray) = self.stray.filter(|stray| self.delete(&stray.bid).is_err()) {
            strays::remember(&self.path, self.location.id, stray.bid);
        }
    }
}

/// Makes the folder if it is missing, and opens it.
fn make_and_open(path: &Path, options: Options) -> Result<Location> {
    let mode = if options.private { 0o700 } else { 0o777 };
    for left in (0..60).rev() {
        Dir::make(path, mode).map_err(|e| Error::io("make the lock folder", path, e))?;
        match Location::open(path, options) {
            // Somebody deletes the folder at this moment. Or another mount has just made it, and this one remembers for a while that
            // there was none (GlusterFS, with two mounts on one machine). A link that leads nowhere is neither.
            Err(e) if says_gone(&e) && left > 0 && !Dir::is_link_at(path) => sys::sleep(PAUSE),
            opened => return opened,
        }
    }
    unreachable!("the last try returns")
}

/// The pause after the folder vanished. All of them together are longer than the second for which FUSE filesystems by default
/// remember a missing name (mount.fuse3(8), `entry_timeout`).
const PAUSE: Duration = Duration::from_millis(20);

fn advised(error: Error, path: &Path) -> Error {
    let advice = error.io_error().and_then(|e| location::advice(path, e));
    error.advising(advice)
}

fn root() -> Option<FileId> {
    Dir::id_at(Path::new("/")).ok()
}

/// The system says that something is missing.
fn says_gone(error: &Error) -> bool {
    error.io_error().is_some_and(Dir::has_vanished)
}

fn identity() -> Result<Arc<Identity>> {
    Identity::current().map_err(|e| {
        // The system lacks descriptors or memory. A later try may succeed.
        if e.raw_os_error().is_some() && e.kind() != io::ErrorKind::NotFound {
            return Error::io("read the identity of this process from", sys::PROCESS_TABLE, e);
        }
        let text = format!(
            "cannot read the identity of this process from {}, so nobody could judge its bids: {e}",
            sys::PROCESS_TABLE
        );
        Error::new(ErrorKind::Unsupported, text)
    })
}
