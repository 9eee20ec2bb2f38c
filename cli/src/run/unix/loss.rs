//! The loss of a lease: the command must end before another host may take the lock.
//!
//! A holder has lost the lock when it could not renew its lease for two thirds of it. Others take the lock when the lease is over. So there
//! is a third of the lease in which the command and all that it started get SIGTERM, and after half of that time SIGKILL.

use std::time::{Duration, Instant};

use lockfolder::{Guard, LostSignal};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{kill_process, Pid, Signal};

use super::below::{Below, Found};
use crate::run::aside::Aside;

pub(super) struct Loss {
    /// `None`: there is no lease, or this system does not tell its loss.
    signal: Option<LostSignal>,
    /// The time between SIGTERM and SIGKILL.
    patience: Duration,
    happened: Option<Instant>,
    /// `None`: the lock can't be lost.
    below: Option<Below>,
    said: Option<Aside>,
}

impl Loss {
    /// An error: the lock is lost already, or its loss could not be told.
    pub fn watch(guard: &Guard, lease: Duration) -> lockfolder::Result<Loss> {
        let valid = guard.valid_for()?;
        let signal = valid.and_then(|_| guard.folder().lost_signal().transpose()).transpose()?;
        #[cfg(target_os = "linux")]
        if signal.is_some() {
            // What the command starts and leaves behind becomes our child, so that it is found.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        }
        let below = signal.is_some().then(Below::before_the_command);
        Ok(Loss { signal, patience: lease / 6, happened: None, below, said: None })
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

    fn is_told(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.descriptor().is_some_and(|lost| {
            let mut source = [PollFd::new(lost, PollFlags::IN)];
            poll(&mut source, Some(&now)).is_ok_and(|ready| ready > 0)
        })
    }

    /// It happens now, or has happened.
    pub fn is_urgent(&self) -> bool {
        self.has_happened() || self.is_told()
    }

    /// Looks whether it happens now. It does not wait.
    pub fn look(&mut self, command: Pid, spared: &[Pid]) {
        if self.is_told() {
            self.happened = Some(Instant::now());
            self.send(command, spared, Signal::TERM);
            self.send(command, spared, Signal::CONT);
            let mut lines =
                vec!["the lock was lost, because its lease could not be renewed: the command is ended".into()];
            if self.find(spared).is_none() || Below::are_some_hidden() {
                lines.push("not all that the command started can be seen in /proc, so some of it may go on".into());
            }
            self.said = Some(Aside::say(lines));
        }
        self.step(command, spared);
    }

    fn find(&mut self, spared: &[Pid]) -> Option<Vec<Found>> {
        self.below.as_mut()?.find(spared)
    }

    /// The command is our child, and we have not reaped it, so its PID is its own.
    fn send(&mut self, command: Pid, spared: &[Pid], signal: Signal) {
        let _ = kill_process(command, signal);
        let below = self.find(spared);
        below.into_iter().flatten().filter(|found| found.pid != command).for_each(|found| found.send(signal));
    }

    /// When something is to be done next.
    pub fn next_step(&self) -> Option<Instant> {
        self.happened.map(|happened| (happened + self.patience).max(Instant::now() + Duration::from_millis(20)))
    }

    /// Kills what is still there when the time is over.
    fn step(&mut self, command: Pid, spared: &[Pid]) {
        if self.happened.is_some_and(|happened| happened.elapsed() >= self.patience) {
            self.send(command, spared, Signal::KILL);
        }
    }

    /// The command has ended, and it may have left others.
    pub fn end_what_is_left(&mut self, command: Pid, spared: &[Pid]) {
        // One of them may be another user's (sudo), whom we may not kill.
        let mut pause = Duration::from_millis(5);
        // One look misses a process that changes its parent meanwhile. Then it has us for its parent.
        while self.has_others(command, spared) || self.has_others(command, spared) {
            self.step(command, spared);
            crate::sleep::sleep(pause);
            if self.happened.is_none_or(|happened| happened.elapsed() >= self.patience) {
                pause = (pause * 2).min(Duration::from_millis(500));
            }
        }
    }

    fn has_others(&mut self, command: Pid, spared: &[Pid]) -> bool {
        super::ending::reap_others(&[&[command], spared].concat());
        let below = self.find(spared);
        below.into_iter().flatten().any(|found| found.pid != command && !super::ending::has_ended(found.pid))
    }
}
