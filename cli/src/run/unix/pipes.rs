//! A pipe that the command does not inherit.

use std::io;
use std::os::fd::OwnedFd;

/// The end to read from, and the end to write to.
#[cfg(target_os = "linux")]
pub(super) fn pipe(flags: Blocking) -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{pipe_with, PipeFlags};
    let more = if flags == Blocking::No { PipeFlags::NONBLOCK } else { PipeFlags::empty() };
    Ok(pipe_with(PipeFlags::CLOEXEC | more)?)
}

/// The same. macOS has no pipe2(2), and we have no other thread yet that could start a program in between.
#[cfg(not(target_os = "linux"))]
pub(super) fn pipe(flags: Blocking) -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{fcntl_setfl, OFlags};
    use rustix::io::{fcntl_setfd, FdFlags};
    let ends = rustix::pipe::pipe()?;
    for end in [&ends.0, &ends.1] {
        fcntl_setfd(end, FdFlags::CLOEXEC)?;
        if flags == Blocking::No {
            fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
    }
    Ok(ends)
}

/// Whether a read waits for something to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocking {
    No,
    #[cfg(not(target_os = "linux"))]
    Yes,
}
