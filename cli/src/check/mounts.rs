//! Which filesystem a folder is on, and how that is mounted.

use std::fmt;
use std::path::Path;

use crate::text::escape;

pub(super) struct Mount {
    kind: String,
    point: String,
    options: String,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ({})", escape(&self.kind), escape(&self.point), escape(&self.options))
    }
}

/// `None`: this system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn of(path: &Path) -> Option<Mount> {
    use rustix::fs::{statx, AtFlags, StatxFlags, CWD};
    let id = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?.stx_mnt_id.to_string();
    // proc_pid_mountinfo(5): ID, parent, device, root, mount point, options, any fields, a hyphen, type, source, options.
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.split(' ').next() == Some(&id))?;
    let (before, after) = line.split_once(" - ")?;
    let (mut before, mut after) = (before.split(' ').skip(4), after.split(' '));
    let (point, of_mount) = (before.next()?, before.next()?);
    let (kind, of_filesystem) = (after.next()?, after.nth(1).unwrap_or(""));
    Some(Mount { kind: kind.to_owned(), point: point.to_owned(), options: format!("{of_mount},{of_filesystem}") })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of(_path: &Path) -> Option<Mount> {
    None
}
