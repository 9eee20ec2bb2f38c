//! All that differs by platform, and every system call, behind one small interface. Nothing here decides anything of the
//! protocol; comments say what it relies on.
//!
//! | | folders and files | processes, filesystems | how a thread sleeps until something happens |
//! | --- | --- | --- | --- |
//! | Linux | `unix`, `stat`, `small`, `access`, `numbers`, `proof`, `linux_fs` | `linux`, `linux_proc`, `linux_fs` | `events`, `staged` |
//! | macOS, FreeBSD, NetBSD | `unix`, `stat`, `small`, `access`, `numbers`, `proof`, `bsd` | `bsd` | `bsd`, `polled` |
//! | Windows | `windows::folder` | `windows::process`, `windows::volume` | `windows::events`, `polled` |
//!
//! `cancellation` keeps POSIX's from taking effect inside our calls. `process` is what all have in common of who a process is, and whether it lives. `polled` is what there is where the kernel
//! does not tell: a waiter looks again. `docs/platforms.md` says what of all this was run, and where.

#[cfg(feature = "capi")]
mod cancellation;
#[cfg(feature = "capi")]
pub(crate) use cancellation::Uncancellable;

mod pile;
pub(crate) use pile::Pile;

mod process;
pub(crate) use process::{presence, process, Identity, Presence, ProcessState, View};

#[cfg(unix)]
mod access;
#[cfg(unix)]
mod foreign_file;
#[cfg(unix)]
mod numbers;
#[cfg(unix)]
mod proof;
#[cfg(unix)]
mod room;
#[cfg(unix)]
mod stat;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use proof::take_lock;
#[cfg(unix)]
use {access::Access, proof::is_locked};
#[cfg(unix)]
pub(crate) use {
    foreign_file::ForeignFile,
    stat::{FileId, FolderStat},
    unix::{file_name, Dir, LockedFile},
};

#[cfg(all(unix, feature = "capi"))]
pub(crate) use unix::path;

#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_fs;
#[cfg(target_os = "linux")]
mod linux_proc;
#[cfg(target_os = "linux")]
mod staged;
#[cfg(target_os = "linux")]
use linux::ClockView;
#[cfg(target_os = "linux")]
use linux_fs::{born, entries, glance, id_at, is_known, Moment, UNNOTICED};
#[cfg(target_os = "linux")]
use linux_proc::{Outlook, ProcStat};
#[cfg(target_os = "linux")]
pub(crate) use {
    events::{FifoWatch, FolderWatch, HandOffFifo, OwnFifo, Source, Tail, Waker},
    linux::{process_mark, ExitWatch, ProcessMark},
    linux_fs::{filesystem, fill_random},
    linux_proc::PROCESS_TABLE,
};

#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd"))]
mod bsd;
#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd"))]
use bsd::{born, entries, entries as glance, id_at, is_known, ClockView, Moment, Outlook, ProcStat, UNNOTICED};
#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd"))]
pub(crate) use bsd::{
    filesystem, fill_random, process_mark, ExitWatch, FolderWatch, ProcessMark, Source, Waker, PROCESS_TABLE,
};

#[cfg(windows)]
mod windows;
#[cfg(all(windows, feature = "capi"))]
pub(crate) use windows::path;
#[cfg(windows)]
pub(crate) use windows::{
    file_name, filesystem, fill_random, process_mark, Dir, ExitWatch, FileId, FolderStat, FolderWatch, ForeignFile,
    LockedFile, ProcessMark, Source, Waker, PROCESS_TABLE,
};
#[cfg(windows)]
use windows::{see, ClockView, Outlook};

#[cfg(not(target_os = "linux"))]
mod polled;
#[cfg(not(target_os = "linux"))]
pub(crate) use polled::{FifoWatch, HandOffFifo, OwnFifo, Tail};

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd", target_os = "netbsd", windows)))]
compile_error!("lockfolder runs on Linux, macOS, FreeBSD, NetBSD and Windows: see docs/platforms.md");

/// Whether the name of a file that is deleted goes at once, also while somebody has the file open. Windows keeps the promise
/// in its newer versions and on NTFS.
pub(crate) const DELETES_AT_ONCE: bool = cfg!(unix);

/// Why a beacon was put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // where none can be watched
pub(crate) enum News {
    /// Its owner had the lock, and gave it back.
    HandedOver,
    /// Its owner won't come forward, or somebody else put it out.
    Left,
}

/// What is seen of a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // where none can be watched
pub(crate) enum FifoState {
    /// Its owner holds it. When it goes out, whoever watches it is woken.
    Lit,
    /// It was put out. It wakes everybody who sleeps by it, at once.
    Out(News),
    /// Nobody holds it: its owner died, or has not lit it yet. If it was so from the beginning, it wakes nobody.
    Dark,
}

/// What opening a small file of somebody else's came to: without following, blocking, or trusting it.
#[cfg_attr(not(unix), allow(dead_code))] // which sees no mounts
pub(crate) enum Opened {
    File(ForeignFile),
    /// It vanished.
    Gone,
    /// It is there, but not ours to read, or not now.
    Denied,
    /// Another filesystem is mounted at its name. It was not asked: its server may never answer.
    Mounted,
    /// A link, a folder, a FIFO, a device: it was not read.
    NotRegular {
        /// Unix milliseconds.
        modified: i64,
    },
}

/// What a filesystem is good for, as far as this lock is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // which knows only some
pub(crate) enum Filesystem {
    /// Written by this kernel alone: listings through a kept descriptor are fresh, locks on files prove life, and a bid of
    /// another boot is a bid of the past. A file keeps its number, and all its names have that number. A listing comes in pieces
    /// as large as there is room for, but for the last: so a piece that left room is the last, and a glance sees all.
    Local,
    /// The same, as far as the name of its type tells. How it numbers its files, and how it lists them, is not known.
    LocalByName,
    /// The same as [`Filesystem::Local`], but it shows the files of other filesystems, and those can be seen without it: there
    /// nobody sees the locks that are taken here, nor the other way round.
    Overlay,
    /// The same, as far as the name of its type tells.
    OverlayByName,
    /// Others can write too, but a listing opened anew is fresh, and locks on files cross mounts.
    Coherent,
    /// The caller vouches for it (`LF_OPEN_TRUST_FILESYSTEM`). A listing opened anew is believed, nothing else.
    Trusted,
}

impl Filesystem {
    pub fn is_local(self) -> bool {
        self != Filesystem::Coherent && self != Filesystem::Trusted
    }

    pub fn is_overlay(self) -> bool {
        matches!(self, Filesystem::Overlay | Filesystem::OverlayByName)
    }

    /// Whether a file that has another number than it had is another file.
    pub fn has_stable_numbers(self) -> bool {
        matches!(self, Filesystem::Local | Filesystem::Overlay)
    }

    /// Whether it has hard links for sure.
    pub fn has_links(self) -> bool {
        matches!(self, Filesystem::Local | Filesystem::Overlay)
    }

    pub fn lists_in_full_pieces(self) -> bool {
        matches!(self, Filesystem::Local | Filesystem::Overlay)
    }

    /// Whether an advisory lock that can be had proves that its owner is gone.
    pub fn locks_prove_death(self) -> bool {
        self != Filesystem::Trusted
    }
}

/// A name under which something is made. Nobody can guess it.
pub(crate) fn staged_name(name: &std::ffi::CStr) -> std::io::Result<std::ffi::CString> {
    let mut random = [0; 8];
    fill_random(&mut random)?;
    let random = format!("-{:016x}", u64::from_ne_bytes(random));
    Ok(std::ffi::CString::new([name.to_bytes(), random.as_bytes()].concat()).expect("no NUL was added"))
}

/// Wall clock, nanoseconds since 1970 (0 before that).
pub(crate) fn unix_nanos() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64)
}

/// Sleeps where nothing can wake us, so not for long.
fn doze(time: std::time::Duration) {
    std::thread::sleep(time.min(std::time::Duration::from_millis(20)));
}
