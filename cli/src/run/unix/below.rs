//! The processes that the command started: all below this one, as `/proc` shows them.

use std::fs::File;

use rustix::process::{getpid, kill_process, Pid, Signal};

pub(super) struct Below {
    /// The processes below this one before it started the command. A program that becomes this one by exec keeps its children, and
    /// theirs can become ours.
    before: Vec<Found>,
    /// Where descriptors are scarce, these are kept until they are needed.
    reserve: Vec<File>,
}

/// A process, and its parent when we looked.
pub(super) struct Found {
    pub pid: Pid,
    parent: Option<Pid>,
    /// When it started. This tells two processes with one PID apart.
    start: u64,
}

impl Below {
    /// The command is not there yet.
    pub fn before_the_command() -> Below {
        let before = shown().map(below_us).unwrap_or_default();
        Below { before, reserve: (0..3).map_while(|_| File::open("/").ok()).collect() }
    }

    /// Whether `/proc` hides processes of others (`hidepid`, proc(5)). The first process of a PID namespace is always there.
    pub fn are_some_hidden() -> bool {
        Pid::from_raw(1).and_then(look).is_none()
    }

    /// All processes below this one, apart from these and what is below them. `None`: we can't see them.
    pub fn find(&mut self, spared: &[Pid]) -> Option<Vec<Found>> {
        self.reserve.clear();
        let mut all = shown()?;
        let is_older =
            |found: &Found| self.before.iter().any(|older| (older.pid, older.start) == (found.pid, found.start));
        all.retain(|found| !spared.contains(&found.pid) && !is_older(found));
        Some(below_us(all))
    }
}

/// Those of them that are below this process.
fn below_us(mut all: Vec<Found>) -> Vec<Found> {
    let (mut below, mut above): (Vec<Found>, _) = (Vec::new(), vec![getpid()]);
    while let Some(parent) = above.pop() {
        let (children, others) = all.into_iter().partition(|found| found.parent == Some(parent));
        all = others;
        above.extend(children.iter().map(|found: &Found| found.pid));
        below.extend(children);
    }
    below
}

impl Found {
    /// Sends a signal, unless the PID belongs to another process by now.
    pub fn send(&self, signal: Signal) {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{pidfd_open, pidfd_send_signal, PidfdFlags};
            if let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty()) {
                if self.is_still_there() {
                    let _ = pidfd_send_signal(process, signal);
                }
                return;
            }
        }
        if self.is_still_there() {
            let _ = kill_process(self.pid, signal);
        }
    }

    fn is_still_there(&self) -> bool {
        look(self.pid).is_some_and(|now| now.start == self.start)
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
    Some(pids.filter_map(look).collect())
}

/// proc_pid_stat(5). The last `)` ends the name of the command.
fn look(pid: Pid) -> Option<Found> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(end + 2..)?).ok()?.split(' ').collect();
    let parent = Pid::from_raw(fields.get(4 - 3)?.parse().ok()?); // the first process has none
    Some(Found { pid, parent, start: fields.get(22 - 3)?.parse().ok()? })
}
