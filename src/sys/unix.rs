//! Folders, files and descriptors. Every name is looked up relative to an open folder and never through a link.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, RawMode, CWD};
use rustix::io::Errno;

#[cfg(target_os = "linux")]
use super::linux_fs::{has_within, open_within, stat_within};
use super::stat::{FileId, FolderStat};
use super::{born, entries, glance, id_at, is_known, take_lock, Access, Moment, UNNOTICED};

/// A path as C gives it; `None` where it can't be one.
#[cfg(feature = "capi")]
pub(crate) fn path(path: &CStr) -> Option<&Path> {
    Some(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// A name in a folder, as everybody else knows it.
pub(crate) fn file_name(name: &CStr) -> OsString {
    OsStr::from_bytes(name.to_bytes()).to_owned()
}

/// A file that we made and hold locked for as long as we live: the kernel's proof of life, in every PID namespace.
pub(crate) struct LockedFile {
    fd: OwnedFd,
    pub id: FileId,
}

impl LockedFile {
    /// Whether a file with this stat has the same owner, and nobody else can write to it. For filesystems where nothing else
    /// tells two files apart.
    pub fn is_as_safe(&self, stat: &FolderStat) -> bool {
        let own = retry(|| fs::fstat(&self.fd)).map(|own| FolderStat::of(&own));
        stat.mode & 0o022 == 0 && own.is_ok_and(|own| own.owner == stat.owner)
    }
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
        let open = |flags| descriptor(|| fs::openat(CWD, path, flags, Mode::empty()));
        let fd = match open(READ_DIR | UNNOTICED) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::PERM) => open(READ_DIR)?,
            other => other?,
        };
        Ok(Dir { fd })
    }

    /// Opens what has this name in the folder. Never through a link, and on Linux never into a mount.
    pub(super) fn open_at(&self, name: &CStr, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        descriptor(|| open_within(self.fd(), leaf(name)?, flags, to_mode(mode)))
    }

    /// The folder that this one is in.
    pub fn open_above(&self) -> io::Result<Dir> {
        let fd = descriptor(|| fs::openat(&self.fd, c"..", READ_DIR, Mode::empty()))?;
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
        Ok(Dir { fd: self.open_at(name, READ_DIR, 0)? })
    }

    /// Makes a folder inside this one, which everybody may use who may use this one: it gets the owner (if we are root), the
    /// group, the mode and the access control list of this folder.
    ///
    /// `name` must be one that nobody can guess, and not the final one. The folder is found by its name a moment after it was
    /// made, so an unfriendly user of this folder can put another one there. One that may not be the new one is left as it is.
    pub fn make_shared_dir(&self, name: &CStr) -> io::Result<()> {
        let began = Moment::now();
        retry_until(Errno::EXIST, || fs::mkdirat(&self.fd, leaf(name)?, to_mode(0o700)))?;
        let made = self.open_dir(name)?;
        let (stat, model) = (made.stat()?, self.stat()?);
        if (stat.owner, stat.group, stat.mode) == (model.owner, model.group, model.mode) {
            return Ok(()); // also where a filesystem has no modes, so each folder looks like this one
        }
        // Where a mount shows another owner for all, or another mode, nothing but its emptiness tells.
        let is_plain = stat.is_ours() && stat.mode & 0o077 == 0;
        let mut is_new = (is_plain || !is_known(made.fd())?) && born(made.fd()).is_none_or(|born| born >= began);
        made.list(false, |entry, _| is_new &= entry == c"." || entry == c"..")?;
        if !is_new {
            return Err(io::ErrorKind::NotFound.into()); // somebody took ours away
        }
        Access::of(self)?.give(made.fd())
    }

    pub fn stat(&self) -> io::Result<FolderStat> {
        Ok(FolderStat::of(&retry(|| fs::fstat(&self.fd))?))
    }

    /// The same of something inside; `None` where nothing has this name.
    pub fn stat_at(&self, name: &CStr) -> io::Result<Option<FolderStat>> {
        Ok(self.look_at(name)?.map(|stat| FolderStat::of(&stat)))
    }

    pub(super) fn look_at(&self, name: &CStr) -> io::Result<Option<fs::Stat>> {
        match stat_within(self.fd(), leaf(name)?) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
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

    /// Makes a file, locks it, and only then gives it its content and lets others open it: what others can read is whole, and
    /// is locked. `content` is told which file it is for, and when
    /// that was made, if the filesystem says so (Unix nanoseconds).
    /// `None`: somebody took the empty file for a leftover in between, or printed to it; try again. Where `proof` is not asked for, a
    /// filesystem that has no such locks will do.
    pub fn claim(
        &self,
        name: &CStr,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: bool,
    ) -> io::Result<Option<LockedFile>> {
        let fd = self.open_at(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, 0o600)?;
        // What has its number may be a file of the program's, see `descriptor`. Nothing is written to that.
        let is_ours = || Ok(self.file_id(name)? == Some(FileId::of(&retry(|| fs::fstat(&fd))?)));
        let filled = match is_ours() {
            Ok(true) => Self::fill(&fd, content, proof),
            Ok(false) => Ok(None),
            Err(e) => Err(e),
        };
        match filled {
            Ok(Some(id)) => Ok(Some(LockedFile { fd, id })),
            Ok(None) => {
                let _ = self.unlink(name);
                Ok(None)
            }
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

    fn fill(
        fd: &OwnedFd,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: bool,
    ) -> io::Result<Option<FileId>> {
        match take_lock(fd.as_fd()) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) if proof => return Err(e),
            Err(_) => {}
        }
        let id = FileId::of(&retry(|| fs::fstat(fd))?);
        let content = content(id, born(fd.as_fd()).map(Moment::nanos));
        // A write past RLIMIT_FSIZE raises SIGXFSZ, which would kill the program: see setrlimit(2).
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < content.len() as u64) {
            return Err(Errno::FBIG.into());
        }
        let mut rest = content.as_bytes();
        while !rest.is_empty() {
            match rustix::io::write(fd, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        // Whatever the umask, anybody who reaches the folder may read. Filesystems without modes refuse, and need none.
        match rustix::io::retry_on_intr(|| fs::fchmod(fd, to_mode(0o644))) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(e) => return Err(e.into()),
        }
        let stat = retry(|| fs::fstat(fd))?;
        // It is longer where the descriptor was 2 for a moment, and another thread printed an error at that moment.
        let is_whole = stat.st_size as usize == content.len();
        Ok((is_whole && stat.st_nlink > 0).then_some(id))
    }

    /// Gives `from`, a file in this folder, a second name in the folder `to`. Atomic, and fails if the name is taken (link(2)).
    pub fn link(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        retry_until(Errno::EXIST, || fs::linkat(&self.fd, leaf(from)?, &to.fd, leaf(name)?, AtFlags::empty()))
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

    /// Whether this error of [`Dir::rename_dir`] means that the name is taken.
    pub fn is_taken(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::EXIST | Errno::NOTEMPTY))
    }

    /// Whether the system refused because of who we are now.
    pub fn is_not_ours(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS))
    }

    /// Whether this error of [`Dir::link`] means that the filesystem has no hard links.
    pub fn has_no_links(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK))
    }

    /// Whether this error of [`Dir::link`] or [`Dir::rename`] means that the two folders count as two filesystems. Of a call that
    /// opens a name or looks at it, it means that another filesystem is mounted there.
    pub fn crosses_filesystems(error: &io::Error) -> bool {
        Errno::from_io_error(error) == Some(Errno::XDEV)
    }

    /// Moves a file of this folder into the folder `to`. Atomic (rename(2)).
    pub fn rename(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::renameat(&self.fd, leaf(from)?, &to.fd, leaf(name)?))
    }

    /// Renames a folder in this one. Where the system can, it fails if the name is taken; elsewhere an empty folder is
    /// replaced (rename(2)).
    pub fn rename_dir(&self, from: &CStr, name: &CStr) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        {
            let moved = rustix::io::retry_on_intr(|| {
                fs::renameat_with(&self.fd, leaf(from)?, &self.fd, leaf(name)?, fs::RenameFlags::NOREPLACE)
            });
            // Not every filesystem and kernel knows the flag.
            if !matches!(moved, Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) {
                return Ok(moved?);
            }
        }
        self.rename(from, self, name)
    }

    /// Removes an empty folder in this one.
    pub fn remove_dir(&self, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::unlinkat(&self.fd, leaf(name)?, AtFlags::REMOVEDIR))
    }

    pub fn unlink(&self, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::unlinkat(&self.fd, leaf(name)?, AtFlags::empty()))
    }

    /// Which file has this name; `None` where none has.
    pub fn file_id(&self, name: &CStr) -> io::Result<Option<FileId>> {
        Ok(self.look_at(name)?.map(|stat| FileId::of(&stat)))
    }

    /// Something has this name, as far as we can see.
    pub fn has(&self, name: &CStr) -> bool {
        leaf(name).is_ok_and(|name| has_within(self.fd(), name).unwrap_or(false))
    }

    /// Makes an empty file, if there is none of this name.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn touch(&self, name: &CStr) -> io::Result<()> {
        self.open_at(name, OFlags::RDONLY | OFlags::CREATE, 0o644).map(drop)
    }

    /// Makes an empty file that survives power loss. False: the name is taken.
    pub fn create_durably(&self, name: &CStr) -> io::Result<bool> {
        match self.open_at(name, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL, 0o644) {
            Ok(fd) => retry(|| fs::fsync(&fd))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => return Err(e),
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

#[cfg(not(target_os = "linux"))]
fn open_within(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    fs::openat(dir, name, flags, mode)
}

#[cfg(not(target_os = "linux"))]
fn stat_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<fs::Stat> {
    retry(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
}

#[cfg(not(target_os = "linux"))]
fn has_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    stat_within(dir, name).map(|_| true)
}

/// A name in a folder. What is a path, or leads upwards, never reaches the system: no name that somebody else wrote, and
/// nobody checked, can lead out of the folder.
pub(super) fn leaf(name: &CStr) -> rustix::io::Result<&CStr> {
    match name.to_bytes() {
        b"" | b".." => Err(Errno::INVAL),
        bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
        _ => Ok(name),
    }
}

/// Every descriptor of this library is made here, and none is 0, 1 or 2: where the program has closed one of these, a file of
/// ours would get its number, and then what the program prints.
pub(super) fn descriptor(call: impl FnMut() -> rustix::io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let fd = retry(call)?;
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    let moved = rustix::io::fcntl_dupfd_cloexec(&fd, 3)?;
    // Another thread may have put a file of the program's there by now (dup2), which is not ours to close.
    let is_same = || Some(FileId::of(&fs::fstat(&fd).ok()?) == FileId::of(&fs::fstat(&moved).ok()?));
    if is_same() != Some(true) {
        std::mem::forget(fd);
    }
    Ok(moved)
}

#[allow(clippy::unnecessary_cast)] // its type differs by system
pub(super) fn to_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
}

/// Retries a call that changes a name. A filesystem in user space can answer that it was interrupted although it has done
/// what it was asked; then the next try says `done`.
pub(super) fn retry_until(done: Errno, mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
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
