//! All that differs by platform, and every system call, behind one small interface. No code here decides anything about the
//! protocol. Comments say which behaviour of the system the protocol relies on.
//!
//! | | folders and files | processes, filesystems | how a thread sleeps until something happens |
//! | --- | --- | --- | --- |
//! | Linux | `unix`, `calls`, `files`, `stat`, `plain`, `seen`, `made`, `foreign_file`, `access`, `deleters`, `numbers`, `proof`, `linux_fs` | `linux`, `linux_clock`, `linux_proc`, `linux_shift`, `linux_fs`, `linux_mounts` | `events`, `folder_watch`, `staged`, `timer`, `wait_set`, `alarm` |
//! | macOS, FreeBSD, NetBSD | `unix`, `calls`, `files`, `stat`, `plain`, `seen`, `made`, `foreign_file`, `access`, `deleters`, `numbers`, `proof`, `bsd::files` | `bsd::processes`, `bsd::files` | `bsd::events`, `polled` |
//! | Windows | `windows::folder` | `windows::process`, `windows::volume` | `windows::events`, `polled` |
//!
//! `contract` says what each system must tell about processes, and `files` what each Unix must tell about folders and files. `process` is
//! built on `contract` and is the same on all systems: it tells which process we are, and whether a process lives. `cancellation` stops
//! POSIX thread cancellation inside our calls. `polled` serves systems whose kernel does not tell a waiter about a change: there a waiter
//! looks again after a pause. `docs/platforms.md` says what of all this was run, and where.

#[cfg(feature = "capi")]
mod cancellation;
#[cfg(feature = "capi")]
pub(crate) use cancellation::Uncancellable;

mod beacon;
pub(crate) use beacon::{FifoState, News};

mod filesystem;
#[cfg(test)]
pub(crate) use filesystem::Shared;
pub(crate) use filesystem::{Filesystem, Proof};

mod opened;
pub(crate) use opened::Opened;

mod sight;
pub(crate) use sight::{Leaf, Sight};

mod pile;
pub(crate) use pile::Pile;

mod contract;
pub(crate) use contract::{Identity, ProcessState, Source};

mod process;
pub(crate) use process::{
    prepare_for_fork, presence, process, process_mark, ExitWatch, Presence, ProcessMark, View, PROCESS_TABLE,
};

mod random;
#[cfg(not(target_os = "linux"))]
pub(crate) use random::fill_random;
pub(crate) use random::staged_name;

mod sleep;
mod time;
use sleep::doze;
pub(crate) use sleep::sleep;
pub(crate) use time::{now, since_boot, unix_nanos, Clocks};

mod thread;
pub(crate) use thread::Thread;

#[cfg(feature = "etcd")]
mod net;
#[cfg(feature = "etcd")]
pub(crate) use net::{addresses, read_file, Connection, Cutter};

#[cfg(unix)]
mod access;
#[cfg(unix)]
mod calls;
#[cfg(unix)]
mod deleters;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod foreign_file;
#[cfg(unix)]
mod made;
#[cfg(unix)]
mod numbers;
#[cfg(unix)]
mod plain;
#[cfg(unix)]
mod proof;
#[cfg(unix)]
mod room;
#[cfg(unix)]
mod seen;
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
    deleters::{is_as_open, may_be_trusted_in, may_delete_no_more_in},
    foreign_file::ForeignFile,
    made::owner_lacks_rights,
    stat::{FileId, FolderStat, Rights},
    unix::{file_name, filesystem, is_fixed, Dir, LockedFile},
};

#[cfg(all(unix, feature = "capi"))]
pub(crate) use unix::path;

#[cfg(target_os = "linux")]
mod alarm;
#[cfg(target_os = "linux")]
pub(crate) use alarm::Alarm;

#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod folder_watch;
#[cfg(target_os = "linux")]
mod kept;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_clock;
#[cfg(target_os = "linux")]
mod linux_fs;
#[cfg(target_os = "linux")]
mod linux_list;
#[cfg(target_os = "linux")]
mod linux_mounts;
#[cfg(target_os = "linux")]
mod linux_proc;
#[cfg(target_os = "linux")]
mod linux_shift;
#[cfg(target_os = "linux")]
mod staged;
#[cfg(target_os = "linux")]
mod timer;
#[cfg(target_os = "linux")]
mod wait_set;
#[cfg(target_os = "linux")]
pub(crate) use {
    events::{FifoWatch, HandOffFifo, OwnFifo, Tail, Waker},
    folder_watch::{FolderWatch, SpareWatch},
    linux_fs::fill_random,
    wait_set::WaitSet,
};

#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd"))]
mod bsd;
#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd"))]
pub(crate) use bsd::{FolderWatch, Waker};

#[cfg(windows)]
mod windows;
#[cfg(all(windows, feature = "capi"))]
pub(crate) use windows::path;
#[cfg(windows)]
pub(crate) use windows::{
    file_name, filesystem, is_as_open, is_fixed, may_be_trusted_in, may_delete_no_more_in, owner_lacks_rights, Dir,
    FileId, FolderStat, FolderWatch, ForeignFile, LockedFile, Rights, Waker,
};

#[cfg(not(target_os = "linux"))]
mod polled;
#[cfg(not(target_os = "linux"))]
pub(crate) use polled::{Alarm, FifoWatch, HandOffFifo, OwnFifo, SpareWatch, Tail, WaitSet};

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd", target_os = "netbsd", windows)))]
compile_error!("lockfolder runs on Linux, macOS, FreeBSD, NetBSD and Windows: see docs/platforms.md");

/// Whether the name of a deleted file disappears at once, also while a process has the file open. Windows does so only in its
/// newer versions and on NTFS, so we do not rely on it there.
pub(crate) const DELETES_AT_ONCE: bool = cfg!(unix);
