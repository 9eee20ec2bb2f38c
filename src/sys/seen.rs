//! Files that others may have put at a name. We look at such a file first, and open it only if it is what we look for.
//!
//! To open a regular file has no effect on others. To open a FIFO or a device has one, even if nothing is read or written: a process
//! that waits in open(2) for the other end of the FIFO continues (fifo(7)), and the driver of a device may do anything.

use std::ffi::CStr;
use std::io;

#[cfg(target_os = "linux")]
use rustix::fd::AsFd;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::calls::{leaf, retry, to_mode};
use super::contract::System;
use super::files::Files;
use super::stat::{FileId, Known};
use super::unix::Dir;

/// The file that has a name in a folder. We have looked at it, and not opened it.
pub(super) struct Seen<'a> {
    dir: &'a Dir,
    name: &'a CStr,
    pub known: Known,
    /// `None`: we looked at the name only.
    pub stat: Option<fs::Stat>,
    /// Refers to the very file that we looked at (`O_PATH`, open(2)).
    #[cfg(target_os = "linux")]
    found: Option<OwnedFd>,
}

impl Dir {
    /// Looks at the file that has this name. It never follows a link, and on Linux it never enters a mount.
    ///
    /// In a folder where only our user can put a file, no other user can replace the file before we open it. There we look at the
    /// name, which takes fewer system calls than the way through a descriptor.
    pub(super) fn see<'a>(&'a self, name: &'a CStr) -> io::Result<Seen<'a>> {
        if !self.are_we_alone() {
            return self.see_whole(name);
        }
        let known = System::fixed_within(self.fd(), leaf(name)?)?.ok_or(Errno::NOENT)?;
        Ok(Seen {
            dir: self,
            name,
            known,
            stat: None,
            #[cfg(target_os = "linux")]
            found: None,
        })
    }

    /// The same, whatever users can put a file into the folder, and with all that stat(2) tells.
    pub(super) fn see_whole<'a>(&'a self, name: &'a CStr) -> io::Result<Seen<'a>> {
        #[cfg(target_os = "linux")]
        {
            let found = self.open_at(name, OFlags::PATH, 0)?;
            let stat = retry(|| fs::fstat(&found))?;
            Ok(Seen { dir: self, name, known: Known::of(&stat), stat: Some(stat), found: Some(found) })
        }
        #[cfg(not(target_os = "linux"))]
        match self.look_at(name)? {
            Some(stat) => Ok(Seen { dir: self, name, known: Known::of(&stat), stat: Some(stat) }),
            None => Err(Errno::NOENT.into()),
        }
    }
}

impl Seen<'_> {
    pub fn kind(&self) -> FileType {
        self.known.kind
    }

    pub fn id(&self) -> FileId {
        self.known.id
    }

    /// When it was made, if the filesystem says so.
    pub fn born(&self) -> Option<<System as Files>::Moment> {
        #[cfg(target_os = "linux")]
        return self.found.as_ref().and_then(|found| System::born(found.as_fd()));
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Opens it, and never waits. The result is what was seen, or another regular file.
    ///
    /// Linux opens the very file that we looked at, through its descriptor. Other systems, and Linux without `/proc`, open the name.
    /// If the name now has a file of another kind, or another FIFO or device, that file is closed again and the error is ESTALE.
    pub fn open(&self, how: OFlags) -> io::Result<(OwnedFd, fs::Stat)> {
        self.accept(self.open_either_way(how | OFlags::NONBLOCK | OFlags::NOCTTY)?)
    }

    /// Gives the file another mode. It must not be a link.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        match self.found.as_ref().and_then(super::linux_proc::own_path) {
            Some(path) => retry(|| fs::chmodat(fs::CWD, &*path, to_mode(mode), AtFlags::empty())),
            None => Err(io::Error::other(
                "the umask of this process takes rights of the owner's, and without /proc they can't be given to what was made here; \
                 set another umask, or mount /proc",
            )),
        }
        #[cfg(not(target_os = "linux"))]
        retry(|| fs::chmodat(self.dir.fd(), self.name, to_mode(mode), AtFlags::SYMLINK_NOFOLLOW))
    }

    fn accept(&self, fd: OwnedFd) -> io::Result<(OwnedFd, fs::Stat)> {
        let stat = retry(|| fs::fstat(&fd))?;
        let is_same_kind = FileType::from_raw_mode(stat.st_mode) == self.kind();
        // Another regular file is as harmless to open as the one that we saw.
        if is_same_kind && (self.kind() == FileType::RegularFile || FileId::of(&stat) == self.id()) {
            return Ok((fd, stat));
        }
        Err(Errno::STALE.into())
    }

    fn open_either_way(&self, how: OFlags) -> io::Result<OwnedFd> {
        #[cfg(target_os = "linux")]
        match self.found.as_ref().and_then(|found| super::linux_proc::reopen(found, how)) {
            // The path through `/proc` can be missing for reasons of its own, as in a sandbox. Only the name itself tells that
            // what it led to is gone.
            Some(Err(e)) if Errno::from_io_error(&e) == Some(Errno::NOENT) => {}
            Some(opened) => return opened,
            None => {}
        }
        self.dir.open_at(self.name, how, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use rustix::fs::{mknodat, Mode, CWD};

    fn fifo(path: &std::path::Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_seen_is_opened_whatever_has_its_name_by_then() {
        let path = Scratch::new();
        std::fs::write(path.join("file"), "seen").unwrap();
        let dir = Dir::open(&path).unwrap();
        let seen = dir.see(c"file").unwrap();
        std::fs::remove_file(path.join("file")).unwrap();
        fifo(&path.join("file"));
        let (fd, _) = seen.open(OFlags::RDONLY).unwrap();
        let mut content = [0; 9];
        assert_eq!(rustix::io::read(&fd, &mut content).unwrap(), 4);
        assert_eq!(&content[..4], b"seen");
    }

    /// The owner and the mode can change while the folder is open.
    #[test]
    fn a_name_is_trusted_only_while_nobody_else_may_write_to_the_folder() {
        use std::os::unix::fs::{chown, PermissionsExt};
        let path = Scratch::new();
        std::fs::write(path.join("file"), "").unwrap();
        let mut dir = Dir::open(&path).unwrap();
        let is_by_name = |dir: &Dir| dir.see(c"file").unwrap().stat.is_none();
        assert!(!is_by_name(&dir));
        dir.tell_writers();
        for (mode, expected) in [(0o700, true), (0o775, false), (0o755, true), (0o1777, false), (0o1755, true)] {
            std::fs::set_permissions(&*path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_by_name(&dir), expected, "{mode:o}");
        }
        if rustix::process::geteuid().is_root() {
            for (owner, expected) in [(4242, false), (0, true)] {
                chown(&*path, Some(owner), None).unwrap();
                assert_eq!(is_by_name(&dir), expected, "{owner}");
            }
        }
    }

    /// This is the way of systems where a descriptor can't be opened once more.
    #[test]
    fn what_was_opened_by_its_name_is_thrown_away_if_it_is_something_else() {
        let path = Scratch::new();
        let swap = |make: &dyn Fn()| {
            std::fs::rename(path.join("name"), path.join("aside")).unwrap();
            make();
        };
        let regular = || std::fs::write(path.join("name"), "").unwrap();
        let named_pipe = || fifo(&path.join("name"));
        let dir = Dir::open(&path).unwrap();
        let is_accepted = |seen: &Seen<'_>| {
            let opened = seen.dir.open_at(seen.name, OFlags::RDONLY | OFlags::NONBLOCK, 0).unwrap();
            match seen.accept(opened) {
                Ok(_) => true,
                Err(e) => {
                    assert_eq!(Errno::from_io_error(&e), Some(Errno::STALE));
                    false
                }
            }
        };
        for (before, after, expected) in [
            (&regular as &dyn Fn(), &regular as &dyn Fn(), true),
            (&regular, &named_pipe, false),
            (&named_pipe, &regular, false),
            (&named_pipe, &named_pipe, false),
        ] {
            before();
            let seen = dir.see(c"name").unwrap();
            assert!(is_accepted(&seen));
            swap(after);
            assert_eq!(is_accepted(&seen), expected);
            std::fs::remove_file(path.join("name")).unwrap();
        }
    }
}
