//! Opening files without being in anybody's way, and what the system says when somebody is in ours.
//!
//! Every handle shares everything: so nobody's read, rename or delete fails because we look. Others are not so kind (virus
//! scanners, a Python peer that reads our bid): what they keep us from is tried again, for [`PATIENCE`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, STATUS_DELETE_PENDING,
};
use windows_sys::Win32::Storage::FileSystem::{
    GetFileInformationByHandle, BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE,
};

use super::done;

/// How long a change is tried again that somebody's open handle prevents. Looking is not: who can't read a bid now counts it
/// as live.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Which file this is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    volume: u32,
    index: u64,
}

impl FileId {
    /// The number that a listing gives with the names of this file.
    pub fn number(&self) -> u64 {
        self.index
    }
}

/// Options that share everything.
pub(super) fn sharing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
    options
}

/// Opens a file to read it, or a folder or link to see that it is one.
pub(super) fn to_read(path: &Path) -> io::Result<File> {
    sharing().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// Opens whatever is there, to ask what it is: a link itself, or what it leads to.
pub(super) fn to_look(path: &Path, follow: bool) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | if follow { 0 } else { FILE_FLAG_OPEN_REPARSE_POINT };
    sharing().access_mode(FILE_READ_ATTRIBUTES).custom_flags(flags).open(path)
}

/// What the system says of an open file.
pub(super) struct About(BY_HANDLE_FILE_INFORMATION);

impl About {
    pub fn file(file: &File) -> io::Result<About> {
        let mut info = BY_HANDLE_FILE_INFORMATION::default();
        // SAFETY: an open handle, and room for the answer.
        done(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &mut info) })?;
        Ok(About(info))
    }

    pub fn id(&self) -> FileId {
        let index = u64::from(self.0.nFileIndexHigh) << 32 | u64::from(self.0.nFileIndexLow);
        FileId { volume: self.0.dwVolumeSerialNumber, index }
    }

    /// Neither a folder nor a link of any kind.
    pub fn is_regular(&self) -> bool {
        self.0.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT) == 0
    }

    pub fn is_dir(&self) -> bool {
        self.0.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY != 0
    }

    pub fn is_link(&self) -> bool {
        self.0.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT != 0
    }

    /// Last modified, Unix milliseconds.
    pub fn modified(&self) -> i64 {
        let time = self.0.ftLastWriteTime;
        super::process::unix_micros(super::process::ticks(time)) / 1000
    }
}

/// Whether a call that just failed did so because somebody deleted the file and somebody has it open still: its name is there,
/// but nobody can open it any more.
pub(super) fn is_delete_pending(error: &io::Error) -> bool {
    #[link(name = "ntdll")]
    extern "system" {
        /// The cause behind `GetLastError`, which calls a pending delete "access denied".
        fn RtlGetLastNtStatus() -> i32;
    }
    // SAFETY: it reads a field of this thread's.
    is(error, ERROR_ACCESS_DENIED) && unsafe { RtlGetLastNtStatus() } == STATUS_DELETE_PENDING
}

pub(super) fn is_sharing_violation(error: &io::Error) -> bool {
    is(error, ERROR_SHARING_VIOLATION) || is(error, ERROR_LOCK_VIOLATION)
}

pub(super) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code as i32)
}

/// Makes a change, and again while somebody's open handle prevents it.
pub(super) fn patiently<T>(mut change: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match change() {
            Err(e) if (is_delete_pending(&e) || is_sharing_violation(&e)) && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}
