//! The promises of a folder's volume.

use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr::null_mut;

use windows_sys::Win32::Storage::FileSystem::{GetDriveTypeW, GetVolumeInformationByHandleW, GetVolumePathNameW};

use super::folder::Dir;
use super::open::to_look;
use super::{done, until_nul, wide};
use crate::sys::filesystem::{Filesystem, Refusal};

/// Filesystems that only this machine writes to, on a drive of its own. CSVFS is not in the list, because a cluster shares it.
const LOCAL: &[&str] = &["NTFS", "ReFS", "FAT", "FAT32", "exFAT"];

/// Results of `GetDriveTypeW`: removable, fixed, RAM disk. (The constants are in a module that we do not use otherwise.)
const LOCAL_DRIVES: &[u32] = &[2, 3, 6];

/// Which filesystem a folder is on. The inner error says why we can't rely on the filesystem.
pub(crate) fn filesystem(dir: &mut Dir) -> io::Result<Result<Filesystem, Refusal>> {
    let kind = kind(dir)?;
    let drive = drive(dir)?;
    Ok(match LOCAL.contains(&kind.as_str()) && LOCAL_DRIVES.contains(&drive) {
        true => Ok(Filesystem::LocalByName),
        false => Err(Refusal::unknown(&format!("{kind}, drive type {drive}"))),
    })
}

fn kind(dir: &Dir) -> io::Result<String> {
    let folder = to_look(dir.path(), true)?;
    let mut name = [0u16; 64];
    // SAFETY: the handle is open, and there is room for as many characters as the call is told. NULL means that we do not ask.
    done(unsafe {
        let handle = folder.as_raw_handle();
        let length = name.len() as u32;
        GetVolumeInformationByHandleW(
            handle,
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            null_mut(),
            name.as_mut_ptr(),
            length,
        )
    })?;
    Ok(until_nul(&name))
}

fn drive(dir: &Dir) -> io::Result<u32> {
    let path = wide(dir.path());
    let mut root = vec![0u16; path.len() + 1];
    // SAFETY: the strings are terminated, and there is room for as many characters as the call is told. The root is at most as long as
    // the path and a separator.
    unsafe {
        done(GetVolumePathNameW(path.as_ptr(), root.as_mut_ptr(), root.len() as u32))?;
        Ok(GetDriveTypeW(root.as_ptr()))
    }
}
