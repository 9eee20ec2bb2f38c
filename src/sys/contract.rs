//! The contract of the systems: what each system tells about processes. The part of `sys` that is the same on all systems is built on it.
//! Each family of systems implements it in one place: `linux`, `bsd::processes`, `windows::process`.
//!
//! A new system needs a new `impl Processes for System`, and everything that the compiler then asks for. There is one [`System`]
//! in each build, so every call is known at compile time.

use std::fmt::Debug;
use std::io;

/// What can wake a sleeper: a descriptor on Unix, a handle on Windows.
#[cfg(unix)]
pub(crate) type Source<'a> = rustix::fd::BorrowedFd<'a>;
#[cfg(windows)]
pub(crate) type Source<'a> = std::os::windows::io::BorrowedHandle<'a>;

/// The system that this library was built for. It has no content.
pub(super) struct System;

/// The identity of a process, as its bids state it. It does not change while the process lives, with two exceptions: a step of the
/// clock moves `created`, and the names of the host and the command can change. `pidns` does not change: a process that enters
/// a PID namespace moves only its children there.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub pid: u32,
    /// The start of the process, in the system's own unit. No step of the clock moves it. Linux: field 22 of `/proc/self/stat`,
    /// as the initial time namespace counts it. macOS, FreeBSD, NetBSD: microseconds since 1970 or since the boot. Windows:
    /// units of 100 ns since 1601.
    pub start: Option<u64>,
    /// The process's start in Unix seconds, the same number as psutil's `int(create_time())`.
    pub created: i64,
    /// Names this boot of this kernel.
    pub boot: Option<String>,
    /// Names the PID namespace, on systems that have PID namespaces.
    pub pidns: Option<u64>,
    pub host: String,
    pub command: String,
    /// The state of the clock when `created` was computed.
    pub(super) clock: <System as Processes>::Clock,
}

/// What a system says about a PID.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// There is no such process, or it has exited. This answer must be certain: a bid is deleted because of it.
    Gone,
    /// The process runs, and it is the one that started at the given time.
    Runs,
    /// A process with this PID runs, and it is another process.
    Replaced,
    /// A process with this PID runs. Only its CREATED says that it is another process, and that number moves with the clock.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only Linux can hide the start
    SeemsReplaced,
    /// A process with this PID exists. The system can't tell more.
    Exists,
}

/// What each system tells about processes. Where a system is not certain, it returns `None` or [`ProcessState::Exists`], and
/// the bid counts as live.
pub(super) trait Processes {
    /// Tells a process from its forked children.
    type Mark: Copy + Debug + Eq;
    /// The clock as a process saw it.
    type Clock: Clone + Debug;
    /// The view that we have of other processes at one moment.
    type Outlook;
    /// What the system shows about a running process.
    type Seen;
    /// Tells when a process exits, even if another process gets its PID later.
    type Exit;

    /// Where a process is looked up. Messages to people contain it.
    const TABLE: &'static str;

    /// The mark of the calling process. It costs a load from memory, or a system call that never waits.
    fn mark() -> Self::Mark;

    /// Makes what a fork in another thread must not come into the middle of.
    fn prepare_for_fork() {}

    /// The number of the PID namespace that this process is in. `None`: it can't be seen, or this system has none.
    fn namespace_of_pids() -> Option<u64> {
        None
    }

    /// The identity of this process. `before` is the answer that this process got earlier: values that never change during the
    /// life of a process are taken from it.
    fn identify(before: Option<&Identity>) -> io::Result<Identity>;

    /// Whether the clock was set since then. If so, every process that computes `created` now gets another number.
    fn has_stepped(clock: &Self::Clock) -> bool;

    /// The latest time at which this machine can have booted, in Unix seconds. Anything older belongs to another boot for certain.
    fn booted(clock: &Self::Clock) -> io::Result<i64>;

    /// The view that our process (its PID is `own`) has of other processes. `None`: it can see nothing about them.
    fn outlook(own: u32) -> Option<Self::Outlook>;

    /// What the system shows about a running process of our PID namespace. `Err`: all that is known about the PID. A zombie has
    /// exited.
    fn look(from: &Self::Outlook, pid: u32) -> Result<Self::Seen, ProcessState>;

    /// Its start, as in [`Identity::start`]. `None`: the start can't be known, so it proves nothing.
    fn start(seen: &Self::Seen, from: &Self::Outlook) -> Option<u64>;

    /// Whether it is the process that started at `start`. A system that can't tell this by the start may use `created`.
    fn is_from(seen: &Self::Seen, from: &Self::Outlook, start: u64, _created: Option<i64>) -> ProcessState {
        match Self::start(seen, from) {
            Some(now) if now == start => ProcessState::Runs,
            Some(_) => ProcessState::Replaced,
            None => ProcessState::Exists,
        }
    }

    /// Whether `created` can be its [`Identity::created`], as any program of this host computes it. `None`: that can't be known.
    fn is_created(seen: &Self::Seen, from: &Self::Outlook, created: i64) -> Option<bool>;

    /// Whether there is a process `pid` that has not been reaped, of any user. Where the system can't tell, the answer is true.
    fn exists(pid: u32) -> bool;

    /// Starts to watch a process. `NotFound`: there is no such process. Any other error: this system can't tell when the process
    /// exits, or refuses to (a sandbox, a process of another user). The caller must check afterwards that it watches the right process.
    fn watch(pid: u32) -> io::Result<Self::Exit>;

    /// Whether the process has exited. A zombie has exited. A process has not exited if only its main thread has ended.
    fn has_exited(exit: &Self::Exit) -> bool;

    /// Wakes a sleeper when the process exits.
    fn source(exit: &Self::Exit) -> Source<'_>;
}
