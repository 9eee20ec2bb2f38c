//! The command runs: we wait for its end, pass signals on, stop when it stops, and end it when the lock is lost.

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use lockfolder::{Guard, LostSignal};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use super::ending::{has_ended, is_stopped, like, reap, reap_others};
use super::loss::Loss;
use super::relay::Relay;
use super::signals::{Mask, Signals};
use super::spawn::spawn;
use super::witness::Witness;
use crate::errors::{say, CAN_NOT_RUN, NOT_FOUND};
use crate::run::Ran;
use crate::Ending;

pub(super) fn supervise(words: &[OsString], guard: &Guard, mut signals: Signals) -> io::Result<Ran> {
    let loss = Loss::watch(guard);
    signals.heed_all();
    Mask::block_all();
    let witness = Witness::start(&signals)?;
    let ran = match start(words, &signals) {
        Started::Command(command) => {
            // The reader of our messages may be gone, and that must not end us. The command is there already, so it does not inherit this.
            // SAFETY: a valid signal and disposition.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
            signals.mask.with(libc::SIGCHLD, false).set();
            let supervisor =
                Supervisor { command, witness: &witness, signals: &signals, relay: Relay::default(), loss };
            supervisor.until_the_end()
        }
        Started::Not(ending) => Ok(Ran { ending, is_lost: false }),
    };
    witness.dismiss();
    witness.bury();
    ran
}

enum Started {
    Command(Pid),
    Not(Ending),
}

fn start(words: &[OsString], signals: &Signals) -> Started {
    // A signal that came before there is a command ends us. (One that comes between this look and the next call is lost to the command,
    // if it was sent to the group. That is a microsecond.)
    if let Some(signal) = signals.ending().or_else(|| signals.pending()) {
        return Started::Not(Ending::Signal(signal));
    }
    let failed = |error: &io::Error, status| {
        say(format_args!("cannot run {}: {error}", words[0].to_string_lossy()));
        Started::Not(Ending::Status(status))
    };
    match spawn(words, signals) {
        Ok(Ok(command)) => Started::Command(command),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => failed(&error, NOT_FOUND),
        Ok(Err(error)) | Err(error) => failed(&error, CAN_NOT_RUN),
    }
}

struct Supervisor<'a> {
    command: Pid,
    witness: &'a Witness,
    signals: &'a Signals,
    relay: Relay,
    loss: Loss,
}

impl Supervisor<'_> {
    fn until_the_end(mut self) -> io::Result<Ran> {
        // A slack of seconds (prctl(2), `TimerSlackNSec=` of systemd) would let the command run beyond a lost lease. The command is there
        // already, so it keeps the slack that it was given.
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(50_000));
        let is_first = self.signals.me().is_init();
        loop {
            // First, because signals can come without end.
            self.loss.look(self.command, &[self.witness.pid]);
            let has_signals = self.relay.read(self.signals, self.witness);
            if has_ended(self.command) {
                break;
            }
            if std::mem::take(&mut self.relay.news_of_children) && (is_first || self.loss.is_possible()) {
                reap_others(&[self.command, self.witness.pid]);
            }
            if has_signals {
                for signal in self.relay.judge(self.signals, self.witness, self.command) {
                    send(self.command, signal);
                }
                continue; // the command may have ended or stopped meanwhile, and its record has been read
            }
            if self.relay.is_to_stop && is_stopped(self.command) {
                // A shell that has a job control sees that its job is stopped. We go on when we get SIGCONT, as the command does.
                self.relay.is_to_stop = false;
                let _ = rustix::process::kill_process(self.signals.me(), Signal::STOP);
                continue;
            }
            self.sleep();
        }
        let is_lost = self.loss.has_happened();
        if is_lost {
            self.loss.end_what_is_left(self.command, &[self.witness.pid]);
        }
        let status = reap(self.command)?;
        Ok(Ran { ending: status.map_or(Ending::Status(0), like), is_lost })
    }

    /// Sleeps until there is news.
    fn sleep(&mut self) {
        let until = self.loss.next_step();
        let time = until.map(|until| until.saturating_duration_since(Instant::now()));
        let time = time.and_then(|time| Timespec::try_from(time + Duration::from_millis(1)).ok());
        let mut sources = vec![PollFd::new(self.signals, PollFlags::IN)];
        sources.extend(self.loss.descriptor().map(|lost: &LostSignal| PollFd::new(lost, PollFlags::IN)));
        let _ = poll(&mut sources, time.as_ref());
    }
}

fn send(command: Pid, signal: i32) {
    // SAFETY: the command is our child, and we have not reaped it: no other process has its PID.
    unsafe { libc::kill(command.as_raw_nonzero().get(), signal) };
}
