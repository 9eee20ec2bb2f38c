//! Who a process is, and whether it lives. How a system shows its processes is in its own module.

use std::cell::OnceCell;
use std::io;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

#[cfg(windows)]
use super::see;
#[cfg(unix)]
use super::ProcStat;
use super::{process_mark, ClockView, ExitWatch, Outlook, ProcessMark};

/// Who we are, as our bids say it. All of it stays as it is while the process lives, except `created`, which a step of the clock
/// moves, and the names of the host and the command: a process that enters a PID namespace only moves its children there.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub pid: u32,
    /// In the system's own unit, which no step of the clock moves. Linux: field 22 of `/proc/self/stat`, as the initial time
    /// namespace counts it; macOS, FreeBSD, NetBSD: microseconds, since 1970 or the boot; Windows: 100 ns since 1601.
    pub start: Option<u64>,
    /// The process's start in Unix seconds, the same number as psutil's `int(create_time())`.
    pub created: i64,
    pub boot: Option<String>,
    pub pidns: Option<u64>,
    pub host: String,
    pub command: String,
    /// When `created` is another number.
    pub(super) clock_view: ClockView,
}

impl Identity {
    /// Read once per process, and again when somebody stepped the clock or the process forked.
    pub fn current() -> io::Result<Arc<Identity>> {
        /// The PID too: a child that shares its parent's memory (CLONE_VM, vfork) has its mark.
        type Key = (ProcessMark, u32);
        static CACHE: Mutex<Option<(Key, Arc<Identity>)>> = Mutex::new(None);
        let mark = (process_mark(), std::process::id());
        let known = || {
            let of_us = |cache: &mut Option<(Key, Arc<Identity>)>| cache.clone().filter(|(of, _)| *of == mark);
            briefly(&CACHE, of_us).flatten().map(|(_, identity)| identity)
        };
        let mut before = known();
        loop {
            if let Some(identity) = before.as_ref().filter(|identity| !identity.clock_stepped()) {
                return Ok(Arc::clone(identity));
            }
            let identity = Arc::new(Identity::read(before.as_deref())?);
            // Another thread may have been faster. What it saw first stays as it is.
            let kept = briefly(&CACHE, |cache| {
                let now = cache.as_ref().filter(|(of, _)| *of == mark).map(|(_, identity)| identity);
                match (now, &before) {
                    (Some(now), Some(before)) if !Arc::ptr_eq(now, before) => false,
                    (Some(_), None) => false,
                    _ => {
                        *cache = Some((mark, Arc::clone(&identity)));
                        true
                    }
                }
            });
            if kept != Some(false) {
                return Ok(identity);
            }
            before = known();
        }
    }

    /// Somebody set the clock: `created` is now another number for everybody who computes it.
    pub fn clock_stepped(&self) -> bool {
        self.clock_view.clock_stepped()
    }
}

/// Changes what other threads of this process change too, each for a moment only. `None`: a thread has it for ever. That is so in a
/// child that was forked at that moment, without that thread.
fn briefly<T, R>(shared: &Mutex<T>, change: impl FnOnce(&mut T) -> R) -> Option<R> {
    // So often that a busy machine is not taken for a fork.
    for _ in 0..1000 {
        match shared.try_lock() {
            Ok(mut it) => return Some(change(&mut it)),
            Err(TryLockError::Poisoned(it)) => return Some(change(&mut it.into_inner())),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

/// Where we see other processes from, now. Read when it is needed, and once for each pass over the bids: a program can enter
/// another namespace, root or sandbox at any time.
#[derive(Default)]
pub(crate) struct View(OnceCell<Option<Outlook>>);

impl View {
    /// `None`: nothing can be seen of them.
    fn outlook(&self, me: &Identity) -> Option<&Outlook> {
        self.0.get_or_init(|| Outlook::now(me)).as_ref()
    }
}

/// What the system says of a PID.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// There is none, or it has exited.
    Gone,
    /// It runs, and is the one that started then.
    Runs,
    /// It runs, and is another one.
    Replaced,
    /// It exists; more can't be known.
    Exists,
}

/// Whether there is a process, whichever it is.
pub(crate) enum Presence {
    /// There is none. This is a proof that needs no view of `/proc`.
    Gone,
    /// There is one. It may have exited since; where the kernel tells, [`ExitWatch::happened`] says so.
    Exists(Option<ExitWatch>),
}

/// Is there a process `pid` in our PID namespace?
pub(crate) fn presence(pid: u32) -> Presence {
    match ExitWatch::of(pid) {
        Ok(exit) => Presence::Exists(Some(exit)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Presence::Gone,
        Err(_) if exists(pid) => Presence::Exists(None),
        Err(_) => Presence::Gone,
    }
}

/// Is the process `pid` of our PID namespace the one that started at `start`, or else at `created` (give or take 2 s)?
pub(crate) fn process(view: &View, me: &Identity, pid: u32, start: Option<u64>, created: Option<i64>) -> ProcessState {
    let Some(outlook) = view.outlook(me) else {
        return ProcessState::Exists;
    };
    let seen = match see(outlook, me, pid) {
        Ok(seen) => seen,
        Err(state) => return state,
    };
    let same = match (start, created) {
        (Some(start), _) => seen.start(outlook).map(|now| now == start),
        (None, Some(then)) => seen.created(outlook).ok().map(|now| now.abs_diff(then) <= 2),
        (None, None) => None,
    };
    match same {
        Some(true) => ProcessState::Runs,
        Some(false) => ProcessState::Replaced,
        None => ProcessState::Exists,
    }
}

/// What is seen of a process that runs, or else all that is known of it.
#[cfg(unix)]
fn see(outlook: &Outlook, me: &Identity, pid: u32) -> Result<ProcStat, ProcessState> {
    match outlook.look(me, pid) {
        Some(seen) if seen.exited => Err(ProcessState::Gone),
        Some(seen) => Ok(seen),
        None if exists(pid) => Err(ProcessState::Exists), // hidden from us (`hidepid`, proc(5)), or it came a moment ago
        None => Err(ProcessState::Gone),
    }
}

/// Also where it is another user's, or a zombie. A sandbox can refuse to tell: then it counts as there.
#[cfg(unix)]
fn exists(pid: u32) -> bool {
    use rustix::process::{test_kill_process, Pid};
    Pid::from_raw(pid as i32).is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Only a look tells.
#[cfg(windows)]
fn exists(_pid: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also of those that come while another thread is at it.
    #[test]
    fn all_threads_have_the_identity_that_was_read_first() {
        let first = Identity::current().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        assert!(Arc::ptr_eq(&Identity::current().unwrap(), &first));
                    }
                });
            }
        });
    }

    #[test]
    fn we_run() {
        let me = Identity::current().unwrap();
        assert_eq!(process(&View::default(), &me, me.pid, me.start, None), ProcessState::Runs);
        assert_eq!(process(&View::default(), &me, me.pid, None, Some(me.created)), ProcessState::Runs);
        assert_eq!(process(&View::default(), &me, me.pid, me.start.map(|s| s + 1), None), ProcessState::Replaced);
        assert_eq!(process(&View::default(), &me, me.pid, None, Some(me.created - 3)), ProcessState::Replaced);
        #[cfg(any(target_os = "linux", windows))] // elsewhere nothing tells
        assert!(!super::super::ExitWatch::of(me.pid).unwrap().happened());
    }
}
