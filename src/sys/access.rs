//! The rights to the files that we make in a folder of others: exactly the users that may use the folder may use these files.

use std::io;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::calls::{retry, to_mode};
use super::numbers::{self, Kind};
use super::stat::FolderStat;

/// The users that one part of a mode or one entry of an access control list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    User(u32),
    Group(u32),
    Others,
}

/// The rights to a folder.
pub(super) struct Access {
    owner: u32,
    group: u32,
    mode: u32,
    /// The access control list in the format of the system. `None`: there is no list.
    acl: Option<Vec<u8>>,
}

impl Access {
    /// Reads the rights to an open folder.
    pub fn of(dir: &impl AsFd) -> io::Result<Access> {
        let stat = FolderStat::of(&retry(|| fs::fstat(dir))?);
        // If there is a list, these bits are its mask. If they are all 0, the kernel does not look at the list (acl_permission_check
        // in fs/namei.c), and the users that the list names count as others.
        let acl = if stat.mode & 0o070 == 0 { None } else { acl::read(dir.as_fd())? };
        Ok(Access { owner: stat.owner, group: stat.group, mode: stat.mode, acl })
    }

    /// The permissions of all users except the owner, as numbers from 0 to 7.
    pub fn entries(&self) -> Vec<(Entry, u32)> {
        match &self.acl {
            Some(list) => acl::entries(list, self.group),
            None => vec![(Entry::Group(self.group), self.mode >> 3 & 0o7), (Entry::Others, self.mode & 0o7)],
        }
    }

    /// Gives these rights to an open folder that we have just made. It sets the owner (root can give away what it made), the group,
    /// the access control list and the mode, as far as we may.
    pub fn give(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        self.give_as(to, |permissions| permissions)
    }

    /// The same for a FIFO: a user that may write to the folder may read and write, and no other user may do either. (A reader can
    /// block all others at a FIFO by a read(2) into memory that is never supplied.)
    ///
    /// What is written there takes a ticket out of the line. In a sticky folder only the owner of the ticket or of the folder may do
    /// so, and others may only read.
    #[cfg(target_os = "linux")] // we make no FIFOs on other systems
    pub fn give_to_fifo(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        if self.mode & 0o1000 == 0 {
            return self.give_as(to, |permissions| if permissions & 0o2 != 0 { 0o6 } else { 0 });
        }
        self.give_as(to, |permissions| if permissions & 0o2 != 0 { 0o4 } else { 0 })?;
        let mode = FolderStat::of(&retry(|| fs::fstat(to))?).mode;
        if mode & 0o400 != 0 {
            let _ = retry(|| fs::fchmod(to, to_mode(mode | 0o200))); // filesystems without modes refuse
        }
        Ok(())
    }

    /// `adapt` converts the permissions of each user, a number from 0 to 7.
    ///
    /// A number that may stand for several users or groups gets no right (see [`numbers`]). Its users count as others for the file that
    /// we made. It is an error if others have fewer rights than these users.
    fn give_as(&self, to: BorrowedFd<'_>, adapt: fn(u32) -> u32) -> io::Result<()> {
        let made = FolderStat::of(&retry(|| fs::fstat(to))?);
        let owner = self.owner_for(&made);
        let group = self.group_for(&made);
        let chown = |owner: Option<u32>, group: Option<u32>| {
            let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
            retry(|| fs::fchown(to, owner, group)).is_ok()
        };
        let (may_owner, may_group) = (owner.number(), group.number());
        let may_give_away = may_owner == Some(made.owner) || may_change_what_is_anothers();
        let both = may_give_away && chown(may_owner, may_group);
        let has_owner = owner == Whose::Ours || owner != Whose::Uncertain && both;
        let has_group = group == Whose::Ours || group != Whose::Uncertain && (both || chown(None, may_group));
        let owner = may_owner.filter(|_| !has_owner);
        let group = may_group.filter(|_| !has_group);
        let list = match (&self.acl, owner) {
            (Some(list), _) => Some(acl::naming(list, owner, group)),
            // The mode alone would not cover the owner of the folder, so the owner could be shut out. A list can name the owner.
            (None, Some(_)) => Some(acl::naming(&acl::of_mode(self.mode), owner, group)),
            (None, None) => None,
        };
        let list = list.map(|list| acl::adapted(&list, adapt));
        // Users that neither the mode nor a list can name here count as others for the file that we made.
        let are_others = |owner: bool, group: bool| {
            let can_write = |shift: u32| self.mode >> shift & 0o3 == 0o3;
            (!owner || can_write(0) || !can_write(6)) && (!group || can_write(0) == can_write(3))
        };
        let (is_owner_lost, is_group_lost) = (!has_owner && may_owner.is_none(), !has_group && may_group.is_none());
        if !are_others(is_owner_lost, is_group_lost) {
            return Err(nameless());
        }
        let list = match acl::write(to, list.as_deref()) {
            Ok(()) if is_group_lost && list.is_some() => return Err(nameless()),
            Ok(()) => list,
            // This user namespace has no number for a user that the list names.
            Err(Errno::INVAL) if !are_others(!has_owner, !has_group || self.acl.is_some()) => return Err(nameless()),
            // There are no lists here. An owner that is root loses nothing, because root may do everything (capabilities(7)).
            Err(Errno::OPNOTSUPP) if !are_others(!has_owner && self.owner != 0, !has_group) => return Err(listless()),
            // There are no lists here, or the users that the list names have no more rights than all others.
            Err(Errno::INVAL) => None,
            Err(Errno::OPNOTSUPP) if self.acl.is_none() => None,
            Err(e) => return Err(e.into()),
        };
        let mode = match &list {
            // The group bits of the mode are the mask of the list.
            Some(list) => adapted(self.mode & !0o070, adapt) | acl::mask(list) << 3,
            // If the file keeps our own group, the members of that group are others to the folder. If the folder has a list and the file
            // can't have one, the group bits are the mask of that list, and the mode would give these rights to the group.
            None if !has_group || self.acl.is_some() => adapted(self.mode & !0o070 | (self.mode & 0o007) << 3, adapt),
            None => adapted(self.mode, adapt),
        };
        // The mode is set last, because chown(2) clears the set-group-ID bit that the mode may have. Filesystems without modes refuse.
        let _ = retry(|| fs::fchmod(to, to_mode(mode)));
        Ok(())
    }

    /// The owner of the folder, as far as we can tell.
    fn owner_for(&self, made: &FolderStat) -> Whose {
        if numbers::is_certain(Kind::User, self.owner) {
            return Whose::Number(self.owner);
        }
        // We made a file in the folder. If only its owner may write there, and the owner has the same number as we have, we are the
        // owner: the rights of root do not cover files of users without a number (user_namespaces(7)).
        let is_us = self.mode & 0o022 == 0 && made.owner == self.owner;
        if is_us {
            Whose::Ours
        } else {
            Whose::Uncertain
        }
    }

    fn group_for(&self, made: &FolderStat) -> Whose {
        if numbers::is_certain(Kind::Group, self.group) {
            return Whose::Number(self.group);
        }
        // A file that is made in a set-group-ID folder gets the group of the folder (inode(7)).
        let is_inherited = self.mode & 0o2000 != 0 && made.group == self.group;
        if is_inherited {
            Whose::Ours
        } else {
            Whose::Uncertain
        }
    }
}

/// Takes away the list that a new file of ours inherited from its folder. Only its mode then says who may do what.
pub(super) fn forget_list(of: BorrowedFd<'_>) -> io::Result<()> {
    match acl::read(of)? {
        Some(_) => Ok(acl::write(of, None)?), // only now, because it writes to the disk
        None => Ok(()),
    }
}

/// The owner or the group of a folder, as seen by a process that made a file in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Number(u32),
    /// The file that we made already has the same owner, or the same group.
    Ours,
    /// The number may stand for several users or groups.
    Uncertain,
}

impl Whose {
    fn number(self) -> Option<u32> {
        match self {
            Whose::Number(number) => Some(number),
            Whose::Ours | Whose::Uncertain => None,
        }
    }
}

fn nameless() -> io::Error {
    io::Error::other(
        "the owner or the group of the folder, or somebody whom its access control list names, has no number of its own in this user \
         namespace, and would be shut out of what is made here; let somebody lock first who is not in this user namespace",
    )
}

fn listless() -> io::Error {
    io::Error::other(
        "the owner or the group of the folder would be shut out of what is made here: this user can't give it to them, and this \
         filesystem has no access control lists that could name them; let root, or the owner as a member of the group, lock first",
    )
}

/// Whether this process may change the mode and the list of a file after it has given the file to another user, and may move that file
/// in a sticky folder. A service can have `CAP_CHOWN` without this right (capabilities(7)).
#[cfg(target_os = "linux")]
fn may_change_what_is_anothers() -> bool {
    use rustix::thread::{capabilities, CapabilitySet};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FOWNER))
}

/// On other systems only root can give files away, and root may do everything.
#[cfg(not(target_os = "linux"))]
fn may_change_what_is_anothers() -> bool {
    true
}

fn adapted(mode: u32, adapt: fn(u32) -> u32) -> u32 {
    let special = if adapt(0o7) == 0o7 { mode & 0o7000 } else { 0 }; // the special bits are for folders only
    special | [6, 3, 0].iter().map(|shift| adapt(mode >> shift & 0o7) << shift).sum::<u32>()
}

/// POSIX access control lists, acl(5).
#[cfg(target_os = "linux")]
mod acl {
    use super::*;
    use crate::sys::room::zeros;
    use rustix::fs::{fgetxattr, fremovexattr, fsetxattr, XattrFlags};
    use rustix::io::retry_on_intr;

    const ACCESS: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";

    pub fn read(of: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
        let mut short = [0; 256]; // as a rule there is no list, or it fits
        match retry_on_intr(|| fgetxattr(of, ACCESS, &mut short[..])) {
            Ok(length) => Ok(Some(short[..length].to_vec())),
            Err(Errno::RANGE) => {
                let mut list = zeros(65536)?; // an attribute is never longer than this (xattr(7))
                let length = retry_on_intr(|| fgetxattr(of, ACCESS, &mut list))?;
                list.truncate(length);
                Ok(Some(list))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The size in bytes of one entry in the kernel's format (linux/posix_acl_xattr.h): a tag, permissions, an ID.
    const ENTRY: usize = 8;
    /// The size in bytes of the header before the entries, which is a version.
    const HEADER: usize = 4;
    const USER_OBJ: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP_OBJ: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;

    /// A list with the same meaning as a mode. Its mask lets further entries have as many rights as the owner or the group.
    pub fn of_mode(mode: u32) -> Vec<u8> {
        let bits = |shift: u32| (mode >> shift & 0o7) as u16;
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, permissions) in
            [(USER_OBJ, bits(6)), (GROUP_OBJ, bits(3)), (MASK, bits(6) | bits(3)), (OTHER, bits(0))]
        {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(u32::MAX.to_le_bytes()); // no ID
        }
        list
    }

    /// The list with converted permissions. Its mask never becomes empty: with an empty mask the kernel would not look at the list, and
    /// the users that it names would count as others. The mask gets the execute bit instead. (Executing a FIFO means nothing, and
    /// for a folder with an empty mask we read no list.)
    pub fn adapted(list: &[u8], adapt: fn(u32) -> u32) -> Vec<u8> {
        let mut list = list.to_vec();
        for entry in list.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(ENTRY) {
            let permissions = adapt(u32::from(u16::from_le_bytes([entry[2], entry[3]]))) as u16;
            let is_empty_mask = u16::from_le_bytes([entry[0], entry[1]]) == MASK && permissions == 0;
            let permissions = if is_empty_mask { 0o1 } else { permissions };
            entry[2..4].copy_from_slice(&permissions.to_le_bytes());
        }
        list
    }

    /// The permissions that the list gives to all users except the owner, bounded by the mask. `group` is the group of the folder.
    pub fn entries(list: &[u8], group: u32) -> Vec<(Entry, u32)> {
        let word = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let mask = mask(list);
        let read = |entry: &[u8]| {
            let (id, may) = (u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]), u32::from(word(entry, 2)));
            match word(entry, 0) {
                USER => Some((Entry::User(id), may & mask)),
                GROUP => Some((Entry::Group(id), may & mask)),
                GROUP_OBJ => Some((Entry::Group(group), may & mask)),
                OTHER => Some((Entry::Others, may)),
                _ => None,
            }
        };
        list.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).filter_map(read).collect()
    }

    /// The most that the list lets any user or group have. The owner and the others are not bounded by it.
    pub fn mask(list: &[u8]) -> u32 {
        let word = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let entries = || list.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY);
        let of = |tag| entries().find(|entry| word(entry, 0) == tag).map(|entry| u32::from(word(entry, 2)));
        of(MASK).or(of(GROUP_OBJ)).unwrap_or(0)
    }

    /// The list for a file that could not get the owner or the group of the folder. It names them, and gives them the same rights as in
    /// the folder. The file has the group of its maker instead, and the members of that group are others to the folder. A member that
    /// is also in the named group gets no more rights than the named group.
    pub fn naming(list: &[u8], owner: Option<u32>, group: Option<u32>) -> Vec<u8> {
        let Some((header, entries)) = list.split_at_checked(HEADER) else { return list.to_vec() };
        let word = |at: &[u8]| u16::from_le_bytes([at[0], at[1]]);
        let read = |entry: &[u8]| {
            (word(entry), u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]), word(&entry[2..]))
        };
        let mut entries: Vec<_> = entries.chunks_exact(ENTRY).map(read).collect();
        let may = |entries: &[(u16, u32, u16)], wanted| {
            entries.iter().find(|(tag, ..)| *tag == wanted).map_or(0, |(.., permissions)| *permissions)
        };
        // The entries that we add below may need more rights than the mask allows, and then the mask grows. So the old mask is first
        // applied to each present entry.
        let is_bounded = |tag: u16| [USER, GROUP_OBJ, GROUP].contains(&tag);
        if let Some(&(_, _, mask)) = entries.iter().find(|(tag, ..)| *tag == MASK) {
            entries.iter_mut().filter(|(tag, ..)| is_bounded(*tag)).for_each(|(.., permissions)| *permissions &= mask);
        }
        for (id, instead, named) in [(owner, USER_OBJ, USER), (group, GROUP_OBJ, GROUP)] {
            let Some(id) = id else { continue };
            let permissions = may(&entries, instead);
            match entries.iter_mut().find(|(tag, of, _)| (*tag, *of) == (named, id)) {
                Some(entry) => entry.2 |= permissions,
                None => entries.push((named, id, permissions)),
            }
        }
        if group.is_some() {
            let others = may(&entries, OTHER) & may(&entries, GROUP_OBJ);
            entries
                .iter_mut()
                .filter(|(tag, ..)| *tag == GROUP_OBJ)
                .for_each(|(.., permissions)| *permissions = others);
        }
        let all =
            entries.iter().filter(|(tag, ..)| is_bounded(*tag)).fold(0, |all, (.., permissions)| all | permissions);
        entries.iter_mut().filter(|(tag, ..)| *tag == MASK).for_each(|(.., mask)| *mask |= all);
        entries.sort_unstable(); // the kernel demands this order
        let written = entries.iter().flat_map(|(tag, id, permissions)| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        });
        header.iter().copied().chain(written).collect()
    }

    /// Replaces the list of a new file. It also removes what the file inherited from the default list of its folder, because that list
    /// may name users that may not lock.
    pub fn write(to: BorrowedFd<'_>, list: Option<&[u8]>) -> rustix::io::Result<()> {
        let gone = |removed| match removed {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            removed => removed,
        };
        gone(retry_on_intr(|| fremovexattr(to, DEFAULT)))?;
        match list {
            Some(list) => retry_on_intr(|| fsetxattr(to, ACCESS, list, XattrFlags::empty())),
            None => gone(retry_on_intr(|| fremovexattr(to, ACCESS))),
        }
    }
}

/// On these systems, access control lists are not copied: see docs/platforms.md.
#[cfg(not(target_os = "linux"))]
mod acl {
    use super::*;

    pub fn read(_of: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    pub fn write(_to: BorrowedFd<'_>, list: Option<&[u8]>) -> rustix::io::Result<()> {
        match list {
            None => Ok(()),
            Some(_) => Err(Errno::OPNOTSUPP),
        }
    }

    pub fn entries(_list: &[u8], _group: u32) -> Vec<(Entry, u32)> {
        Vec::new()
    }

    pub fn naming(list: &[u8], _owner: Option<u32>, _group: Option<u32>) -> Vec<u8> {
        list.to_vec()
    }

    pub fn adapted(list: &[u8], _adapt: fn(u32) -> u32) -> Vec<u8> {
        list.to_vec()
    }

    pub fn of_mode(_mode: u32) -> Vec<u8> {
        Vec::new()
    }

    pub fn mask(_list: &[u8]) -> u32 {
        0
    }
}
