//! Which users may delete what others made in a folder.

use std::io;

use super::access::{Access, Entry};
use super::numbers::{self, Kind};
use super::stat::FolderStat;
use super::unix::Dir;

/// Whether no user can delete more in this folder than in its parent folder `above`. The answer goes only as far as numbers tell: where
/// a group may write to the parent folder, we assume that the owner of this folder is a member of that group.
pub(crate) fn may_be_trusted_in(folder: &Dir, above: &Dir) -> io::Result<bool> {
    let (stat, stat_above) = (folder.stat()?, above.stat()?);
    let above = Deleters::of(above, &stat_above)?;
    let may_above = |entry: Entry| match entry {
        Entry::User(user) => FolderStat::is_trusted_owner(user, &stat_above) || above.may_include(user),
        group_or_others => above.others || above.named.contains(&group_or_others),
    };
    let below = Deleters::of(folder, &stat)?;
    let others = below.others.then_some(Entry::Others);
    Ok(below.named.iter().copied().chain(others).all(may_above))
}

/// Whether we could delete a file of others in the folder `above`, if we can delete our own files in `folder`. The owner of a file may
/// delete it also in a sticky folder (unlink(2)).
pub(crate) fn may_delete_no_more_in(folder: &Dir, above: &Dir) -> io::Result<bool> {
    let (stat, stat_above) = (folder.stat()?, above.stat()?);
    let us = rustix::process::geteuid().as_raw();
    // Root in a user namespace has no rights over files of users without a number there (user_namespaces(7)).
    let is_root = us == 0 && numbers::is_certain(Kind::User, stat_above.owner);
    let is_owner = us == stat_above.owner && numbers::is_certain(Kind::User, us);
    Ok(!stat.is_sticky() || is_root || is_owner || Deleters::of(above, &stat_above)?.may_include(us))
}

/// Whether each user that may move a folder to a name in the folder `above` may also delete what others made in `folder`. A folder that
/// we made in `above` is like that, whichever of its users we are (see `Access::give`). The answer is false where numbers tell too little.
///
/// In a sticky folder only its owner may move what others made. If `folder` is sticky too, it is enough that all the users of `above` may
/// write to it: another user may have made it for them, and then its owner is this user.
pub(crate) fn is_as_open(folder: &Dir, above: &Dir) -> io::Result<bool> {
    let (stat, stat_above) = (folder.stat()?, above.stat()?);
    if stat.is_sticky() && !stat_above.is_sticky() {
        return Ok(false);
    }
    let below = Deleters::of_all(folder, &stat, WRITE_AND_SEARCH)?;
    let above = Deleters::of_all(above, &stat_above, WRITE)?;
    let us = rustix::process::geteuid().as_raw();
    let may_below = |entry: &Entry| match *entry {
        Entry::User(user) => {
            // Root may do everything. And we delete nothing that we may not delete.
            let is_free = user == 0 || user == us && numbers::is_certain(Kind::User, user);
            is_free || below.may_certainly(Kind::User, user, entry)
        }
        Entry::Group(group) => below.may_certainly(Kind::Group, group, entry),
        Entry::Others => below.others,
    };
    let others = above.others.then_some(Entry::Others);
    let all_may = above.named.iter().chain(&others).all(may_below);
    Ok(all_may && (!above.others || below.denied.iter().all(|entry| above.denied.contains(entry))))
}

/// Without this right nobody changes a name in a folder. To be on the safe side, it counts as enough where the answer is that somebody
/// can do harm.
const WRITE: u32 = 0o2;
/// To change a name in a folder one must also be able to search it (path_resolution(7)).
const WRITE_AND_SEARCH: u32 = 0o3;

struct Deleters {
    /// Users and groups that may delete. The owner is always one: it can give itself any right.
    named: Vec<Entry>,
    /// Users and groups that may not delete, other than others.
    denied: Vec<Entry>,
    /// Whether all other users may delete.
    others: bool,
}

impl Deleters {
    fn of(dir: &Dir, stat: &FolderStat) -> io::Result<Deleters> {
        match stat.is_sticky() {
            // unlink(2): only the owner of the folder can delete what belongs to others
            true => Ok(Deleters { named: vec![Entry::User(stat.owner)], denied: Vec::new(), others: false }),
            false => Deleters::of_all(dir, stat, WRITE),
        }
    }

    /// All that have these rights, as if the folder were not sticky.
    fn of_all(dir: &Dir, stat: &FolderStat, rights: u32) -> io::Result<Deleters> {
        let mut deleters = Deleters { named: vec![Entry::User(stat.owner)], denied: Vec::new(), others: false };
        for (entry, permissions) in Access::of(dir)?.entries() {
            match (entry, permissions & rights == rights) {
                (Entry::Others, may_delete) => deleters.others = may_delete,
                (entry, true) => deleters.named.push(entry),
                (entry, false) => deleters.denied.push(entry),
            }
        }
        Ok(deleters)
    }

    /// Whether this user may delete, or could be a member of a group that may.
    fn may_include(&self, user: u32) -> bool {
        let is_named = self.named.contains(&Entry::User(user)) && numbers::is_certain(Kind::User, user);
        let has_group = self.named.iter().any(|entry| matches!(entry, Entry::Group(_)));
        is_named || !self.denied.contains(&Entry::User(user)) && (has_group || self.others)
    }

    /// Whether this user, or each member of this group, may delete. `entry` is the same user or group.
    fn may_certainly(&self, kind: Kind, number: u32, entry: &Entry) -> bool {
        let is_named = self.named.contains(entry) && numbers::is_certain(kind, number);
        is_named || self.others && !self.denied.contains(entry)
    }
}
