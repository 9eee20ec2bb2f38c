//! The claim: the file of our bids, prepared once per handle in the hidden sub-folder. Publishing a bid is then one
//! cheap atomic step, and withdrawing it is another. The claim stays open and locked while the handle lives; the lock
//! proves that its owner is alive.

use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::folder::broom::Hidden;
use crate::folder::location::join;
use crate::folder::names::ClaimId;
use crate::owner::bid::{Bid, BidName, MAX_BYTES};
use crate::slots::Slots;
use crate::sys::{
    self, process_mark, Dir, FileId, Filesystem, FolderStat, Identity, LockedFile, Opened, ProcessMark, Rights,
};

/// How many times a claim that was made slowly is made anew.
const MADE_ANEW: u32 = 3;

/// How a bid is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The claim gets a second name (a hard link) in the lock folder.
    Link,
    /// The claim itself moves to the lock folder and back. We do this on filesystems without hard links, and on systems
    /// where a deleted name stays while the file is open, because we keep the claim open.
    Rename,
}

/// What the bids of a claim say of how its owner locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The lease, if other hosts use the folder too.
    pub lease: Option<Duration>,
    pub slots: Slots,
}

pub(crate) struct Claim {
    hidden: Arc<Hidden>,
    id: ClaimId,
    /// The name of its file.
    name: CString,
    file: LockedFile,
    content: String,
    pub said: Said,
    is_trusted: bool,
    /// The rights to the lock folder when we last published.
    rights: Option<Rights>,
    /// False on filesystems that certainly have hard links. An error of link(2) then has another cause, for example a
    /// folder that somebody put in the place of the claim. We must not move such a folder.
    may_move: bool,
    how: How,
    me: Arc<Identity>,
    /// The process that made the claim. In a forked child the files belong to the parent.
    of: ProcessMark,
}

impl Claim {
    /// Writes the claim. `random` gives the number for its name.
    pub fn prepare(
        hidden: Hidden,
        path: &Path,
        me: Arc<Identity>,
        on: Filesystem,
        said: Said,
        mut random: impl FnMut() -> io::Result<u64>,
    ) -> Result<Claim> {
        let mut content = String::new();
        let may_move = !on.has_links();
        let mut slowly = 0;
        // A sweep can take our file for a leftover in the instant between its creation and its lock. That does not
        // happen many times in a row.
        for _ in 0..100 {
            let id = ClaimId(random().map_err(|e| Error::io("make a random name in", path, e))?);
            let name = id.file();
            let write = |id: FileId, born: Option<u64>| {
                content = self::content(&me, &id, born, on, said);
                content.clone()
            };
            let made = hidden.claim(&name, write, on.proof());
            if made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists) {
                continue; // a child that a signal handler has just forked took the same name
            }
            let made = made.map_err(|e| Error::io("write the claim", join(path, &name), e))?;
            if let Some(file) = made {
                // We were stopped in the middle. Where others can't tell our bid from one that somebody changed, a child of ours would
                // keep it alive after our death. On a disk that is so slow each time, we take the file all the same.
                if file.looks_rewritten() && slowly < MADE_ANEW {
                    slowly += 1;
                    let _ = hidden.unlink(&name);
                    continue;
                }
                let other = ClaimId(random().map_err(|e| Error::io("make a random name in", path, e))?);
                let tries = may_move && on.is_local(); // elsewhere no lock proves that we live
                let is_linked = sys::DELETES_AT_ONCE && (!tries || has_links(&hidden, &name, other));
                let how = if is_linked { How::Link } else { How::Rename };
                return Ok(Claim {
                    hidden: Arc::new(hidden),
                    id,
                    name,
                    file,
                    content,
                    said,
                    is_trusted: true,
                    rights: None,
                    may_move,
                    how,
                    me,
                    of: process_mark(),
                });
            }
        }
        Err(Error::new(ErrorKind::Io, format!("somebody deletes each claim that we write to {}", path.display())))
    }

    /// Whether the claim describes this process as every other process would see it now.
    pub fn is_current(&self) -> bool {
        self.is_trusted && !self.me.clock_stepped()
    }

    /// Whether our file is still as we made it. After `chmod -R` other users could write to our bids, or could not read them. `rights`: those
    /// to the lock folder now.
    ///
    /// The look costs a system call. So we look only in a sticky folder, in which a user that may write to a bid need not be one that may
    /// delete it, and after somebody changed the rights to the lock folder.
    pub fn is_untouched(&mut self, rights: Rights) -> bool {
        let has_changed = self.rights.replace(rights).is_some_and(|before| before != rights);
        if (rights.is_sticky() || has_changed) && !self.file.is_untouched() {
            self.is_trusted = false; // for good
        }
        self.is_trusted
    }

    pub fn hidden(&self) -> &Arc<Hidden> {
        &self.hidden
    }

    /// Whether our bids are links of the claim.
    pub fn is_linked(&self) -> bool {
        self.how == How::Link
    }

    /// The name of its file in the sub-folder.
    pub fn name(&self) -> &CString {
        &self.name
    }

    pub fn id(&self) -> ClaimId {
        self.id
    }

    /// Identifies the file of our bid, whatever its name is.
    pub fn file_id(&self) -> FileId {
        self.file.id
    }

    /// Whether a file with this content and these permissions can be our bid.
    pub fn says(&self, content: &[u8], stat: &FolderStat) -> bool {
        self.has(content) && self.file.is_as_safe(stat)
    }

    pub fn has(&self, content: &[u8]) -> bool {
        content == self.content.as_bytes()
    }

    /// Whether a look at our file shows it as we made it.
    pub fn is_as_made(&self, stat: &FolderStat) -> bool {
        self.file.is_as_made(stat)
    }

    /// Posts the complete bid in one atomic step.
    pub fn publish(&mut self, folder: &Dir, bid: &BidName) -> io::Result<()> {
        let claim = &self.name;
        if self.how == How::Link {
            match self.hidden.link(claim, folder, bid.as_c_str()) {
                Err(e) if self.may_move && Dir::has_no_links(&e) && self.is_in_place() => self.how = How::Rename,
                done => return done,
            }
        }
        self.hidden.rename(claim, folder, bid.as_c_str())
    }

    /// Whether the name of the claim still leads to our file.
    fn is_in_place(&self) -> bool {
        matches!(self.hidden.file_id(&self.name), Ok(Some(file)) if file == self.file.id)
    }

    /// Marks the claim as not current, because somebody put another file in its place.
    pub fn distrust(&mut self) {
        self.is_trusted = false;
    }

    /// Takes the bid out of the folder in one atomic step.
    pub fn withdraw(&self, folder: &Dir, bid: &BidName) -> io::Result<()> {
        match self.how {
            How::Link => folder.unlink(bid.as_c_str()),
            How::Rename => match folder.rename(bid.as_c_str(), &self.hidden, &self.name) {
                // The bid or the sub-folder is missing, or somebody put something in the place of the claim. We then
                // delete the bid, which is the claim, and the next lock makes a new claim.
                Err(e) => folder.unlink(bid.as_c_str()).or(Err(e)),
                done => done,
            },
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.of == process_mark() {
            let _ = self.hidden.unlink(&self.name);
        }
    }
}

/// False: a link of the claim is no other name of the same file. Some filesystems have no links. Others take each name for a file of its
/// own, as NTFS by FUSE does: the lock of the claim, which proves that we live, is not seen on a link of it, and a link of a FIFO is
/// another FIFO.
fn has_links(hidden: &Hidden, claim: &CStr, other: ClaimId) -> bool {
    let other = other.file();
    match hidden.link(claim, hidden, &other) {
        Err(e) => !Dir::has_no_links(&e),
        Ok(()) => {
            let link = hidden.open_small(&other);
            let _ = hidden.unlink(&other);
            !matches!(link, Ok(Opened::File(link)) if matches!(link.is_locked(), Ok(false)))
        }
    }
}

/// Advice for an error of [`Claim::publish`], where the system's text does not explain it.
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    Dir::crosses_filesystems(error).then_some(
        "nothing can be linked or moved from .lockfolder into the lock folder: they are on two filesystems or two btrfs \
         subvolumes, or an XFS project quota or a Landlock sandbox keeps them apart. Give both one project ID, or give the sandbox \
         LANDLOCK_ACCESS_FS_REFER on the lock folder",
    )
}

/// Advice for an error while the sub-folder is opened, where the system's text does not explain it.
pub(crate) fn advice_on_sub_folder(error: &io::Error) -> Option<&'static str> {
    Dir::crosses_filesystems(error).then_some("another filesystem is mounted there: unmount it")
}

fn content(me: &Identity, file: &FileId, born: Option<u64>, on: Filesystem, said: Said) -> String {
    // A host name has at most 64 bytes (uname(2)), and a command has at most 15 (proc_pid_comm(5)) or, if the program
    // told it, 128 characters. JSON writes one of them in 12 bytes at most, so the content never comes near the limit.
    let bid = Bid {
        inode: on.has_stable_numbers().then_some(file.number()),
        born: born.filter(|_| on.has_stable_numbers()),
        overlay: on.is_overlay(),
        shared: !on.is_local(),
        lease: said.lease.map(|lease| u32::try_from(lease.as_millis()).unwrap_or(u32::MAX)),
        slots: said.slots.tolerates_company().then(|| said.slots.number()),
        ..Bid::of(me)
    };
    let content = bid.to_json();
    debug_assert!(content.len() <= MAX_BYTES);
    content
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::scratch::Scratch;

    /// A lock folder with a claim, and a name for a bid.
    struct Made {
        path: Scratch,
        folder: Dir,
        claim: Claim,
        bid: BidName,
    }

    impl Made {
        fn new(how: How) -> Made {
            let path = Scratch::new();
            std::fs::create_dir(path.join(".lockfolder")).unwrap();
            let folder = Dir::open(&path).unwrap();
            let (hidden, me) = (Hidden::open(&folder).unwrap(), Identity::current().unwrap());
            let said = Said { lease: None, slots: Slots::One };
            let mut claim = Claim::prepare(hidden, &path, me, Filesystem::Local, said, || Ok(0xab)).unwrap();
            claim.how = how;
            Made { path, folder, claim, bid: BidName::new(1, [7; 8], Slots::One) }
        }

        fn publish(&mut self) -> io::Result<()> {
            self.claim.publish(&self.folder, &self.bid)
        }

        fn withdraw(&self) -> io::Result<()> {
            self.claim.withdraw(&self.folder, &self.bid)
        }

        /// The paths of the claim and of the bid.
        fn paths(&self) -> [PathBuf; 2] {
            [self.path.join(".lockfolder/00000000000000ab.json"), join(&self.path, self.bid.as_c_str())]
        }

        fn are_there(&self) -> [bool; 2] {
            self.paths().map(|path| path.exists())
        }
    }

    #[test]
    fn a_bid_is_a_second_name_of_its_claim_or_the_claim_itself() {
        for (how, claim_stays) in [(How::Link, true), (How::Rename, false)] {
            let mut made = Made::new(how);
            for _ in 0..2 {
                made.publish().unwrap();
                assert_eq!(made.are_there(), [claim_stays, true]);
                made.withdraw().unwrap();
                assert_eq!(made.are_there(), [true, false]);
                assert_eq!(made.withdraw().unwrap_err().kind(), io::ErrorKind::NotFound);
            }
            assert_eq!(made.claim.how, how);
        }
    }

    /// If the claim is missing, or another file is in its place, nothing is moved. (tests/failures/filesystems.rs tests
    /// the move on filesystems without links.)
    #[test]
    fn a_file_that_is_not_our_claim_is_not_moved() {
        let mut made = Made::new(How::Link);
        let [claim, bid] = made.paths();
        std::fs::remove_file(&claim).unwrap();
        assert_eq!(made.publish().unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(&claim).unwrap(); // a folder can't be linked
        assert_eq!(made.publish().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!((made.claim.how, made.are_there()), (How::Link, [true, false]));
        assert!(!bid.exists());
    }

    #[test]
    fn a_claim_that_can_not_move_back_is_deleted_and_leaves_no_bid() {
        for home_is_gone in [false, true] {
            let mut made = Made::new(How::Rename);
            made.publish().unwrap();
            let [claim, _] = made.paths();
            match home_is_gone {
                true => std::fs::remove_dir_all(made.path.join(".lockfolder")).unwrap(),
                false => std::fs::create_dir(&claim).unwrap(), // something else is in its place
            }
            made.withdraw().unwrap();
            assert_eq!(made.are_there(), [!home_is_gone, false]);
        }
    }
}
