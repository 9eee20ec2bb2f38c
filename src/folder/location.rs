//! The folder at the path: which folder that is now, whether it is private, and what its filesystem can do.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::folder::names;
use crate::folder::options::Options;
use crate::sys::{self, Dir, FileId, Filesystem, FolderStat, Leaf, Rights};

/// The folder that was at the path when we last looked.
pub(crate) struct Location {
    pub dir: Arc<Dir>,
    pub id: FileId,
    pub rights: Rights,
    pub on: Filesystem,
}

impl Location {
    pub fn open(path: &Path, options: Options) -> Result<Location> {
        let mut dir = Dir::open(path).map_err(|e| Error::io("open the lock folder", path, e))?;
        let stat = dir.stat().map_err(|e| Error::io("look at the lock folder", path, e))?;
        if options.private && !stat.is_private() {
            return Err(not_private(path, &stat));
        }
        let on = sys::filesystem(&mut dir);
        let on = match on.map_err(|e| Error::io("tell the filesystem of", path, e))? {
            Ok(on) => on,
            Err(_) if options.trust_filesystem => Filesystem::Trusted,
            Err(refusal) => {
                let text = format!("the lock folder {} is on {refusal}", path.display());
                return Err(Error::new(ErrorKind::Unsupported, text));
            }
        };
        if on == Filesystem::Local {
            dir.must_show(stat.id);
            dir.tell_writers();
        }
        if on.lists_in_full_pieces() {
            dir.must_read_at_once();
        }
        Ok(Location { dir: Arc::new(dir), id: stat.id, rights: stat.rights(), on })
    }

    /// Makes sure that our descriptor still leads to the folder. Where a listing shows that too, a lock does without this call.
    pub fn check_descriptor(&self, path: &Path) -> Result<()> {
        self.dir.check(self.id).map_err(|e| not_listed("look at the lock folder", path, e))
    }

    /// Makes sure that the folder is still private, and with it the sub-folder and all below. Other users may own or be
    /// able to write to something in there that dates from before the folder was private.
    pub fn check_private(&self, path: &Path) -> Result<()> {
        let folder = self.dir.stat().map_err(|e| Error::io("look at the lock folder", path, e))?;
        let unsafe_at: Option<(PathBuf, FolderStat)> = match folder.is_private() {
            false => Some((path.to_path_buf(), folder)),
            true => {
                let found = find_unsafe(&self.dir, names::HIDDEN, LEVELS);
                let found = found.map_err(|e| Error::io("look at all in", join(path, names::HIDDEN), e))?;
                // Other users may have chosen these names, and the message may be shown on a terminal.
                found.map(|(below, stat)| (path.join(below.to_string_lossy().escape_debug().to_string()), stat))
            }
        };
        match unsafe_at {
            None => Ok(()),
            Some((at, stat)) => Err(not_private(&at, &stat)),
        }
    }

    /// Makes the folder itself survive power loss. We find its parent from the folder, not from the path: the path may
    /// end in a link, and the rest of the path is then not the parent.
    pub fn sync(&self) -> io::Result<()> {
        self.dir.sync()?;
        match self.dir.open_above() {
            // A folder at which a filesystem is mounted has its entry on that filesystem. The folder above is on another
            // one, which may have no fsync (squashfs).
            Ok(parent) if !parent.stat()?.id.is_on_filesystem_of(&self.id) => Ok(()),
            Ok(parent) => parent.sync(),
            // If we may not open the parent, we did not make the folder in it.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// The absolute path, and no way through an entry of this process in `/proc` (`/dev/fd/7`, `/proc/self/cwd/lock`): after a chdir or a close
/// that leads elsewhere (proc_pid_fd(5)). A way to what has no path of ours, as another root (`/proc/7/root`), stays as it is.
pub(crate) fn fixed(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let leads_through_process = ["/proc", "/dev/fd"].iter().any(|entries| path.starts_with(entries));
    let direct = leads_through_process.then(|| direct(&path)).flatten();
    Ok(direct.unwrap_or(path))
}

/// A path without links to the same folder, which may be still to be made.
fn direct(path: &Path) -> Option<PathBuf> {
    let (there, new) = match Dir::id_at(path) {
        Ok(_) => (path, None),
        Err(_) => (path.parent()?, path.file_name()),
    };
    let mut direct = there.canonicalize().ok()?;
    let is_same = Dir::id_at(&direct).ok()? == Dir::id_at(there).ok()?;
    direct.extend(new);
    (is_same && !direct.starts_with("/proc")).then_some(direct)
}

fn not_private(at: &Path, stat: &FolderStat) -> Error {
    let text = format!(
        "the lock folder is not private: {} {}. A private folder, and all in its sub-folder, belongs to the effective user \
         (what is in the sub-folder may also belong to root), and only its owner can write to it",
        at.display(),
        stat.access()
    );
    Error::new(ErrorKind::Unsafe, text)
}

/// An error of a call that lists the folder.
pub(crate) fn not_listed(doing: &'static str, path: &Path, error: io::Error) -> Error {
    let advice = Dir::is_closed(&error).then_some(
        "the descriptor of this handle is closed, or leads to another folder: this program closed descriptors that are not its own (closefrom, \
         close_range), or this thread has its own table of descriptors (unshare). Close the handle and open it again",
    );
    Error::io(doing, path, error).advising(advice)
}

/// How many levels of folders we make: the sub-folder, and the queue in it. We never look at anything deeper.
const LEVELS: u32 = 2;

/// Finds something that other users own or can write to: the entry `name`, or something in it if it is a folder.
fn find_unsafe(dir: &Dir, name: &CStr, levels: u32) -> io::Result<Option<(PathBuf, FolderStat)>> {
    let Some(stat) = dir.stat_at(name)? else { return Ok(None) };
    let path = PathBuf::from(sys::file_name(name));
    if !stat.is_private_within() {
        return Ok(Some((path, stat)));
    }
    if !stat.is_folder || levels == 0 {
        return Ok(None);
    }
    let folder = match dir.open_dir(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut names = Vec::new();
    match folder.list(false, |name, _| names.push(name.to_owned())) {
        // The last claimant in line removes `queue`, and a removed folder has no entries (getdents(2)).
        Err(e) if Dir::has_vanished(&e) => return Ok(None),
        listed => listed?,
    }
    for name in names.iter().filter(|name| ![c".", c".."].contains(&name.as_c_str())) {
        if let Some((below, stat)) = find_unsafe(&folder, name, levels - 1)? {
            return Ok(Some((path.join(below), stat)));
        }
    }
    Ok(None)
}

/// What can be done where a lock folder can't be opened or written to, and the system's text does not say it.
pub(crate) fn advice(path: &Path, error: &io::Error) -> Option<&'static str> {
    let above = path.parent().map(Dir::id_at)?;
    // Only the last folder of the path is made, so that a mistyped path makes no tree.
    if Dir::has_vanished(error) && above.as_ref().is_err_and(Dir::has_vanished) {
        return Some("the folder above it is missing: make that one first");
    }
    if !Dir::is_not_ours(error) {
        return None;
    }
    if above.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
        return Some(
            "this user may not search one of the folders above it; a relative path becomes an absolute one when it is opened. \
             Give a path that this user can reach, or let this user search those folders",
        );
    }
    let lacks_rights = sys::owner_lacks_rights(path).then_some(
        "its owner may not read, write and search it. A program makes such a folder if its umask takes these rights. chmod u+rwx \
         gives them back",
    );
    lacks_rights.or_else(|| advice_on_fixed(path))
}

fn advice_on_fixed(folder: &Path) -> Option<&'static str> {
    sys::is_fixed(folder).then_some(
        "the lock folder is append-only or immutable (lsattr shows that). chattr -a -i makes it usable again",
    )
}

/// Advice for a bid in this folder that can't be deleted, where the system's text does not explain it.
pub(crate) fn advice_on_withdrawal(path: &Path, bid: &CStr, error: &io::Error) -> Option<&'static str> {
    if !Dir::is_not_ours(error) {
        return None;
    }
    let fixed_bid = || {
        let text = "the bid is append-only or immutable (lsattr shows that). chattr -a -i lets it be deleted";
        sys::is_fixed(&join(path, bid)).then_some(text)
    };
    Some(advice_on_fixed(path).or_else(fixed_bid).unwrap_or(
        "the bid belongs to another user than this process has now, or this user may no longer write to the folder. Unlock \
         before you change the user. The bid counts as stale after this process has ended",
    ))
}

/// How often a step is tried again when another process undoes it at the same moment.
pub(crate) const TRIES: usize = 100;

/// Opens a sub-folder for all users of the parent folder, and makes it first if it is missing. An existing sub-folder
/// is never changed. A new one is made under another name, and moved into place once it is complete. A maker that dies
/// in between therefore leaves nothing that other users can't use. `may_tidy`: what others left in the parent folder may go.
pub(crate) fn open_shared(parent: &Dir, name: &CStr, may_tidy: bool) -> io::Result<Dir> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for tried in 0..TRIES {
        match parent.open_dir(name) {
            Err(e) if Dir::has_vanished(&e) => last = e, // it is missing; the last claimant in a line removes `queue`
            // We may not open it. An empty sub-folder of this kind blocks other users and holds nothing, so we
            // remove it.
            Err(e) if may_tidy && e.kind() == io::ErrorKind::PermissionDenied && parent.remove_dir(name).is_ok() => {
                last = e
            }
            opened => return opened,
        }
        if tried == 0 && may_tidy {
            sweep_staged(parent, name); // only now: later, another process may be about to remove the new one
        }
        let staged = sys::staged_name(name)?;
        let made = parent.make_shared_dir(&staged).and_then(|()| parent.rename_dir(&staged, name));
        if let Err(e) = made {
            let _ = parent.remove_dir(&staged);
            // Another maker was faster, or removed our folder. Some filesystems do not say so: sshfs reports EPERM (SFTP knows no error
            // for it). So we look at the name before we take another error for the reason.
            if !Dir::has_vanished(&e) && !Dir::is_taken(&e) {
                return parent.open_dir(name).map_err(|_| e);
            }
            last = e;
        }
    }
    Err(last)
}

/// Removes what dead makers left under other names: folders that are empty, and empty files (see `Dir::make_shared_dir`).
/// Under the name of a queue a folder may also hold one FIFO. A maker that is still alive then starts again.
///
/// Only a user that may delete a file can have moved it to such a name. So by us such a user gains nothing.
pub(crate) fn sweep_staged(parent: &Dir, name: &CStr) {
    let mut left = Vec::new();
    let is_staged = |other: &CStr| {
        let random = other.to_bytes().strip_prefix(name.to_bytes()).and_then(|rest| rest.strip_prefix(b"-"));
        random.is_some_and(|random| random.len() == 16 && random.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let _ = parent.list(true, |other, _| {
        if is_staged(other) {
            left.push(other.to_owned());
        }
    });
    for staged in &left {
        match parent.leaf_at(staged) {
            Ok(Leaf::File { size: 0 }) => drop(parent.unlink(staged)),
            _ if name == names::QUEUE => parent.remove_stage(staged),
            _ => drop(parent.remove_dir(staged)),
        }
    }
}

pub(crate) fn join(path: &Path, name: &CStr) -> PathBuf {
    path.join(name.to_string_lossy().as_ref())
}
