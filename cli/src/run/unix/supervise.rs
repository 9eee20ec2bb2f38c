//! The command runs: we wait for its end, pass signals on, stop when it stops, and end it when the lock is lost.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lockfolder::{ErrorKind, Guard, LostSignal};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use super::ending::{has_ended, like, reap, reap_others, stopped_by};
use super::loss::Loss;
use super::relay::Relay;
use super::signals::{is_ending, is_stopping, Mask, Signals};
use super::spawn::Command;
use super::witness::Witness;
use crate::args::Run;
use crate::errors::{explain, CAN_NOT_LOCK, CAN_NOT_RUN, NOT_FOUND};
use crate::run::{aside, words, Ran};
use crate::Ending;

pub(super) fn supervise(options: &Run, guard: &Guard, mut signals: Signals) -> io::Result<Ran> {
    Mask::block_all();
    signals.heed_all();
    let witness = Witness::start(&signals)?;
    let ran = under_witness(options, guard, &signals, &witness);
    witness.end(&signals);
    ran
}

fn under_witness(options: &Run, guard: &Guard, signals: &Signals, witness: &Witness) -> io::Result<Ran> {
    let words = words(&options.job);
    let started = start(&words, options.lease, guard, signals);
    // From now on the end of a child wakes us.
    signals.mask.with(libc::SIGCHLD, false).set();
    let (command, loss) = match started? {
        Started::Command(command, loss) => (command, loss),
        Started::Not(ending) => return Ok(Ran { ending, is_lost: false }),
        Started::NotUnder(error) => {
            // A loss is told when the lock is given back.
            if error.kind() != ErrorKind::Lost {
                aside::tell(explain(&error));
            }
            return Ok(Ran { ending: Ending::Status(CAN_NOT_LOCK), is_lost: false });
        }
    };
    let supervisor = Supervisor { command: command.pid, witness, signals, relay: Relay::default(), loss };
    let ran = supervisor.until_the_end()?;
    Ok(match command.why_not() {
        None => ran,
        Some(error) => {
            aside::tell(format_args!("cannot run {}: {error}", words[0].to_string_lossy()));
            let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CAN_NOT_RUN };
            Ran { ending: Ending::Status(status), ..ran }
        }
    })
}

enum Started {
    Command(Command, Loss),
    /// A signal came before.
    Not(Ending),
    /// The lock is lost already, or its loss could not be told.
    NotUnder(lockfolder::Error),
}

fn start(words: &[OsString], lease: Duration, guard: &Guard, signals: &Signals) -> io::Result<Started> {
    let ends = UnixStream::pair()?; // first, because a loss keeps spare descriptors
    let loss = match Loss::watch(guard, lease) {
        Ok(loss) => loss,
        Err(error) => return Ok(Started::NotUnder(error)),
    };
    let command = Command::prepare(words, signals, ends)?;
    // A signal that came before there is a command ends us. What comes from now on to our process group, comes to the command too.
    if let Some(signal) = signals.ending().or_else(|| signals.pending(is_ending)) {
        command.cancel();
        return Ok(Started::Not(Ending::Signal(signal)));
    }
    if let Some(stop) = signals.pending(is_stopping) {
        send(command.pid, stop);
    }
    // As late as possible: this process, or its host, may have been stopped meanwhile.
    if let Err(error) = guard.valid_for() {
        command.cancel();
        return Ok(Started::NotUnder(error));
    }
    command.go();
    Ok(Started::Command(command, loss))
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
                for signal in self.relay.judge(self.signals, self.witness, self.command, || self.loss.is_urgent()) {
                    send(self.command, signal);
                }
                continue; // the command may have ended or stopped meanwhile, and its record has been read
            }
            if self.is_stopped_with_us() {
                // A shell that has a job control sees that its job is stopped. We go on when we get SIGCONT, as the command does.
                self.relay.to_stop = None;
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

    /// Whether job control has stopped the command, and we are to stop too. When the lock is lost, we must go on.
    fn is_stopped_with_us(&self) -> bool {
        let Some(to_stop) = self.relay.to_stop.filter(|_| !self.loss.has_happened()) else { return false };
        // Some programs answer SIGTSTP by SIGSTOP to themselves (ls). A SIGSTOP that comes much later comes from another program. That
        // program will continue the command, and not us.
        let by_itself = || to_stop.elapsed() < Duration::from_secs(10);
        stopped_by(self.command).is_some_and(|signal| is_stopping(signal) || by_itself())
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
