//! Folders, files and descriptors. Every name is looked up relative to an open folder and never through a link.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, CWD};
use rustix::io::Errno;

use super::access;
use super::calls::{descriptor, leaf, retry, retry_until, to_mode};
use super::contract::System;
use super::files::Files;
use super::filesystem::{Refusal, Shared};
use super::stat::{is_rewritten, FileId, FolderStat, Rights};
use super::{take_lock, Filesystem, Proof, Sight};

/// Converts a path that C code passed. `None`: it can't be a path.
#[cfg(feature = "capi")]
pub(crate) fn path(path: &CStr) -> Option<&Path> {
    Some(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// A name in a folder, in the type that callers use.
pub(crate) fn file_name(name: &CStr) -> OsString {
    OsStr::from_bytes(name.to_bytes()).to_owned()
}

/// Whether the file or folder at this path has an attribute by which its users may not delete it, or nothing in it.
pub(crate) fn is_fixed(path: &Path) -> bool {
    System::is_fixed(path)
}

/// Which filesystem a folder is on. From now on, files in it are opened in the way that suits it. The inner error says why we can't
/// rely on the filesystem.
pub(crate) fn filesystem(dir: &mut Dir) -> io::Result<Result<Filesystem, Refusal>> {
    let on = System::filesystem(dir.fd())?;
    if on == Ok(Filesystem::Shared(Shared::Nfs4)) {
        dir.to_open_files = System::UNDELEGATED;
    }
    Ok(on)
}

/// A file that we made, and that stays locked while we live. The kernel's lock proves that we live, in every PID namespace.
pub(crate) struct LockedFile {
    fd: OwnedFd,
    pub id: FileId,
    /// As we made it.
    made: FolderStat,
    born: Option<u64>,
}

impl LockedFile {
    /// Whether so much time went by between the making of the file and the writing that others take it for rewritten: see
    /// [`ForeignFile::was_rewritten`](super::ForeignFile::was_rewritten).
    pub fn looks_rewritten(&self) -> bool {
        is_rewritten(self.born, self.made.modified())
    }

    /// Whether a look at this file shows the owner, the mode and the time of the last change that it had when we made it. No other user
    /// then has a right to it (the mode has the mask of an access control list), or has used a right that it had for a while. (Only the
    /// owner can set that time back: utimensat(2).)
    pub fn is_as_made(&self, stat: &FolderStat) -> bool {
        let told = |stat: &FolderStat| (stat.owner, stat.mode, stat.modified);
        told(stat) == told(&self.made)
    }

    /// Whether the file itself is so now.
    pub fn is_untouched(&self) -> bool {
        retry(|| fs::fstat(&self.fd)).is_ok_and(|now| self.is_as_made(&FolderStat::of(&now)))
    }

    /// Whether a file with this stat has the same owner, and no other user can write to it. This serves filesystems where nothing
    /// else tells two files apart.
    pub fn is_as_safe(&self, stat: &FolderStat) -> bool {
        let own = retry(|| fs::fstat(&self.fd)).map(|own| FolderStat::of(&own));
        !stat.is_open_to_others() && own.is_ok_and(|own| own.owner == stat.owner)
    }
}

/// An open folder.
pub(crate) struct Dir {
    fd: OwnedFd,
    /// Flags with which the regular files in it are opened.
    pub(super) to_open_files: OFlags,
    /// The number of the entry `.` in each listing. See [`Dir::must_show`].
    own_number: Option<u64>,
    /// See [`Dir::must_read_at_once`].
    reads_at_once: bool,
    /// Whether the kernel tells for certain who can put a file into it. See [`Dir::are_we_alone`].
    tells_writers: bool,
}

const READ_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    fn of(fd: OwnedFd) -> Dir {
        Dir { fd, to_open_files: OFlags::empty(), own_number: None, reads_at_once: false, tells_writers: false }
    }

    /// Opens a folder by path, through links if the path has them.
    pub fn open(path: &Path) -> io::Result<Dir> {
        // Each listing would change the time of last access, and so cause a write to the disk. `relatime` helps only if nothing is
        // written to the folder between two listings. In another user's folder we may not suppress this (open(2)).
        let open = |flags| descriptor(|| fs::openat(CWD, path, flags, Mode::empty()));
        let fd = match open(READ_DIR | System::UNNOTICED) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::PERM) => open(READ_DIR)?,
            other => other?,
        };
        Ok(Dir::of(fd))
    }

    /// Opens the file that has this name in the folder. It never follows a link, and on Linux it never enters a mount.
    pub(super) fn open_at(&self, name: &CStr, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        descriptor(|| System::open_within(self.fd(), leaf(name)?, flags, to_mode(mode)))
    }

    /// Opens a folder by path, only to look up names in it.
    pub(super) fn open_to_search(path: &Path) -> io::Result<Dir> {
        #[cfg(target_os = "linux")]
        const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        #[cfg(not(target_os = "linux"))]
        const SEARCH: OFlags = READ_DIR;
        let fd = descriptor(|| fs::openat(CWD, path, SEARCH, Mode::empty()))?;
        Ok(Dir::of(fd))
    }

    /// The folder that this one is in.
    pub fn open_above(&self) -> io::Result<Dir> {
        let fd = descriptor(|| fs::openat(&self.fd, c"..", READ_DIR, Mode::empty()))?;
        Ok(Dir::of(fd))
    }

    /// Which folder is at this path now.
    pub fn id_at(path: &Path) -> io::Result<FileId> {
        Ok(Dir::look_up(path)?.0)
    }

    /// The same, with its rights where the system tells them at no cost.
    pub fn look_up(path: &Path) -> io::Result<(FileId, Option<Rights>)> {
        if let Some((device, inode, rights)) = retry(|| System::id_at(path))? {
            return Ok((FileId { device, inode }, rights));
        }
        let stat = FolderStat::of(&retry(|| fs::statat(CWD, path, AtFlags::empty()))?);
        Ok((stat.id, Some(stat.rights())))
    }

    /// Whether there is a symbolic link at this path.
    pub fn is_link_at(path: &Path) -> bool {
        let stat = retry(|| fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW));
        stat.is_ok_and(|stat| fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Symlink)
    }

    /// Opens a folder inside this one. It never follows a link.
    pub fn open_dir(&self, name: &CStr) -> io::Result<Dir> {
        let dir = Dir::of(self.open_at(name, READ_DIR, 0)?);
        let Dir { to_open_files, reads_at_once, tells_writers, .. } = *self;
        Ok(Dir { to_open_files, reads_at_once, tells_writers, ..dir })
    }

    pub fn stat(&self) -> io::Result<FolderStat> {
        Ok(FolderStat::of(&retry(|| fs::fstat(&self.fd))?))
    }

    /// The same for a file inside. `None`: no file has this name.
    pub fn stat_at(&self, name: &CStr) -> io::Result<Option<FolderStat>> {
        Ok(self.look_at(name)?.map(|stat| FolderStat::of(&stat)))
    }

    pub(super) fn look_at(&self, name: &CStr) -> io::Result<Option<fs::Stat>> {
        match System::stat_within(self.fd(), leaf(name)?) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Names every entry that exists from before this call until its end. An entry that appears or disappears during the call may
    /// be named or not (readdir(3)). An entry may also be named twice. `anew` opens the folder again for this listing, because some
    /// filesystems cache listings.
    ///
    /// Each name comes with a number. The number tells apart two files that have the same name one after the other.
    pub fn list(&self, anew: bool, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        self.list_in_one(anew, || (), each)
    }

    /// The same, as one listing: `begin` is called first. If it is called again, all that was named before must be forgotten.
    pub fn list_in_one(&self, anew: bool, begin: impl FnMut(), each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        let fresh;
        let dir = if anew {
            fresh = self.open_dir(c".")?;
            &fresh
        } else {
            self
        };
        self.own_entries(each, |each| {
            System::kinds(dir.fd(), self.reads_at_once, begin, |name, number, _| each(name, number))
        })
    }

    /// Names some entries, usually all. It costs less than a listing. Use it only where nothing depends on the result being complete.
    pub fn glance(&self, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        self.own_entries(each, |each| System::glance(self.fd(), each))
    }

    /// From now on a listing that shows another folder is an error (`EBADF`). A program can close our descriptor (closefrom(3)), and
    /// open a folder of its own that gets the same number. It costs no system call, because a listing has an entry for the folder itself.
    /// Only where that entry has the number that stat(2) gives.
    pub fn must_show(&mut self, own: FileId) {
        self.own_number = Some(own.inode);
    }

    /// From now on [`Dir::are_we_alone`] can be true for this folder and the folders inside. Only on local filesystems: a server can know
    /// other users by the same numbers.
    pub fn tell_writers(&mut self) {
        self.tells_writers = true;
    }

    /// Whether no user but this one and root can put a file into the folder. It is asked each time: the owner and the mode of the folder can
    /// change, and so can our user.
    pub(super) fn are_we_alone(&self) -> bool {
        let is_ours = |(owner, mode)| FolderStat::is_of_one_user(owner, mode);
        self.tells_writers && System::owner_and_mode(self.fd()).is_ok_and(is_ours)
    }

    /// From now on, one call of the kernel makes each listing of this folder and of the folders inside. Nobody can change a folder during
    /// that call.
    /// Only on filesystems that fill a buffer of any size.
    pub fn must_read_at_once(&mut self) {
        self.reads_at_once = true;
    }

    fn own_entries(
        &self,
        mut each: impl FnMut(&CStr, u64),
        list: impl FnOnce(&mut dyn FnMut(&CStr, u64)) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut is_another = false;
        list(&mut |name, number| {
            is_another |= name == c"." && self.own_number.is_some_and(|own| own != number);
            each(name, number);
        })?;
        match is_another {
            false => Ok(()),
            true => Err(Errno::BADF.into()),
        }
    }

    /// Whether it is still the folder that was opened. `EBADF`: it is another one, as in [`Dir::must_show`].
    pub fn check(&self, own: FileId) -> io::Result<()> {
        match self.stat()?.id == own {
            true => Ok(()),
            false => Err(Errno::BADF.into()),
        }
    }

    /// Whether this error means that a descriptor is closed, or leads to another file than the one that we opened.
    pub fn is_closed(error: &io::Error) -> bool {
        Errno::from_io_error(error) == Some(Errno::BADF)
    }

    /// Makes a file and locks it. Only then it writes the content and lets others open the file. So a file that others can read is
    /// whole and locked. `content` gets the identity of the file, and the time when it was made, if the filesystem tells it (Unix
    /// nanoseconds).
    ///
    /// `None`: another process mistook the empty file for a leftover in between, or a thread printed to it; try again. With
    /// [`Proof::Needed`], a filesystem without such locks is an error.
    pub fn claim(
        &self,
        name: &CStr,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: Proof,
    ) -> io::Result<Option<LockedFile>> {
        let fd = self.make_at(name, 0o600)?;
        // The descriptor may lead to a file of the program (see `descriptor`). We write nothing to such a file.
        let fill = || {
            let id = FileId::of(&retry(|| fs::fstat(&fd))?);
            if self.file_id(name)? != Some(id) {
                return Ok(None);
            }
            Self::fill(&fd, id, content, proof)
        };
        let filled = fill();
        match filled {
            Ok(Some((made, born))) => Ok(Some(LockedFile { fd, id: made.id, made, born })),
            Ok(None) => {
                let _ = self.unlink(name);
                Ok(None)
            }
            Err(e) => {
                // A server keeps no deleted file for a client that has it open. Another process may have mistaken the file for a leftover.
                if Dir::has_vanished(&e) && self.sight(name) == Sight::Missing {
                    return Ok(None);
                }
                let _ = self.unlink(name);
                Err(e)
            }
        }
    }

    /// Makes a file, and opens it for writing.
    fn make_at(&self, name: &CStr, mode: u32) -> io::Result<OwnedFd> {
        self.open_at(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | self.to_open_files, mode)
    }

    fn fill(
        fd: &OwnedFd,
        id: FileId,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: Proof,
    ) -> io::Result<Option<(FolderStat, Option<u64>)>> {
        match (proof != Proof::None).then(|| take_lock(fd.as_fd())) {
            Some(Ok(true)) | None => {}
            Some(Ok(false)) => return Ok(None),
            Some(Err(e)) if proof == Proof::Needed => return Err(e),
            Some(Err(_)) => {}
        }
        let born = System::born(fd.as_fd()).map(System::nanos);
        let content = content(id, born);
        // A write past RLIMIT_FSIZE raises SIGXFSZ, which would kill the program: see setrlimit(2).
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < content.len() as u64) {
            return Err(Errno::FBIG.into());
        }
        // What a thread prints to the descriptor from now on comes behind the content.
        retry(|| fs::seek(fd, fs::SeekFrom::Start(content.len() as u64)))?;
        // We write at the beginning: a child that a signal handler forks in the midst of this goes on too, and writes the same once more.
        let mut written = 0;
        while written < content.len() {
            match rustix::io::pwrite(fd, &content.as_bytes()[written..], written as u64) {
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        if proof == Proof::None {
            retry(|| fs::fsync(fd))?; // other hosts are to see the content as soon as they see the name
        }
        // With any umask, and with any default list of the folder, all users that reach the folder may read the file, and only its owner may
        // write to it. Filesystems without modes refuse the call and need no mode.
        access::forget_list(fd.as_fd())?;
        match rustix::io::retry_on_intr(|| fs::fchmod(fd, to_mode(0o644))) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(e) => return Err(e.into()),
        }
        let stat = retry(|| fs::fstat(fd))?;
        // The file is longer if the descriptor was 2 for a moment and another thread printed an error at that moment.
        let is_whole = stat.st_size as usize == content.len();
        Ok((is_whole && stat.st_nlink > 0).then(|| (FolderStat::of(&stat), born)))
    }

    /// Gives `from`, a file in this folder, a second name in the folder `to`. It is atomic, and fails if the name is taken (link(2)).
    pub fn link(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        retry_until(Errno::EXIST, || fs::linkat(&self.fd, leaf(from)?, &to.fd, leaf(name)?, AtFlags::empty()))
    }

    /// Whether this error means that a file was gone when it was read, although its name existed a moment before. A server does not
    /// keep an open file if another client deletes it.
    pub fn has_vanished(error: &io::Error) -> bool {
        #[cfg(target_os = "linux")]
        if Errno::from_io_error(error) == Some(Errno::BADFD) {
            return true; // GlusterFS returns this, once in many runs
        }
        matches!(Errno::from_io_error(error), Some(Errno::STALE | Errno::NOENT))
    }

    /// Whether this error of [`Dir::rename_dir`] means that the name is taken.
    pub fn is_taken(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::EXIST | Errno::NOTEMPTY))
    }

    /// Whether the system refused because our user has no right to it.
    pub fn is_not_ours(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS))
    }

    /// Whether this error of [`Dir::link`] means that the filesystem has no hard links.
    pub fn has_no_links(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK))
    }

    /// Whether this error of [`Dir::link`] or [`Dir::rename`] means that the two folders count as two filesystems. If the error comes
    /// from a call that opens or inspects a name, another filesystem is mounted at that name.
    pub fn crosses_filesystems(error: &io::Error) -> bool {
        Errno::from_io_error(error) == Some(Errno::XDEV)
    }

    /// Moves a file of this folder into the folder `to`. It is atomic (rename(2)).
    pub fn rename(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        retry_until(Errno::NOENT, || fs::renameat(&self.fd, leaf(from)?, &to.fd, leaf(name)?))
    }

    /// Renames a folder in this one. Where the system supports it, the call fails if the name is taken. Elsewhere it replaces an
    /// empty folder of that name (rename(2)).
    pub fn rename_dir(&self, from: &CStr, name: &CStr) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        {
            let moved = rustix::io::retry_on_intr(|| {
                fs::renameat_with(&self.fd, leaf(from)?, &self.fd, leaf(name)?, fs::RenameFlags::NOREPLACE)
            });
            // Some filesystems and kernels do not know the flag.
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

    /// Which file has this name. `None`: no file has it.
    pub fn file_id(&self, name: &CStr) -> io::Result<Option<FileId>> {
        Ok(System::fixed_within(self.fd(), leaf(name)?)?.map(|known| known.id))
    }

    /// Makes an empty file, if no file has this name.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn touch(&self, name: &CStr) -> io::Result<()> {
        self.open_at(name, OFlags::RDONLY | OFlags::CREATE, 0o644).map(drop)
    }

    /// Makes an empty file that survives a power loss. False: the name is taken.
    pub fn create_durably(&self, name: &CStr) -> io::Result<bool> {
        // It is open for reading only: for a moment it may have the number of a descriptor that the program closed and prints to.
        match self.open_at(name, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | self.to_open_files, 0o644) {
            Ok(fd) => retry(|| fs::fsync(&fd))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => return Err(e),
        }
        self.sync()?;
        Ok(true)
    }

    /// Makes new files in this folder survive a power loss. (The folder needs an fsync of its own, fsync(2).)
    pub fn sync(&self) -> io::Result<()> {
        retry(|| fs::fsync(&self.fd))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
