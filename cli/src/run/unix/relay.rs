//! Which signals are passed on to the command: those that reached us and did not reach it.

use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::Pid;

use super::senders::{settle, LIMIT};
use super::signals::{is_stopping, Record, Signals};
use super::witness::{is_of, Asked, Witness};

/// What has come: the signals that we got, and those that the witness got.
#[derive(Default)]
pub(super) struct Relay {
    ours: Vec<Record>,
    theirs: Vec<Record>,
    /// So many of the first of `theirs` were there at the last judgement, and had no signal of ours beside them then.
    carried: usize,
    /// When that was.
    judged: Option<Instant>,
    /// When the last signal of job control came, if that is since we were continued the last time.
    pub to_stop: Option<Instant>,
    /// Children changed their state.
    pub news_of_children: bool,
}

/// So many records are read before the rest of the world is looked at.
const MOST_AT_ONCE: usize = 1024;

impl Relay {
    /// Reads what has come. False: nothing that may have to be passed on.
    pub fn read(&mut self, signals: &Signals, witness: &Witness) -> bool {
        // A storm of signals has no end. The caller has other things to look at too.
        for record in std::iter::from_fn(|| signals.next()).take(MOST_AT_ONCE) {
            self.sort(record, signals, witness);
        }
        !self.ours.is_empty()
    }

    fn sort(&mut self, record: Record, signals: &Signals, witness: &Witness) {
        if is_of(&record) {
            if !witness.is_ours(&record) {
                self.theirs.push(record);
            }
        } else if record.signal == libc::SIGCHLD {
            self.news_of_children = true;
        } else if record.receiver == signals.me().as_raw_nonzero().get() {
            match record.signal {
                signal if is_stopping(signal) => self.to_stop = Some(Instant::now()),
                libc::SIGCONT => self.to_stop = None,
                _ => {}
            }
            self.ours.push(record);
        }
    }

    /// The signals that have come to us, and have not come to the command. Each is to be sent to it once. `is_urgent`: there is no time to
    /// wait for the witness.
    pub fn judge(
        &mut self,
        signals: &Signals,
        witness: &Witness,
        command: Pid,
        is_urgent: impl Fn() -> bool,
    ) -> Vec<i32> {
        if self.judged.is_some_and(|judged| judged.elapsed() > LIMIT) {
            self.theirs.drain(..std::mem::take(&mut self.carried)); // they never had one of ours beside them
        }
        // Each round looks at all that has come, until nothing more comes meanwhile. Somebody may send signals all the time.
        let began = Instant::now();
        loop {
            let known = self.ours.len();
            settle(&self.senders());
            self.hear(signals, witness, &is_urgent);
            if self.ours.len() == known || began.elapsed() > LIMIT {
                break;
            }
        }
        let is_in_group = is_in_our_group(command);
        let ours = std::mem::take(&mut self.ours);
        let theirs = std::mem::take(&mut self.theirs);
        let carried = std::mem::take(&mut self.carried);
        let own = command.as_raw_nonzero().get();
        let mut passed = Vec::new();
        for (at, record) in ours.iter().enumerate() {
            let same = |other: &Record| other.signal == record.signal && other.sender == record.sender;
            let reached_all = theirs.iter().any(|other| other.is_like(record));
            let is_passed_on = match (record.sender == own, reached_all) {
                // The command sends us a signal: it does not want it back.
                (true, _) => false,
                (_, false) => true,
                // A command that left the group, as an interactive shell does, got nothing of what the group got. A sender that sent the
                // signal to us and to the group meant it once.
                (_, true) => !is_in_group && record.sender != 0 && !ours[..at].iter().any(same),
            };
            if is_passed_on {
                passed.push(record.signal);
            }
        }
        // A signal to the group that is being sent at this moment may have reached the witness, and not us. It reaches us before the next
        // judgement is over. So what still has no signal of ours beside it then never will: two of ours were merged by the kernel.
        let mut left = ours;
        for (at, record) in theirs.into_iter().enumerate() {
            match left.iter().position(|ours| record.is_like(ours)) {
                Some(found) => drop(left.swap_remove(found)),
                None if at >= carried => self.theirs.push(record),
                None => {}
            }
        }
        self.carried = self.theirs.len();
        self.judged = Some(Instant::now());
        passed
    }

    fn senders(&self) -> Vec<i32> {
        let mut senders: Vec<i32> = self.ours.iter().chain(&self.theirs).map(|record| record.sender).collect();
        senders.sort_unstable();
        senders.dedup();
        senders
    }

    /// Hears the witness: after this, all that it got is known. Where the witness can't be asked, only what it has told so far is known. A
    /// signal to the group may then be sent to the command once more, and none is lost.
    fn hear(&mut self, signals: &Signals, witness: &Witness, is_urgent: impl Fn() -> bool) {
        let question = witness.question();
        let (began, mut tries) = (Instant::now(), 0..TRIES);
        while began.elapsed() < PATIENCE && !is_urgent() {
            match witness.ask(&question) {
                Asked::Gone => return,
                Asked::Yes => tries = 0..TRIES,
                Asked::NotNow if tries.next().is_none() => return,
                Asked::NotNow => {}
            }
            // The answer may be lost, if the pipe is full. So we ask again after a while.
            while began.elapsed() < PATIENCE && !is_urgent() && wait_for(signals, Duration::from_millis(20)) {
                while let Some(record) = signals.next() {
                    if witness.is_answer(&record, &question) {
                        self.read(signals, witness);
                        return;
                    }
                    self.sort(record, signals, witness);
                }
            }
            if witness.is_gone() {
                return;
            }
            witness.wake();
        }
    }
}

/// For so long we wait for an answer. A witness under a debugger gives none. Any other one answers as soon as it gets a processor.
const PATIENCE: Duration = Duration::from_secs(5);

/// So often we try to ask, 20 ms apart, while the system has no room for the question.
const TRIES: usize = 25;

/// Waits for a record. False: none came.
pub(super) fn wait_for(signals: &Signals, time: Duration) -> bool {
    let time = Timespec::try_from(time).ok();
    matches!(poll(&mut [PollFd::new(signals, PollFlags::IN)], time.as_ref()), Ok(1..))
}

/// The number of our group is 0 if its leader is outside of our PID namespace, and some wrappers do not expect that.
fn is_in_our_group(pid: Pid) -> bool {
    // SAFETY: these calls only look.
    unsafe { libc::getpgid(pid.as_raw_nonzero().get()) == libc::getpgrp() }
}
