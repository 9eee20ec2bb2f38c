//! What we know about a folder or a file without opening it: its identity, its owner, and the users that may write to it.

use rustix::fs::{self, FileType};

use super::numbers::{self, Kind};

/// Identifies a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    /// The number that a listing returns with each name of this file.
    pub fn number(&self) -> u64 {
        self.inode
    }

    pub fn is_on_filesystem_of(&self, other: &FileId) -> bool {
        self.device == other.device
    }

    #[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
    pub(super) fn of(stat: &fs::Stat) -> FileId {
        FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// What never changes of a file while we look at it, and how many names it has.
pub(super) struct Known {
    pub id: FileId,
    pub kind: FileType,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only beacons are counted, and only Linux has them
    pub links: u64,
}

impl Known {
    #[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
    pub fn of(stat: &fs::Stat) -> Known {
        let kind = FileType::from_raw_mode(stat.st_mode);
        Known { id: FileId::of(stat), kind, links: stat.st_nlink as u64 }
    }
}

/// What the owner, the group and all others may do with a folder or a file. If there is an access control list, the group bits are its
/// mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    mode: u32,
    group: u32,
}

impl Rights {
    pub(super) fn new(mode: u32, group: u32) -> Rights {
        Rights { mode: mode & 0o7777, group }
    }

    /// Whether only the owner of this folder can delete files of others in it.
    pub fn is_sticky(self) -> bool {
        self.mode & 0o1000 != 0
    }

    /// Whether all users may delete what is in this folder.
    pub fn let_all_delete(self) -> bool {
        !self.is_sticky() && self.mode & 0o002 != 0
    }

    /// Whether all users that may write to a file in this folder, apart from its owner, may delete it too.
    pub fn let_delete(self, file: Rights) -> bool {
        let group = file.mode & 0o020 == 0 || self.mode & 0o020 != 0 && self.group == file.group;
        let others = file.mode & 0o002 == 0;
        file.mode & 0o022 == 0 || self.let_all_delete() || !self.is_sticky() && group && others
    }
}

/// The owner of a folder or of a file in it, and the users that may write to it.
pub(crate) struct FolderStat {
    pub id: FileId,
    pub is_folder: bool,
    is_link: bool,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
    /// When the content last changed: seconds, nanoseconds.
    pub(super) modified: (i64, i64),
}

impl FolderStat {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // the types of these fields differ by system
    pub(super) fn of(stat: &fs::Stat) -> FolderStat {
        let kind = FileType::from_raw_mode(stat.st_mode);
        FolderStat {
            id: FileId::of(stat),
            is_folder: kind == FileType::Directory,
            is_link: kind == FileType::Symlink,
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: u32::from(stat.st_mode) & 0o7777,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }

    /// Whether it is ours, and no other user can write to it. If there is an access control list, the group bits of the mode are
    /// its mask, so they bound all users that the list names (acl(5)).
    pub fn is_private(&self) -> bool {
        is_surely_us(self.owner) && !self.is_open_to_others()
    }

    /// Whether users other than its owner may write to it.
    pub(super) fn is_open_to_others(&self) -> bool {
        self.mode & 0o022 != 0
    }

    /// The same for a file inside a private folder. A file of root's is accepted too, because root can change everything anyway, and
    /// may have used the folder.
    pub fn is_private_within(&self) -> bool {
        !self.is_link && FolderStat::is_of_one_user(self.owner, self.mode)
    }

    /// Whether the owner is our user or root, and the mode lets no other user write.
    pub(super) fn is_of_one_user(owner: u32, mode: u32) -> bool {
        mode & 0o022 == 0 && (owner == 0 || is_surely_us(owner))
    }

    /// Whether it is safe if this user owns a folder inside the folder `above`. It is safe for root, for ourselves, and for the owner of
    /// `above`.
    pub(super) fn is_trusted_owner(user: u32, above: &FolderStat) -> bool {
        let is_us = user == rustix::process::geteuid().as_raw();
        user == 0 || (is_us || user == above.owner) && numbers::is_certain(Kind::User, user)
    }

    /// Whether it is a folder of ours that no other user may use.
    #[cfg(target_os = "linux")] // other systems make no files in such a folder
    pub(super) fn is_ours_alone(&self) -> bool {
        self.is_folder && self.is_ours() && self.mode & 0o077 == 0
    }

    pub fn rights(&self) -> Rights {
        Rights::new(self.mode, self.group)
    }

    /// Whether only the owner of this folder can delete files of others in it.
    pub fn is_sticky(&self) -> bool {
        self.rights().is_sticky()
    }

    /// Whether its owner has our number. In a user namespace many users can share that number.
    pub fn is_ours(&self) -> bool {
        self.owner == rustix::process::geteuid().as_raw()
    }

    /// When the content last changed, in Unix milliseconds by the clock of its filesystem.
    pub fn modified(&self) -> i64 {
        self.modified.0.saturating_mul(1000).saturating_add(self.modified.1 / 1_000_000)
    }

    /// Describes the users that may write, for messages to people.
    pub fn access(&self) -> String {
        format!("belongs to user {} and has mode {:04o}", self.owner, self.mode)
    }
}

/// Whether a user has our number, and no other user has the same number.
fn is_surely_us(user: u32) -> bool {
    user == rustix::process::geteuid().as_raw() && numbers::is_certain(Kind::User, user)
}

/// The owner of a bid makes the file and writes it in so many milliseconds. If it was stopped in between, it makes the file anew.
const AT_ONCE: i64 = 1000;

/// Whether a file that was made at `born` (Unix nanoseconds, if the filesystem tells it) and was last modified at `modified` (Unix
/// milliseconds) looks as if it was written to after its making.
pub(super) fn is_rewritten(born: Option<u64>, modified: i64) -> bool {
    let born = born.and_then(|nanos| i64::try_from(nanos / 1_000_000).ok());
    born.is_some_and(|born| modified.saturating_sub(born) > AT_ONCE)
}
