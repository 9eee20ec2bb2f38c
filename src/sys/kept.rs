//! A descriptor that we keep from one call to the next, and write to or read from.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use super::calls::retry;
use super::stat::FileId;

/// A program can close our descriptors (closefrom(3), close_range(2)). Then a file that it opens can get the same number. We write
/// nothing to such a file, and read nothing from it.
#[derive(Debug)]
pub(super) struct Kept {
    /// `Some` until the drop.
    fd: Option<OwnedFd>,
    /// `None`: fstat(2) failed. Then we do not check.
    id: Option<FileId>,
    /// It has our mark: see [`Kept::nameless`].
    is_marked: bool,
}

/// It means nothing for these, so no other program sets it there.
const MARK: OFlags = OFlags::APPEND;

impl Kept {
    /// An eventfd, a timer, or an instance of inotify or epoll. All of them have one identity, so ours get a mark.
    pub fn nameless(fd: OwnedFd) -> Kept {
        let stat = retry(|| fs::fstat(&fd));
        let mark = fs::fcntl_getfl(&fd).and_then(|flags| fs::fcntl_setfl(&fd, flags | MARK));
        Kept { fd: Some(fd), id: stat.ok().map(|stat| FileId::of(&stat)), is_marked: mark.is_ok() }
    }

    /// A descriptor, and what fstat(2) says about it.
    pub fn of((fd, stat): (OwnedFd, fs::Stat)) -> Kept {
        Kept { fd: Some(fd), id: Some(FileId::of(&stat)), is_marked: false }
    }

    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    fn fd(&self) -> &OwnedFd {
        self.fd.as_ref().expect("there until the drop")
    }

    /// `EBADF`: it is not ours any more.
    pub fn ours(&self) -> rustix::io::Result<&OwnedFd> {
        let (fd, Some(id)) = (self.fd(), self.id) else { return Ok(self.fd()) };
        let is_same = FileId::of(&rustix::io::retry_on_intr(|| fs::fstat(fd))?) == id;
        // If the kernel does not tell the flags, the file is taken for ours.
        let has_mark = || fs::fcntl_getfl(fd).map_or(true, |flags| flags.contains(MARK));
        match is_same && (!self.is_marked || has_mark()) {
            true => Ok(fd),
            false => Err(Errno::BADF),
        }
    }

    /// Async-signal-safe, and `errno` is left alone: two or three system calls.
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
        self.fd().as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Others are closed without this look, because each lock closes one.
        if self.is_marked && matches!(self.ours(), Err(Errno::BADF)) {
            std::mem::forget(self.fd.take()); // the program's file stays open
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::os::fd::{AsRawFd, FromRawFd};

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
        let ours = OwnedFd::from(open("ours"));
        let stat = fs::fstat(&ours).unwrap();
        let mut kept = Kept::of((ours, stat));
        assert_eq!(kept.write(b"ours").unwrap(), 4);
        rustix::io::dup2(&theirs, kept.fd.as_mut().unwrap()).unwrap();
        assert_eq!(kept.write(b"ours").unwrap_err(), Errno::BADF);
        assert_eq!(kept.read(&mut [0; 4]).unwrap_err(), Errno::BADF);
        assert_eq!(theirs.stream_position().unwrap(), 0);
        assert_eq!(std::fs::read_to_string(path.join("theirs")).unwrap(), "theirs");
    }

    #[test]
    fn a_nameless_file_that_got_the_number_is_not_touched() {
        use rustix::event::{eventfd, EventfdFlags};
        use rustix::fs::inotify::{self, CreateFlags};
        let bell = |count| eventfd(count, EventfdFlags::empty()).unwrap(); // a read from an empty one waits for ever
        let mut kept = Kept::nameless(bell(0));
        assert_eq!(kept.write(&1u64.to_ne_bytes()), Ok(8));
        assert_eq!(kept.read(&mut [0; 8]), Ok(8));
        for count in [0, 7] {
            let theirs = bell(count);
            rustix::io::dup2(&theirs, kept.fd.as_mut().unwrap()).unwrap();
            assert_eq!(kept.read(&mut [0; 8]), Err(Errno::BADF));
            assert_eq!(kept.write(&1u64.to_ne_bytes()), Err(Errno::BADF));
        }
        let number = kept.fd().as_raw_fd();
        drop(kept);
        // SAFETY: the last eventfd of the program has this number, and it is open.
        let theirs = unsafe { OwnedFd::from_raw_fd(number) };
        let mut content = [0; 8];
        rustix::io::read(&theirs, &mut content).unwrap();
        assert_eq!(u64::from_ne_bytes(content), 7);
        let instance = || inotify::init(CreateFlags::NONBLOCK).unwrap();
        let mut kept = Kept::nameless(instance());
        assert_eq!(kept.read(&mut [0; 8]), Err(Errno::AGAIN));
        rustix::io::dup2(instance(), kept.fd.as_mut().unwrap()).unwrap();
        assert_eq!(kept.read(&mut [0; 8]), Err(Errno::BADF));
    }
}
