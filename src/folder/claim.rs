//! The claim: our bid's file, prepared once per handle in the hidden sub-folder, so that publishing it is one cheap and
//! atomic step, and withdrawing it another. It is kept open and locked while the handle lives: the proof of life.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::folder::location::join;
use crate::folder::names::ClaimId;
use crate::owner::bid::{Bid, BidName, MAX_BYTES};
use crate::sys::{self, Dir, FileId, Filesystem, FolderStat, Identity, LockedFile};

/// How a bid is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The claim gets a second name in the lock folder.
    Link,
    /// The claim itself moves there and back. So it is done on filesystems without hard links, and where a deleted name stays as long as
    /// anybody has the file open, as we have.
    Rename,
}

pub(crate) struct Claim {
    hidden: Arc<Dir>,
    id: ClaimId,
    /// The name of its file.
    name: CString,
    file: LockedFile,
    content: String,
    is_trusted: bool,
    /// Not on filesystems that have links for sure: there an error of link(2) tells of something else, as of a folder that
    /// somebody put into the claim's place; and to move that would be an act.
    may_move: bool,
    how: How,
    me: Arc<Identity>,
    /// False in a forked child: the files are the parent's.
    ours: bool,
}

impl Claim {
    /// Writes the claim. `random` gives it its name.
    pub fn prepare(
        hidden: Dir,
        path: &Path,
        me: Arc<Identity>,
        on: Filesystem,
        mut random: impl FnMut() -> io::Result<u64>,
    ) -> Result<Claim> {
        let mut content = String::new();
        let may_move = !on.has_links();
        let how = if sys::DELETES_AT_ONCE { How::Link } else { How::Rename };
        // A sweep can take our file for a leftover in the instant between its creation and its lock; not many times.
        for _ in 0..100 {
            let id = ClaimId(random().map_err(|e| Error::io("make a random name in", path, e))?);
            let name = id.file();
            let write = |id: FileId, born: Option<u64>| {
                content = self::content(&me, &id, born, on);
                content.clone()
            };
            let made = hidden.claim(&name, write, on.locks_prove_death());
            let made = made.map_err(|e| Error::io("write the claim", join(path, &name), e))?;
            if let Some(file) = made {
                return Ok(Claim {
                    hidden: Arc::new(hidden),
                    id,
                    name,
                    file,
                    content,
                    is_trusted: true,
                    may_move,
                    how,
                    me,
                    ours: true,
                });
            }
        }
        Err(Error::new(ErrorKind::Io, format!("the claims that we write to {} keep vanishing", path.display())))
    }

    /// The claim says who we are as everybody sees it now.
    pub fn is_current(&self) -> bool {
        self.is_trusted && !self.me.clock_stepped()
    }

    pub fn hidden(&self) -> &Arc<Dir> {
        &self.hidden
    }

    pub fn id(&self) -> ClaimId {
        self.id
    }

    /// Which file our bid is, whatever its name.
    pub fn file_id(&self) -> FileId {
        self.file.id
    }

    /// Whether a file that says this is our bid, by what it says and by who can change that.
    pub fn says(&self, content: &[u8], stat: &FolderStat) -> bool {
        content == self.content.as_bytes() && self.file.is_as_safe(stat)
    }

    /// Puts the bid into the folder, whole, in one atomic step.
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

    /// Whether the claim's name still leads to the claim.
    fn is_in_place(&self) -> bool {
        matches!(self.hidden.file_id(&self.name), Ok(Some(file)) if file == self.file.id)
    }

    /// From now on it is not current: somebody put another file in its place.
    pub fn distrust(&mut self) {
        self.is_trusted = false;
    }

    /// Takes the bid out of the folder, in one atomic step.
    pub fn withdraw(&self, folder: &Dir, bid: &BidName) -> io::Result<()> {
        match self.how {
            How::Link => folder.unlink(bid.as_c_str()),
            How::Rename => match folder.rename(bid.as_c_str(), &self.hidden, &self.name) {
                // The bid is missing, or the sub-folder; or somebody put something into the claim's place. Then the claim goes too,
                // and the next lock makes a new one.
                Err(e) => folder.unlink(bid.as_c_str()).or(Err(e)),
                done => done,
            },
        }
    }

    /// In a forked child: forgets the claim without touching the parent's files.
    pub fn abandon(mut self) {
        self.ours = false;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.ours {
            let _ = self.hidden.unlink(&self.name);
        }
    }
}

/// What can be done about an error of [`Claim::withdraw`] that the system's text does not explain.
pub(crate) fn advice_on_withdrawal(error: &io::Error) -> Option<&'static str> {
    Dir::is_not_ours(error).then_some(
        "the bid belongs to another user than this process has now, or the folder was closed to it; a process that changes its \
         user unlocks first. The bid counts as stale once this process has ended",
    )
}

/// What can be done about an error of [`Claim::publish`] that the system's text does not explain.
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    Dir::crosses_filesystems(error).then_some(
        "nothing may be linked or moved from .lockfolder into its parent: they are on two filesystems, or an XFS project quota \
         or a Landlock sandbox keeps them apart; give both one project ID, and a sandbox LANDLOCK_ACCESS_FS_REFER on the \
         lock folder",
    )
}

/// What can be done about an error of opening the sub-folder that the system's text does not explain.
pub(crate) fn advice_on_sub_folder(error: &io::Error) -> Option<&'static str> {
    Dir::crosses_filesystems(error).then_some("another filesystem is mounted there; unmount it")
}

fn content(me: &Identity, file: &FileId, born: Option<u64>, on: Filesystem) -> String {
    // A host name has at most 64 bytes (uname(2)) and a command 15 (proc_pid_comm(5)), so this never gets near the limit.
    let bid = Bid {
        pid: me.pid,
        created: Some(me.created),
        start: me.start,
        boot: me.boot.clone(),
        pidns: me.pidns,
        host: Some(me.host.clone()),
        command: Some(me.command.clone()),
        inode: on.has_stable_numbers().then_some(file.number()),
        born: born.filter(|_| on.has_stable_numbers()),
        overlay: on.is_overlay(),
        shared: !on.is_local(),
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
    use crate::folder::names::HIDDEN;
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
            let (hidden, me) = (folder.open_dir(HIDDEN).unwrap(), Identity::current().unwrap());
            let mut claim = Claim::prepare(hidden, &path, me, Filesystem::Local, || Ok(0xab)).unwrap();
            claim.how = how;
            Made { path, folder, claim, bid: BidName::new(1, [7; 8]) }
        }

        fn publish(&mut self) -> io::Result<()> {
            self.claim.publish(&self.folder, &self.bid)
        }

        fn withdraw(&self) -> io::Result<()> {
            self.claim.withdraw(&self.folder, &self.bid)
        }

        /// Where the claim is, and where the bid.
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

    /// A claim that is missing, or another file in its place, is no reason to move it. (That it moves where there are no links is
    /// tested on filesystems that have none: tests/filesystems.)
    #[test]
    fn what_is_not_our_claim_is_not_moved() {
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
    fn a_claim_that_can_not_go_home_is_deleted_and_no_bid_stays() {
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
