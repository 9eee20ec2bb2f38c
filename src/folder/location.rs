//! The folder at the path: which one it is now, whether it is private, and what its filesystem is good for.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::folder::names;
use crate::folder::options::Options;
use crate::sys::{self, Dir, FileId, Filesystem, FolderStat};

/// The folder that was at the path when we last looked.
pub(crate) struct Location {
    pub dir: Dir,
    pub id: FileId,
    pub on: Filesystem,
}

impl Location {
    pub fn open(path: &Path, options: Options) -> Result<Location> {
        let dir = Dir::open(path).map_err(|e| Error::io("open the lock folder", path, e))?;
        let stat = dir.stat().map_err(|e| Error::io("look at the lock folder", path, e))?;
        if options.private && !stat.is_private() {
            return Err(not_private(path, &stat));
        }
        let on = sys::filesystem(&dir);
        let on = match on.map_err(|e| Error::io("tell the filesystem of", path, e))? {
            Ok(on) => on,
            Err(_) if options.trust_filesystem => Filesystem::Trusted,
            Err(kind) => {
                let text = format!(
                    "the lock folder {} is on a filesystem ({kind}) of which it is not known that a listing shows every \
                     bid that was there when it began; if all claimants use this one mount, or its caches are off, \
                     LF_OPEN_TRUST_FILESYSTEM says so",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Unsupported, text));
            }
        };
        Ok(Location { dir, id: stat.id, on })
    }

    /// Makes sure that the folder is still private, and with it the sub-folder and all below it. What others own or can write in
    /// there was put there before the folder was private.
    pub fn check_private(&self, path: &Path) -> Result<()> {
        let folder = self.dir.stat().map_err(|e| Error::io("look at the lock folder", path, e))?;
        let unsafe_at: Option<(PathBuf, FolderStat)> = match folder.is_private() {
            false => Some((path.to_path_buf(), folder)),
            true => {
                let found = find_unsafe(&self.dir, names::HIDDEN, LEVELS);
                let found = found.map_err(|e| Error::io("look at all in", join(path, names::HIDDEN), e))?;
                // Others may have chosen these names, and the message may end up on a terminal.
                found.map(|(below, stat)| (path.join(below.to_string_lossy().escape_debug().to_string()), stat))
            }
        };
        match unsafe_at {
            None => Ok(()),
            Some((at, stat)) => Err(not_private(&at, &stat)),
        }
    }

    /// Makes the folder itself survive power loss. The folder that it is in is found from the folder itself: a path can end in a
    /// link, and then what is before the last name is elsewhere.
    pub fn sync(&self) -> io::Result<()> {
        self.dir.sync()?;
        match self.dir.open_above() {
            Ok(parent) => parent.sync(),
            // Not ours to open, so not ours to have made.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn not_private(at: &Path, stat: &FolderStat) -> Error {
    let text = format!(
        "the lock folder is not private: {} {}; a private one, and all in its sub-folder, belongs to the effective user (the \
         content of the sub-folder also to root), and only its owner can write to it",
        at.display(),
        stat.access()
    );
    Error::new(ErrorKind::Unsafe, text)
}

/// How many levels of folders of ours there are: the sub-folder, and the queue in it. What is deeper we never look at.
const LEVELS: u32 = 2;

/// What others own or can write to: what has this name in the folder, or else something in it, if it is a folder too.
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
    folder.list(false, |name, _| names.push(name.to_owned()))?;
    for name in names.iter().filter(|name| **name != *c"." && **name != *c"..") {
        if let Some((below, stat)) = find_unsafe(&folder, name, levels - 1)? {
            return Ok(Some((path.join(below), stat)));
        }
    }
    Ok(None)
}

/// What can be done where a lock folder can't be opened, and the system's text does not say it.
pub(crate) fn advice(path: &Path) -> Option<&'static str> {
    let above = path.parent().map(Dir::id_at)?;
    above.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied).then_some(
        "this user may not search one of the folders above it; a relative path becomes an absolute one when it is opened, so \
         give one that this user can reach, or let it search those folders",
    )
}

/// How often a step is tried again when somebody else undoes it at that moment.
pub(crate) const TRIES: usize = 100;

/// Opens a sub-folder, and makes it first if it is missing, so that the users of the folder that it is in may use it too. What
/// is there already is never changed. A new one is made under another name, and moved into place once it is complete: so a
/// death in between leaves nothing that others can't use.
pub(crate) fn open_shared(parent: &Dir, name: &CStr) -> io::Result<Dir> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for tried in 0..TRIES {
        match parent.open_dir(name) {
            Err(e) if Dir::has_vanished(&e) => last = e, // it is missing; the last in a line removes `queue`
            // Not ours to open. An empty one is in everybody's way, and holds nothing.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && parent.remove_dir(name).is_ok() => last = e,
            opened => return opened,
        }
        if tried == 0 {
            sweep_staged(parent, name); // not later: somebody may be about to remove the new one
        }
        let staged = sys::staged_name(name)?;
        let made = parent.make_shared_dir(&staged).and_then(|()| parent.rename_dir(&staged, name));
        if let Err(e) = made {
            let _ = parent.remove_dir(&staged);
            // Somebody was faster, or took ours away.
            if !Dir::has_vanished(&e) && !Dir::is_taken(&e) {
                return Err(e);
            }
            last = e;
        }
    }
    Err(last)
}

/// Removes what makers that died in between left under other names: empty folders, or with a FIFO. A maker that lives starts again.
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
    left.iter().for_each(|staged| parent.remove_stage(staged));
}

pub(crate) fn join(path: &Path, name: &CStr) -> PathBuf {
    path.join(name.to_string_lossy().as_ref())
}
