//! How a thread sleeps until something happens. On these systems we do not watch folders, so a sleeper wakes up and looks again.

use std::ffi::CStr;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;

use crate::sys::contract::Source;
use crate::sys::{doze, Dir, SpareWatch};

/// Wakes a thread that waits. Ringing is async-signal-safe: one write(2) to a socket.
pub(crate) struct Waker {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Waker {
    pub fn new() -> io::Result<Waker> {
        // This is a socket, because std's pipes are newer than our `rust-version`.
        let (reader, writer) = UnixStream::pair()?;
        // We keep copies, because no descriptor of ours may be 0, 1 or 2.
        let keep = |end: BorrowedFd<'_>| Ok::<_, io::Error>(fcntl_dupfd_cloexec(end, 3)?);
        Ok(Waker { reader: keep(reader.as_fd())?, writer: keep(writer.as_fd())? })
    }

    /// It is called at most once for each wait, so the buffer of the socket never fills up.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    /// Readable while the bell rings.
    #[cfg(feature = "etcd")]
    pub fn source(&self) -> Source<'_> {
        self.reader.as_fd()
    }

    /// From now on it does not ring.
    pub fn silence(&self) {
        self.sleep(&[], Duration::ZERO);
    }

    /// Sleeps until the bell rings, another source wakes the thread, or the time is over. A signal may wake the thread too. Silences
    /// the bell. True: there is something to read from the first source.
    pub fn sleep(&self, others: &[Option<Source<'_>>], time: Duration) -> bool {
        let mut fds = vec![PollFd::new(&self.reader, PollFlags::IN)];
        fds.extend(others.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        // poll(2) counts milliseconds in 31 bits here. A longer wait wakes up once more in between, and this does no harm.
        let time = time.min(Duration::from_secs(1_000_000));
        let timeout = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return false,
            Err(_) => {
                doze(time); // an immediate return would make a waiter spin
                return false;
            }
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.reader, &mut [0u8; 8]);
        }
        others.first().is_some_and(Option::is_some) && fds[1].revents().contains(PollFlags::IN)
    }
}

/// This type has no value, because we do not watch folders on these systems.
pub(crate) enum FolderWatch {}

impl FolderWatch {
    pub fn new(_dir: &Dir, _spare: &SpareWatch) -> io::Result<FolderWatch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn reset(&self) {
        match *self {}
    }

    pub fn has_news(&self, _matters: impl Fn(&CStr) -> bool) -> bool {
        match *self {}
    }

    pub fn source(&self) -> Source<'_> {
        match *self {}
    }
}
