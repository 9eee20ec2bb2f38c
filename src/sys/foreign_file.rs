//! Small files that others wrote: bids and claims. They are opened without following, blocking, or trusting them.

use std::ffi::CStr;
use std::io;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, FileType, OFlags};
use rustix::io::Errno;

use super::room::zeros;
use super::stat::FileId;
use super::unix::{retry, Dir};
use super::{born, is_locked, take_lock, Moment, Opened};

/// A regular file, open for reading.
pub(crate) struct ForeignFile {
    fd: OwnedFd,
    size: u64,
    pub id: FileId,
    /// Last modified, Unix milliseconds.
    pub modified: i64,
}

impl ForeignFile {
    /// The content as it was when the file was opened (or later), or as much of it as `limit`.
    pub fn read(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut content = zeros(limit)?;
        let mut filled = 0;
        while filled < limit {
            match rustix::io::read(&self.fd, &mut content[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            if filled as u64 == self.size {
                break; // to be told that it ends here would be one more system call
            }
        }
        content.truncate(filled);
        Ok(content)
    }

    /// When it was made, Unix nanoseconds; `None` where the filesystem does not say.
    pub fn born(&self) -> Option<u64> {
        born(self.fd.as_fd()).map(Moment::nanos)
    }

    /// Whether its owner holds the lock that proves that it lives.
    pub fn is_locked(&self) -> io::Result<bool> {
        is_locked(self.fd.as_fd())
    }
}

impl Dir {
    /// Opens a small file of somebody else's. Looks before it opens: opening a FIFO or a device is an act, not a look.
    pub fn open_small(&self, name: &CStr) -> io::Result<Opened> {
        let stat = match self.look_at(name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(Opened::Gone),
            Err(e) if Dir::is_not_ours(&e) => return Ok(Opened::Denied),
            Err(e) if Dir::crosses_filesystems(&e) => return Ok(Opened::Mounted),
            Err(e) => return Err(e),
        };
        if !is_regular(&stat) {
            return Ok(Opened::NotRegular { modified: modified(&stat) });
        }
        let fd = match self.open_at(name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0) {
            Ok(fd) => fd,
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::NOENT) => return Ok(Opened::Gone),
                // The last one: somebody has a lease on it (fcntl(2)), and we don't wait.
                Some(Errno::ACCESS | Errno::PERM | Errno::AGAIN) => return Ok(Opened::Denied),
                Some(Errno::XDEV) => return Ok(Opened::Mounted),
                // It was swapped for a link, a socket or a device since we looked.
                Some(Errno::LOOP | Errno::NXIO) => return Ok(Opened::NotRegular { modified: modified(&stat) }),
                _ => return Err(e),
            },
        };
        let stat = retry(|| fs::fstat(&fd))?;
        let modified = modified(&stat);
        Ok(match is_regular(&stat) {
            true => Opened::File(ForeignFile { fd, size: stat.st_size as u64, id: FileId::of(&stat), modified }),
            false => Opened::NotRegular { modified },
        })
    }

    /// Opens a regular file; `None`: it is something else. On Linux that is told before it is opened, of the very file that is opened
    /// then: a device or a FIFO that somebody swaps in is never opened.
    fn open_regular(&self, name: &CStr, how: OFlags) -> io::Result<Option<OwnedFd>> {
        let how = how | OFlags::NONBLOCK | OFlags::NOCTTY;
        #[cfg(target_os = "linux")]
        {
            let found = self.open_at(name, OFlags::PATH, 0)?;
            if !is_regular(&retry(|| fs::fstat(&found))?) {
                return Ok(None);
            }
            super::linux_proc::Proc::open()?.reopen(&found, how).map(Some)
        }
        #[cfg(not(target_os = "linux"))]
        self.open_at(name, how, 0).map(Some)
    }

    /// Takes the lock of a file that never got its content, and deletes it. False: its maker is at work, or it is not ours to
    /// write, so its lock is not ours to take. A maker who comes later sees that its file is gone, and starts again: see
    /// [`Dir::claim`].
    pub fn delete_unfinished(&self, name: &CStr) -> io::Result<bool> {
        let Some(fd) = self.open_regular(name, OFlags::RDWR)? else { return Ok(false) };
        let stat = retry(|| fs::fstat(&fd))?;
        // One that was never published has one name.
        if !is_regular(&stat) || stat.st_nlink != 1 || !take_lock(fd.as_fd())? {
            return Ok(false);
        }
        self.unlink(name)?;
        Ok(true)
    }
}

fn is_regular(stat: &fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

#[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
fn modified(stat: &fs::Stat) -> i64 {
    // Some filesystems keep any time that they are given.
    (stat.st_mtime as i64).saturating_mul(1000).saturating_add(stat.st_mtime_nsec as i64 / 1_000_000)
}
