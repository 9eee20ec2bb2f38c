//! How Linux tells a thread that something happened: a bell that others in its process ring, a beacon that goes out when its
//! owner lets go of it or dies, a change in a folder. Each is a descriptor, and one `poll` waits for all of them.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::linux_fs::own_proc;
use super::staged::STAGED;
use super::stat::FileId;
use super::unix::descriptor;
use super::{doze, process_mark, Access, Dir, FifoState, News, ProcessMark};

/// Something that can wake a sleeper.
pub(crate) type Source<'a> = BorrowedFd<'a>;

/// Wakes a thread that waits. Ringing is async-signal-safe: one write(2) to an eventfd, and `errno` is left alone.
pub(crate) struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub fn new() -> io::Result<Waker> {
        let fd = descriptor(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))?;
        Ok(Waker { fd })
    }

    pub fn ring(&self) {
        // It can fail only where it rings already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Sleeps until the bell rings, another source wakes us, or the time (on the monotonic clock) is over; a signal may
    /// wake us too. Silences the bell. True: there is something to read from the first source.
    pub fn sleep(&self, others: [Option<Source<'_>>; 2], time: Duration) -> bool {
        let mut fds = vec![PollFd::new(&self.fd, PollFlags::IN)];
        fds.extend(others.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        // No timeout at all where the time is more than the kernel can count.
        let timeout = i64::try_from(time.as_secs()).ok();
        let timeout = timeout.map(|secs| Timespec { tv_sec: secs as _, tv_nsec: time.subsec_nanos() as _ });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return false,
            // No descriptor can be waited for (poll(2): more than RLIMIT_NOFILE allows, no memory). To return at once would make a
            // waiter spin.
            Err(_) => {
                doze(time);
                return false;
            }
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
        }
        others[0].is_some() && fds[1].revents().contains(PollFlags::IN)
    }
}

/// A FIFO that its owner keeps open. The kernel tells everybody who watches it when the owner puts it out or dies, whatever PID
/// namespace they are in; and unlike inotify instances, FIFOs are not rationed.
pub(crate) struct HandOffFifo {
    fd: OwnedFd,
}

/// A name for a beacon of ours, and the file that we made there.
pub(crate) struct OwnFifo {
    pub name: CString,
    made: Option<FileId>,
}

impl OwnFifo {
    pub fn new(name: CString) -> OwnFifo {
        OwnFifo { name, made: None }
    }
}

/// What is written to a beacon that goes out. Each look takes a byte (see [`FifoWatch::light`]), so there are many. A pipe takes
/// as much as this whole or not at all (PIPE_BUF).
type Bytes = [u8; 4096];
static LEFT: Bytes = [1; 4096];
static HANDED_OVER: Bytes = [2; 4096];

impl HandOffFifo {
    /// Tells the watchers that it is over, and how. That it is over, closing it tells too, but not while a forked child keeps it
    /// open.
    pub fn put_out(&self, news: News) {
        let bytes = match news {
            News::Left => &LEFT,
            News::HandedOver => &HANDED_OVER,
        };
        let _ = rustix::io::write(&self.fd, bytes);
    }
}

/// Watches somebody's beacon.
pub(crate) struct FifoWatch {
    fd: OwnedFd,
}

impl FifoWatch {
    pub fn light(&self) -> FifoState {
        let mut news = [0];
        match rustix::io::read(&self.fd, &mut news) {
            Err(Errno::AGAIN) => FifoState::Lit,
            Ok(1) if news[0] == HANDED_OVER[0] => FifoState::Out(News::HandedOver),
            Ok(1) => FifoState::Out(News::Left),
            _ => FifoState::Dark,
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
    /// Lights one of these beacons, and says which: one that nobody watches any more from the last time, for such a one
    /// would miss that it had gone out. Makes what is missing, and what is not the file that we made.
    pub fn light_fifo(&self, beacons: &mut [OwnFifo]) -> io::Result<(usize, HandOffFifo)> {
        for (index, beacon) in beacons.iter_mut().enumerate() {
            if let Some(fd) = self.relight(beacon)? {
                return Ok((index, HandOffFifo { fd }));
            }
        }
        let first = beacons.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((0, HandOffFifo { fd: self.make_anew(first)? }))
    }

    /// `None`: somebody watches it.
    fn relight(&self, beacon: &mut OwnFifo) -> io::Result<Option<OwnedFd>> {
        let Some(made) = beacon.made else { return self.make_anew(beacon).map(Some) };
        // A FIFO that somebody moved in is not even opened: its owner would be told of a reader or a writer.
        if self.file_id(&beacon.name)? != Some(made) {
            return self.make_anew(beacon).map(Some);
        }
        let is_ours = |fd: &OwnedFd| Ok::<_, io::Error>(FileId::of(&fs::fstat(fd)?) == made);
        match self.open_fifo(&beacon.name, OFlags::WRONLY) {
            Ok(fd) if is_ours(&fd)? => return Ok(None),
            // Nobody has it open. For reading too: so the open doesn't wait for a reader, and a write finds one, whoever dies
            // meanwhile (no SIGPIPE).
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NXIO) => {
                let fd = self.open_fifo(&beacon.name, OFlags::RDWR)?;
                if is_ours(&fd)? {
                    return Ok(Some(fd));
                }
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.make_anew(beacon).map(Some)
    }

    fn make_anew(&self, beacon: &mut OwnFifo) -> io::Result<OwnedFd> {
        let fd = match self.make_fifo(&beacon.name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.unlink(&beacon.name)?;
                self.make_fifo(&beacon.name)
            }
            made => made,
        }?;
        beacon.made = Some(FileId::of(&fs::fstat(&fd)?));
        Ok(fd)
    }

    /// Makes a FIFO, and opens it for both. The users of the folder may use it too, whatever the umask.
    ///
    /// It is made, and given to them, in a folder of our own that nobody else may write to. There nobody can put another one in its
    /// place. Then it gets its name.
    fn make_fifo(&self, name: &CStr) -> io::Result<OwnedFd> {
        self.in_stage(|stage| {
            // An error: what is there, if anything, is not ours to take out.
            fs::mknodat(stage.fd(), STAGED, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            let made = self.finish_fifo(stage, name);
            let _ = stage.unlink(STAGED);
            made
        })
    }

    fn finish_fifo(&self, stage: &Dir, name: &CStr) -> io::Result<OwnedFd> {
        let fd = stage.open_fifo(STAGED, OFlags::RDWR)?;
        Access::of(self)?.give_to_fifo(fd.as_fd())?;
        // One page is all that is ever written. A pipe has 16, of which a user has only so many (pipe(7)).
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, LEFT.len());
        stage.link(STAGED, self, name)?;
        Ok(fd)
    }

    /// The beacon that has this ticket's name in this folder. It is one only if it is also one of the `beacons` in `hidden`, and
    /// has no third name: so whoever put it there had the right to give it a name. A FIFO that somebody moved in from elsewhere is
    /// none, and nobody opens it.
    pub fn fifo_of(&self, ticket: &CStr, hidden: &Dir, beacons: &[CString]) -> Option<FileId> {
        let stat = self.look_at(ticket).ok()??;
        let id = FileId::of(&stat);
        let is_fifo = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
        let is_beacon =
            || beacons.iter().any(|beacon| matches!(hidden.file_id(beacon), Ok(Some(other)) if other == id));
        (is_fifo && stat.st_nlink == 2 && is_beacon()).then_some(id)
    }

    /// Watches somebody's beacon. Whether it is lit is another question.
    pub fn watch_fifo(&self, name: &CStr, beacon: FileId) -> io::Result<FifoWatch> {
        Ok(FifoWatch { fd: self.open_hand_off_fifo(name, beacon, OFlags::RDONLY)? })
    }

    /// Removes a ticket, and puts its beacon out, if it has one and we may.
    pub fn discard_fifo(&self, name: &CStr, beacon: Option<FileId>) {
        let opened = beacon.map(|beacon| self.open_hand_off_fifo(name, beacon, OFlags::RDWR));
        let _ = self.unlink(name); // first, so whoever is woken doesn't find it
        if let Some(Ok(fd)) = opened {
            HandOffFifo { fd }.put_out(News::Left);
        }
    }

    fn open_hand_off_fifo(&self, name: &CStr, beacon: FileId, how: OFlags) -> io::Result<OwnedFd> {
        let fd = self.open_fifo(name, how)?;
        match FileId::of(&fs::fstat(&fd)?) == beacon {
            true => Ok(fd),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Never waits, and never goes through a link.
    fn open_fifo(&self, name: &CStr, how: OFlags) -> io::Result<OwnedFd> {
        let fd = self.open_at(name, how | OFlags::NONBLOCK, 0)?;
        match FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) {
            FileType::Fifo => Ok(fd),
            _ => Err(io::ErrorKind::InvalidData.into()), // and a write to it would be an act
        }
    }
}

/// A FIFO in which whoever joins the line leaves its name for the next who joins. What is in it is gone when nobody has it
/// open any more; and nothing is written to a disk.
pub(crate) struct Tail {
    fd: OwnedFd,
}

impl Tail {
    /// Takes what is there, of several names of this length the last in their order. Anybody can write here, so what comes out has
    /// been through `parse`. `None`: nobody left any, or somebody took it and has not left its own yet.
    pub fn take<T: Ord>(&self, length: usize, parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let mut names = [0; 4096];
        let taken = rustix::io::read(&self.fd, &mut names).unwrap_or(0);
        names[..taken].chunks_exact(length).filter_map(parse).max()
    }

    /// Whole or not at all, or it fails at once.
    pub fn leave(&self, name: &CStr) {
        let _ = rustix::io::write(&self.fd, name.to_bytes());
    }
}

impl Dir {
    pub fn open_tail(&self, name: &CStr) -> io::Result<Tail> {
        Ok(Tail { fd: self.open_fifo(name, OFlags::RDWR)? })
    }

    /// That it is there already is fine.
    pub fn make_tail(&self, name: &CStr) -> io::Result<Tail> {
        match self.make_fifo(name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.open_tail(name),
            made => Ok(Tail { fd: made? }),
        }
    }
}

/// Tells when something leaves a folder, or the folder itself goes: inotify(7).
pub(crate) struct FolderWatch {
    instance: Option<Instance>,
    watch: i32,
}

struct Instance {
    fd: OwnedFd,
    of: ProcessMark,
}

/// Closing an inotify instance takes the kernel milliseconds (it waits for all CPUs), so a few are kept for the next wait.
static SPARE: Mutex<Vec<Instance>> = Mutex::new(Vec::new());
const SPARES: usize = 4;

impl FolderWatch {
    /// Fails where a limit is used up (`max_user_instances`), or the system has no inotify.
    pub fn new(dir: &Dir) -> io::Result<FolderWatch> {
        // By its descriptor, so it is the folder that we opened, wherever it is by now.
        let path = format!("/proc/{}/fd/{}", own_proc(), dir.fd().as_raw_fd());
        let leaving = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let instance = Instance::take()?;
        match inotify::add_watch(&instance.fd, path, leaving) {
            Ok(watch) => Ok(FolderWatch { instance: Some(instance), watch }),
            Err(e) => {
                instance.keep();
                Err(e.into())
            }
        }
    }

    /// Forgets what happened so far: from now on only news wakes.
    pub fn reset(&self) {
        self.instance.iter().for_each(Instance::drain);
    }

    pub fn source(&self) -> Source<'_> {
        self.instance.as_ref().expect("there until it is dropped").fd.as_fd()
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take().filter(Instance::is_ours) {
            // It fails if the folder is gone, and its watch with it.
            let _ = inotify::remove_watch(&instance.fd, self.watch);
            instance.drain();
            instance.keep();
        }
    }
}

impl Instance {
    fn take() -> io::Result<Instance> {
        // Not `lock`: in a forked child it may be held for ever by a thread that was not forked.
        if let Ok(mut spare) = SPARE.try_lock() {
            // A forked child has inherited its parent's; what one reads the other misses.
            spare.retain(Instance::is_ours);
            if let Some(instance) = spare.pop() {
                return Ok(instance);
            }
        }
        let fd = descriptor(|| inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK))?;
        Ok(Instance { fd, of: process_mark() })
    }

    /// Keeps it for the next wait, if there are not enough.
    fn keep(self) {
        if let Ok(mut spare) = SPARE.try_lock() {
            if spare.len() < SPARES {
                spare.push(self);
            }
        }
    }

    fn is_ours(&self) -> bool {
        self.of == process_mark()
    }

    fn drain(&self) {
        const ALMOST_FULL: usize = 4096 - 300; // a smaller read left nothing behind: an event has up to 272 bytes
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        while matches!(rustix::io::read(&self.fd, &mut buffer), Ok((read, _)) if read.len() > ALMOST_FULL) {}
    }
}

#[cfg(test)]
mod tests;
