//! What these systems tell about folders and filesystems, beyond POSIX.

use std::ffi::CStr;
use std::io;

use rustix::fd::BorrowedFd;
use rustix::fs::FileType;

use super::kernel::{Kernel, This};
use crate::sys::contract::System;
use crate::sys::files::Files;
use crate::sys::filesystem::{Filesystem, Refusal};

/// Filesystems that only this kernel writes to, if they are marked as local too.
const LOCAL: &[&str] = &["apfs", "hfs", "ufs", "ffs", "lfs", "zfs", "tmpfs", "ext2fs", "msdosfs", "msdos", "exfat"];

impl Files for System {
    /// `born` returns no moment on these systems, so no moments are compared.
    type Moment = u64;

    fn now() -> u64 {
        0
    }

    fn nanos(moment: u64) -> u64 {
        moment
    }

    /// We assume that all filesystems here report true owners and modes.
    fn is_known(_dir: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(true)
    }

    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<Result<Filesystem, Refusal>> {
        let (is_local, kind) = This::filesystem(dir)?;
        Ok(match is_local && LOCAL.contains(&kind.as_str()) {
            true => Ok(Filesystem::LocalByName),
            false => Err(Refusal::unknown(&kind)),
        })
    }

    /// This opens the folder anew for each listing.
    fn kinds(
        dir: BorrowedFd<'_>,
        _at_once: bool,
        mut begin: impl FnMut(),
        mut each: impl FnMut(&CStr, u64, FileType),
    ) -> io::Result<()> {
        begin();
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = entry?;
            each(entry.file_name(), entry.ino(), entry.file_type());
        }
        Ok(())
    }
}
