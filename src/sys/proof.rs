//! The proof of life: an advisory lock that a claimant takes on its claim, and that the kernel keeps exactly as long as the
//! claim is open. A bid is a link of the claim, so the bid is locked too.

use std::io;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// Takes the lock, for as long as `fd` (which is open for writing) or a copy of it is open. False: another has it.
pub(crate) fn take_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match system::take(fd) {
        Ok(()) => Ok(true),
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::AGAIN | Errno::ACCESS)) => Ok(false),
        Err(e) => Err(e),
    }
}

pub(super) use system::is_locked;

/// Open file description locks (fcntl(2), Linux 3.15). For a write lock a file must be open for writing, and a claim is
/// readable only, so a user who can't write the claim can't give the proof in its owner's place. A reader asks without
/// taking a lock, so no reader can be mistaken for an owner.
#[cfg(target_os = "linux")]
mod system {
    use super::*;
    use rustix::fd::AsRawFd;

    pub fn take(fd: BorrowedFd<'_>) -> io::Result<()> {
        call(fd, libc::F_OFD_SETLK, &mut whole_file(libc::F_WRLCK))
    }

    /// Whether somebody has the lock. Read locks, which any reader can take, do not count.
    pub fn is_locked(fd: BorrowedFd<'_>) -> io::Result<bool> {
        let mut found = whole_file(libc::F_RDLCK);
        call(fd, libc::F_OFD_GETLK, &mut found)?;
        Ok(found.l_type != libc::F_UNLCK as libc::c_short)
    }

    fn whole_file(kind: libc::c_int) -> libc::flock {
        // SAFETY: a plain struct of integers, for which zero is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
        lock
    }

    fn call(fd: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
        loop {
            // SAFETY: an open descriptor, and a struct that these commands read and write.
            if unsafe { libc::fcntl(fd.as_raw_fd(), command, std::ptr::from_mut(lock)) } == 0 {
                return Ok(());
            }
            match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            }
        }
    }
}

/// flock(2). It can be taken on a descriptor that is open for reading, so here a user who can only read can keep the bid of a
/// dead process in another container alive: docs/platforms.md.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;
    use rustix::fs::{flock, FlockOperation};

    pub fn take(fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| flock(fd, FlockOperation::NonBlockingLockExclusive))?)
    }

    /// Shared, so that two who look at once don't take each other for the owner.
    pub fn is_locked(fd: BorrowedFd<'_>) -> io::Result<bool> {
        match rustix::io::retry_on_intr(|| flock(fd, FlockOperation::NonBlockingLockShared)) {
            Ok(()) => {
                rustix::io::retry_on_intr(|| flock(fd, FlockOperation::Unlock))?;
                Ok(false)
            }
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }
}
