//! The users that can put a file into a folder.

use std::sync::atomic::{AtomicU64, Ordering};

use super::stat::{FolderStat, Rights};

/// What we know of the users that can put a file into a folder. Root always can.
#[derive(Debug)]
pub(super) struct Writers(AtomicU64);

/// Other values are the number of the one user that can.
const UNKNOWN: u64 = u64::MAX;
const MANY: u64 = u64::MAX - 1;

impl Writers {
    pub fn unknown() -> Writers {
        Writers(AtomicU64::new(UNKNOWN))
    }

    pub fn of(folder: &FolderStat) -> Writers {
        Writers(AtomicU64::new(if folder.is_private_within() { folder.owner.into() } else { MANY }))
    }

    pub fn are_known(&self) -> bool {
        self.0.load(Ordering::Relaxed) != UNKNOWN
    }

    /// Somebody may have let more users write to the folder since then. That stays so.
    pub fn note(&self, rights: Rights) {
        if rights.let_others_write() && self.are_known() {
            self.0.store(MANY, Ordering::Relaxed);
        }
    }

    /// Whether no user but this one and root can put a file into the folder. It costs a system call that never waits, because a program
    /// can change its user at any time.
    pub fn are_we_alone(&self) -> bool {
        let owner = self.0.load(Ordering::Relaxed);
        owner == 0 || owner < MANY && owner == u64::from(rustix::process::geteuid().as_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::sys::Dir;

    #[test]
    fn only_a_folder_that_nobody_else_may_write_to_has_one_writer() {
        use std::os::unix::fs::PermissionsExt;
        let path = Scratch::new();
        for (mode, expected) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false), (0o1777, false)] {
            std::fs::set_permissions(&*path, std::fs::Permissions::from_mode(mode)).unwrap();
            let stat = Dir::open(&path).unwrap().stat().unwrap();
            let writers = Writers::of(&stat);
            assert_eq!(writers.are_we_alone(), expected, "{mode:o}");
            writers.note(Rights::new(0o755, 0));
            assert_eq!(writers.are_we_alone(), expected, "{mode:o}");
            writers.note(Rights::new(0o757, 0));
            assert!(!writers.are_we_alone() && writers.are_known());
        }
        assert!(!Writers::unknown().are_we_alone() && !Writers::unknown().are_known());
    }

    #[test]
    fn a_folder_of_another_user_is_not_ours_alone() {
        let path = Scratch::new();
        if std::os::unix::fs::chown(&*path, Some(4242), None).is_ok() {
            assert!(!Writers::of(&Dir::open(&path).unwrap().stat().unwrap()).are_we_alone());
        }
    }
}
