//! Who a process is, and whether it lives. How a system shows its processes is in its own module.

use std::io;
use std::sync::{Arc, Mutex};

#[cfg(windows)]
use super::see;
#[cfg(unix)]
use super::{look, Seen};
use super::{process_mark, ProcessMark, Standpoint};

/// Who we are, as our bids say it.
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
    /// What it takes to see from here what others see: starts, and the clock.
    pub(super) standpoint: Standpoint,
}

impl Identity {
    /// Read once per process, and again when somebody stepped the clock or the process forked.
    pub fn current() -> io::Result<Arc<Identity>> {
        static CACHE: Mutex<Option<(ProcessMark, Arc<Identity>)>> = Mutex::new(None);
        let mark = process_mark();
        // Not `lock`: in a forked child it may be held for ever by a thread that was not forked.
        let mut cache = CACHE.try_lock().ok();
        if let Some(Some((of, identity))) = cache.as_deref() {
            if *of == mark && !identity.clock_stepped() {
                return Ok(Arc::clone(identity));
            }
        }
        let identity = Arc::new(Identity::read()?);
        if let Some(cache) = cache.as_deref_mut() {
            *cache = Some((mark, Arc::clone(&identity)));
        }
        Ok(identity)
    }

    /// When this machine was booted at the latest, Unix seconds.
    pub fn booted(&self) -> io::Result<i64> {
        self.standpoint.booted()
    }

    /// Somebody set the clock: `created` is now another number for everybody who computes it.
    pub fn clock_stepped(&self) -> bool {
        self.standpoint.clock_stepped()
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

/// Is the process `pid` of our PID namespace the one that started at `start`, or else at `created` (give or take 2 s)?
pub(crate) fn process(me: &Identity, pid: u32, start: Option<u64>, created: Option<i64>) -> ProcessState {
    let seen = match see(me, pid) {
        Ok(seen) => seen,
        Err(state) => return state,
    };
    let same = match (start, created) {
        (Some(start), _) => seen.start(&me.standpoint).map(|now| now == start),
        (None, Some(then)) => seen.created().ok().map(|now| now.abs_diff(then) <= 2),
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
fn see(me: &Identity, pid: u32) -> Result<Seen, ProcessState> {
    if !exists(pid) {
        return Err(ProcessState::Gone); // said first, for it costs a tenth of a look into /proc
    }
    match look(me, pid) {
        Some(seen) if seen.exited => Err(ProcessState::Gone),
        Some(seen) => Ok(seen),
        None if exists(pid) => Err(ProcessState::Exists), // hidden from us (`hidepid`, proc(5)), or it came a moment ago
        None => Err(ProcessState::Gone),
    }
}

/// Also where it is another user's, or a zombie.
#[cfg(unix)]
fn exists(pid: u32) -> bool {
    use rustix::process::{test_kill_process, Pid};
    Pid::from_raw(pid as i32).is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_run() {
        let me = Identity::current().unwrap();
        assert_eq!(process(&me, me.pid, me.start, None), ProcessState::Runs);
        assert_eq!(process(&me, me.pid, None, Some(me.created)), ProcessState::Runs);
        assert_eq!(process(&me, me.pid, me.start.map(|s| s + 1), None), ProcessState::Replaced);
        assert_eq!(process(&me, me.pid, None, Some(me.created - 3)), ProcessState::Replaced);
        #[cfg(any(target_os = "linux", windows))] // elsewhere nothing tells
        assert!(!super::super::Exit::of(me.pid).unwrap().happened());
    }
}
