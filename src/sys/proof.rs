//! The proof of life: an advisory lock that a claimant takes on its claim. The kernel keeps the lock exactly as long as the claim is
//! open. A bid is a link of the claim, so the bid is locked too.

use std::io;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// Takes the lock. It lasts as long as `fd` (which is open for writing) or a copy of `fd` is open. False: another process has it.
pub(crate) fn take_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match system::take(fd) {
        Ok(()) => Ok(true),
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::AGAIN | Errno::ACCESS)) => Ok(false),
        Err(e) => Err(e),
    }
}

pub(super) use system::is_locked;

/// Open file description locks (fcntl(2), Linux 3.15). For a write lock a file must be open for writing, and a claim is
/// readable only, so a user that can't write the claim can't give the proof in its owner's place. A reader asks without
/// taking a lock, so no reader can be mistaken for an owner.
#[cfg(target_os = "linux")]
mod system {
    use super::*;
    use rustix::fd::AsRawFd;

    pub fn take(fd: BorrowedFd<'_>) -> io::Result<()> {
        call(fd, libc::F_OFD_SETLK, &mut whole_file(libc::F_WRLCK))
    }

    /// Whether a process has the lock. Read locks do not count, because any reader can take one.
    pub fn is_locked(fd: BorrowedFd<'_>) -> io::Result<bool> {
        let mut found = whole_file(libc::F_RDLCK);
        call(fd, libc::F_OFD_GETLK, &mut found)?;
        Ok(found.l_type != libc::F_UNLCK as libc::c_short)
    }

    fn whole_file(kind: libc::c_int) -> libc::flock {
        // SAFETY: it is a plain struct of integers, and zero is a valid value for each.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
        lock
    }

    fn call(fd: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
        loop {
            // SAFETY: the descriptor is open, and these commands read and write such a struct.
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

/// flock(2). A process can take it on a descriptor that is open for reading only. So on these systems a user that can only read can
/// make the bid of a dead process in another container look alive: see docs/platforms.md.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;
    use rustix::fs::{flock, FlockOperation};

    pub fn take(fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| flock(fd, FlockOperation::NonBlockingLockExclusive))?)
    }

    /// The test lock is shared, so that two processes that look at the same time do not mistake each other for the owner.
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
