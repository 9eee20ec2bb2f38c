//! Windows: folders and files, processes, volumes, and how a thread sleeps. Run under Wine, and type-checked for MSVC:
//! `docs/platforms.md`.
//!
//! There is no fork, and there are no PID namespaces. Paths are UTF-8 in C. They are made verbatim (`\\?\`) before the system
//! sees them, so they can be long, and no name in a folder means a device.

mod events;
mod folder;
mod open;
mod process;
mod security;
mod volume;

pub(crate) use events::{FolderWatch, Source, Waker};
#[cfg(feature = "capi")]
pub(crate) use folder::path;
pub(crate) use folder::{file_name, Dir, ForeignFile, LockedFile};
pub(crate) use open::FileId;
pub(crate) use process::{process_mark, ExitWatch, ProcessMark, PROCESS_TABLE};
pub(super) use process::{see, ClockView, Outlook};
pub(crate) use security::FolderStat;
pub(crate) use volume::filesystem;

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;

use windows_sys::Win32::Security::Cryptography::{BCryptGenRandom, BCRYPT_USE_SYSTEM_PREFERRED_RNG};

/// A text or a path as the system wants it.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// A text that the system filled in.
fn until_nul(text: &[u16]) -> String {
    let end = text.iter().position(|&unit| unit == 0).unwrap_or(text.len());
    String::from_utf16_lossy(&text[..end])
}

/// A call that says by a zero that it failed.
fn done(result: windows_sys::core::BOOL) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Fills a buffer from the system's generator.
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: it fills as many bytes as the buffer has.
    let status = unsafe {
        BCryptGenRandom(std::ptr::null_mut(), buffer.as_mut_ptr(), buffer.len() as u32, BCRYPT_USE_SYSTEM_PREFERRED_RNG)
    };
    match status {
        0.. => Ok(()),
        _ => Err(io::Error::other(format!("BCryptGenRandom failed: {status:#x}"))),
    }
}
