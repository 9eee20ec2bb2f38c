//! A pipe that no other program inherits. A read or a write does not wait.

use std::io;
use std::os::fd::OwnedFd;

/// The end to read from, and the end to write to.
#[cfg(target_os = "linux")]
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{pipe_with, PipeFlags};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// The same. macOS has no pipe2(2), and no other thread of ours starts a program in between.
#[cfg(not(target_os = "linux"))]
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{fcntl_setfl, OFlags};
    use rustix::io::{fcntl_setfd, FdFlags};
    let ends = rustix::pipe::pipe()?;
    for end in [&ends.0, &ends.1] {
        fcntl_setfd(end, FdFlags::CLOEXEC)?;
        fcntl_setfl(end, OFlags::NONBLOCK)?;
    }
    Ok(ends)
}
