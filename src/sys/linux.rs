//! What only Linux has: who a process is, whether it lives, and what a filesystem is.

use std::fs;
use std::io::{self, Read};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{pidfd_open, Pid, PidfdFlags};
use rustix::time::{clock_gettime, ClockId};

use super::unix::descriptor;
use super::{Identity, Source};

// ---- this process ----

/// Tells a process from its forked children, also where both have the same PID (a child in a new PID namespace).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMark(u64);

/// The mark of the process that calls. A load from memory: the kernel wipes one page of ours in every forked child
/// (`MADV_WIPEONFORK`, madvise(2), Linux 4.14); before that, the PID.
pub(crate) fn process_mark() -> ProcessMark {
    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // No page could be had. That is for good: who is marked one way must not be looked for the other way.
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

/// Where we look for processes, for a person.
pub(crate) const PROCESS_TABLE: &str = "/proc";

/// Where we see other processes and the clock from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standpoint {
    /// `/proc` shows the processes of our PID namespace (a container can have been given another's).
    proc_is_ours: bool,
    shift: Shift,
    /// What a step of the clock changes.
    wall: i64,
}

/// How far this time namespace's boot clock is from the machine's (time_namespaces(7)).
#[derive(Clone, Copy, Debug, Default)]
struct Shift {
    nanos: i64,
}

impl Shift {
    fn read() -> io::Result<Shift> {
        let offsets = known(fs::read_to_string("/proc/self/timens_offsets"))?.unwrap_or_default();
        let nanos = offsets.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            // The clock is named by its number in old kernels.
            if !matches!(words.next()?, "boottime" | "7") {
                return None;
            }
            let seconds: i64 = words.next()?.parse().ok()?;
            let nanos: i64 = words.next()?.parse().ok()?;
            seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
        });
        Ok(Shift { nanos: nanos.unwrap_or(0) })
    }

    /// A start time as the initial time namespace counts it. `None`: the shift is no whole number of ticks, so rounding hides it.
    fn undo(self, ticks: u64) -> Option<u64> {
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second() as i64;
        if self.nanos % tick != 0 {
            return None;
        }
        ticks.checked_add_signed(-(self.nanos / tick))
    }
}

impl Identity {
    pub(super) fn read() -> io::Result<Identity> {
        let pid = std::process::id();
        let seen =
            Seen::parse(&read_own_stat(pid)?).ok_or_else(|| io::Error::other("/proc/self/stat can't be understood"))?;
        let standpoint = Standpoint::read(pid)?;
        Ok(Identity {
            pid,
            start: seen.start(&standpoint),
            created: seen.created()?,
            boot: known(fs::read_to_string("/proc/sys/kernel/random/boot_id"))?.map(|id| id.trim().to_owned()),
            pidns: known(fs::read_link("/proc/self/ns/pid"))?.and_then(namespace),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: seen.command,
            standpoint,
        })
    }
}

impl Standpoint {
    fn read(pid: u32) -> io::Result<Standpoint> {
        Ok(Standpoint {
            proc_is_ours: known(fs::read_link("/proc/self"))?
                .is_some_and(|link| link.as_os_str() == pid.to_string().as_str()),
            shift: Shift::read()?,
            wall: wall_minus_boot(nanos),
        })
    }

    /// A time namespace can put the boot later than it was, by a negative shift; what it puts earlier is left there, since not
    /// every kernel shifts `btime`.
    pub fn booted(&self) -> io::Result<i64> {
        Ok(boot_time()? + self.shift.nanos.min(0).div_euclid(1_000_000_000))
    }

    pub fn clock_stepped(&self) -> bool {
        self.stepped_by(nanos)
    }

    fn stepped_by(&self, mut clock: impl FnMut(ClockId) -> i64) -> bool {
        // The first look is the cheaper one, and as a rule enough.
        (wall_minus_boot_at_once(&mut clock) - self.wall).abs() > NOISE
            && (wall_minus_boot(clock) - self.wall).abs() > NOISE
    }
}

/// What is no step yet.
const NOISE: i64 = 100_000_000;

/// The clocks are read one after the other, so a pause in between would look like a step of that length: then once more.
fn wall_minus_boot(mut clock: impl FnMut(ClockId) -> i64) -> i64 {
    for _ in 0..100 {
        let began = clock(ClockId::Boottime);
        let difference = wall_minus_boot_at_once(&mut clock);
        if clock(ClockId::Boottime) - began < NOISE / 2 {
            return difference;
        }
    }
    wall_minus_boot_at_once(clock)
}

fn wall_minus_boot_at_once(mut clock: impl FnMut(ClockId) -> i64) -> i64 {
    clock(ClockId::Realtime) - clock(ClockId::Boottime)
}

fn nanos(clock: ClockId) -> i64 {
    let t = clock_gettime(clock);
    t.tv_sec as i64 * 1_000_000_000 + t.tv_nsec as i64
}

/// What this system has and shows to us, or not. Any other failure is none of that: a bid that for want of a descriptor
/// does not say its namespace would be misjudged, and deleted, by those who live in another.
fn known<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    match read {
        Ok(it) => Ok(Some(it)),
        Err(e) if matches!(e.kind(), NotFound | PermissionDenied) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The number in `pid:[4026531836]`.
fn namespace(target: std::path::PathBuf) -> Option<u64> {
    let (_, number) = target.to_str()?.split_once('[')?;
    number.strip_suffix(']')?.parse().ok()
}

/// When this machine was booted, Unix seconds: `btime` of `/proc/stat`, which psutil uses too.
fn boot_time() -> io::Result<i64> {
    fs::read_to_string("/proc/stat")?
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("/proc/stat has no btime"))
}

// ---- other processes ----

/// What `/proc` shows of a process.
pub(super) fn look(me: &Identity, pid: u32) -> Option<Seen> {
    let stat = match me.standpoint.proc_is_ours {
        true if pid == me.pid => read_own_stat(pid),
        true => read_stat(&format!("/proc/{pid}/stat")),
        false => return None,
    };
    Seen::parse(&stat.ok()?)
}

/// By way of the main thread: qemu-user makes up `/proc/self/stat`, and others would not find us by such a start.
fn read_own_stat(pid: u32) -> io::Result<Vec<u8>> {
    read_stat(&format!("/proc/self/task/{pid}/stat")).or_else(|_| read_stat("/proc/self/stat"))
}

/// Not by `fs::read`: it asks for the length, which is 0 in /proc, and so begins with a few bytes.
fn read_stat(path: &str) -> io::Result<Vec<u8>> {
    let mut stat = Vec::with_capacity(1024);
    fs::File::open(path)?.take(4096).read_to_end(&mut stat)?;
    Ok(stat)
}

pub(super) struct Seen {
    command: String,
    pub exited: bool,
    /// Ticks since the boot, as this time namespace counts it.
    ticks: u64,
}

impl Seen {
    pub fn start(&self, from: &Standpoint) -> Option<u64> {
        from.shift.undo(self.ticks)
    }

    pub fn created(&self) -> io::Result<i64> {
        Ok(boot_time()? + (self.ticks / rustix::param::clock_ticks_per_second()) as i64)
    }

    /// The fields of proc_pid_stat(5). The command can hold anything, also `)` and line breaks: the last `)` ends it.
    fn parse(stat: &[u8]) -> Option<Seen> {
        let open = stat.iter().position(|&b| b == b'(')?;
        let close = stat.iter().rposition(|&b| b == b')')?;
        let command = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
        let fields: Vec<&str> = std::str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace().collect();
        // The first of these is field 3.
        let state = *fields.first()?;
        let threads: u64 = fields.get(20 - 3)?.parse().ok()?;
        Some(Seen {
            command,
            // The main thread can end while others run: it shows as a zombie then, and they are still counted.
            exited: matches!(state, "X" | "x") || state == "Z" && threads <= 1,
            ticks: fields.get(22 - 3)?.parse().ok()?,
        })
    }
}

/// Tells when a process of our PID namespace exits, whatever becomes of its PID (pidfd_open(2), Linux 5.3).
pub(crate) struct Exit {
    pidfd: OwnedFd,
}

impl Exit {
    /// `None`: there is no such process, or this system can't tell. Ask [`super::process`] afterwards whether it is the right one.
    pub fn of(pid: u32) -> Option<Exit> {
        let pid = Pid::from_raw(pid as i32)?;
        let pidfd = descriptor(|| pidfd_open(pid, PidfdFlags::empty())).ok()?;
        Some(Exit { pidfd })
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

    #[test]
    fn stat_is_parsed_from_the_last_parenthesis() {
        let tail = " 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 98765 0 0";
        let running = Seen::parse(format!("7 (a) b) (c\n)) S{tail}").as_bytes()).unwrap();
        assert_eq!((running.command.as_str(), running.ticks, running.exited), ("a) b) (c\n)", 98765, false));
        // The main thread ended, two others run.
        assert!(!Seen::parse(format!("7 (x) Z{tail}").as_bytes()).unwrap().exited);
        assert!(Seen::parse(format!("7 (x) Z{}", tail.replace(" 3 0", " 1 0")).as_bytes()).unwrap().exited);
        assert!(Seen::parse(b"7 (x").is_none());
        assert!(Seen::parse(b"").is_none());
    }

    #[test]
    fn a_shifted_clock_is_undone() {
        assert_eq!(Shift { nanos: 0 }.undo(500), Some(500));
        assert_eq!(Shift { nanos: 86_400_000_000_000 }.undo(8_640_500), Some(500));
        assert_eq!(Shift { nanos: -10_000_000 }.undo(500), Some(501));
        assert_eq!(Shift { nanos: 5 }.undo(500), None);
    }

    /// The clocks can only be read one after the other, and we may be kept from the processor in between, here for a minute.
    #[test]
    fn a_pause_at_any_moment_is_no_step_of_the_clock() {
        const SECOND: i64 = 1_000_000_000;
        let me = Identity::current().unwrap();
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
            let me = Standpoint { wall: read, ..me.standpoint };
            let stepped = [6, 7, 8].map(|ahead| me.stepped_by(clocks(pause_at, ahead * SECOND)));
            assert_eq!(stepped, [true, false, true], "a pause before the reading {pause_at}");
        }
    }

    /// The bids of before say a CREATED that nobody computes any more.
    #[test]
    fn a_claim_is_current_until_somebody_steps_the_clock() {
        let me = Identity::current().unwrap();
        let path = crate::scratch::Scratch::new();
        let stepped = [0, -1, 1].map(|seconds| {
            let standpoint = Standpoint { wall: me.standpoint.wall + seconds * 1_000_000_000, ..me.standpoint };
            let me = Identity { standpoint, ..Identity::clone(&me) };
            let hidden = Dir::open(&path).unwrap();
            let claim =
                crate::claim::Claim::prepare(hidden, &path, std::sync::Arc::new(me), Filesystem::Local, || Ok(1));
            !claim.unwrap().is_current()
        });
        assert_eq!(stepped, [false, true, true]);
    }
}
