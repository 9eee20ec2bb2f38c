//! Unix: how the command is started, what becomes of signals meanwhile, and how this program ends.

mod below;
mod ending;
mod loss;
mod pipes;
mod relay;
mod senders;
mod signals;
mod spawn;
mod supervise;
mod waiting;
mod witness;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

pub use ending::die_by;
use lockfolder::Guard;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
pub(crate) use signals::Signals;

use super::{aside, Ran};
use crate::args::Run;
use crate::errors::CAN_NOT_RUN;
use crate::Ending;

/// Whether somebody reads what we say at this moment.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The shell that flock(1) takes for its -c.
pub(super) fn shell() -> [OsString; 2] {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    [shell.unwrap_or_else(|| "/bin/sh".into()), "-c".into()]
}

/// This thread gets no signals, and a terminal does not stop us because it writes in the background (`stty tostop`, termios(3)).
pub(super) fn be_left_alone() {
    signals::Mask::block_all();
}

/// Writes to standard error for as long as there is room: its reader reads, and its terminal is not stopped. Without a thread, this is
/// all that we can do.
pub(super) fn write_within(text: &str, time: Duration) {
    let (stderr, end) = (io::stderr(), Instant::now() + time);
    // poll(2) promises room for one byte, and in a pipe for 512 (PIPE_BUF of POSIX).
    let room = if stderr.is_terminal() { 1 } else { 512 };
    for piece in text.as_bytes().chunks(room) {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
        if !matches!(poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], left.as_ref()), Ok(1)) {
            return;
        }
        let _ = rustix::io::write(&stderr, piece);
    }
}

/// Runs the command while the lock is held.
pub(super) fn run(options: &Run, guard: &Guard, signals: Signals) -> Ran {
    match supervise::supervise(options, guard, signals) {
        Ok(ran) => ran,
        Err(error) => {
            aside::tell(format_args!("cannot start a process: {error}"));
            Ran { ending: Ending::Status(CAN_NOT_RUN), is_lost: false }
        }
    }
}
