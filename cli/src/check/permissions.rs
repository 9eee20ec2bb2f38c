//! Which users can do what in a folder.

use std::path::Path;

use super::Report;

#[cfg(unix)]
pub(super) fn check(path: &Path, report: &mut Report) {
    use rustix::fs::{access, Access};
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    if access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        report.problem("this user can't lock it: that needs the right to read, write and search the folder");
    }
    let Ok(folder) = fs::metadata(path) else { return };
    if folder.mode() & 0o002 != 0 {
        report.hint(match folder.mode() & 0o1000 != 0 {
            true => "every user can lock it, and so keep all others waiting; being sticky, it keeps them from deleting others' bids",
            false => "every user can lock it, and delete the bid of a holder: chmod o-w, or chmod +t",
        });
    }
    // A link could lead anywhere.
    let Ok(hidden) = fs::symlink_metadata(path.join(".lockfolder")) else { return };
    if !hidden.is_dir() {
        return report.problem(".lockfolder is no folder: move it away");
    }
    let is_as_folder = |what: fn(&fs::Metadata) -> u32| what(&hidden) == what(&folder);
    if !is_as_folder(|of| of.mode() & 0o1777) || !is_as_folder(MetadataExt::gid) {
        report.problem(
            ".lockfolder has another mode or group than the folder, so some users that may lock can't. When nobody holds the lock or \
             waits: chmod --reference and chgrp --reference",
        );
    }
}

#[cfg(not(unix))]
pub(super) fn check(_path: &Path, _report: &mut Report) {}
