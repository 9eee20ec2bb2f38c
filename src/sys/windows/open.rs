//! Opens files so that no other process fails because of it, and recognises the errors that open handles of others cause.
//!
//! Each of our handles shares all access, so no read, rename or delete of another process fails because we look. Others do not always
//! share (virus scanners, a Python peer that reads our bid). If such a handle prevents a change, we try again for [`PATIENCE`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, STATUS_DELETE_PENDING,
};
use windows_sys::Win32::Storage::FileSystem::{
    GetFileInformationByHandle, BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE,
};

use super::done;
use super::time::{ticks, unix_micros};
use crate::sys;

/// How long we repeat a change that an open handle of another process prevents. We do not repeat a read: a bid that can't be read now
/// counts as live.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Identifies a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    volume: u32,
    index: u64,
}

impl FileId {
    /// The number that a listing returns with each name of this file.
    pub fn number(&self) -> u64 {
        self.index
    }

    pub fn is_on_filesystem_of(&self, other: &FileId) -> bool {
        self.volume == other.volume
    }
}

/// Options that share all access.
pub(super) fn sharing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
    options
}

/// Opens a file to read it. It also opens a folder or a link, so that the caller can see the kind.
pub(super) fn to_read(path: &Path) -> io::Result<File> {
    sharing().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// Opens a file of any kind to ask what it is. With `follow` it opens the target of a link, otherwise the link itself.
pub(super) fn to_look(path: &Path, follow: bool) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | if follow { 0 } else { FILE_FLAG_OPEN_REPARSE_POINT };
    sharing().access_mode(FILE_READ_ATTRIBUTES).custom_flags(flags).open(path)
}

/// What the system tells about an open file.
pub(super) struct About(BY_HANDLE_FILE_INFORMATION);

impl About {
    pub fn file(file: &File) -> io::Result<About> {
        let mut info = BY_HANDLE_FILE_INFORMATION::default();
        // SAFETY: the handle is open, and `info` has room for the answer.
        done(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &mut info) })?;
        Ok(About(info))
    }

    pub fn id(&self) -> FileId {
        let index = u64::from(self.0.nFileIndexHigh) << 32 | u64::from(self.0.nFileIndexLow);
        FileId { volume: self.0.dwVolumeSerialNumber, index }
    }

    /// Whether it is neither a folder nor a link of any kind.
    pub fn is_regular(&self) -> bool {
        self.0.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT) == 0
    }

    pub fn is_dir(&self) -> bool {
        self.0.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY != 0
    }

    pub fn is_link(&self) -> bool {
        self.0.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT != 0
    }

    pub fn size(&self) -> u64 {
        u64::from(self.0.nFileSizeHigh) << 32 | u64::from(self.0.nFileSizeLow)
    }

    /// When it was last modified, in Unix milliseconds.
    pub fn modified(&self) -> i64 {
        let time = self.0.ftLastWriteTime;
        unix_micros(ticks(time)) / 1000
    }
}

/// Whether the last call failed because the file is deleted and a process still has it open. Then its name still exists, but the file
/// can't be opened any more.
pub(super) fn is_delete_pending(error: &io::Error) -> bool {
    #[link(name = "ntdll")]
    extern "system" {
        /// The cause behind `GetLastError`, which reports a pending delete as "access denied".
        fn RtlGetLastNtStatus() -> i32;
    }
    // SAFETY: the call only reads a field of this thread.
    is(error, ERROR_ACCESS_DENIED) && unsafe { RtlGetLastNtStatus() } == STATUS_DELETE_PENDING
}

pub(super) fn is_sharing_violation(error: &io::Error) -> bool {
    is(error, ERROR_SHARING_VIOLATION) || is(error, ERROR_LOCK_VIOLATION)
}

pub(super) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code as i32)
}

/// Makes a change, and repeats it while an open handle of another process prevents it.
pub(super) fn patiently<T>(mut change: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = sys::now() + PATIENCE;
    loop {
        match change() {
            Err(e) if (is_delete_pending(&e) || is_sharing_violation(&e)) && sys::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}
