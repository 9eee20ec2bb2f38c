//! All that differs by platform, and every system call, behind one small interface. Nothing here decides anything of the
//! protocol; comments say what it relies on.
//!
//! `unix` holds folders and files, by POSIX where that is enough, and by what Linux adds to it. `linux` holds the identity of
//! processes (`/proc`), pidfds and filesystem types. `events` is how a thread sleeps until something happens.

mod unix;
pub(crate) use unix::{fill_random, Claimed, Dir, FileId, Opened, Small};

#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
pub(crate) use events::{Beacon, BeaconWatch, Bell, FolderWatch, Light, Source};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{filesystem, process, process_mark, Exit, Identity, ProcessMark, ProcessState};

#[cfg(not(target_os = "linux"))]
compile_error!("lockfolder runs on Linux so far");

/// What a filesystem is good for, as far as this lock is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filesystem {
    /// Written by this kernel alone: listings through a kept descriptor are fresh, locks on files prove life, and a bid of
    /// another boot is a bid of the past.
    Local,
    /// Others can write too, but a listing opened anew is fresh, and locks on files cross mounts.
    Coherent,
    /// The caller vouches for it (`LF_OPEN_TRUST_FILESYSTEM`). A listing opened anew is believed, nothing else.
    Trusted,
}

impl Filesystem {
    pub fn is_local(self) -> bool {
        self == Filesystem::Local
    }

    /// Whether an advisory lock that can be had proves that its owner is gone.
    pub fn locks_prove_death(self) -> bool {
        self != Filesystem::Trusted
    }
}

/// Wall clock, nanoseconds since 1970 (0 before that).
pub(crate) fn unix_nanos() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64)
}
