//! How Linux tells a thread that something happened. Other threads of its process ring a bell (the waker), a beacon (the hand-off FIFO)
//! goes out when its owner puts it out or dies, and a watch reports changes in a folder (`folder_watch`). Each is a descriptor, and one
//! `poll` waits for all of them.

use std::ffi::{CStr, CString};
use std::io;
use std::time::Duration;

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fd::AsFd;
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::calls::descriptor;
use super::contract::Source;
use super::kept::Kept;
use super::seen::Seen;
use super::sleep::Punctual;
use super::staged::STAGED;
use super::stat::{FileId, Known};
use super::{doze, Access, Dir, FifoState, News};

/// Wakes a thread that waits. Ringing is async-signal-safe: a write(2) to an eventfd, and `errno` is left alone.
pub(crate) struct Waker {
    fd: Kept,
}

impl Waker {
    pub fn new() -> io::Result<Waker> {
        let fd = descriptor(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))?;
        Ok(Waker { fd: Kept::nameless(fd) })
    }

    pub fn ring(&self) {
        // The write can fail only if the bell rings already.
        let _ = self.fd.write(&1u64.to_ne_bytes());
    }

    /// From now on it does not ring.
    pub fn silence(&self) {
        let _ = self.fd.read(&mut [0u8; 8]);
    }

    /// Readable while the bell rings.
    pub fn source(&self) -> Source<'_> {
        self.fd.as_fd()
    }

    /// Sleeps until the bell rings, another source wakes the thread, or the time (on the monotonic clock) is over. A signal may wake
    /// the thread too. Silences the bell. True: there is something to read from the first source.
    pub fn sleep(&self, others: &[Option<Source<'_>>], time: Duration) -> bool {
        let mut fds = vec![PollFd::new(&self.fd, PollFlags::IN)];
        fds.extend(others.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        // There is no timeout if the time is longer than the kernel can count.
        let timeout = i64::try_from(time.as_secs()).ok();
        let timeout = timeout.map(|secs| Timespec { tv_sec: secs as _, tv_nsec: time.subsec_nanos() as _ });
        let _punctual = Punctual::now();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return false,
            // poll can't wait for the descriptors (poll(2): more than RLIMIT_NOFILE allows, or no memory). An immediate return would
            // make a waiter spin.
            Err(_) => {
                doze(time);
                return false;
            }
        }
        if !fds[0].revents().is_empty() {
            let _ = self.fd.read(&mut [0u8; 8]);
        }
        others.first().is_some_and(Option::is_some) && fds[1].revents().contains(PollFlags::IN)
    }
}

/// A FIFO that its owner keeps open. The kernel tells all processes that watch it when the owner puts it out or dies, in any PID
/// namespace. There is no limit on FIFOs per user, as there is on inotify instances.
pub(crate) struct HandOffFifo {
    fd: Kept,
}

/// A name for one of our beacons, and the file that we made there.
pub(crate) struct OwnFifo {
    pub name: CString,
    made: Option<FileId>,
}

impl OwnFifo {
    pub fn new(name: CString) -> OwnFifo {
        OwnFifo { name, made: None }
    }
}

/// The bytes that are written to a beacon when it goes out. Each look takes one byte (see [`FifoWatch::light`]), so there are many. A
/// pipe accepts this many bytes whole or not at all (PIPE_BUF).
type Bytes = [u8; 4096];
static LEFT: Bytes = [1; 4096];
static HANDED_OVER: Bytes = [2; 4096];

impl HandOffFifo {
    /// Tells the watchers that the beacon goes out, and why. A close tells them too, but without the reason, and not while a forked
    /// child keeps the FIFO open.
    pub fn put_out(&self, news: News) {
        let bytes = match news {
            News::Left => &LEFT,
            News::HandedOver => &HANDED_OVER,
        };
        let _ = self.fd.write(bytes);
    }
}

/// Watches a beacon.
pub(crate) struct FifoWatch {
    fd: Kept,
}

impl FifoWatch {
    pub fn light(&self) -> FifoState {
        let mut news = [0];
        match self.fd.read(&mut news) {
            Err(Errno::AGAIN) => FifoState::Lit,
            Ok(1) if news[0] == HANDED_OVER[0] => FifoState::Out(News::HandedOver),
            Ok(1) => FifoState::Out(News::Left),
            Ok(_) => FifoState::Dark,
            Err(_) => FifoState::Unknown,
        }
    }

    pub fn is_lit(&self) -> bool {
        self.light() == FifoState::Lit
    }

    pub fn source(&self) -> Source<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Lights one of these beacons, and returns its index. It takes a beacon that has no watcher left from its last use, because such a
    /// watcher would not notice that the beacon had gone out. A beacon that is missing, or is not the file that we made, is made anew.
    pub fn light_fifo(&self, beacons: &mut [OwnFifo]) -> io::Result<(usize, HandOffFifo)> {
        for (index, beacon) in beacons.iter_mut().enumerate() {
            if let Some(fd) = self.relight(beacon)? {
                return Ok((index, HandOffFifo { fd }));
            }
        }
        let first = beacons.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((0, HandOffFifo { fd: self.make_anew(first)? }))
    }

    /// `None`: the beacon has a watcher.
    fn relight(&self, beacon: &mut OwnFifo) -> io::Result<Option<Kept>> {
        let Some(made) = beacon.made else { return self.make_anew(beacon).map(Some) };
        let opened = self.see_fifo(&beacon.name, Some(made)).and_then(|seen| match seen.open(OFlags::WRONLY) {
            // No process has it open. We open it also for reading, so that the open does not wait for a reader, and a later write always
            // finds a reader and causes no SIGPIPE, even if a watcher dies.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NXIO) => {
                seen.open(OFlags::RDWR).map(|opened| Some(Kept::of(opened)))
            }
            opened => opened.map(|_| None),
        });
        match opened {
            Err(e) if Dir::has_vanished(&e) || e.kind() == io::ErrorKind::InvalidData => {
                self.make_anew(beacon).map(Some)
            }
            opened => opened,
        }
    }

    fn make_anew(&self, beacon: &mut OwnFifo) -> io::Result<Kept> {
        let made = match self.make_fifo(&beacon.name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.unlink(&beacon.name)?;
                self.make_fifo(&beacon.name)
            }
            made => made,
        }?;
        beacon.made = made.id();
        Ok(made)
    }

    /// Makes a FIFO, and opens it for reading and writing. The users of the folder may use it too, with any umask.
    ///
    /// The FIFO is made, and gets its rights, in a folder of our own. No other user may write to that folder, so no other user can
    /// replace the FIFO. Then it gets its name.
    fn make_fifo(&self, name: &CStr) -> io::Result<Kept> {
        self.in_stage(|stage| {
            // After an error we remove nothing, because a file at this name would not be ours.
            fs::mknodat(stage.fd(), STAGED, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            let made = self.finish_fifo(stage, name);
            let _ = stage.unlink(STAGED);
            made
        })
    }

    fn finish_fifo(&self, stage: &Dir, name: &CStr) -> io::Result<Kept> {
        // Only we can put a file into the stage.
        let fd = stage.open_made(STAGED, FileType::Fifo, |_| true, || stage.open_fifo(STAGED, None, OFlags::RDWR))?;
        Access::of(self)?.give_to_fifo(fd.as_fd())?;
        // We never write more than one page. A new pipe has 16 pages, and the pages per user are limited (pipe(7)).
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, LEFT.len());
        stage.link(STAGED, self, name)?;
        Ok(fd)
    }

    /// The beacon that has this ticket's name in this folder. A FIFO counts as a beacon only if it is also one of the `beacons` in
    /// `hidden` and has no third name. This proves that the process that put it there had the right to give it a name. A FIFO that
    /// was moved in from elsewhere is no beacon, and we do not open it.
    pub fn fifo_of(&self, ticket: &CStr, hidden: &Dir, beacons: &[CString]) -> Option<FileId> {
        beacon_of(&Known::of(&self.look_at(ticket).ok()??), hidden, beacons)
    }

    /// Watches the beacon of [`Dir::fifo_of`]. The call does not check whether the beacon is lit.
    pub fn watch_fifo_of(&self, ticket: &CStr, hidden: &Dir, beacons: &[CString]) -> Option<FifoWatch> {
        let seen = self.see(ticket).ok()?;
        beacon_of(&seen.known, hidden, beacons)?;
        Some(FifoWatch { fd: Kept::of(seen.open(OFlags::RDONLY).ok()?) })
    }

    /// Removes a ticket, and puts out its beacon, if it has one and we have the right to.
    pub fn discard_fifo(&self, name: &CStr, beacon: Option<FileId>) {
        let opened = beacon.map(|beacon| self.open_fifo(name, Some(beacon), OFlags::RDWR));
        let _ = self.unlink(name); // first, so that a process that wakes up does not find the ticket
        if let Some(Ok(fd)) = opened {
            HandOffFifo { fd }.put_out(News::Left);
        }
    }

    /// Opens a FIFO. With `which`, it opens only that FIFO. Any other file is not opened, because processes that wait at it could notice
    /// the open.
    fn open_fifo(&self, name: &CStr, which: Option<FileId>, how: OFlags) -> io::Result<Kept> {
        Ok(Kept::of(self.see_fifo(name, which)?.open(how)?))
    }

    fn see_fifo<'a>(&'a self, name: &'a CStr, which: Option<FileId>) -> io::Result<Seen<'a>> {
        let seen = self.see(name)?;
        match seen.kind() == FileType::Fifo && which.is_none_or(|which| which == seen.id()) {
            true => Ok(seen),
            false => Err(io::ErrorKind::InvalidData.into()), // a write to another file could do harm
        }
    }
}

/// See [`Dir::fifo_of`].
fn beacon_of(ticket: &Known, hidden: &Dir, beacons: &[CString]) -> Option<FileId> {
    let is_known = |beacon| matches!(hidden.file_id(beacon), Ok(Some(other)) if other == ticket.id);
    let is_beacon = || beacons.iter().any(|beacon| is_known(beacon));
    (ticket.kind == FileType::Fifo && ticket.links == 2 && is_beacon()).then_some(ticket.id)
}

/// A FIFO in which a waiter that joins the line leaves its name for the next waiter that joins. Its content is gone when no process
/// has it open any more. Nothing is written to a disk.
pub(crate) struct Tail {
    fd: Kept,
}

impl Tail {
    /// Takes all names that are there, and returns the greatest of them. Each name has this length. Any user of the folder can write
    /// to the FIFO, so `parse` checks each name. `None`: no waiter left a name, or another waiter took it and has not left its own yet.
    pub fn take<T: Ord>(&self, length: usize, parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let mut names = [0; 4096];
        let taken = self.fd.read(&mut names).unwrap_or(0);
        names[..taken].chunks_exact(length).filter_map(parse).max()
    }

    /// Leaves a name. The name is written whole or not at all, and the write never waits.
    pub fn leave(&self, name: &CStr) {
        let _ = self.fd.write(name.to_bytes());
    }
}

impl Dir {
    /// `known`: the one that was open before. It serves if it is still the same.
    pub fn open_tail(&self, name: &CStr, known: Option<Tail>) -> io::Result<Tail> {
        if let Some(tail) = known {
            if tail.fd.id().is_some() && self.file_id(name)? == tail.fd.id() {
                return Ok(tail);
            }
        }
        Ok(Tail { fd: self.open_fifo(name, None, OFlags::RDWR)? })
    }

    /// Makes the tail. It is no error if the tail exists already.
    pub fn make_tail(&self, name: &CStr) -> io::Result<Tail> {
        match self.make_fifo(name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.open_tail(name, None),
            made => Ok(Tail { fd: made? }),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
