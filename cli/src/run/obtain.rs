//! How `run` gets the lock. It first tries without any preparation, because the lock is mostly free.

use lockfolder::{ErrorKind, LockFolder};

use super::system::Signals;
use super::Obtained;
use crate::args::{Run, Wait};

pub(super) fn obtain(folder: &LockFolder, options: &Run, signals: &mut Signals) -> Obtained {
    let limit = match options.wait {
        Wait::No => None,
        Wait::For(time) => Some(Some(time)),
        Wait::Ever => Some(None),
    };
    // A newcomer does not go ahead of those who wait.
    let may_try = limit.is_none() || folder.waiters().map_or(true, |line| line.is_empty());
    if may_try {
        match (folder.try_lock(), limit) {
            (Err(error), Some(_)) if error.kind() == ErrorKind::Busy => {}
            (tried, _) => return signals.unless_interrupted(tried.map_or_else(not_obtained, Obtained::Lock)),
        }
    }
    let waited = signals.wait_for(folder, limit.flatten());
    signals.unless_interrupted(waited.map_or_else(not_obtained, Obtained::Lock))
}

fn not_obtained(error: lockfolder::Error) -> Obtained {
    match error.kind() {
        ErrorKind::Busy | ErrorKind::Timeout => Obtained::Not(error),
        _ => Obtained::Failed(error),
    }
}
