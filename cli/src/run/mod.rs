//! `lockfolder run`: takes the lock, runs the command, gives the lock back, and ends as the command ended.

mod aside;
mod obtain;
mod status_line;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::time::Instant;

use lockfolder::{ErrorKind, Guard, LockFolder};
#[cfg(unix)]
use unix as system;
#[cfg(unix)]
pub use unix::die_by;
#[cfg(unix)]
pub(crate) use unix::Signals;
#[cfg(windows)]
use windows as system;

use self::aside::Aside;
use crate::args::{name_of, Job, Run};
use crate::errors::{explain, say, CAN_NOT_LOCK, LOST};
use crate::Ending;

/// What became of the try to get the lock.
enum Obtained {
    Lock(Guard),
    /// Another process has it, and we were not to wait for it any longer.
    Not(lockfolder::Error),
    Failed(lockfolder::Error),
    /// This signal, or Ctrl-C on Windows, ended the wait.
    Interrupted(Ending),
}

/// What became of the command.
struct Ran {
    ending: Ending,
    /// The lock was lost while the command ran, so the command was ended.
    is_lost: bool,
}

pub fn run(options: &Run) -> Ending {
    let folder = match open(options) {
        Ok(folder) => folder,
        Err(error) => {
            say(explain(&error));
            return Ending::Status(CAN_NOT_LOCK);
        }
    };
    let mut signals = match system::Signals::heed() {
        Ok(signals) => signals,
        Err(error) => {
            say(format_args!("cannot prepare for signals: {error}"));
            return Ending::Status(CAN_NOT_LOCK);
        }
    };
    let began = Instant::now();
    let guard = match obtain::obtain(&folder, options, &mut signals) {
        Obtained::Lock(guard) => guard,
        Obtained::Interrupted(ending) => return ending,
        Obtained::Not(error) => {
            if !options.quiet && (options.verbose || system::is_terminal()) {
                aside::tell(explain(&error));
            }
            return Ending::Status(options.not_obtained.into());
        }
        Obtained::Failed(error) => {
            aside::tell(explain(&error));
            return Ending::Status(CAN_NOT_LOCK);
        }
    };
    if options.verbose {
        let took = format!("getting the lock took {:.6} seconds", began.elapsed().as_secs_f64());
        drop(Aside::say(vec![took, format!("runs {}", name_of(&options.job))]));
    }
    let ran = system::run(options, &guard, signals);
    // An unlock deletes the bid wherever its folder is by now. Only this look tells that the folder was moved away or replaced, and that
    // others could take the lock of the folder that is at the path now.
    let lost = guard.holds().err().filter(is_loss);
    let failed = guard.unlock().err();
    match (&failed, &lost) {
        (Some(failed), _) => aside::tell(explain(failed.error())),
        (None, Some(lost)) if !ran.is_lost => aside::tell(explain(lost)),
        (None, _) => {}
    }
    match failed {
        _ if ran.is_lost || lost.is_some() => Ending::Status(LOST),
        Some(failed) => Ending::Status(if is_loss(failed.error()) { LOST } else { CAN_NOT_LOCK }),
        None => ran.ending,
    }
}

fn is_loss(error: &lockfolder::Error) -> bool {
    error.kind() == ErrorKind::Lost
}

fn open(options: &Run) -> lockfolder::Result<LockFolder> {
    let mut how = LockFolder::options();
    how.create(options.create).private(options.private).trust_filesystem(options.trust);
    let folder = how.open(&options.folder)?;
    folder.set_command(options.name.as_deref().unwrap_or(&name_of(&options.job)))?;
    folder.set_slots(options.slots)?;
    folder.set_lease(options.lease)?;
    if let Some(grace) = options.grace {
        folder.set_malformed_grace(grace)?;
    }
    Ok(folder)
}

/// The words of the job, as the system starts them.
fn words(job: &Job) -> Vec<std::ffi::OsString> {
    match job {
        Job::Program(words) => words.clone(),
        Job::Line(line) => {
            let [shell, option] = system::shell();
            vec![shell, option, line.clone()]
        }
    }
}
