//! The loss of a lease: the command must end before another host may take the lock.
//!
//! A holder has lost the lock when it could not renew its lease for two thirds of it. Others take the lock when the lease is over. So there
//! is a third of the lease in which the command and all that it started get SIGTERM, and after half of that time SIGKILL.

use std::time::{Duration, Instant};

use lockfolder::{Guard, LostSignal};
use rustix::process::{kill_process, Pid, Signal};

use crate::errors::say;

pub(super) struct Loss {
    /// `None`: there is no lease, or this system does not tell its loss.
    signal: Option<LostSignal>,
    /// The time between SIGTERM and SIGKILL.
    patience: Duration,
    happened: Option<Instant>,
}

impl Loss {
    pub fn watch(guard: &Guard) -> Loss {
        // That is two thirds of the lease.
        let valid = guard.valid_for().ok().flatten();
        let signal = valid.and_then(|_| guard.folder().lost_signal().ok().flatten());
        #[cfg(target_os = "linux")]
        if signal.is_some() {
            // What the command starts and leaves behind becomes our child, so that it is found.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        }
        Loss { signal, patience: valid.unwrap_or_default() / 4, happened: None }
    }

    pub fn is_possible(&self) -> bool {
        self.signal.is_some()
    }

    pub fn has_happened(&self) -> bool {
        self.happened.is_some()
    }

    /// What becomes readable when the lock is lost. `None`: it can't be lost, or was.
    pub fn descriptor(&self) -> Option<&LostSignal> {
        self.signal.as_ref().filter(|_| self.happened.is_none())
    }

    pub fn happens(&mut self) {
        say("the lock was lost, because its lease could not be renewed: the command is ended");
        self.happened = Some(Instant::now());
        descendants(&[]).into_iter().for_each(|pid| {
            let _ = kill_process(pid, Signal::TERM);
        });
        descendants(&[]).into_iter().for_each(|pid| {
            let _ = kill_process(pid, Signal::CONT);
        });
    }

    /// When something is to be done next.
    pub fn next_step(&self) -> Option<Instant> {
        self.happened.map(|happened| (happened + self.patience).max(Instant::now() + Duration::from_millis(20)))
    }

    /// Kills what is still there when the time is over.
    pub fn step(&self, spared: &[Pid]) {
        if self.happened.is_some_and(|happened| happened.elapsed() >= self.patience) {
            descendants(spared).into_iter().for_each(|pid| {
                let _ = kill_process(pid, Signal::KILL);
            });
        }
    }

    /// The command has ended, and it may have left others.
    pub fn end_what_is_left(&self, command: Pid, spared: &[Pid]) {
        let has_others = || {
            super::ending::reap_others(&[&[command], spared].concat());
            descendants(spared).iter().any(|pid| !super::ending::has_ended(*pid))
        };
        while self.happened.is_some_and(|happened| happened.elapsed() < self.patience) && has_others() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // One of them may be another user's (sudo), whom we may not kill.
        let mut pause = Duration::from_millis(5);
        while has_others() {
            self.step(spared);
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

/// All processes below this one.
fn descendants(spared: &[Pid]) -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, parent_of(pid)?)))
        .collect();
    let mut found = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut at = 0;
    while let Some(above) = found.get(at).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(pid, parent)| *parent == above && !found.contains(pid))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        at += 1;
    }
    found[1..].iter().filter_map(|pid| Pid::from_raw(*pid)).filter(|pid| !spared.contains(pid)).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(end + 2..)?).ok()?.split(' ').nth(1)?.parse().ok()
}
