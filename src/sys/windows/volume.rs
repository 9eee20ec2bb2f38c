//! What a folder's volume is good for.

use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr::null_mut;

use windows_sys::Win32::Storage::FileSystem::{GetDriveTypeW, GetVolumeInformationByHandleW, GetVolumePathNameW};

use super::super::Filesystem;
use super::folder::Dir;
use super::open::to_look;
use super::{done, until_nul, wide};

/// Filesystems that only this machine writes to, on a drive of its own. Not here: CSVFS, a cluster's.
const LOCAL: &[&str] = &["NTFS", "ReFS", "FAT", "FAT32", "exFAT"];

/// `GetDriveTypeW`: removable, fixed, RAM disk. (Its constants are in a module that we need for nothing else.)
const LOCAL_DRIVES: &[u32] = &[2, 3, 6];

/// What filesystem a folder is on. The error is its type, where nobody has shown that it carries the promise.
pub(crate) fn filesystem(dir: &Dir) -> io::Result<Result<Filesystem, String>> {
    let kind = kind(dir)?;
    let drive = drive(dir)?;
    Ok(match LOCAL.contains(&kind.as_str()) && LOCAL_DRIVES.contains(&drive) {
        true => Ok(Filesystem::LocalByName),
        false => Err(format!("{kind}, drive type {drive}")),
    })
}

fn kind(dir: &Dir) -> io::Result<String> {
    let folder = to_look(dir.path(), true)?;
    let mut name = [0u16; 64];
    // SAFETY: an open handle, and room for as many characters as it is told; the rest is not asked for.
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
    // SAFETY: terminated strings, and room for as many characters as it is told. The root is no longer than the path and a
    // separator.
    unsafe {
        done(GetVolumePathNameW(path.as_ptr(), root.as_mut_ptr(), root.len() as u32))?;
        Ok(GetDriveTypeW(root.as_ptr()))
    }
}
