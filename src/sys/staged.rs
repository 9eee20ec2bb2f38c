//! A private folder in which we make a file. Others may use the file only when it is complete.

use std::ffi::CStr;
use std::io;

use rustix::fs::{self, FileType};

use super::calls::{retry, to_mode};
use super::contract::System;
use super::files::Files;
use super::{staged_name, Dir};

/// The name of the file that is made there.
pub(super) const STAGED: &CStr = c"fifo";

/// These folders have names like the folders in which a `queue` is made. So a sweep that removes those also removes the folders that
/// dead makers left.
const STAGE: &CStr = c"queue";

impl Dir {
    /// Makes a file in a folder where no other user can replace it. `make` must remove the file that it made, and nothing else.
    pub(super) fn in_stage<T>(&self, make: impl FnOnce(&Dir) -> io::Result<T>) -> io::Result<T> {
        let name = staged_name(STAGE)?;
        let began = self.time_of_births(&name, System::now())?;
        let made = self.make_own_dir(&name, began).and_then(Dir::into_stage).and_then(|stage| make(&stage));
        let _ = self.remove_dir(&name);
        made
    }

    /// A user may have moved another folder to its name: one that others can write to is refused. Some filesystems show each folder
    /// as open to all, whatever its mode (exFAT): to make it again would not help.
    fn into_stage(self) -> io::Result<Dir> {
        let stat = self.stat()?;
        if !stat.is_ours_alone() {
            let is_moved_in = System::is_known(self.fd())?;
            return Err(if is_moved_in { io::ErrorKind::NotFound } else { io::ErrorKind::Unsupported }.into());
        }
        if stat.mode & 0o700 != 0o700 {
            retry(|| fs::fchmod(self.fd(), to_mode(0o700)))?; // the umask took these rights
        }
        Ok(self)
    }

    /// Removes such a folder that a dead process left. Another private folder of ours can have been moved to its name. So we change
    /// nothing in it, unless it is like a stage: it has the FIFO, and nothing else.
    pub fn remove_stage(&self, name: &CStr) {
        if self.remove_dir(name).is_ok() {
            return;
        }
        let Ok(stage) = self.open_dir(name) else { return };
        let mut has_more = false;
        let listed =
            stage.list(false, |found, _| has_more |= found != STAGED && !matches!(found.to_bytes(), b"." | b".."));
        let is_like_one = listed.is_ok() && !has_more && stage.stat().is_ok_and(|stat| stat.is_ours_alone());
        let is_fifo = |stat: fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
        if is_like_one && stage.look_at(STAGED).is_ok_and(|found| found.is_some_and(is_fifo)) {
            let _ = stage.unlink(STAGED);
            let _ = self.remove_dir(name);
        }
    }
}
