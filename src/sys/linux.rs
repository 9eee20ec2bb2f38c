//! Who a process is on Linux, and whether it lives.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{pidfd_open, Pid, PidfdFlags};
use rustix::time::ClockId;

use super::linux_proc::{boot_time_by_clocks, known, nanos, wall_minus_boot, wall_minus_boot_at_once, Proc, NOISE};
use super::unix::descriptor;
use super::{Identity, Source};

// ---- this process ----

/// Tells a process from its forked children, also where both have the same PID (a child in a new PID namespace).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMark(u64);

/// The mark of the process that calls. A load from memory: the kernel wipes one page of ours in every forked child
/// (`MADV_WIPEONFORK`, madvise(2), Linux 4.14). Before that, and where no page can be had (RLIMIT_AS), it is the PID. That does not
/// tell a child that has the PID of its parent, as one that is PID 1 of a new namespace, and whose parent was PID 1 of its own.
pub(crate) fn process_mark() -> ProcessMark {
    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // No page could be had. That stays so: a process that was marked one way is never looked for the other way.
    const NONE: *mut AtomicU64 = ptr::without_provenance_mut(usize::MAX);

    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = page_wiped_on_fork().unwrap_or(NONE);
        page = match PAGE.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(theirs) => theirs, // our page is lost: 4 KiB, once
        };
    }
    if page == NONE {
        return ProcessMark(u64::from(std::process::id()) << 32);
    }
    // SAFETY: the page is mapped for the rest of the process's life, zeroed, aligned, and only used as this atomic.
    let mark = unsafe { &*page };
    let seen = mark.load(Ordering::Acquire);
    if seen != 0 {
        return ProcessMark(seen);
    }
    // First in this process. `NEXT` was copied by fork, so a child's mark differs from each of its ancestors'.
    let fresh = NEXT.fetch_add(1, Ordering::AcqRel);
    match mark.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => ProcessMark(fresh),
        Err(theirs) => ProcessMark(theirs),
    }
}

fn page_wiped_on_fork() -> Option<*mut AtomicU64> {
    use rustix::mm::{madvise, mmap_anonymous, munmap, Advice, MapFlags, ProtFlags};
    let size = rustix::param::page_size();
    // SAFETY: a new private mapping at an address that the kernel chooses; nothing else knows it.
    unsafe {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let page = mmap_anonymous(ptr::null_mut(), size, access, MapFlags::PRIVATE).ok()?;
        if madvise(page, size, Advice::LinuxWipeOnFork).is_err() {
            let _ = munmap(page, size);
            return None;
        }
        Some(page.cast())
    }
}

/// What a step of the clock changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockView {
    /// How far the wall clock is ahead of the boot clock, nanoseconds: the moment of the boot.
    wall: i64,
    /// The least that this process has seen of it. A clock that is set forward makes the boot look later than it was.
    earliest: i64,
}

impl Identity {
    /// What is the same for the whole life of a process is kept as it was seen `before`: a namespace that is entered later, or
    /// another `/proc`, changes nothing of it.
    pub(super) fn read(before: Option<&Identity>) -> io::Result<Identity> {
        // First: so a step of the clock meanwhile is one after it.
        let wall = wall_minus_boot(nanos);
        let earliest = before.map_or(wall, |before| before.clock_view.earliest.min(wall));
        let clock_view = ClockView { wall, earliest };
        let pid = std::process::id();
        let proc = Proc::open()?;
        let seen = proc.own_stat(pid)?;
        let start = match before.and_then(|before| before.start) {
            None => seen.start_shifted_by(proc.shift()?),
            known => known,
        };
        let boot = match before.and_then(|before| before.boot.clone()) {
            None => known(proc.read_text("sys/kernel/random/boot_id"))?.map(|id| id.trim().to_owned()),
            known => known,
        };
        let pidns = match before.and_then(|before| before.pidns) {
            None => proc.pid_namespace()?,
            known => known,
        };
        Ok(Identity {
            pid,
            start,
            created: seen.created_in(&proc)?,
            boot,
            pidns,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: seen.command,
            clock_view,
        })
    }

    /// When this machine was booted at the latest, Unix seconds. Some containers are shown their own start instead (lxcfs), and a
    /// time namespace can put the boot later than it was, and a clock that is set forward does so too. So the earliest boot counts.
    pub fn booted(&self) -> io::Result<i64> {
        let proc = Proc::open()?;
        let shift = proc.shift()?.ok_or_else(|| io::Error::other("the shift of this time namespace can't be told"))?;
        let earliest = self.clock_view.earliest.div_euclid(1_000_000_000);
        Ok(proc.boot_time()?.min(boot_time_by_clocks()).min(earliest) - shift.seconds_late())
    }
}

impl ClockView {
    pub fn clock_stepped(&self) -> bool {
        self.stepped_by(nanos)
    }

    /// `created` is in whole seconds since the epoch, counted from the second of the boot: so it changes when that does.
    fn stepped_by(&self, mut clock: impl FnMut(ClockId) -> i64) -> bool {
        let is_another_second = |wall: i64| {
            (wall - self.wall).abs() > NOISE && wall.div_euclid(1_000_000_000) != self.wall.div_euclid(1_000_000_000)
        };
        // The first look is the cheaper one, and as a rule enough.
        is_another_second(wall_minus_boot_at_once(&mut clock)) && is_another_second(wall_minus_boot(clock))
    }
}

// ---- other processes ----

/// Tells when a process of our PID namespace exits, whatever becomes of its PID (pidfd_open(2), Linux 5.3).
pub(crate) struct ExitWatch {
    pidfd: OwnedFd,
}

impl ExitWatch {
    /// `NotFound`: there is no such process. Any other error: this system can't tell, or won't (a sandbox). Ask
    /// [`super::process`] afterwards whether it is the right one.
    pub fn of(pid: u32) -> io::Result<ExitWatch> {
        let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
        match descriptor(|| pidfd_open(pid, PidfdFlags::empty())) {
            Ok(pidfd) => Ok(ExitWatch { pidfd }),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::SRCH) => Err(io::ErrorKind::NotFound.into()),
            Err(e) => Err(e),
        }
    }

    /// Has it exited? A zombie has; one whose main thread alone ended has not.
    pub fn happened(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
    }

    pub fn source(&self) -> Source<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dir, Filesystem};
    use super::*;

    /// The clocks can only be read one after the other, and we may be kept from the processor in between, here for a minute.
    #[test]
    fn a_pause_at_any_moment_is_no_step_of_the_clock() {
        const SECOND: i64 = 1_000_000_000;
        let clocks = |pause_at: usize, ahead: i64| {
            let (mut now, mut readings) = (0, 0);
            move |clock| {
                readings += 1;
                now += if readings == pause_at { 60 * SECOND } else { 100 };
                now + if clock == ClockId::Realtime { ahead } else { 0 }
            }
        };
        for pause_at in 0..12 {
            let read = wall_minus_boot(clocks(pause_at, 7 * SECOND));
            assert_eq!((read + 100) / 1000, 7 * SECOND / 1000, "a pause before the reading {pause_at}");
            let me = ClockView { wall: read, earliest: read };
            let stepped = [6, 7, 8].map(|ahead| me.stepped_by(clocks(pause_at, ahead * SECOND)));
            assert_eq!(stepped, [true, false, true], "a pause before the reading {pause_at}");
        }
    }

    /// However small: a Python peer compares whole seconds, and they must be the same number.
    #[test]
    fn a_step_of_the_clock_counts_where_it_is_another_second() {
        const SECOND: i64 = 1_000_000_000;
        let me = ClockView { wall: 7 * SECOND - 10_000_000, earliest: 0 };
        let stepped = |by: i64| me.stepped_by(|clock| if clock == ClockId::Realtime { me.wall + by } else { 0 });
        assert!(stepped(20_000_000) && stepped(SECOND) && stepped(-SECOND));
        assert!(!stepped(0) && !stepped(9_000_000) && !stepped(-500_000_000));
        let at_the_edge = ClockView { wall: 7 * SECOND, earliest: 0 };
        assert!(!at_the_edge.stepped_by(|clock| if clock == ClockId::Realtime { 7 * SECOND - 300 } else { 0 }));
    }

    /// The clock was set forward: what is older than the boot as it looks now need not be.
    #[test]
    fn the_boot_was_no_later_than_it_ever_looked() {
        let me = Identity::current().unwrap();
        let booted = me.booted().unwrap();
        let earliest = (booted - 1000) * 1_000_000_000;
        let before = Identity { clock_view: ClockView { earliest, ..me.clock_view }, ..Identity::clone(&me) };
        assert_eq!(Identity::read(Some(&before)).unwrap().booted().unwrap(), booted - 1000);
    }

    /// The bids of before say a CREATED that nobody computes any more.
    #[test]
    fn a_claim_is_current_until_somebody_steps_the_clock() {
        let me = Identity::current().unwrap();
        let path = crate::scratch::Scratch::new();
        let stepped = [0, -1, 1].map(|seconds| {
            let wall = me.clock_view.wall + seconds * 1_000_000_000;
            let clock_view = ClockView { wall, earliest: wall };
            let me = Identity { clock_view, ..Identity::clone(&me) };
            let hidden = Dir::open(&path).unwrap();
            let claim =
                crate::folder::claim::Claim::prepare(hidden, &path, std::sync::Arc::new(me), Filesystem::Local, || {
                    Ok(1)
                });
            !claim.unwrap().is_current()
        });
        assert_eq!(stepped, [false, true, true]);
    }
}
