//! The folder at the path: which one it is now, whether it is private, and what its filesystem is good for.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::folder::Options;
use crate::sys::{self, Dir, FileId, Filesystem};

/// The folder that was at the path when we last looked.
pub(crate) struct Place {
    pub dir: Dir,
    pub id: FileId,
    pub on: Filesystem,
}

impl Place {
    pub fn open(path: &Path, options: Options) -> Result<Place> {
        let dir = Dir::open(path).map_err(|e| Error::io("open the lock folder", path, e))?;
        let stat = dir.stat().map_err(|e| Error::io("look at the lock folder", path, e))?;
        if options.private && !stat.is_private() {
            let text = format!("the lock folder {} is not private: it {}", path.display(), stat.access());
            return Err(Error::new(ErrorKind::Unsafe, text));
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
        Ok(Place { dir, id: stat.id, on })
    }

    /// Makes the folder itself survive power loss.
    pub fn sync(&self, path: &Path) -> io::Result<()> {
        self.dir.sync()?;
        match path.parent().map(Dir::open) {
            None => Ok(()),
            Some(Ok(parent)) => parent.sync(),
            // Not ours to open, so not ours to have made.
            Some(Err(e)) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
            Some(Err(e)) => Err(e),
        }
    }
}

/// How often a step is tried again when somebody else undoes it at that moment.
pub(crate) const TRIES: usize = 100;

/// Opens a sub-folder, and makes it first if it is missing: with the mode, group and (if root makes it) owner of the folder that
/// it is in, so that whoever may lock may also use it.
pub(crate) fn open_shared(parent: &Dir, name: &CStr) -> io::Result<Dir> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..TRIES {
        match parent.open_dir(name) {
            Ok(made) => {
                // Also when a claimant died before it did. Only its owner can; filesystems without modes refuse.
                let _ = made.adopt(&parent.stat()?);
                return Ok(made);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                parent.make_dir(name, 0o777)?;
                last = e; // whoever leaves removes an empty folder, see `queue`
            }
            // It may be another's, who had a strict umask and died, or is just about to change the mode. Then it is empty.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && parent.remove_dir(name).is_ok() => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

pub(crate) fn join(path: &Path, name: &CStr) -> PathBuf {
    path.join(name.to_string_lossy().as_ref())
}
