//! The processes that the command started: all below this one, as `/proc` shows them.

use std::fs::File;

use rustix::process::{getpid, kill_process, Pid, Signal};

pub(super) struct Below {
    /// The children that this process had before it started the command. A program that becomes this one by exec keeps its children.
    before: Vec<Pid>,
    /// Where descriptors are scarce, these are kept until they are needed.
    reserve: Vec<File>,
}

/// A process, and its parent when we looked.
pub(super) struct Found {
    pub pid: Pid,
    parent: Pid,
}

impl Below {
    /// The command is not there yet.
    pub fn before_the_command() -> Below {
        let all = shown().unwrap_or_default();
        let before = all.iter().filter(|found| found.parent == getpid()).map(|found| found.pid).collect();
        Below { before, reserve: (0..3).map_while(|_| File::open("/").ok()).collect() }
    }

    /// All processes below this one, apart from these and what is below them. `None`: we can't see them.
    pub fn find(&mut self, spared: &[Pid]) -> Option<Vec<Found>> {
        self.reserve.clear();
        let mut all = shown()?;
        all.retain(|found| !spared.contains(&found.pid) && !self.before.contains(&found.pid));
        let mut below: Vec<Found> = Vec::new();
        let mut above = vec![getpid()];
        while let Some(parent) = above.pop() {
            let (children, others) = all.into_iter().partition(|found| found.parent == parent);
            all = others;
            above.extend(children.iter().map(|found: &Found| found.pid));
            below.extend(children);
        }
        Some(below)
    }
}

impl Found {
    /// Sends a signal, unless the PID belongs to another process by now.
    pub fn send(&self, signal: Signal) {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{pidfd_open, pidfd_send_signal, PidfdFlags};
            if let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty()) {
                if parent_of(self.pid) == Some(self.parent) {
                    let _ = pidfd_send_signal(process, signal);
                }
                return;
            }
        }
        if parent_of(self.pid) == Some(self.parent) {
            let _ = kill_process(self.pid, signal);
        }
    }
}

/// All processes. `None`: there is no `/proc`, or it shows the numbers of another PID namespace, or the system lacks descriptors.
fn shown() -> Option<Vec<Found>> {
    let own = std::fs::read_link("/proc/self").ok()?;
    if own.to_str()? != getpid().as_raw_nonzero().to_string() {
        return None;
    }
    // In a PID namespace inside that of `/proc`, our numbers can be the same by chance. proc_pid_status(5)
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    if numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1) {
        return None;
    }
    let entries = std::fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?));
    Some(pids.filter_map(|pid| Some(Found { pid, parent: parent_of(pid)? })).collect())
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    Pid::from_raw(std::str::from_utf8(stat.get(end + 2..)?).ok()?.split(' ').nth(1)?.parse().ok()?)
}
