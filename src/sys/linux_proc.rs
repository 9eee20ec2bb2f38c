//! What `/proc` shows on Linux about this process, about other processes, and about the clock. We use the `/proc` that the process has
//! when we open it: `chroot`, `setns` and `unshare` can give a process another `/proc`, or none.

use std::io;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::time::{clock_gettime, ClockId};

use super::calls::descriptor;
use super::linux_shift::{ShownStart, TimeNsOffset};
use super::process::is_about;
use super::room::zeros;

/// Where a process is looked up. Messages to people contain it.
pub(super) const PROCESS_TABLE: &str = "/proc";

/// No real file of `/proc` that we read is larger. A larger file is something that was put in its place.
const MAX_BYTES: usize = 1 << 24;

/// An open `/proc`. All reads through it come from the same `/proc`.
pub(super) struct Proc {
    root: OwnedFd,
}

/// Opens the file of a descriptor once more, with other flags. `None`: there is no `/proc` that shows our descriptors.
pub(super) fn reopen(file: &OwnedFd, how: OFlags) -> Option<io::Result<OwnedFd>> {
    own_path(file).map(|path| open(fs::CWD, &path, how))
}

/// A path that leads to the file of this descriptor, even if the file was moved. `None`: there is no `/proc` that shows our
/// descriptors.
///
/// It uses a path and not an open `/proc`, because each look at a rival's bid comes here, and a path takes one system call and no
/// descriptor.
pub(super) fn own_path(file: &impl AsFd) -> Option<String> {
    // The thread can have its own table of descriptors (unshare(2)). Linux before 3.17 has no `thread-self`.
    for own in ["thread-self", "self"] {
        let fds = format!("{PROCESS_TABLE}/{own}/fd");
        match rustix::io::retry_on_intr(|| fs::statfs(&*fds)) {
            // After a chroot, `/proc` can be an ordinary folder.
            Ok(stat) if stat.f_type == fs::PROC_SUPER_MAGIC => {
                return Some(format!("{fds}/{}", file.as_fd().as_raw_fd()))
            }
            Err(rustix::io::Errno::NOENT) => {}
            _ => break,
        }
    }
    None
}

fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    descriptor(|| fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()))
}

impl Proc {
    pub fn open() -> io::Result<Proc> {
        let root = open(fs::CWD, PROCESS_TABLE, OFlags::PATH | OFlags::DIRECTORY)?;
        // After a chroot, `/proc` can be an ordinary folder with any content.
        if rustix::io::retry_on_intr(|| fs::fstatfs(&root))?.f_type != fs::PROC_SUPER_MAGIC {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no proc filesystem is mounted there"));
        }
        Ok(Proc { root })
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = open(self.root.as_fd(), name, OFlags::RDONLY)?;
        let mut content = zeros(1024)?;
        let mut filled = 0;
        loop {
            match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut content[filled..]))? {
                0 => break,
                n => filled += n,
            }
            if filled == content.len() {
                if filled > MAX_BYTES {
                    return Err(io::Error::other(format!("/proc/{name} does not end")));
                }
                content.resize(filled * 4, 0);
            }
        }
        content.truncate(filled);
        Ok(content)
    }

    pub fn read_text(&self, name: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.read(name)?).into_owned())
    }

    fn link(&self, name: &str) -> io::Result<String> {
        let target = rustix::io::retry_on_intr(|| fs::readlinkat(&self.root, name, Vec::new()))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Reads a link of the calling thread. (If the main thread has ended, its namespaces can't be seen any more.)
    fn own_link(&self, name: &str) -> io::Result<String> {
        match self.link(&format!("thread-self/{name}")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.link(&format!("self/{name}")), // before Linux 3.17
            found => found,
        }
    }

    /// Whether all threads of a process have ended. A killed process whose threads are traced keeps them until its tracer waits for them
    /// (ptrace(2)), and a debugger at its prompt does not. We look twice, because a thread could end right after it has made another.
    fn has_only_zombies(&self, pid: u32) -> io::Result<bool> {
        let ended = || {
            let dir = open(self.root.as_fd(), &format!("{pid}/task"), OFlags::RDONLY | OFlags::DIRECTORY)?;
            let mut names = Vec::new();
            for entry in fs::Dir::new(dir)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                names.extend(Some(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())));
            }
            for name in &names {
                let stat = ProcStat::parse(&self.read(&format!("{pid}/task/{name}/stat"))?);
                if !stat.is_some_and(|stat| stat.thread_ended) {
                    return Ok(None);
                }
            }
            io::Result::Ok(Some(names))
        };
        let before = ended()?;
        Ok(before.is_some() && before == ended()?)
    }

    /// The number of our PID namespace.
    pub fn pid_namespace(&self) -> io::Result<Option<u64>> {
        Ok(known(self.own_link("ns/pid"))?.and_then(|link| namespace(&link)))
    }

    /// Whether it shows the processes of our PID namespace. A container may see the `/proc` of another PID namespace, and our PID can
    /// have the same number there by chance. In that case `NSpid` (proc_pid_status(5)) lists more than one PID of this process.
    fn is_ours(&self, pid: u32) -> io::Result<bool> {
        if self.link("self")? != pid.to_string() {
            return Ok(false);
        }
        let status = self.read_text("self/status")?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        if let Some(pids) = field("NSpid:") {
            return Ok(pids.split_ascii_whitespace().count() == 1);
        }
        // Linux before 4.1 and emulations of Linux have no `NSpid`. There the parent's PID must match as well.
        let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
        Ok(field("PPid:").and_then(|text| text.trim().parse().ok()) == Some(parent))
    }

    /// The offset of our time namespace. `None`: it can't be known.
    pub fn shift(&self) -> io::Result<Option<TimeNsOffset>> {
        let ours = match self.own_link("ns/time") {
            Ok(ours) => ours,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(TimeNsOffset::NONE)), // this kernel has no time namespaces
            Err(e) => return known(Err(e)),
        };
        if namespace(&ours) == Some(INITIAL_TIME_NAMESPACE) {
            return Ok(Some(TimeNsOffset::NONE));
        }
        // The file `timens_offsets` tells the offset of the namespace that our children will be in, so this must be our namespace too.
        if known(self.link("self/ns/time_for_children"))?.as_ref() != Some(&ours) {
            return Ok(None);
        }
        Ok(known(self.read_text("self/timens_offsets"))?.and_then(|offsets| TimeNsOffset::parse(&offsets)))
    }

    /// Reads our own entry through the main thread, because qemu-user invents the content of `/proc/self/stat`. Other processes would
    /// not find us by an invented start time.
    pub fn own_stat(&self, pid: u32) -> io::Result<ProcStat> {
        let stat = self.read(&format!("self/task/{pid}/stat")).or_else(|_| self.read("self/stat"))?;
        ProcStat::parse(&stat).ok_or_else(|| io::Error::other("/proc/self/stat can't be understood"))
    }

    fn own_start(&self) -> io::Result<i64> {
        Ok(self.own_stat(std::process::id())?.start.nanos)
    }

    /// When this machine was booted, in Unix seconds: `btime` of `/proc/stat`, which psutil uses too. Where that file is not shown
    /// (mount option `subset=pid`, proc(5)), the clocks give the same number.
    pub fn boot_time(&self) -> io::Result<i64> {
        let stat = known(self.read_text("stat"))?;
        let btime =
            stat.and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()));
        Ok(btime.unwrap_or_else(boot_time_by_clocks))
    }
}

/// The folder of the calling thread in `/proc`. The thread can have its own table of descriptors and its own mounts (unshare(2)).
pub(super) fn own_proc() -> &'static str {
    match fs::access("/proc/thread-self", fs::Access::EXISTS) {
        Ok(()) => "thread-self",
        Err(_) => "self", // before Linux 3.17
    }
}

/// `PROC_TIME_INIT_INO` of the kernel, `TIME_NS_INIT_INO` in linux/nsfs.h.
const INITIAL_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;

/// `None` if this system does not have the value or does not show it to us. Any other failure stays an error. Otherwise a shortage of
/// descriptors could make a bid that does not name its PID namespace, and processes in another PID namespace would misjudge and
/// delete that bid.
pub(super) fn known<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    match read {
        Ok(it) => Ok(Some(it)),
        Err(e) if matches!(e.kind(), NotFound | PermissionDenied) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The number in `pid:[4026531836]`.
fn namespace(target: &str) -> Option<u64> {
    let (_, number) = target.split_once('[')?;
    number.strip_suffix(']')?.parse().ok()
}

// ---- the clock ----

/// A difference up to this, in nanoseconds, is no step of the clock. It exists because the clocks are read one after the other.
pub(super) const NOISE: i64 = 1_000_000;

/// The clocks are read one after the other, so a pause in between would look like a step of that length. After such a pause, this
/// function reads them again.
pub(super) fn wall_minus_boot(mut clock: impl FnMut(ClockId) -> i64) -> i64 {
    for _ in 0..100 {
        let began = clock(ClockId::Boottime);
        let difference = wall_minus_boot_at_once(&mut clock);
        if clock(ClockId::Boottime) - began < NOISE / 2 {
            return difference;
        }
    }
    wall_minus_boot_at_once(clock)
}

pub(super) fn wall_minus_boot_at_once(mut clock: impl FnMut(ClockId) -> i64) -> i64 {
    clock(ClockId::Realtime) - clock(ClockId::Boottime)
}

pub(super) fn nanos(clock: ClockId) -> i64 {
    let t = clock_gettime(clock);
    t.tv_sec as i64 * 1_000_000_000 + t.tv_nsec as i64
}

/// The same value as `btime` of `/proc/stat`, which the kernel rounds down.
pub(super) fn boot_time_by_clocks() -> i64 {
    wall_minus_boot(nanos).div_euclid(1_000_000_000)
}

/// When this process started, in nanoseconds of the boot clock as our time namespace shows it, to a tick.
pub(super) fn own_start() -> io::Result<i64> {
    Proc::open()?.own_start()
}

/// The number of our time namespace (0 if this kernel has none), and [`own_start`].
pub(super) fn own_place() -> io::Result<(u64, i64)> {
    let proc = Proc::open()?;
    let number = match proc.own_link("ns/time") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        link => namespace(&link?),
    };
    Ok((number.unwrap_or(0), proc.own_start()?))
}

// ---- other processes ----

/// The processes of our PID namespace, as they are shown to us now.
pub(super) struct Outlook {
    proc: Proc,
    /// `None`: the start of a process can't be known, so it proves nothing.
    shift: Option<TimeNsOffset>,
    /// Our PID.
    own: u32,
}

impl Outlook {
    /// `None`: this process can see nothing about other processes.
    pub fn now(own: u32) -> Option<Outlook> {
        let proc = Proc::open().ok()?;
        let is_ours = proc.is_ours(own).ok()?;
        let shift = proc.shift().ok()?;
        is_ours.then_some(Outlook { proc, shift, own })
    }

    pub fn look(&self, pid: u32) -> Option<ProcStat> {
        if pid == self.own {
            return self.proc.own_stat(pid).ok();
        }
        let mut seen = ProcStat::parse(&self.proc.read(&format!("{pid}/stat")).ok()?)?;
        if seen.thread_ended && !seen.exited {
            seen.exited = self.proc.has_only_zombies(pid).unwrap_or(false);
        }
        Some(seen)
    }
}

pub(super) struct ProcStat {
    pub command: String,
    pub exited: bool,
    /// The main thread has ended, or the thread that it is about.
    thread_ended: bool,
    start: ShownStart,
}

impl ProcStat {
    pub fn start(&self, from: &Outlook) -> Option<u64> {
        self.start_shifted_by(from.shift)
    }

    pub fn start_shifted_by(&self, shift: Option<TimeNsOffset>) -> Option<u64> {
        shift?.undo(self.start)
    }

    /// Whether this is the process that started at `start`, as the initial time namespace counts it. `None`: it may be.
    pub fn is_start(&self, from: &Outlook, start: u64) -> Option<bool> {
        from.shift?.is_undone(self.start, start)
    }

    /// Whether CREATED can be that of this process, as every program here computes it.
    pub fn is_created(&self, from: &Outlook, created: i64) -> Option<bool> {
        Some(self.is_created_after(from.proc.boot_time().ok()?, created))
    }

    /// Whether CREATED says that this is another process. A kernel may show the boot without the shift of our time namespace. The clocks
    /// are shifted as the start is, so the sum is right by them. Both must say so.
    pub fn is_younger_or_older(&self, from: &Outlook, created: i64) -> bool {
        self.is_created(from, created) == Some(false) && !self.is_created_after(boot_time_by_clocks(), created)
    }

    /// psutil takes a negative start for the huge number that is shown.
    fn is_created_after(&self, boot: i64, created: i64) -> bool {
        [self.start.seconds(), self.start.seconds_as_shown()].iter().any(|start| is_about(boot + start, created))
    }

    pub fn created_in(&self, proc: &Proc) -> io::Result<i64> {
        Ok(proc.boot_time()? + self.start.seconds())
    }

    /// Parses the fields of proc_pid_stat(5). The command can contain any bytes, even `)` and line breaks. The last `)` ends it.
    fn parse(stat: &[u8]) -> Option<ProcStat> {
        let open = stat.iter().position(|&b| b == b'(')?;
        let close = stat.iter().rposition(|&b| b == b')')?;
        let command = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
        let fields: Vec<&str> = std::str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace().collect();
        // The first of these is field 3.
        let state = *fields.first()?;
        let threads: u64 = fields.get(20 - 3)?.parse().ok()?;
        Some(ProcStat {
            command,
            // The main thread can end while other threads run. Then it shows as a zombie, and the others still count in `threads`.
            exited: has_ended(state) && (state != "Z" || threads <= 1),
            thread_ended: has_ended(state),
            start: ShownStart::of(fields.get(22 - 3)?.parse().ok()?),
        })
    }
}

/// Whether a thread in this state has ended (proc_pid_stat(5)).
fn has_ended(state: &str) -> bool {
    matches!(state, "Z" | "X" | "x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_from_the_last_parenthesis() {
        let tail = " 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 98765 0 0";
        let running = ProcStat::parse(format!("7 (a) b) (c\n)) S{tail}").as_bytes()).unwrap();
        assert_eq!(
            (running.command.as_str(), running.start, running.exited),
            ("a) b) (c\n)", ShownStart::of(98765), false)
        );
        // The main thread has ended, and two other threads run.
        assert!(!ProcStat::parse(format!("7 (x) Z{tail}").as_bytes()).unwrap().exited);
        assert!(ProcStat::parse(format!("7 (x) Z{}", tail.replace(" 3 0", " 1 0")).as_bytes()).unwrap().exited);
        assert!(ProcStat::parse(b"7 (x").is_none());
        assert!(ProcStat::parse(b"").is_none());
    }

    #[test]
    fn the_clocks_give_the_boot_time_that_proc_shows() {
        let shown = Proc::open().unwrap().boot_time().unwrap();
        assert!(
            (shown - boot_time_by_clocks()).abs() <= 1,
            "the two are rounded at different moments, so they may differ by 1"
        );
    }

    #[test]
    fn a_file_of_any_length_is_read_whole() {
        let proc = Proc::open().unwrap();
        let text = proc.read_text("stat").unwrap();
        assert!(text.starts_with("cpu ") && text.ends_with('\n') && text.contains("btime "));
        assert_eq!(proc.read("no such file").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(proc.link("self").unwrap(), std::process::id().to_string());
    }
}
