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

pub use ending::die_by;
use lockfolder::Guard;
pub(crate) use signals::Signals;

use super::{words, Ran};
use crate::args::Job;
use crate::errors::{say, CAN_NOT_RUN};
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

/// Runs the command while the lock is held.
pub(super) fn run(job: &Job, guard: &Guard, signals: Signals) -> Ran {
    match supervise::supervise(&words(job), guard, signals) {
        Ok(ran) => ran,
        Err(error) => {
            say(format_args!("cannot start a process: {error}"));
            Ran { ending: Ending::Status(CAN_NOT_RUN), is_lost: false }
        }
    }
}
