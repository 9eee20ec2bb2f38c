//! Small files that other processes wrote: bids and claims. An open follows no link, never blocks, and does not trust the file.

use std::ffi::CStr;
use std::io;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, FileType, OFlags};
use rustix::io::Errno;

use super::contract::System;
use super::files::Files;
use super::room::zeros;
use super::seen::Seen;
use super::stat::{is_rewritten, FileId, FolderStat, Rights};
use super::unix::Dir;
use super::{is_locked, take_lock, Opened};

/// A regular file, open for reading.
pub(crate) struct ForeignFile {
    fd: OwnedFd,
    size: u64,
    pub id: FileId,
    pub rights: Rights,
    /// Last modified, Unix milliseconds.
    pub modified: i64,
}

impl ForeignFile {
    /// The content as it was when the file was opened, or later. At most `limit` bytes. `None`: this file can't be read now.
    pub fn read(&self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        match self.read_all(limit) {
            Ok(content) => Ok(Some(content)),
            Err(e) if is_of_this_file(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read_all(&self, limit: usize) -> io::Result<Vec<u8>> {
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
                break; // one more system call would only report the end of the file
            }
        }
        content.truncate(filled);
        Ok(content)
    }

    /// When the file was made, in Unix nanoseconds. `None`: the filesystem does not tell it.
    pub fn born(&self) -> Option<u64> {
        System::born(self.fd.as_fd()).map(System::nanos)
    }

    /// Whether it was written to after it was made, at `born`. Its owner writes to a bid once, at its making. False, if the filesystem does
    /// not tell.
    pub fn was_rewritten(&self, born: Option<u64>) -> bool {
        is_rewritten(born, self.modified)
    }

    /// Whether its owner holds the lock that proves that it lives.
    pub fn is_locked(&self) -> io::Result<bool> {
        is_locked(self.fd.as_fd())
    }
}

impl Dir {
    /// Opens a small file of another process.
    pub fn open_small(&self, name: &CStr) -> io::Result<Opened<ForeignFile>> {
        let seen = match self.see(name) {
            Ok(seen) => seen,
            Err(e) => return not_opened(e),
        };
        if seen.kind() != FileType::RegularFile {
            return self.not_regular(&seen, name);
        }
        let (fd, stat) = match seen.open(OFlags::RDONLY | self.to_open_files) {
            Ok(opened) => opened,
            // This happens if `open` had to use the name: the file was replaced by a link, a socket or a device since we looked.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::LOOP | Errno::NXIO)) => {
                return self.not_regular(&seen, name);
            }
            Err(e) => return not_opened(e),
        };
        let modified = modified(&stat);
        let (size, stat) = (stat.st_size as u64, FolderStat::of(&stat));
        Ok(Opened::File(ForeignFile { fd, size, id: stat.id, rights: stat.rights(), modified }))
    }

    fn not_regular(&self, seen: &Seen<'_>, name: &CStr) -> io::Result<Opened<ForeignFile>> {
        let looked = if seen.stat.is_some() { Ok(seen.stat) } else { self.look_at(name) };
        match looked {
            Ok(Some(stat)) => Ok(Opened::NotRegular { modified: modified(&stat) }),
            Ok(None) => Ok(Opened::Gone),
            Err(e) => not_opened(e),
        }
    }

    /// Takes the lock of a file that never got its content, and deletes the file. False: another process has the lock, the file has
    /// more than one name, or it is no regular file. A maker that is still at work notices that its file is gone, and starts again:
    /// see [`Dir::claim`].
    pub fn delete_unfinished(&self, name: &CStr) -> io::Result<bool> {
        let seen = self.see(name)?;
        if seen.kind() != FileType::RegularFile {
            return Ok(false);
        }
        let (fd, stat) = seen.open(OFlags::RDWR | self.to_open_files)?;
        // A file that was never published has exactly one name.
        if stat.st_nlink != 1 || !take_lock(fd.as_fd())? {
            return Ok(false);
        }
        self.unlink(name)?;
        Ok(true)
    }
}

/// Converts the error of a look or of an open to a result.
fn not_opened(error: io::Error) -> io::Result<Opened<ForeignFile>> {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => Ok(Opened::Gone),
        Some(Errno::XDEV) => Ok(Opened::Mounted),
        _ if is_of_this_file(&error) => Ok(Opened::Denied),
        _ => Err(error),
    }
}

/// Whether this error says that one file can't be opened or read now. The reasons are many: we have no right, a process has a lease on
/// the file (EAGAIN, fcntl(2)), the key of an encrypted file is gone (ENOKEY, which any user can bring about), a checksum is wrong
/// (EIO). So we name the other errors: what this process or this machine lacks, a file that is gone, a server that is gone.
fn is_of_this_file(error: &io::Error) -> bool {
    let is_lack = |e| matches!(e, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS);
    let is_server = |e| matches!(e, Errno::NOTCONN | Errno::CONNABORTED | Errno::TIMEDOUT | Errno::HOSTDOWN);
    // Without an error number, the error is one of ours.
    !Dir::has_vanished(error) && Errno::from_io_error(error).is_some_and(|e| !is_lack(e) && !is_server(e))
}

#[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
fn modified(stat: &fs::Stat) -> i64 {
    // The arithmetic saturates, because some filesystems store any time that a user sets.
    (stat.st_mtime as i64).saturating_mul(1000).saturating_add(stat.st_mtime_nsec as i64 / 1_000_000)
}
