//! The process that opened a handle: the only one that may use it.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{process_mark, ProcessMark};

pub(crate) struct Opener(ProcessMark);

impl Opener {
    pub fn this_process() -> Opener {
        Opener(process_mark())
    }

    /// An error in each other process: in a forked child, also where a signal handler forked in the midst of a call and the child
    /// goes on with it.
    pub fn check(&self, folder: &Arc<Path>) -> Result<()> {
        match process_mark() == self.0 {
            true => Ok(()),
            false => {
                Err(Error::misuse(ErrorKind::Forked, folder, "belongs to the parent process: open one after the fork"))
            }
        }
    }
}
