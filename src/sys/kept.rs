//! A descriptor that we keep from one call to the next, and write to or read from.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs;
use rustix::io::Errno;

use super::calls::retry;
use super::stat::FileId;

/// A program can close our descriptors (closefrom(3), close_range(2)). Then a file that it opens can get the same number. We write
/// nothing to such a file, and read nothing from it.
///
/// All eventfds and inotify instances have one identity, so the program's own can't be told from ours.
#[derive(Debug)]
pub(super) struct Kept {
    fd: OwnedFd,
    /// `None`: fstat(2) failed. Then we do not check.
    id: Option<FileId>,
}

impl Kept {
    pub fn new(fd: OwnedFd) -> Kept {
        let stat = retry(|| fs::fstat(&fd));
        Kept { fd, id: stat.ok().map(|stat| FileId::of(&stat)) }
    }

    /// A descriptor, and what fstat(2) says about it.
    pub fn of((fd, stat): (OwnedFd, fs::Stat)) -> Kept {
        Kept { fd, id: Some(FileId::of(&stat)) }
    }

    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// `EBADF`: it is not ours any more.
    pub fn ours(&self) -> rustix::io::Result<&OwnedFd> {
        let Some(id) = self.id else { return Ok(&self.fd) };
        match FileId::of(&rustix::io::retry_on_intr(|| fs::fstat(&self.fd))?) == id {
            true => Ok(&self.fd),
            false => Err(Errno::BADF),
        }
    }

    /// Async-signal-safe, and `errno` is left alone: two system calls.
    pub fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        rustix::io::write(self.ours()?, bytes)
    }

    pub fn read(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::io::read(self.ours()?, buffer)
    }
}

/// To wait for it does no harm to a file, so this does not check.
impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_file_that_got_the_number_is_not_touched() {
        let path = Scratch::new();
        let open = |name| {
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path.join(name))
                .unwrap()
        };
        let mut theirs = open("theirs");
        theirs.write_all(b"theirs").unwrap();
        theirs.rewind().unwrap();
        let mut kept = Kept::new(open("ours").into());
        assert_eq!(kept.write(b"ours").unwrap(), 4);
        rustix::io::dup2(&theirs, &mut kept.fd).unwrap();
        assert_eq!(kept.write(b"ours").unwrap_err(), Errno::BADF);
        assert_eq!(kept.read(&mut [0; 4]).unwrap_err(), Errno::BADF);
        assert_eq!(theirs.stream_position().unwrap(), 0);
        assert_eq!(std::fs::read_to_string(path.join("theirs")).unwrap(), "theirs");
    }
}
