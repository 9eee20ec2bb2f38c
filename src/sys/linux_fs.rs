//! What Linux does better than POSIX, or not at all like the others, with folders: and its random numbers.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::BorrowedFd;
use rustix::fs::{self, AtFlags, OFlags, RawDir, SeekFrom, StatxFlags, CWD};
use rustix::io::Errno;

/// For a folder that is opened: to list it is no access to be noted.
pub(super) const UNNOTICED: OFlags = OFlags::NOATIME;

/// Names every entry of an open folder, and its inode.
pub(super) fn entries(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
    rustix::io::retry_on_intr(|| fs::seek(dir, SeekFrom::Start(0)))?;
    // Room for about 100 bids at a time, and small enough for the stack of any thread.
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => each(entry.file_name(), entry.ino()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Device and inode of what is at this path; `None` where stat(2) must tell.
///
/// Not stat(2): it also asks for the time of the last change, and since Linux 6.13 each change that follows such a
/// question gets a finer timestamp, which costs a lock and unlock a tenth of its time.
pub(super) fn id_at(path: &Path) -> rustix::io::Result<Option<(u64, u64)>> {
    match fs::statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(stat) => Ok(Some((fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino))),
        // Not in Linux before 4.11, and forbidden in some sandboxes.
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Fills a buffer from the system's generator, which is safe across fork and in clones of a machine.
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
