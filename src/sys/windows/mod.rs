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

pub(crate) use events::{Bell, FolderWatch, Source};
pub(crate) use folder::{file_name, path, Claimed, Dir, Small};
pub(crate) use open::FileId;
pub(crate) use process::{process, process_mark, Exit, Identity, ProcessMark, PROCESS_TABLE};
pub(crate) use volume::filesystem;

use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::Path;

use windows_sys::Win32::Security::Cryptography::{BCryptGenRandom, BCRYPT_USE_SYSTEM_PREFERRED_RNG};

/// A path as the system wants it.
fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
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
