//! What Linux does better than POSIX, or not at all like the others, with folders; what its filesystems are good for; and its random
//! numbers.

use std::cell::Cell;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, StatxFlags, CWD};
use rustix::io::Errno;

use super::linux_proc::Proc;
use super::unix::{descriptor, retry};
use super::{Dir, Filesystem};

/// For a folder that is opened: to list it is no access to be noted.
pub(super) const UNNOTICED: OFlags = OFlags::NOATIME;

/// Room for about 100 bids at a time.
const BUFFER: usize = 8192;

thread_local! {
    /// Not on the stack, of which a thread may have little; and kept, since a lock that nobody else wants allocates nothing.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Names every entry of an open folder, and its inode.
pub(super) fn entries(dir: BorrowedFd<'_>, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
    read(dir, each, |_| false)
}

/// The same, but if one call left room for more it is not asked whether there is more. There may be, and it may have failed to read
/// it: of an error in the midst getdents64(2) tells only when it is called again.
pub(super) fn glance(dir: BorrowedFd<'_>, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
    const LARGEST: usize = 288; // an entry with the longest name takes 280, and the buffer may begin 7 later
    read(dir, each, |filled| filled <= BUFFER - LARGEST)
}

fn read(dir: BorrowedFd<'_>, each: impl FnMut(&CStr, u64), is_enough: impl FnMut(usize) -> bool) -> io::Result<()> {
    // Neither another listing in the midst of this one nor the end of the thread is a danger: each then has a buffer of its own.
    let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
    buffer.try_reserve_exact(BUFFER).map_err(|_| Errno::NOMEM)?;
    let done = read_by(&mut buffer.spare_capacity_mut()[..BUFFER], dir, each, is_enough);
    let _ = SPARE.try_with(|spare| spare.set(buffer));
    done
}

fn read_by(
    buffer: &mut [MaybeUninit<u8>],
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr, u64),
    mut is_enough: impl FnMut(usize) -> bool,
) -> io::Result<()> {
    rustix::io::retry_on_intr(|| fs::seek(dir, SeekFrom::Start(0)))?;
    let mut entries = RawDir::new(dir, buffer);
    let mut filled = 0;
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                each(entry.file_name(), entry.ino());
                filled += (19 + entry.file_name().count_bytes() + 1).next_multiple_of(8);
                // struct linux_dirent64
            }
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        if entries.is_buffer_empty() {
            if is_enough(filled) {
                break;
            }
            filled = 0;
        }
    }
    Ok(())
}

/// Opens what has this name in the folder. Where somebody mounted a filesystem at the name, this is EXDEV (openat2(2), Linux 5.6): the
/// server of that filesystem is not asked, so one that never answers stops nobody.
pub(super) fn open_within(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    match fs::openat2(dir, name, flags, mode, ResolveFlags::NO_XDEV) {
        // An older kernel does not have it, and some sandboxes forbid it. Then a mount is crossed.
        Err(Errno::NOSYS | Errno::PERM) => fs::openat(dir, name, flags, mode),
        opened => opened,
    }
}

/// The same for stat(2) without following a link.
pub(super) fn stat_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<fs::Stat> {
    let open = || open_within(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let error = match descriptor(open) {
        Ok(found) => return retry(|| fs::fstat(&found)),
        Err(e) => e,
    };
    match Errno::from_io_error(&error) {
        // No descriptor can be had, and stat(2) needs none.
        Some(Errno::MFILE | Errno::NFILE) => retry(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)),
        _ => Err(error),
    }
}

/// Whether something has this name in the folder. It costs less than [`stat_within`]: it needs no descriptor. What is mounted there is not
/// asked either, as long as its kind of filesystem heeds `AT_STATX_DONT_SYNC` (statx(2)); FUSE and NFS do.
pub(super) fn has_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match rustix::io::retry_on_intr(|| fs::statx(dir, name, how, StatxFlags::TYPE)) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::NOSYS | Errno::PERM) => stat_within(dir, name).map(|_| true),
        Err(e) => Err(e.into()),
    }
}

/// Device and inode of what is at this path; `None` where stat(2) must tell.
///
/// Not stat(2): it also asks for the time of the last change, and since Linux 6.13 each change that follows such a
/// question gets a finer timestamp, which costs a lock and unlock a tenth of its time.
pub(super) fn id_at(path: &Path) -> rustix::io::Result<Option<(u64, u64)>> {
    match fs::statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(stat) => Ok(Some((fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino))),
        // Not in Linux before 4.11, and forbidden in some sandboxes.
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A moment as the filesystems of this machine note it, Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64, i64);

impl Moment {
    pub fn now() -> Moment {
        // The clock that a filesystem reads: it lags the precise one by up to a tick of the kernel's timer.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Moment(now.tv_sec, now.tv_nsec)
    }

    /// Nanoseconds since 1970; 0 before that.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(self.1 as u64)
    }
}

/// When this file or folder was made, statx(2). `None` where the filesystem does not say, or says it by another machine's clock.
pub(super) fn born(file: BorrowedFd<'_>) -> Option<Moment> {
    if !is_known(file).ok()? {
        return None;
    }
    let stat = fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let said = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    said.then_some(Moment(stat.stx_btime.tv_sec, i64::from(stat.stx_btime.tv_nsec)))
}

/// Fills a buffer from the system's generator, which is safe across fork and in clones of a machine.
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Filesystems that only this kernel writes to, and that are not in [`KNOWN`]. A filesystem that a network, a host machine or a
/// cluster stands behind is not here.
const LOCAL: &[&str] = &[
    "ramfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs", "nilfs2", "vfat", "msdos", "exfat", "ntfs", "fuseblk",
    "udf", "hfsplus", "ubifs", "jffs2",
];

/// Those that show files of other filesystems.
const OVERLAYS: &[&str] = &["fuse.fuse-overlayfs"];

/// Filesystems that others can write to, and that were seen to show every bid in a listing opened anew: see
/// `docs/protocol.md`.
const COHERENT: &[&str] = &["fuse.glusterfs"];

/// What filesystem a folder is on. The error is its type, where nobody has shown that it carries the promise.
pub(crate) fn filesystem(dir: &Dir) -> io::Result<Result<Filesystem, String>> {
    let number = number(dir.fd())?;
    if number == OVERLAY {
        return Ok(Ok(Filesystem::Overlay));
    }
    if KNOWN.contains(&number) {
        return Ok(Ok(Filesystem::Local));
    }
    // FUSE hides what is behind it from statfs; the mount table doesn't.
    let kind = mount_type(dir)?.unwrap_or_else(|| format!("type {number:#x}"));
    Ok(by_type(&kind).ok_or(kind))
}

/// The commonest by their numbers, statfs(2): ext2 to 4, tmpfs, xfs, btrfs, overlayfs. Others, above all what FUSE stands for,
/// may give a listing in smaller pieces than there is room for.
const KNOWN: &[u32] = &[0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, OVERLAY];
const OVERLAY: u32 = 0x794c_7630;

pub(super) fn is_known(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(KNOWN.contains(&number(dir)?))
}

fn number(dir: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(rustix::io::retry_on_intr(|| fs::fstatfs(dir))?.f_type as u32)
}

fn by_type(kind: &str) -> Option<Filesystem> {
    match kind {
        kind if LOCAL.contains(&kind) => Some(Filesystem::LocalByName),
        kind if OVERLAYS.contains(&kind) => Some(Filesystem::OverlayByName),
        kind if COHERENT.contains(&kind) => Some(Filesystem::Coherent),
        _ => None,
    }
}

/// Where in `/proc` the calling thread is shown. It can have a table of descriptors, and mounts, of its own (unshare(2)).
pub(super) fn own_proc() -> &'static str {
    match fs::access("/proc/thread-self", fs::Access::EXISTS) {
        Ok(()) => "thread-self",
        Err(_) => "self", // before Linux 3.17
    }
}

/// The type of the mount that a folder is on, as `/proc/self/mountinfo` says it (`ext4`, `fuse.sshfs`).
fn mount_type(dir: &Dir) -> io::Result<Option<String>> {
    let (proc, own) = (Proc::open()?, own_proc());
    let info = proc.read_text(&format!("{own}/fdinfo/{}", dir.fd().as_raw_fd()))?;
    let Some(id) = info.lines().find_map(|line| line.strip_prefix("mnt_id:")) else {
        return Ok(None);
    };
    Ok(proc.read_text(&format!("{own}/mountinfo"))?.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let same = before.split(' ').next() == Some(id.trim());
        same.then(|| after.split(' ').next().map(str::to_owned))?
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn glances_at_all(path: &Path) {
        let dir = Dir::open(path).unwrap();
        let (mut all, mut glanced) = (Vec::new(), Vec::new());
        dir.list(false, |name, number| all.push((name.to_owned(), number))).unwrap();
        dir.glance(|name, number| glanced.push((name.to_owned(), number))).unwrap();
        assert_eq!(all.len(), std::fs::read_dir(path).unwrap().count() + 2);
        assert_eq!(all, glanced);
    }

    /// Also where it takes several calls to read them. However long the names are: how much room one takes depends on that.
    #[test]
    fn a_glance_names_all_that_local_filesystems_have() {
        for width in 97..=104 {
            let path = Scratch::new();
            for count in [0, 1, 70, 200] {
                (0..count).for_each(|n| std::fs::write(path.join(format!("{n:0width$}")), "").unwrap());
                glances_at_all(&path);
            }
        }
    }

    /// One of the longest names did not find room: whatever room that is, there is more to ask for.
    #[test]
    fn a_glance_does_not_take_a_buffer_that_is_full_for_the_end() {
        for length in (1..=255).step_by(8) {
            let path = Scratch::new();
            for n in 0..30 {
                let name = if n == 15 { "x".repeat(length) } else { format!("{n:0255}") };
                std::fs::write(path.join(name), "").unwrap();
            }
            glances_at_all(&path);
        }
    }

    /// An entry has 19 bytes before its name and a zero behind it, and each begins at a multiple of 8: getdents64(2).
    #[test]
    fn how_much_was_filled_is_told_to_the_byte() {
        for (width, size) in [(1, 24), (4, 24), (5, 32), (108, 128), (109, 136), (255, 280)] {
            let path = Scratch::new();
            (0..9).for_each(|n| std::fs::write(path.join(format!("{n:0width$}")), "").unwrap());
            let (dir, mut filled) = (Dir::open(&path).unwrap(), 0);
            read(
                dir.fd(),
                |_, _| {},
                |bytes| {
                    filled += bytes;
                    false
                },
            )
            .unwrap();
            assert_eq!(filled, 2 * 24 + 9 * size);
        }
    }

    #[test]
    fn a_filesystem_is_what_the_mount_table_says() {
        assert_eq!(filesystem(&Dir::open(Path::new("/proc")).unwrap()).unwrap(), Err("proc".to_owned()));
        assert_eq!(by_type("ramfs"), Some(Filesystem::LocalByName));
        assert_eq!(by_type("fuse.glusterfs"), Some(Filesystem::Coherent));
        assert_eq!(by_type("fuse.sshfs"), None);
    }
}
