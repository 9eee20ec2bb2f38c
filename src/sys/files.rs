//! The contract of Unix systems: what each system tells about folders and files. The defaults here use only POSIX. A system overrides a
//! default if it has something better. Linux implements the contract in `linux_fs`, the other systems in `bsd::files`.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::calls::retry;
use super::filesystem::{Filesystem, Refusal};
use super::stat::{Known, Rights};

pub(super) trait Files {
    /// A moment as the filesystems of this machine record it.
    type Moment: Copy + PartialOrd;

    /// The flag for opening a folder so that a listing does not change its time of last access.
    const UNNOTICED: OFlags = OFlags::empty();

    /// The flags for opening a regular file on NFS 4 so that the server gives us no delegation of it.
    const UNDELEGATED: OFlags = OFlags::empty();

    fn now() -> Self::Moment;

    /// Nanoseconds since 1970. A moment before 1970 gives 0 seconds.
    fn nanos(moment: Self::Moment) -> u64;

    /// When this file or folder was made. `None`: the filesystem does not tell it, or tells it by another machine's clock.
    fn born(_file: BorrowedFd<'_>) -> Option<Self::Moment> {
        None
    }

    /// Whether we know that this kind of filesystem reports true owners and modes.
    fn is_known(dir: BorrowedFd<'_>) -> io::Result<bool>;

    /// Which filesystem a folder is on. The inner error says why we can't rely on the filesystem.
    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<Result<Filesystem, Refusal>>;

    /// Names every entry of an open folder, with its inode, and with its kind, if the filesystem tells it. It names each entry that
    /// exists from the beginning of the call to its end. `begin` is called first. If it is called again, what was named before is not
    /// all, and everything is named once more. `at_once`: the folder does not change meanwhile, if the system can do that.
    fn kinds(
        dir: BorrowedFd<'_>,
        at_once: bool,
        begin: impl FnMut(),
        each: impl FnMut(&CStr, u64, FileType),
    ) -> io::Result<()>;

    /// Like [`Files::kinds`], but it may stop after some entries and miss the rest.
    fn glance(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        Self::kinds(dir, false, || (), |name, number, _| each(name, number))
    }

    /// Opens the file that has this name in the folder. If a filesystem is mounted at the name, this may fail with EXDEV.
    fn open_within(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        fs::openat(dir, name, flags, mode)
    }

    /// The same for stat(2) without following a link.
    fn stat_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<fs::Stat> {
        retry(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// The owner of this folder and its mode.
    #[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
    fn owner_and_mode(dir: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
        let stat = retry(|| fs::fstat(dir))?;
        Ok((stat.st_uid as u32, stat.st_mode as u32))
    }

    /// Which file has this name in the folder, and of which kind it is. `None`: no file has this name.
    fn fixed_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Known>> {
        match Self::stat_within(dir, name) {
            Ok(stat) => Ok(Some(Known::of(&stat))),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether the file at this path has an attribute by which its users may not delete it, or nothing in it.
    fn is_fixed(_path: &Path) -> bool {
        false
    }

    /// Device and inode of the file at this path, and its rights where they cost nothing more. `None`: the caller must use stat(2).
    fn id_at(_path: &Path) -> rustix::io::Result<Option<(u64, u64, Option<Rights>)>> {
        Ok(None)
    }
}
