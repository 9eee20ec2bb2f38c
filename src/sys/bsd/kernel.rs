//! What each of the three kernels must tell.

use std::io;

use rustix::fd::BorrowedFd;

use crate::sys::calls;

/// The kernel that this library was built for. It has no content.
pub(super) struct This;

/// What a kernel tells about a process.
pub(in crate::sys) struct Seen {
    /// Whether it is a zombie, or is about to become one.
    pub exited: bool,
    /// Microseconds since [`Kernel::base_of_starts`].
    pub micros: i64,
    pub command: String,
}

pub(super) trait Kernel {
    /// `None`: there is no such process, or we have no right to see it.
    fn process(pid: u32) -> io::Result<Option<Seen>>;

    /// Whether there is a process `pid`. If the system can't tell, the answer is true. For a zombie, both answers are possible.
    fn exists(pid: u32) -> bool {
        calls::exists(pid)
    }

    /// The moment from which starts are counted, in microseconds since 1970. 0: the kernel stores each start as the wall clock showed
    /// it, and no step of the clock moves it.
    fn base_of_starts() -> io::Result<i64>;

    /// When this machine was booted, in microseconds since 1970.
    fn boot_time() -> io::Result<i64>;

    /// Names this boot of this machine.
    fn boot() -> io::Result<String>;

    /// Whether a filesystem is marked as local, and its type.
    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)>;
}
