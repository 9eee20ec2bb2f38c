//! Who may use what we make in a folder of others: the same users who may use that folder, and nobody else.

use std::io;

use rustix::fd::BorrowedFd;
use rustix::fs;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::numbers::{self, Kind};
use super::stat::FolderStat;
use super::unix::{retry, to_mode, Dir};

/// Who may use a folder.
pub(super) struct Access {
    owner: u32,
    group: u32,
    mode: u32,
    /// As the system has it; `None` where there is no such list.
    acl: Option<Vec<u8>>,
}

impl Access {
    pub fn of(dir: &Dir) -> io::Result<Access> {
        let stat = dir.stat()?;
        Ok(Access { owner: stat.owner, group: stat.group, mode: stat.mode, acl: acl::read(dir.fd())? })
    }

    /// Gives this access to an open folder that we have just made: the owner (root can give away what it made), the group, the
    /// access control list and the mode, as far as we may.
    pub fn give(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        self.give_as(to, |permissions| permissions)
    }

    /// The same for a FIFO: a user who may write to the folder may write and read, and nobody else may do either. (A reader can
    /// stop all others at a FIFO, by a read(2) into memory that never comes.)
    #[cfg(target_os = "linux")] // elsewhere there are no FIFOs of ours
    pub fn give_to_fifo(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        self.give_as(to, |permissions| if permissions & 0o2 != 0 { 0o6 } else { 0 })
    }

    /// `adapt` says what is made of the permissions of each user, a number from 0 to 7.
    ///
    /// Nothing is given to a number that is not one user's or one group's (see [`numbers`]). They are others to what we made. If
    /// others may do less than they, that is an error.
    fn give_as(&self, to: BorrowedFd<'_>, adapt: fn(u32) -> u32) -> io::Result<()> {
        let made = FolderStat::of(&retry(|| fs::fstat(to))?);
        let owner = self.owner_for(&made);
        let group = self.group_for(&made);
        let chown = |owner: Option<u32>, group: Option<u32>| {
            let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
            retry(|| fs::fchown(to, owner, group)).is_ok()
        };
        let (may_owner, may_group) = (owner.number(), group.number());
        let both = chown(may_owner, may_group);
        let has_owner = owner == Whose::Ours || owner != Whose::Uncertain && both;
        let has_group = group == Whose::Ours || group != Whose::Uncertain && (both || chown(None, may_group));
        let owner = may_owner.filter(|_| !has_owner);
        let group = may_group.filter(|_| !has_group);
        let list = match (&self.acl, owner) {
            (Some(list), _) => Some(acl::naming(list, owner, group)),
            // The owner of the folder would be nobody to us, and so may be shut out. A list can name it.
            (None, Some(_)) => Some(acl::naming(&acl::of_mode(self.mode), owner, group)),
            (None, None) => None,
        };
        let list = list.map(|list| acl::adapted(&list, adapt));
        // Everybody whom neither the mode nor a list can name here is one of the others to what we made.
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
            // This user namespace has no number for somebody whom the list names.
            Err(Errno::INVAL) if !are_others(!has_owner, !has_group || self.acl.is_some()) => return Err(nameless()),
            // There are no lists here; or those whom it names may do what all may.
            Err(Errno::INVAL) => None,
            Err(Errno::OPNOTSUPP) if self.acl.is_none() => None,
            Err(e) => return Err(e.into()),
        };
        let mode = match &list {
            // These bits of the mode are the mask of the list.
            Some(list) => self.mode & !0o070 | acl::mask(list) << 3,
            // Where it stays our own group's, the members of that group are others to the folder. And without its list the mode would
            // give the group what is the mask of all.
            None if !has_group || self.acl.is_some() => self.mode & !0o070 | (self.mode & 0o007) << 3,
            None => self.mode,
        };
        // Last: chown(2) clears the set-group-ID bit that the mode may carry. Filesystems without modes refuse.
        let _ = retry(|| fs::fchmod(to, to_mode(adapted(mode, adapt))));
        Ok(())
    }

    /// Who owns the folder, as far as we can tell.
    fn owner_for(&self, made: &FolderStat) -> Whose {
        if numbers::is_certain(Kind::User, self.owner) {
            return Whose::Number(self.owner);
        }
        // We made something in it. Where only its owner may write, and has the number that we have, that is us: root's rights do
        // not reach those who have no number (user_namespaces(7)).
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
        // What is made in a set-group-ID folder has its group (inode(7)).
        let is_inherited = self.mode & 0o2000 != 0 && made.group == self.group;
        if is_inherited {
            Whose::Ours
        } else {
            Whose::Uncertain
        }
    }
}

/// Whose a folder is, to who made something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Number(u32),
    /// What we made has the same owner, or the same group, already.
    Ours,
    /// Somebody's who shares its number with others.
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

fn adapted(mode: u32, adapt: fn(u32) -> u32) -> u32 {
    let special = if adapt(0o7) == 0o7 { mode & 0o7000 } else { 0 }; // these are a folder's
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
        // An attribute is never longer than this, xattr(7).
        let mut list = zeros(65536)?;
        match retry_on_intr(|| fgetxattr(of, ACCESS, &mut list)) {
            Ok(length) => {
                list.truncate(length);
                Ok(Some(list))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// One entry of a list, as the kernel has it (linux/posix_acl_xattr.h): a tag, permissions, an ID.
    const ENTRY: usize = 8;
    /// What is before the entries: a version.
    const HEADER: usize = 4;
    const USER_OBJ: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP_OBJ: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;

    /// The list that says what a mode says. What it can name besides may have as much as the owner or the group.
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

    /// The list with other permissions.
    pub fn adapted(list: &[u8], adapt: fn(u32) -> u32) -> Vec<u8> {
        let mut list = list.to_vec();
        for entry in list.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(ENTRY) {
            let permissions = adapt(u32::from(u16::from_le_bytes([entry[2], entry[3]]))) as u16;
            entry[2..4].copy_from_slice(&permissions.to_le_bytes());
        }
        list
    }

    /// What the list lets anybody have but the owner and the others.
    pub fn mask(list: &[u8]) -> u32 {
        let word = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let entries = || list.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY);
        let of = |tag| entries().find(|entry| word(entry, 0) == tag).map(|entry| u32::from(word(entry, 2)));
        of(MASK).or(of(GROUP_OBJ)).unwrap_or(0)
    }

    /// The list, for what could not be given the owner or the group: it names them, and they may do what they may in the folder.
    /// The group that it has instead is that of its maker, whose members are others to the folder.
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
        // What is named from here on may need more than the mask lets through. So the mask bounds the others one by one.
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
            let others = may(&entries, OTHER);
            entries
                .iter_mut()
                .filter(|(tag, ..)| *tag == GROUP_OBJ)
                .for_each(|(.., permissions)| *permissions = others);
        }
        let all =
            entries.iter().filter(|(tag, ..)| is_bounded(*tag)).fold(0, |all, (.., permissions)| all | permissions);
        entries.iter_mut().filter(|(tag, ..)| *tag == MASK).for_each(|(.., mask)| *mask |= all);
        entries.sort_unstable(); // the kernel wants them in this order
        let written = entries.iter().flat_map(|(tag, id, permissions)| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        });
        header.iter().copied().chain(written).collect()
    }

    /// What a new file inherited from the default list of its folder goes: it speaks of users who may not lock.
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

/// Not copied on these systems: docs/platforms.md.
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
