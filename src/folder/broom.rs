//! What we may delete below the lock folder, although another process made it.
//!
//! A user that may rename in the lock folder can give any folder that stands there the name of ours, also a folder of
//! root's in which this user may change nothing. We must not delete there in the user's place. So there are two rules:
//!
//! - We delete only in a folder in which all users that may write to the lock folder may delete as well. Such a user gains
//!   nothing by us. Each sub-folder that we make is like that. It is not like that any more if somebody lets more users
//!   write to the lock folder alone. Then leftovers stay, and nothing else changes.
//! - We delete only what is like the files that we make.
//!
//! This type carries both rules, and no other code deletes what others made there (`tests/interfaces/rooms.rs`).

use std::ffi::CStr;
use std::io;
use std::ops::Deref;
use std::sync::OnceLock;

use crate::folder::location::open_shared;
use crate::folder::names::HIDDEN;
use crate::owner::bid::{Bid, Flaw, MAX_BYTES};
use crate::sys::{self, Dir, FileId, Leaf, Opened};

/// The right to delete leftovers in one folder.
#[derive(Clone, Copy)]
pub(crate) struct Broom<'a> {
    dir: &'a Dir,
}

/// How we recognise a leftover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Like {
    /// A beacon, a ticket or the tail: a FIFO. Where there are no FIFOs, an empty file.
    Beacon,
    /// A token: an empty file.
    Token,
    /// A claim, or a number of a lease: a bid, or one that its writer could not finish.
    Bid,
}

impl<'a> Broom<'a> {
    /// The right to delete in `folder`, which is in the folder `above`. `None`: the folder may not be ours.
    fn of(folder: &'a Dir, above: &Dir) -> Option<Broom<'a>> {
        sys::is_as_open(folder, above).unwrap_or(false).then_some(Broom { dir: folder })
    }

    /// The same for a folder inside.
    pub fn below<'b>(self, folder: &'b Dir) -> Option<Broom<'b>> {
        Broom::of(folder, self.dir)
    }

    pub fn dir(self) -> &'a Dir {
        self.dir
    }

    /// Deletes a file, if it is like one of ours. False: it may still be there.
    pub fn delete(self, name: &CStr, like: Like) -> bool {
        self.is_like(name, like) && self.dir.unlink(name).is_ok()
    }

    fn is_like(self, name: &CStr, like: Like) -> bool {
        match (like, self.dir.leaf_at(name)) {
            (Like::Beacon, Ok(Leaf::Fifo)) | (Like::Beacon | Like::Token, Ok(Leaf::File { size: 0 })) => true,
            (Like::Bid, Ok(Leaf::File { size })) => size <= MAX_BYTES as u64 && self.is_bid(name).unwrap_or(false),
            _ => false,
        }
    }

    fn is_bid(self, name: &CStr) -> io::Result<bool> {
        let Opened::File(file) = self.dir.open_small(name)? else { return Ok(false) };
        let content = file.read(MAX_BYTES + 1)?;
        Ok(content.is_some_and(|content| matches!(Bid::parse(&content), Ok(_) | Err(Flaw::CutOff(_)))))
    }

    /// Deletes a ticket, and puts out its beacon, if it has one.
    pub fn discard(self, ticket: &CStr, beacon: Option<FileId>) {
        if self.is_like(ticket, Like::Beacon) {
            self.dir.discard_fifo(ticket, beacon);
        }
    }

    /// Deletes a claim that its maker did not finish. False: it may still be there.
    pub fn delete_unfinished(self, claim: &CStr) -> bool {
        self.dir.delete_unfinished(claim).unwrap_or(false)
    }

    /// Removes an empty folder.
    pub fn remove_dir(self, name: &CStr) -> io::Result<()> {
        self.dir.remove_dir(name)
    }
}

/// The sub-folder of the lock folder, open.
pub(crate) struct Hidden {
    dir: Dir,
    /// Not set: we have not looked yet.
    is_ours: OnceLock<bool>,
}

impl Hidden {
    /// Opens it, if it is there.
    pub fn open(folder: &Dir) -> io::Result<Hidden> {
        let hidden = Hidden { dir: folder.open_dir(HIDDEN)?, is_ours: OnceLock::new() };
        hidden.look(folder);
        Ok(hidden)
    }

    /// Opens it, and deletes leftovers in it, if it is there and is ours.
    pub fn clean(folder: &Dir, clean: impl FnOnce(Broom<'_>)) {
        if let Some(broom) = Hidden::open(folder).as_ref().ok().and_then(Hidden::broom) {
            clean(broom);
        }
    }

    /// Opens it, and makes it first if it is missing. Before [`Self::look`] it counts as not ours.
    pub fn open_or_make(folder: &Dir) -> io::Result<Hidden> {
        Ok(Hidden { dir: open_shared(folder, HIDDEN, true)?, is_ours: OnceLock::new() })
    }

    /// Looks whether it is ours. `folder` is the lock folder.
    pub fn look(&self, folder: &Dir) {
        self.is_ours.get_or_init(|| Broom::of(&self.dir, folder).is_some());
    }

    fn is_ours(&self) -> bool {
        self.is_ours.get() == Some(&true)
    }

    /// Opens a folder in it, and makes it first if it is missing.
    pub fn open_shared(&self, name: &CStr) -> io::Result<Dir> {
        open_shared(&self.dir, name, self.is_ours())
    }

    /// `None`: the sub-folder may not be ours.
    pub fn broom(&self) -> Option<Broom<'_>> {
        self.is_ours().then_some(Broom { dir: &self.dir })
    }
}

impl Deref for Hidden {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

/// For unit tests of what is in the sub-folder: a folder that is ours.
#[cfg(test)]
impl From<Dir> for Hidden {
    fn from(dir: Dir) -> Hidden {
        Hidden { dir, is_ours: OnceLock::from(true) }
    }
}
