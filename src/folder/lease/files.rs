//! The numbers of a lease as files: `<bid>-<number>` in the folder `leases` of the hidden sub-folder. Each is a link of the
//! bid of the claimant that made it.
//!
//! Each call finds the folders anew. So if somebody moves the sub-folder away, all claimants agree on the one that replaces it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::folder::broom::{Broom, Hidden, Like};
use crate::folder::names::{LeaseName, HIDDEN, LEASES};
use crate::owner::bid::canonical;
use crate::protocol::lease::{Moment, Name, Names};
use crate::sys::{self, Dir};

/// What a claimant links to a number that it makes: its bid, or its claim.
#[derive(Clone)]
pub(crate) struct Ours {
    /// The file is in the sub-folder.
    pub is_claim: bool,
    pub name: CString,
    /// The number of the file, as a listing shows it.
    pub number: u64,
}

/// The lease of one bid.
pub(crate) struct Files<D> {
    /// The lock folder.
    pub folder: D,
    pub bid: Uuid,
    /// The name of the bid in the lock folder.
    bid_name: CString,
    /// The path of the bid, for messages.
    pub path: PathBuf,
    ours: Ours,
    /// Why the last number could not be made.
    pub refusal: Option<io::Error>,
}

impl<D: Deref<Target = Dir>> Files<D> {
    pub fn new(folder: D, bid: Uuid, bid_name: CString, path: PathBuf, ours: Ours) -> Files<D> {
        Files { folder, bid, bid_name, path, ours, refusal: None }
    }

    fn link(&self, number: u64) -> io::Result<()> {
        // A sub-folder that somebody removed is made again.
        let hidden = Hidden::open_or_make(&self.folder)?;
        hidden.look(&self.folder);
        let leases = hidden.open_shared(LEASES)?;
        let from: &Dir = if self.ours.is_claim { &hidden } else { &self.folder };
        from.link(&self.ours.name, &leases, &LeaseName { bid: self.bid, number }.file())
    }
}

impl<D: Deref<Target = Dir>> Names for Files<D> {
    fn make(&mut self, number: u64) {
        self.refusal = self.link(number).err();
    }

    fn list(&mut self) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        let of_bid = |name: LeaseName, maker| {
            if name.bid == self.bid {
                names.push(Name { number: name.number, maker });
            }
        };
        list(&self.folder, of_bid).map_err(|e| Error::io("list the numbers of the lease of", &*self.path, e))?;
        Ok(names)
    }

    fn has_bid(&mut self) -> Result<bool> {
        let mut is_there = false;
        let listed = self.folder.list(true, |name, _| is_there |= *name == *self.bid_name);
        listed.map_err(|e| Error::io("list the folder to look for", &*self.path, e))?;
        Ok(is_there)
    }

    fn remove(&mut self, number: u64) {
        remove(&self.folder, LeaseName { bid: self.bid, number });
    }

    fn us(&self) -> u64 {
        self.ours.number
    }

    fn now(&self) -> Moment {
        sys::since_boot()
    }
}

/// Names the numbers of all leases, and the number of the file behind each.
pub(crate) fn list(folder: &Dir, mut each: impl FnMut(LeaseName, u64)) -> io::Result<()> {
    let leases = match folder.open_dir(HIDDEN).and_then(|hidden| hidden.open_dir(LEASES)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()), // no lease was renewed yet
        opened => opened?,
    };
    leases.list(true, |name, number| LeaseName::of_file(name).into_iter().for_each(|name| each(name, number)))
}

/// Removes a number that we made. If it can't, the number stays until somebody sweeps.
pub(crate) fn remove(folder: &Dir, name: LeaseName) {
    remove_these(folder, &[name]);
}

/// Removes the numbers of a bid of ours that is gone. Nobody else makes numbers of our bid, except to take it over.
pub(crate) fn remove_all(folder: &Dir, bid: Uuid) {
    let mut names = Vec::new();
    let _ = list(folder, |name, _| names.extend((name.bid == bid).then_some(name)));
    remove_these(folder, &names);
}

fn remove_these(folder: &Dir, names: &[LeaseName]) {
    if names.is_empty() {
        return;
    }
    if let Ok(leases) = folder.open_dir(HIDDEN).and_then(|hidden| hidden.open_dir(LEASES)) {
        names.iter().for_each(|name| drop(leases.unlink(&name.file())));
    }
}

/// Removes the numbers of other claimants' bids that are gone.
pub(crate) fn sweep(broom: Broom<'_>, is_gone: impl Fn(Uuid) -> bool) {
    let Ok(leases) = broom.dir().open_dir(LEASES) else { return };
    let mut names = Vec::new();
    let _ = leases.list(true, |name, _| names.extend(LeaseName::of_file(name).filter(|name| is_gone(name.bid))));
    sweep_these(broom, &names);
}

/// Removes all numbers whose bid is not in the folder. Only a listing that is always fresh can tell that: that of a local disk.
pub(crate) fn remove_orphans(folder: &Dir, broom: Broom<'_>) {
    let mut names = Vec::new();
    let _ = list(folder, |name, _| names.push(name));
    // A bid is there before its numbers are. So the bids are listed last.
    let mut bids = BTreeSet::new();
    if !names.is_empty() && folder.list(true, |name, _| bids.extend(canonical(name))).is_ok() {
        names.retain(|name| !bids.contains(&name.bid));
        sweep_these(broom, &names);
    }
}

fn sweep_these(broom: Broom<'_>, names: &[LeaseName]) {
    let leases = broom.dir().open_dir(LEASES);
    if let Some(leases) = leases.as_ref().ok().and_then(|leases| broom.below(leases)) {
        for name in names {
            leases.delete(&name.file(), Like::Bid);
        }
    }
}
