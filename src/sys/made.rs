//! Our own folders at the moment when they are made. We find a new folder by its name, and another process may have put another folder
//! at that name by then. The umask may have taken rights from the owner of the folder, as from all users (umask(2)).

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::AsFd;
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
        let began = System::now();
        let time = if System::is_known(self.fd())? { None } else { Some(self.time_at(name)?) };
        let made = self.make_own_dir(name)?;
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

    /// The time now by the clock of the filesystem, which may be another machine's: that of a new file. We see the file by its
    /// descriptor, so nobody can swap it.
    fn time_at(&self, name: &CStr) -> io::Result<i64> {
        let file = self.open_at(name, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL, 0o600)?;
        let time = changed(&file);
        let _ = self.unlink(name);
        time
    }

    /// Makes a folder that only its owner may use, and opens the folder that then has this name.
    pub(super) fn make_own_dir(&self, name: &CStr) -> io::Result<Dir> {
        let began = System::now();
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
