//! The process that opened a handle. No other process may use the handle.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{self, process_mark, ProcessMark};

pub(crate) struct Opener(ProcessMark);

impl Opener {
    pub fn this_process() -> Opener {
        sys::prepare_for_fork();
        Opener(process_mark())
    }

    /// Fails in any other process, that is, in a forked child. The child may even continue a call of its parent, if a
    /// signal handler forked in the middle of that call.
    pub fn check(&self, folder: &Arc<Path>) -> Result<()> {
        match process_mark() == self.0 {
            true => Ok(()),
            false => Err(Error::misuse(
                ErrorKind::Forked,
                folder,
                "belongs to the parent process: open a new handle after the fork",
            )),
        }
    }
}
