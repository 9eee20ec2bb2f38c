//! How a child has ended, and how this program ends.

use std::io;

use rustix::process::{
    getpid, kill_process, setrlimit, waitid, waitpid, Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions,
    WaitOptions, WaitStatus,
};

use super::signals::Mask;
use crate::Ending;

/// Whether the child has ended. It stays a zombie, so no other process gets its PID.
pub(super) fn has_ended(pid: Pid) -> bool {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), how).is_ok_and(|ended| ended.is_some())
}

/// The signal that has stopped the child, if it is stopped.
pub(super) fn stopped_by(pid: Pid) -> Option<i32> {
    let how = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let stopped = waitid(WaitId::Pid(pid), how).ok().flatten()?;
    #[cfg(not(target_os = "netbsd"))]
    return stopped.stopping_signal();
    #[cfg(target_os = "netbsd")] // rustix does not tell the signal there
    return Some(stopped).map(|_| libc::SIGTSTP);
}

/// Waits for the end of a child.
pub(super) fn reap(pid: Pid) -> io::Result<Option<WaitStatus>> {
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
    Ok(ended.map(|(_, status)| status))
}

/// Reaps every child that has ended, except these. PID 1 gets all orphans of its PID namespace.
pub(super) fn reap_others(kept: &[Pid]) {
    // /proc lists children that waitid(2) would show only one at a time, and always the same one first.
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for child in children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        if !kept.contains(&child) && has_ended(child) {
            let _ = reap(child);
        }
    }
}

/// This program is to end as the command did.
pub(super) fn like(status: WaitStatus) -> Ending {
    match status.terminating_signal() {
        Some(signal) => Ending::Signal(signal),
        None => Ending::Status(status.exit_status().unwrap_or(0)),
    }
}

/// Ends this process by the signal that killed the command, so that a shell sees what it would see without us: after Ctrl-C it ends its
/// loop. The command may have dumped core; we do not. The result is the status for PID 1, which no signal kills.
pub fn die_by(signal: i32) -> i32 {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // SAFETY: a valid signal and disposition.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    Mask::block_all().with(signal, false).set();
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = kill_process(getpid(), signal);
    } else {
        // SAFETY: the call has no other effect than the signal.
        unsafe { libc::raise(signal) };
    }
    128 + signal
}
