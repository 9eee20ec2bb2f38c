//! Who may use what we make in a folder of others: the same users who may use that folder, and nobody else.

use std::io;

use rustix::fd::BorrowedFd;
use rustix::fs;

use super::unix::{retry, to_mode, Dir};

/// Who may use a folder.
pub(super) struct Access {
    owner: u32,
    group: u32,
    mode: u32,
    /// As the system has it; `None` where there is no such list.
    acl: Option<Vec<u8>>,
}

impl Access {
    pub fn of(dir: &Dir) -> io::Result<Access> {
        let stat = dir.stat()?;
        Ok(Access { owner: stat.owner, group: stat.group, mode: stat.mode, acl: acl::read(dir.fd())? })
    }

    /// Gives this access to an open folder that we have just made: the owner (root can give away what it made), the group, the
    /// access control list and the mode, as far as we may.
    pub fn give(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        self.give_as(to, |mode| mode)
    }

    /// The same for a file: its users may write to it, and anybody may read it.
    #[cfg(target_os = "linux")] // elsewhere there are no FIFOs of ours
    pub fn give_to_file(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        self.give_as(to, |mode| mode & 0o666 | 0o644)
    }

    fn give_as(&self, to: BorrowedFd<'_>, adapt: impl Fn(u32) -> u32) -> io::Result<()> {
        let owner = rustix::process::Uid::from_raw(self.owner);
        let group = rustix::process::Gid::from_raw(self.group);
        let given = retry(|| fs::fchown(to, Some(owner), Some(group)))
            .or_else(|_| retry(|| fs::fchown(to, None, Some(group))))
            .is_ok();
        acl::write(to, self.acl.as_deref())?;
        // Where it stays our own group's, the members of that group are others to the folder.
        let mode = if given { self.mode } else { self.mode & !0o070 | (self.mode & 0o007) << 3 };
        // Last: chown(2) clears the set-group-ID bit that the mode may carry. Filesystems without modes refuse.
        let _ = retry(|| fs::fchmod(to, to_mode(adapt(mode))));
        Ok(())
    }
}

/// POSIX access control lists, acl(5).
#[cfg(target_os = "linux")]
mod acl {
    use super::*;
    use rustix::fs::{fgetxattr, fremovexattr, fsetxattr, XattrFlags};
    use rustix::io::{retry_on_intr, Errno};

    const ACCESS: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";

    pub fn read(of: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
        // An attribute is never longer than this, xattr(7).
        let mut list = vec![0; 65536];
        match retry_on_intr(|| fgetxattr(of, ACCESS, &mut list)) {
            Ok(length) => {
                list.truncate(length);
                Ok(Some(list))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// What a new file inherited from the default list of its folder goes: it speaks of users who may not lock.
    pub fn write(to: BorrowedFd<'_>, list: Option<&[u8]>) -> rustix::io::Result<()> {
        let gone = |removed| match removed {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            removed => removed,
        };
        gone(retry_on_intr(|| fremovexattr(to, DEFAULT)))?;
        match list {
            Some(list) => retry_on_intr(|| fsetxattr(to, ACCESS, list, XattrFlags::empty())),
            None => gone(retry_on_intr(|| fremovexattr(to, ACCESS))),
        }
    }
}

/// Not copied on these systems: docs/platforms.md.
#[cfg(not(target_os = "linux"))]
mod acl {
    use super::*;

    pub fn read(_of: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    pub fn write(_to: BorrowedFd<'_>, _list: Option<&[u8]>) -> io::Result<()> {
        Ok(())
    }
}
