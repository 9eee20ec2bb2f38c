//! Our own folders at the moment when they are made. We find a new folder by its name, and another process may have put another folder
//! at that name by then. The umask may have taken rights from the owner of the folder, as from all users (umask(2)).

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, OFlags, CWD};
use rustix::io::Errno;

use super::calls::{leaf, retry, retry_until, to_mode};
use super::contract::System;
use super::files::Files;
use super::seen::Seen;
use super::stat::FolderStat;
use super::unix::Dir;
use super::Access;

/// A filesystem on several servers may have clocks that differ by so many seconds.
const SLACK: i64 = 5;

/// The last second that a signed number of 32 bits can tell, in nanoseconds since 1970.
const LAST_OF_32_BITS: u64 = i32::MAX as u64 * 1_000_000_000;

type Moment = <System as Files>::Moment;

/// When the content of an open file or folder last changed, in Unix seconds by the clock of its filesystem.
#[allow(clippy::unnecessary_cast)] // the type differs by system
fn changed(file: &impl AsFd) -> io::Result<i64> {
    // Some filesystems store any time that a user sets.
    Ok((retry(|| fs::fstat(file))?.st_mtime as i64).clamp(0, i64::MAX / 2))
}

/// Whether a folder at this path is ours, and its mode denies even us the right to read, write or search it.
pub(crate) fn owner_lacks_rights(path: &Path) -> bool {
    let stat = retry(|| fs::statat(CWD, path, AtFlags::empty())).map(|stat| FolderStat::of(&stat));
    stat.is_ok_and(|stat| stat.is_folder && stat.is_ours() && stat.mode & 0o700 != 0o700)
}

impl Dir {
    /// Makes a folder by path. Its owner gets all rights, with any umask. It is no error if the folder exists already.
    pub fn make(path: &Path, mode: u32) -> io::Result<()> {
        let began = System::now();
        match rustix::io::retry_on_intr(|| fs::mkdirat(CWD, path, to_mode(mode))) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        // If we can't find the folder again, its first use fails with an error that tells more.
        if let (Some(above), Some(Ok(name))) =
            (path.parent(), path.file_name().map(|name| CString::new(name.as_bytes())))
        {
            // A user may have moved another folder of ours there. Only one that was made since is changed.
            let is_new = |seen: &Seen<'_>| seen.born().is_some_and(|born| born >= began);
            let _ = Dir::open_to_search(above)
                .and_then(|above| above.give_owner_rights(&name, FileType::Directory, is_new));
        }
        Ok(())
    }

    /// Makes a folder inside this one. All users of this folder may use the new one: it gets the owner (if we are root), the
    /// group, the mode and the access control list of this folder.
    ///
    /// `name` must be a temporary name that nobody can guess. We find the new folder by its name a moment after we made it, so a
    /// hostile user of this folder can put another folder there. If the folder may not be the new one, it stays as it is.
    pub fn make_shared_dir(&self, name: &CStr) -> io::Result<()> {
        let time = if System::is_known(self.fd())? { None } else { Some(self.time_at(name)?) };
        let began = self.time_of_births(name, System::now())?;
        let made = self.make_own_dir(name, began)?;
        let (stat, model) = (made.stat()?, self.stat()?);
        if (stat.owner, stat.group, stat.mode) == (model.owner, model.group, model.mode) {
            return Ok(()); // this also covers a filesystem without modes, where all folders look the same
        }
        // Where a mount shows another owner or another mode for all files, only the emptiness of the folder tells that it is new.
        let is_plain = stat.is_ours() && stat.mode & 0o077 == 0;
        let mut is_new =
            (is_plain || !System::is_known(made.fd())?) && System::born(made.fd()).is_none_or(|born| born >= began);
        // What is in a new, empty folder has not changed since it was made. Only its owner can set this time back or forward.
        is_new &= time.is_none_or(|began| changed(&made).is_ok_and(|changed| changed + SLACK >= began));
        made.list(false, |entry, _| is_new &= entry == c"." || entry == c"..")?;
        if !is_new {
            return Err(io::ErrorKind::NotFound.into()); // another process took our folder away
        }
        Access::of(self)?.give(made.fd())
    }

    /// The time now by the clock of the filesystem, which may be another machine's: that of a new file.
    fn time_at(&self, name: &CStr) -> io::Result<i64> {
        self.file_at(name, changed)
    }

    /// Looks at a new file, which is deleted then. It sees the file by its descriptor, so nobody can swap the file.
    fn file_at<T>(&self, name: &CStr, look: impl Fn(&OwnedFd) -> io::Result<T>) -> io::Result<T> {
        let file = self.open_at(name, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL, 0o600)?;
        let seen = look(&file);
        let _ = self.unlink(name);
        seen
    }

    /// The least time that a file or folder can be made at from `now` on, as the filesystem tells it. Not each filesystem can tell a
    /// time after January 2038: XFS without `bigtime` tells that month (mkfs.xfs(8)). `name`: for a moment, a file has it.
    pub(super) fn time_of_births(&self, name: &CStr, now: Moment) -> io::Result<Moment> {
        if System::nanos(now) <= LAST_OF_32_BITS {
            return Ok(now);
        }
        let born = self.file_at(name, |file| Ok(System::born(file.as_fd())))?;
        Ok(born.filter(|born| *born < now).unwrap_or(now))
    }

    /// Makes a folder that only its owner may use, and opens the folder that then has this name. No folder that was made before `began`
    /// gets rights.
    pub(super) fn make_own_dir(&self, name: &CStr, began: Moment) -> io::Result<Dir> {
        retry_until(Errno::EXIST, || fs::mkdirat(self.fd(), leaf(name)?, to_mode(0o700)))?;
        let may_be_ours = |seen: &Seen<'_>| seen.born().is_none_or(|born| born >= began);
        self.open_made(name, FileType::Directory, may_be_ours, || self.open_dir(name))
    }

    /// Opens what we made at this name a moment ago. If access is denied, the umask took our rights, and we restore them first, if
    /// `may_be_ours` says that the file at this name can be the one that we made.
    pub(super) fn open_made<T>(
        &self,
        name: &CStr,
        kind: FileType,
        may_be_ours: impl Fn(&Seen<'_>) -> bool,
        open: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        match open() {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::ACCESS) => {
                self.give_owner_rights(name, kind, may_be_ours)?;
                open()
            }
            opened => opened,
        }
    }

    /// Gives the owner all rights to the file at this name, if the file has this kind and is ours. No other user gets a right by
    /// this. Another process may have moved another file of ours to this name: `may_be_ours` tells whether it can be the new one.
    fn give_owner_rights(
        &self,
        name: &CStr,
        kind: FileType,
        may_be_ours: impl Fn(&Seen<'_>) -> bool,
    ) -> io::Result<()> {
        let rights = if kind == FileType::Directory { 0o700 } else { 0o600 };
        let seen = self.see_whole(name)?;
        let Some(stat) = seen.stat.as_ref().map(FolderStat::of) else { return Ok(()) };
        if seen.kind() == kind && stat.is_ours() && stat.mode & rights != rights && may_be_ours(&seen) {
            seen.set_mode(stat.mode | rights)?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_filesystem_may_tell_less_than_the_clock() {
        let scratch = crate::scratch::Scratch::new();
        let dir = Dir::open(&scratch).unwrap();
        let now = System::now();
        assert!(dir.time_of_births(c"probe", now).unwrap() == now, "no look is needed before 2038");
        let beyond = Moment::of_seconds(4_000_000_000);
        let told = dir.time_of_births(c"probe", beyond).unwrap();
        assert!(told >= now && told < beyond, "a clock beyond what the filesystem tells");
        let made = dir.make_own_dir(c"folder", told).unwrap();
        assert!(System::born(made.fd()).unwrap() >= told);
        assert_eq!(std::fs::read_dir(&*scratch).unwrap().count(), 1, "the probe was deleted");
    }
}
