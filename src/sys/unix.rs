//! Folders, files and descriptors. Every name is looked up relative to an open folder and never through a link.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RawMode, CWD};
use rustix::io::Errno;

use super::{entries, glance, id_at, UNNOTICED};

/// A path as C gives it; `None` where it can't be one.
pub(crate) fn path(path: &CStr) -> Option<&Path> {
    Some(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// A name in a folder, as everybody else knows it.
pub(crate) fn file_name(name: &CStr) -> OsString {
    OsStr::from_bytes(name.to_bytes()).to_owned()
}

/// Which file this is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The number that a listing gives with the names of this file.
    pub fn number(&self) -> u64 {
        self.inode
    }

    #[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
    fn of(stat: &fs::Stat) -> FileId {
        FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// Who may write to a folder.
pub(crate) struct FolderStat {
    pub id: FileId,
    owner: u32,
    group: u32,
    pub(super) mode: u32,
}

impl FolderStat {
    #[allow(clippy::useless_conversion)] // the types of these fields differ by system
    fn of(stat: &fs::Stat) -> FolderStat {
        let mode = u32::from(stat.st_mode) & 0o7777;
        FolderStat { id: FileId::of(stat), owner: stat.st_uid, group: stat.st_gid, mode }
    }

    pub fn is_private(&self) -> bool {
        self.is_ours() && self.mode & 0o022 == 0
    }

    fn is_ours(&self) -> bool {
        self.owner == rustix::process::geteuid().as_raw()
    }

    /// Gives an open file the owner and group of this folder, as far as we may.
    pub(super) fn give(&self, file: impl AsFd) -> io::Result<()> {
        let owner = rustix::process::Uid::from_raw(self.owner);
        let group = rustix::process::Gid::from_raw(self.group);
        retry(|| fs::fchown(&file, Some(owner), Some(group)))
            .or_else(|_| retry(|| fs::fchown(&file, None, Some(group))))
    }

    /// Who may write, for a person.
    pub fn access(&self) -> String {
        format!("belongs to user {} and has mode {:04o}", self.owner, self.mode)
    }
}

/// A file that we made and hold locked for as long as we live: the kernel's proof of life, in every PID namespace.
pub(crate) struct Claimed {
    _fd: OwnedFd,
    pub id: FileId,
}

/// An open folder.
pub(crate) struct Dir {
    fd: OwnedFd,
}

const READ_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a folder by path, through links if the path has them.
    pub fn open(path: &Path) -> io::Result<Dir> {
        // Each listing would change the time of last access, and so write to the disk: `relatime` only helps where nothing
        // is written to the folder between two listings. Not ours to suppress in another user's folder (open(2)).
        let fd = match retry(|| fs::openat(CWD, path, READ_DIR | UNNOTICED, Mode::empty())) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::PERM) => {
                retry(|| fs::openat(CWD, path, READ_DIR, Mode::empty()))?
            }
            other => other?,
        };
        Ok(Dir { fd })
    }

    /// Makes a folder by path. That it is there already is fine.
    pub fn make(path: &Path, mode: u32) -> io::Result<()> {
        match rustix::io::retry_on_intr(|| fs::mkdirat(CWD, path, to_mode(mode))) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Which folder is at this path now.
    pub fn id_at(path: &Path) -> io::Result<FileId> {
        match retry(|| id_at(path))? {
            Some((device, inode)) => Ok(FileId { device, inode }),
            None => Ok(FileId::of(&retry(|| fs::statat(CWD, path, AtFlags::empty()))?)),
        }
    }

    /// Opens a folder inside this one. Never through a link.
    pub fn open_dir(&self, name: &CStr) -> io::Result<Dir> {
        let flags = READ_DIR | OFlags::NOFOLLOW;
        let fd = retry(|| fs::openat(&self.fd, name, flags, Mode::empty()))?;
        Ok(Dir { fd })
    }

    /// Makes a folder inside this one. That it is there already is fine.
    pub fn make_dir(&self, name: &CStr, mode: u32) -> io::Result<()> {
        match rustix::io::retry_on_intr(|| fs::mkdirat(&self.fd, name, to_mode(mode))) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub fn stat(&self) -> io::Result<FolderStat> {
        Ok(FolderStat::of(&retry(|| fs::fstat(&self.fd))?))
    }

    /// Gives this folder another's mode and group, as far as we may, and its owner: root can give away what it made.
    pub fn adopt(&self, model: &FolderStat) -> io::Result<()> {
        let now = self.stat()?;
        if (model.mode, model.group) == (now.mode, now.group) && !(now.is_ours() && model.owner != now.owner) {
            return Ok(());
        }
        // The mode last: chown clears the set-group-ID bit that it may carry.
        let given = model.give(&self.fd);
        retry(|| fs::fchmod(&self.fd, to_mode(model.mode)))?;
        given
    }

    /// Names every entry that is there from before this call until its end; one that comes or goes meanwhile may be named
    /// or not (readdir(3)). `anew` opens the folder for this listing, as filesystems that cache need it.
    ///
    /// The number given with a name tells two files of one name apart.
    pub fn list(&self, anew: bool, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        let fresh;
        let dir = if anew {
            fresh = self.open_dir(c".")?;
            &fresh
        } else {
            self
        };
        entries(dir.fd(), each)
    }

    /// Names some entries, as a rule all. For a look on which nothing depends; it costs less.
    pub fn glance(&self, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        glance(self.fd(), each)
    }

    /// Makes a file, locks it, and only then gives it its content: whoever can read it whole sees it locked.
    /// `None`: somebody took the empty file for a leftover in between; try again. Where `proof` is not asked for, a
    /// filesystem that has no such locks will do.
    pub fn claim(&self, name: &CStr, content: &[u8], proof: bool) -> io::Result<Option<Claimed>> {
        // A write past RLIMIT_FSIZE raises SIGXFSZ, which would kill the program: see setrlimit(2).
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < content.len() as u64) {
            return Err(Errno::FBIG.into());
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry(|| fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644)))?;
        match Self::fill(&fd, content, proof) {
            Ok(Some(id)) => Ok(Some(Claimed { _fd: fd, id })),
            Ok(None) => Ok(None),
            Err(e) => {
                // A server keeps no file that is open, if somebody takes it for a leftover.
                if Dir::has_vanished(&e) && !self.has(name) {
                    return Ok(None);
                }
                let _ = self.unlink(name);
                Err(e)
            }
        }
    }

    fn fill(fd: &OwnedFd, content: &[u8], proof: bool) -> io::Result<Option<FileId>> {
        match lock(fd.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) if proof => return Err(e),
            Err(_) => {}
        }
        // Whatever the umask, anybody who reaches the folder may read. Filesystems without modes refuse, and need none.
        match rustix::io::retry_on_intr(|| fs::fchmod(fd, Mode::from_raw_mode(0o644))) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(e) => return Err(e.into()),
        }
        let mut rest = content;
        while !rest.is_empty() {
            match rustix::io::write(fd, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let stat = retry(|| fs::fstat(fd))?;
        Ok((stat.st_nlink > 0).then(|| FileId::of(&stat)))
    }

    /// Gives `from`, a file in this folder, a second name in the folder `to`. Atomic, and fails if the name is taken (link(2)).
    pub fn link(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        retry_until(Errno::EXIST, || fs::linkat(&self.fd, from, &to.fd, name, AtFlags::empty()))
    }

    /// Whether a file was gone when it was read, although its name had led to it a moment before: servers keep no file that is
    /// open, if another client deletes it.
    pub fn has_vanished(error: &io::Error) -> bool {
        #[cfg(target_os = "linux")]
        if Errno::from_io_error(error) == Some(Errno::BADFD) {
            return true; // GlusterFS, once in many runs
        }
        matches!(Errno::from_io_error(error), Some(Errno::STALE | Errno::NOENT))
    }

    /// Whether this error of [`Dir::link`] means that the filesystem has no hard links.
    pub fn has_no_links(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK))
    }

    /// Moves a file of this folder into the folder `to`. Atomic (rename(2)).
    pub fn rename(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::renameat(&self.fd, from, &to.fd, name))
    }

    /// Removes an empty folder in this one.
    pub fn remove_dir(&self, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
    }

    pub fn unlink(&self, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::unlinkat(&self.fd, name, AtFlags::empty()))
    }

    /// Which file has this name; `None` where none has.
    pub fn file_id(&self, name: &CStr) -> io::Result<Option<FileId>> {
        match rustix::io::retry_on_intr(|| fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(stat) => Ok(Some(FileId::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Something has this name, as far as we can see.
    pub fn has(&self, name: &CStr) -> bool {
        matches!(self.file_id(name), Ok(Some(_)))
    }

    /// Makes an empty file, if there is none of this name.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn touch(&self, name: &CStr) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry(|| fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))).map(drop)
    }

    /// Makes an empty file that survives power loss. False: the name is taken.
    pub fn create_durably(&self, name: &CStr) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::io::retry_on_intr(|| fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))) {
            Ok(fd) => retry(|| fs::fsync(&fd))?,
            Err(Errno::EXIST) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        self.sync()?;
        Ok(true)
    }

    /// Makes what was created in this folder survive power loss (fsync(2): the folder needs one of its own).
    pub fn sync(&self) -> io::Result<()> {
        retry(|| fs::fsync(&self.fd))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(super) fn lock(fd: BorrowedFd<'_>, how: FlockOperation) -> io::Result<bool> {
    match retry(|| fs::flock(fd, how)) {
        Ok(()) => Ok(true),
        Err(e) if Errno::from_io_error(&e) == Some(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e),
    }
}

#[allow(clippy::unnecessary_cast)] // its type differs by system
fn to_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
}

/// Retries a call that changes a name. A filesystem in user space can answer that it was interrupted although it has done
/// what it was asked; then the next try says `done`.
fn retry_until(done: Errno, mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    let mut interrupted = false;
    loop {
        match call() {
            Err(Errno::INTR) => interrupted = true,
            Err(e) if interrupted && e == done => return Ok(()),
            result => return Ok(result?),
        }
    }
}

/// Any call that names a file can be interrupted, whatever its manual page says: FUSE, NFS.
pub(super) fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    Ok(rustix::io::retry_on_intr(call)?)
}
