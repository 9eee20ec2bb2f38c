//! What every system call on Unix needs: names that stay in their folder, descriptors that the program does not use, and retries after
//! signals.

use std::ffi::CStr;
use std::io;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{self, Mode, RawMode};
use rustix::io::Errno;

/// Accepts only a name in a folder. A path, or a name that leads upwards, never reaches the system. So no unchecked name from another
/// process can lead out of the folder.
pub(super) fn leaf(name: &CStr) -> rustix::io::Result<&CStr> {
    match name.to_bytes() {
        b"" | b".." => Err(Errno::INVAL),
        bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
        _ => Ok(name),
    }
}

/// Makes every descriptor of this library, and never returns 0, 1 or 2. If the program has closed one of these, a file of ours would
/// get its number, and the program would print into our file.
pub(super) fn descriptor(call: impl FnMut() -> rustix::io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let fd = retry(call)?;
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    let moved = rustix::io::fcntl_dupfd_cloexec(&fd, 3)?;
    // Another thread may have put a file of the program at this number by now (dup2). We must not close that file.
    let id = |fd: &OwnedFd| fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let is_same = || Some(id(&fd)? == id(&moved)?);
    if is_same() != Some(true) {
        std::mem::forget(fd);
    }
    Ok(moved)
}

#[allow(clippy::unnecessary_cast)] // its type differs by system
pub(super) fn to_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
}

/// Retries a call that changes a name. A filesystem in user space can report an interruption although it has made the change. Then
/// the next try fails with `done`, and this counts as a success.
pub(super) fn retry_until(done: Errno, mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    let mut interrupted = false;
    loop {
        match call() {
            Err(Errno::INTR) => interrupted = true,
            Err(e) if interrupted && e == done => return Ok(()),
            result => return Ok(result?),
        }
    }
}

/// Retries a call after an interruption. Any call that names a file can be interrupted (FUSE, NFS), even if its manual page does not
/// say so.
pub(super) fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    Ok(rustix::io::retry_on_intr(call)?)
}

/// Whether there is a process `pid`. Processes of other users and zombies count. If a sandbox refuses to tell, the answer is true.
pub(super) fn exists(pid: u32) -> bool {
    use rustix::process::{test_kill_process, Pid};
    Pid::from_raw(pid as i32).is_none_or(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}
