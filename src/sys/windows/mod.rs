//! Windows: folders and files, processes, volumes, and how a thread sleeps. This code was run under Wine and type-checked for MSVC:
//! see `docs/platforms.md`.
//!
//! There is no fork, and there are no PID namespaces. Paths are UTF-8 in C. We make them verbatim (`\\?\`) before the system
//! sees them, so they can be long, and no name in a folder means a device.

mod events;
mod folder;
mod open;
mod process;
mod rights;
mod security;
mod time;
mod volume;

pub(crate) use events::{FolderWatch, Waker};
#[cfg(feature = "capi")]
pub(crate) use folder::path;
pub(crate) use folder::{file_name, Dir, ForeignFile, LockedFile};
pub(crate) use open::FileId;
pub(crate) use rights::{is_as_open, is_fixed, may_be_trusted_in, may_delete_no_more_in, owner_lacks_rights};
pub(crate) use security::{FolderStat, Rights};
pub(crate) use volume::filesystem;

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;

/// Converts a text or a path to the form that the system needs.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// Converts a text that the system filled in.
fn until_nul(text: &[u16]) -> String {
    let end = text.iter().position(|&unit| unit == 0).unwrap_or(text.len());
    String::from_utf16_lossy(&text[..end])
}

/// Converts the result of a call that returns 0 when it fails.
fn done(result: windows_sys::core::BOOL) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
