//! What is known of a folder or a file without opening it: which one it is, whose, and who may write to it.

use rustix::fs::{self, FileType};

use super::numbers::{self, Kind};

/// Which file this is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    /// The number that a listing gives with the names of this file.
    pub fn number(&self) -> u64 {
        self.inode
    }

    #[allow(clippy::unnecessary_cast)] // the types of these fields differ by system
    pub(super) fn of(stat: &fs::Stat) -> FileId {
        FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// Whose a folder or a file in it is, and who may write to it.
pub(crate) struct FolderStat {
    pub id: FileId,
    pub is_folder: bool,
    is_link: bool,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
}

impl FolderStat {
    #[allow(clippy::useless_conversion)] // the types of these fields differ by system
    pub(super) fn of(stat: &fs::Stat) -> FolderStat {
        let kind = FileType::from_raw_mode(stat.st_mode);
        FolderStat {
            id: FileId::of(stat),
            is_folder: kind == FileType::Directory,
            is_link: kind == FileType::Symlink,
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: u32::from(stat.st_mode) & 0o7777,
        }
    }

    /// It is ours, and nobody else can write to it. Where there is an access control list, the mode's bits of the group
    /// are its mask, so they bound everybody whom it names (acl(5)).
    pub fn is_private(&self) -> bool {
        self.is_surely_ours() && self.mode & 0o022 == 0
    }

    /// The same of something inside a private folder. Root can change everything anyway, and may have used the folder too.
    pub fn is_private_within(&self) -> bool {
        !self.is_link && self.mode & 0o022 == 0 && (self.is_surely_ours() || self.owner == 0)
    }

    /// Whether nobody can do more in this folder than in the folder `above`, which it is in: delete what others made. As far as
    /// the mode bits tell: where group or others may write to the folder above, its owner may be one of them.
    pub fn may_be_trusted_in(&self, above: &FolderStat) -> bool {
        let is_sticky = above.is_sticky();
        let others_can_delete = !self.is_sticky() && self.mode & 0o022 != 0;
        let is_above = || self.owner == above.owner && numbers::is_certain(Kind::User, self.owner);
        let may_write_above = !is_sticky && above.mode & 0o022 != 0;
        let is_owner_trusted = may_write_above || self.owner == 0 || self.is_surely_ours() || is_above();
        // Where others could write before, and may not any more.
        let others_are_more = self.mode & 0o002 != 0 && above.mode & 0o002 == 0;
        is_owner_trusted && !(others_can_delete && (is_sticky || others_are_more))
    }

    /// A folder of ours that nobody else may use.
    #[cfg(target_os = "linux")] // elsewhere nothing is made in one
    pub(super) fn is_ours_alone(&self) -> bool {
        self.is_folder && self.is_ours() && self.mode & 0o077 == 0
    }

    /// Nobody can delete in it what is another's, but for its owner.
    pub fn is_sticky(&self) -> bool {
        self.mode & 0o1000 != 0
    }

    /// It has our number, and nobody else has that.
    fn is_surely_ours(&self) -> bool {
        self.is_ours() && numbers::is_certain(Kind::User, self.owner)
    }

    /// It has our number. In a user namespace that can be the number of many.
    pub fn is_ours(&self) -> bool {
        self.owner == rustix::process::geteuid().as_raw()
    }

    /// Who may write, for a person.
    pub fn access(&self) -> String {
        format!("belongs to user {} and has mode {:04o}", self.owner, self.mode)
    }
}
