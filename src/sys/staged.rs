//! A folder for us alone, for as long as something is made there that others may use once it is whole.

use std::ffi::CStr;
use std::io;

use rustix::fs::{self, FileType};
use rustix::io::Errno;

use super::unix::{leaf, retry_until, to_mode};
use super::{staged_name, Dir};

/// The name of what is made there.
pub(super) const STAGED: &CStr = c"fifo";

/// These folders have names like those in which a `queue` is made: so what dead makers left is swept with those.
const STAGE: &CStr = c"queue";

impl Dir {
    /// Makes something in a folder in which nobody else can put another file in its place. `make` takes out again what it
    /// has made, and nothing else.
    pub(super) fn in_stage<T>(&self, make: impl FnOnce(&Dir) -> io::Result<T>) -> io::Result<T> {
        let name = staged_name(STAGE)?;
        retry_until(Errno::EXIST, || fs::mkdirat(self.fd(), leaf(&name)?, to_mode(0o700)))?;
        let made = self.open_stage(&name).and_then(|stage| make(&stage));
        let _ = self.remove_dir(&name);
        made
    }

    /// Somebody may have moved another folder to its name: one that others can write to is refused.
    fn open_stage(&self, name: &CStr) -> io::Result<Dir> {
        let stage = self.open_dir(name)?;
        match stage.stat()?.is_ours_alone() {
            true => Ok(stage),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Removes a folder in which somebody was to make something, and died.
    pub fn remove_stage(&self, name: &CStr) {
        if self.remove_dir(name).is_ok() {
            return;
        }
        if let Ok(stage) = self.open_stage(name) {
            let is_fifo = |stat: fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
            if stage.look_at(STAGED).is_ok_and(|found| found.is_some_and(is_fifo)) {
                let _ = stage.unlink(STAGED);
                let _ = self.remove_dir(name);
            }
        }
    }
}
