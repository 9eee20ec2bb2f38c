//! The identity of a process on Linux, and whether the process lives.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{pidfd_open, Pid, PidfdFlags};
use rustix::time::ClockId;

use super::calls::{descriptor, exists};
use super::contract::{Identity, ProcessState, Processes, Source, System};
use super::linux_list;
use super::linux_proc::{
    boot_time_by_clocks, known, nanos, wall_minus_boot, wall_minus_boot_at_once, Outlook, Proc, ProcStat, NOISE,
    PROCESS_TABLE,
};

// ---- this process ----

/// Tells a process from its forked children, even if both have the same PID (a child in a new PID namespace). It costs a load from
/// memory: the kernel wipes one page of ours in every forked child (`MADV_WIPEONFORK`, madvise(2), Linux 4.14). On older kernels, and
/// where no page can be mapped (RLIMIT_AS), the mark is the PID. The PID does not tell a child from a parent with the same PID: for
/// example, the child is PID 1 of a new namespace, and its parent was PID 1 of its own namespace.
fn process_mark() -> u64 {
    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // No page could be mapped. Then the process never tries again, because a mark of one kind never equals a mark of the other kind.
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
        return u64::from(std::process::id()) << 32;
    }
    // SAFETY: the page stays mapped for the rest of the process's life. It was zeroed, it is aligned, and it is only used as this atomic.
    let mark = unsafe { &*page };
    let seen = mark.load(Ordering::Acquire);
    if seen != 0 {
        return seen;
    }
    // This is the first call in this process. Fork copied `NEXT`, so a child's mark differs from the marks of all its ancestors.
    let fresh = NEXT.fetch_add(1, Ordering::AcqRel);
    match mark.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => fresh,
        Err(theirs) => theirs,
    }
}

fn page_wiped_on_fork() -> Option<*mut AtomicU64> {
    use rustix::mm::{madvise, mmap_anonymous, munmap, Advice, MapFlags, ProtFlags};
    let size = rustix::param::page_size();
    // SAFETY: this is a new private mapping at an address that the kernel chooses, and no other code knows the address.
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

/// The values that a step of the clock changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockView {
    /// How far the wall clock is ahead of the boot clock, in nanoseconds. This is the moment of the boot.
    wall: i64,
    /// The smallest such value that this process has seen. A clock that is set forward makes the boot look later than it was.
    earliest: i64,
}

impl ClockView {
    /// `created` is in whole seconds since the epoch, counted from the second of the boot. So it changes when that second changes.
    fn stepped_by(&self, mut clock: impl FnMut(ClockId) -> i64) -> bool {
        let is_another_second = |wall: i64| {
            (wall - self.wall).abs() > NOISE && wall.div_euclid(1_000_000_000) != self.wall.div_euclid(1_000_000_000)
        };
        // The first check is cheaper, and usually enough.
        is_another_second(wall_minus_boot_at_once(&mut clock)) && is_another_second(wall_minus_boot(clock))
    }
}

impl Processes for System {
    type Mark = u64;
    type Clock = ClockView;
    type Outlook = Outlook;
    type Seen = ProcStat;
    /// pidfd_open(2), Linux 5.3.
    type Exit = OwnedFd;

    const TABLE: &'static str = PROCESS_TABLE;

    fn mark() -> u64 {
        process_mark()
    }

    fn prepare_for_fork() {
        linux_list::keep_buffers();
    }

    fn namespace_of_pids() -> Option<u64> {
        Proc::open().and_then(|proc| proc.pid_namespace()).ok()?
    }

    /// Values that stay the same for the whole life of a process are taken from `before`. A namespace that the process enters later,
    /// or another `/proc`, does not change them.
    fn identify(before: Option<&Identity>) -> io::Result<Identity> {
        // The clock is read first, so that a step during the rest of this function counts as a later step.
        let wall = wall_minus_boot(nanos);
        let earliest = before.map_or(wall, |before| before.clock.earliest.min(wall));
        let clock = ClockView { wall, earliest };
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
            clock,
        })
    }

    fn has_stepped(clock: &ClockView) -> bool {
        clock.stepped_by(nanos)
    }

    /// The earliest boot counts, because each source can name a later time: some containers see their own start instead (lxcfs), a
    /// time namespace can put the boot later than it was, and so does a clock that is set forward.
    fn booted(clock: &ClockView) -> io::Result<i64> {
        let proc = Proc::open()?;
        let shift = proc.shift()?.ok_or_else(|| io::Error::other("the shift of this time namespace can't be told"))?;
        let earliest = clock.earliest.div_euclid(1_000_000_000);
        Ok(proc.boot_time()?.min(boot_time_by_clocks()).min(earliest) - shift.seconds_late())
    }

    fn outlook(own: u32) -> Option<Outlook> {
        Outlook::now(own)
    }

    fn look(from: &Outlook, pid: u32) -> Result<ProcStat, ProcessState> {
        match from.look(pid) {
            Some(seen) if seen.exited => Err(ProcessState::Gone),
            Some(seen) => Ok(seen),
            // The process is hidden from us (`hidepid`, proc(5)), or it started a moment ago.
            None if exists(pid) => Err(ProcessState::Exists),
            None => Err(ProcessState::Gone),
        }
    }

    fn start(seen: &ProcStat, from: &Outlook) -> Option<u64> {
        seen.start(from)
    }

    /// A bid has no START if its owner's time namespace hides it. But this namespace may hide the start of a process whose bid has one.
    fn is_from(seen: &ProcStat, from: &Outlook, start: u64, created: Option<i64>) -> ProcessState {
        match seen.is_start(from, start) {
            Some(true) => ProcessState::Runs,
            Some(false) => ProcessState::Replaced,
            None if created.is_some_and(|then| seen.is_younger_or_older(from, then)) => ProcessState::SeemsReplaced,
            None => ProcessState::Exists,
        }
    }

    fn is_created(seen: &ProcStat, from: &Outlook, created: i64) -> Option<bool> {
        seen.is_created(from, created)
    }

    fn exists(pid: u32) -> bool {
        exists(pid)
    }

    fn watch(pid: u32) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
        match descriptor(|| pidfd_open(pid, PidfdFlags::empty())) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::SRCH) => Err(io::ErrorKind::NotFound.into()),
            // ENOENT becomes another kind of error too: a sandbox may return it, and Linux 6.15 returns it for the number of a thread.
            pidfd => pidfd.map_err(io::Error::other),
        }
    }

    fn has_exited(pidfd: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A program with a bug may have closed the descriptor meanwhile (POLLNVAL).
        matches!(poll(&mut fds, Some(&now)), Ok(1))
            && fds[0].revents().difference(PollFlags::HUP | PollFlags::RDNORM) == PollFlags::IN
    }

    fn source(pidfd: &OwnedFd) -> Source<'_> {
        pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dir, Filesystem};
    use super::*;

    /// The clocks can be read only one after the other, and the thread may lose the processor in between, here for a minute.
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

    /// Even a small step counts: a Python peer compares whole seconds, and both must get the same number.
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

    /// After the clock was set forward, the boot looks later than it was. So a bid can look older than the boot and still be of this boot.
    #[test]
    fn the_boot_was_no_later_than_it_ever_looked() {
        let me = Identity::current().unwrap();
        let booted = me.booted().unwrap();
        let earliest = (booted - 1000) * 1_000_000_000;
        let before = Identity { clock: ClockView { earliest, ..me.clock }, ..Identity::clone(&me) };
        assert_eq!(System::identify(Some(&before)).unwrap().booted().unwrap(), booted - 1000);
    }

    /// Bids from before the step contain a CREATED that no process computes any more.
    #[test]
    fn a_claim_is_current_until_somebody_steps_the_clock() {
        let me = Identity::current().unwrap();
        let path = crate::scratch::Scratch::new();
        let stepped = [0, -1, 1].map(|seconds| {
            let wall = me.clock.wall + seconds * 1_000_000_000;
            let clock = ClockView { wall, earliest: wall };
            let me = Identity { clock, ..Identity::clone(&me) };
            let hidden = Dir::open(&path).unwrap();
            let claim = crate::folder::claim::Claim::prepare(
                hidden.into(),
                &path,
                std::sync::Arc::new(me),
                Filesystem::Local,
                crate::folder::claim::Said { lease: None, slots: crate::slots::Slots::One },
                || Ok(1),
            );
            !claim.unwrap().is_current()
        });
        assert_eq!(stepped, [false, true, true]);
    }
}
