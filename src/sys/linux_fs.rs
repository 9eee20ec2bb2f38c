//! Folder calls that Linux does better than POSIX or differently from other systems, the promises of the filesystems on Linux, and the
//! random numbers of Linux.

use std::cell::Cell;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, StatxFlags, CWD};
use rustix::io::Errno;

use super::calls::{descriptor, retry};
use super::contract::System;
use super::files::Files;
use super::filesystem::{Filesystem, Refusal};
use super::linux_mounts::{self, Mount};
use super::linux_proc::{own_proc, Proc};
use super::stat::{FileId, Rights};
use super::thread::Blocked;

/// The flag for opening a folder so that a listing does not change its time of last access.
const UNNOTICED: OFlags = OFlags::NOATIME;

/// The buffer has room for about 100 bids at a time.
const BUFFER: usize = 8192;

thread_local! {
    /// The buffer is not on the stack, because a thread may have a small stack. It is kept, because an uncontended lock must allocate
    /// nothing.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Names every entry of an open folder, its inode, and what kind of file it is, where the filesystem says so.
///
/// `at_once`: by one call. The kernel lets nobody change the folder during one getdents64(2). Between two calls a name can come or go, and
/// then tmpfs skips others that are there all the time (Linux 6.14 and later, whose tmpfs goes on at the place of the next name in an
/// order of its own). A call ends before the end of the folder if the buffer is full, or if a signal, a stop or a freezer interrupts it. Then
/// this begins again, with a larger buffer and without signals.
fn kinds(
    dir: BorrowedFd<'_>,
    mut at_once: bool,
    mut begin: impl FnMut(),
    mut each: impl FnMut(&CStr, u64, FileType),
) -> io::Result<()> {
    // A nested listing, or one at the end of the thread, finds no spare buffer and allocates a buffer of its own.
    let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
    let mut size = buffer.capacity().max(BUFFER);
    let mut quiet = None;
    // Only a process that is stopped each time comes to the end of these. (And an overlay whose upper layer is on FUSE, which reads
    // a folder in pieces of 4 KiB, and skips nothing between them.)
    let mut tries = 0..100;
    let done = loop {
        if buffer.try_reserve_exact(size).is_err() {
            break Err(Errno::NOMEM.into());
        }
        begin();
        match read_pieces(&mut buffer.spare_capacity_mut()[..size], dir, at_once, &mut each) {
            Ok(Pieces::One) => break Ok(()),
            Ok(Pieces::More { .. }) if !at_once => break Ok(()),
            Ok(Pieces::More { was_full: true }) => size *= 4,
            Ok(Pieces::More { was_full: false }) => {}
            Err(e) => break Err(e),
        }
        // The last try reads all pieces.
        at_once &= tries.next().is_some();
        quiet.get_or_insert_with(Blocked::all);
    };
    if buffer.capacity() <= MOST_KEPT {
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
    done
}

/// In how many pieces a folder was read.
enum Pieces {
    One,
    /// `was_full`: the first one filled the buffer.
    More {
        was_full: bool,
    },
}

/// `only_one`: it stops after the second piece.
fn read_pieces(
    buffer: &mut [MaybeUninit<u8>],
    dir: BorrowedFd<'_>,
    only_one: bool,
    mut each: impl FnMut(&CStr, u64, FileType),
) -> io::Result<Pieces> {
    let size = buffer.len();
    let (mut pieces, mut was_full) = (0, false);
    read_by(buffer, dir, &mut each, |filled| {
        pieces += 1;
        was_full |= pieces == 1 && filled > size - LARGEST;
        only_one && pieces > 1
    })?;
    Ok(if pieces > 1 { Pieces::More { was_full } } else { Pieces::One })
}

/// An entry with the longest name takes 280 bytes, and alignment may skip 7 bytes of the buffer. If more than this is left, all was read.
const LARGEST: usize = 288;

/// A thread keeps no larger buffer.
const MOST_KEPT: usize = 1 << 20;

/// The same as [`kinds`], but it stops after a call that left room in the buffer. So it can miss entries: if getdents64(2) fails after
/// some entries, it reports the error only at the next call.
fn glance(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
    let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
    buffer.try_reserve_exact(BUFFER).map_err(|_| Errno::NOMEM)?;
    let note = |name: &CStr, number, _| each(name, number);
    let done = read_by(&mut buffer.spare_capacity_mut()[..BUFFER], dir, note, |filled| filled <= BUFFER - LARGEST);
    let _ = SPARE.try_with(|spare| spare.set(buffer));
    done
}

fn read_by(
    buffer: &mut [MaybeUninit<u8>],
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr, u64, FileType),
    mut is_enough: impl FnMut(usize) -> bool,
) -> io::Result<()> {
    rustix::io::retry_on_intr(|| fs::seek(dir, SeekFrom::Start(0)))?;
    let mut entries = RawDir::new(dir, buffer);
    let mut filled = 0;
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                each(entry.file_name(), entry.ino(), entry.file_type());
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

/// Opens the file that has this name in the folder. Where a filesystem is mounted at the name, the error is EXDEV (openat2(2), Linux
/// 5.6). The kernel does not ask the server of that filesystem, so a server that never answers can't block us.
fn open_within(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    match fs::openat2(dir, name, flags, mode, ResolveFlags::NO_XDEV) {
        // An older kernel does not have this call, and some sandboxes forbid it. Then the open can cross a mount.
        Err(Errno::NOSYS | Errno::PERM) => fs::openat(dir, name, flags, mode),
        opened => opened,
    }
}

/// The same for stat(2) without following a link.
fn stat_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<fs::Stat> {
    let open = || open_within(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let error = match descriptor(open) {
        Ok(found) => return retry(|| fs::fstat(&found)),
        Err(e) => e,
    };
    match Errno::from_io_error(&error) {
        // No descriptor is free, and stat(2) needs none.
        Some(Errno::MFILE | Errno::NFILE) => retry(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)),
        _ => Err(error),
    }
}

/// What is never out of date in the cache of a filesystem: which file it is, and its kind. This costs less than [`stat_within`], because
/// it needs no descriptor. It does not ask the server of a filesystem that is mounted there, if that kind of filesystem obeys
/// `AT_STATX_DONT_SYNC` (statx(2)). FUSE and NFS do. The outer `None`: the caller must use stat(2).
fn fixed_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Option<(FileId, FileType)>>> {
    let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match rustix::io::retry_on_intr(|| fs::statx(dir, name, how, StatxFlags::TYPE | StatxFlags::INO)) {
        Ok(stat) => {
            let device = fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
            let id = FileId { device, inode: stat.stx_ino };
            Ok(Some(Some((id, FileType::from_raw_mode(stat.stx_mode.into())))))
        }
        Err(Errno::NOENT) => Ok(Some(None)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn kind_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<FileType>> {
    match fixed_within(dir, name)? {
        Some(found) => Ok(found.map(|(_, kind)| kind)),
        None => stat_within(dir, name).map(|stat| Some(FileType::from_raw_mode(stat.st_mode))),
    }
}

fn id_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<FileId>> {
    match fixed_within(dir, name)? {
        Some(found) => Ok(found.map(|(id, _)| id)),
        None => stat_within(dir, name).map(|stat| Some(FileId::of(&stat))),
    }
}

/// Device and inode of the file at this path. `None`: the caller must use stat(2).
///
/// This is not stat(2), because stat(2) also asks for the time of the last change. Since Linux 6.13 the next change after such a
/// question gets a finer timestamp, and this makes a lock and unlock a tenth slower.
///
/// Local filesystems tell the rights unasked. A network filesystem may ask its server for them, so we do not ask.
fn id_at(path: &Path) -> rustix::io::Result<Option<(u64, u64, Option<Rights>)>> {
    match fs::statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(stat) => {
            let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MODE | StatxFlags::GID);
            let rights = told.then(|| Rights::new(stat.stx_mode.into(), stat.stx_gid));
            Ok(Some((fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino, rights)))
        }
        // Linux before 4.11 does not have this call, and some sandboxes forbid it.
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether the file at this path is append-only or immutable (chattr(1)).
fn is_fixed(path: &Path) -> bool {
    use rustix::fs::StatxAttributes;
    let stat = fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty());
    stat.is_ok_and(|stat| stat.stx_attributes.intersects(StatxAttributes::APPEND | StatxAttributes::IMMUTABLE))
}

/// A moment as the filesystems of this machine record it, in Unix time: seconds, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64, i64);

impl Moment {
    pub fn now() -> Moment {
        // Filesystems read this clock. It lags behind the precise clock by up to one tick of the kernel's timer.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Moment(now.tv_sec, now.tv_nsec)
    }

    /// Nanoseconds since 1970. A moment before 1970 gives 0 seconds.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(self.1 as u64)
    }
}

/// When this file or folder was made (statx(2)). `None`: the filesystem does not tell it, or tells it by another machine's clock.
fn born(file: BorrowedFd<'_>) -> Option<Moment> {
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

/// Which filesystem a folder is on. The inner error says why we can't rely on the filesystem.
fn filesystem(dir: BorrowedFd<'_>) -> io::Result<Result<Filesystem, Refusal>> {
    let number = rustix::io::retry_on_intr(|| fs::fstatfs(dir))?.f_type as u32;
    let known = match number {
        OVERLAY => Some(Filesystem::Overlay),
        _ => KNOWN.contains(&number).then_some(Filesystem::Local),
    };
    // A disk has a block device of its own.
    let device = retry(|| fs::fstat(dir))?.st_dev;
    if let Some(on) = known.filter(|_| rustix::fs::major(device) != 0) {
        return Ok(Ok(on));
    }
    /// The last filesystem without a device that the mount table has shown. To read that table takes longer than all the rest of an open.
    static SHOWN: AtomicU64 = AtomicU64::new(0);
    // The number of a device is used again after an unmount. That of the filesystem is a random one, or it is missing.
    let id = rustix::io::retry_on_intr(|| fs::fstatvfs(dir))?.f_fsid;
    let this = if id == 0 { 0 } else { id.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ device ^ u64::from(number) };
    if let Some(on) = known.filter(|_| this != 0 && SHOWN.load(Ordering::Relaxed) == this) {
        return Ok(Ok(on));
    }
    // statfs does not tell which filesystem is behind FUSE, and how a filesystem is mounted. And 9p gives the number of the server's
    // filesystem. The mount table tells all that.
    let judged = judge(known, number, mount(dir)?, || born(dir).is_some());
    if known.is_some() && judged.as_ref().ok() == known.as_ref() {
        SHOWN.store(this, Ordering::Relaxed);
    }
    Ok(judged)
}

/// `known`: what the number of the filesystem says. `mount`: what the mount table says, if it can be read.
fn judge(
    known: Option<Filesystem>,
    number: u32,
    mount: Option<Mount>,
    tells_birth: impl FnOnce() -> bool,
) -> Result<Filesystem, Refusal> {
    match (known, mount) {
        (Some(on), Some(mount)) if NO_DEVICE.contains(&&*mount.kind) => Ok(on),
        // 9p does not tell when a file was made.
        (Some(on), None) if tells_birth() => Ok(on),
        (_, Some(mount)) => {
            linux_mounts::judge(&mount.kind, &mount.options).map_err(|refusal| refusal.at(&mount.point))
        }
        (_, None) => Err(Refusal::unknown(&format!("type {number:#x}"))),
    }
}

/// The most common filesystems, by their numbers in statfs(2): ext2 to ext4, tmpfs, xfs, btrfs, overlayfs. Other filesystems,
/// especially those on FUSE, may return a listing in pieces that do not fill the buffer.
const KNOWN: &[u32] = &[0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, OVERLAY];
const OVERLAY: u32 = 0x794c_7630;

/// The names of those that have no block device of their own. (The root of an initramfs is a tmpfs by another name.)
const NO_DEVICE: &[&str] = &["tmpfs", "devtmpfs", "rootfs", "btrfs", "overlay"];

fn is_known(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(KNOWN.contains(&(rustix::io::retry_on_intr(|| fs::fstatfs(dir))?.f_type as u32)))
}

/// The mount that a folder is on. `None`: the mount table does not show it.
fn mount(dir: BorrowedFd<'_>) -> io::Result<Option<Mount>> {
    let (proc, own) = (Proc::open()?, own_proc());
    let info = proc.read_text(&format!("{own}/fdinfo/{}", dir.as_raw_fd()))?;
    let Some(id) = info.lines().find_map(|line| line.strip_prefix("mnt_id:")) else {
        return Ok(None);
    };
    Ok(Mount::find(&proc.read_text(&format!("{own}/mountinfo"))?, id.trim()))
}

impl Files for System {
    type Moment = Moment;

    const UNNOTICED: OFlags = UNNOTICED;

    /// A delegation lets this host cache the file, and makes others who want to delete, link or write it wait until this host gives
    /// it back: for 90 s if this host stands still. A file that is opened with O_DIRECT is not cached, so the client asks the
    /// server not to delegate it (RFC 8881, section 18.16.3, OPEN4_SHARE_ACCESS_WANT_NO_DELEG). NFS 4.0 can't ask, so it is
    /// refused.
    const UNDELEGATED: OFlags = OFlags::DIRECT;

    fn now() -> Moment {
        Moment::now()
    }

    fn nanos(moment: Moment) -> u64 {
        moment.nanos()
    }

    fn born(file: BorrowedFd<'_>) -> Option<Moment> {
        born(file)
    }

    fn is_known(dir: BorrowedFd<'_>) -> io::Result<bool> {
        is_known(dir)
    }

    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<Result<Filesystem, Refusal>> {
        filesystem(dir)
    }

    fn kinds(
        dir: BorrowedFd<'_>,
        at_once: bool,
        begin: impl FnMut(),
        each: impl FnMut(&CStr, u64, FileType),
    ) -> io::Result<()> {
        kinds(dir, at_once, begin, each)
    }

    fn glance(dir: BorrowedFd<'_>, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        glance(dir, each)
    }

    fn open_within(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        open_within(dir, name, flags, mode)
    }

    fn stat_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<fs::Stat> {
        stat_within(dir, name)
    }

    fn kind_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<FileType>> {
        kind_within(dir, name)
    }

    fn id_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<FileId>> {
        id_within(dir, name)
    }

    fn is_fixed(path: &Path) -> bool {
        is_fixed(path)
    }

    fn id_at(path: &Path) -> rustix::io::Result<Option<(u64, u64, Option<Rights>)>> {
        id_at(path)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::scratch::Scratch;
    use crate::sys::Dir;
    use rustix::fd::AsFd;

    fn glances_at_all(path: &Path) {
        let mut dir = Dir::open(path).unwrap();
        dir.must_read_at_once();
        let (all, mut glanced) = (RefCell::new(Vec::new()), Vec::new());
        let each = |name: &CStr, number| all.borrow_mut().push((name.to_owned(), number));
        dir.list_in_one(false, || all.borrow_mut().clear(), each).unwrap();
        let all = all.into_inner();
        dir.glance(|name, number| glanced.push((name.to_owned(), number))).unwrap();
        assert_eq!(all.len(), std::fs::read_dir(path).unwrap().count() + 2);
        assert_eq!(all, glanced);
    }

    /// This holds also if it takes several calls to read them, and for each length of name, because the length decides how much room
    /// an entry takes.
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

    /// Other files are rewritten by a rename over them, and deleted in the midst of the listing, each right where the listing goes on.
    fn names_what_is_there_all_the_time(width: usize, deletes_after: std::ops::Range<usize>) {
        for path in [Scratch::new(), Scratch::inside(Path::new("/dev/shm"))] {
            let name = |n: usize| format!("{n:03}{:0width$}", 0);
            (0..300).for_each(|n| std::fs::write(path.join(name(n)), "").unwrap());
            std::fs::write(path.join("held"), "").unwrap();
            for n in (0..300).step_by(2) {
                std::fs::write(path.join("new"), "").unwrap();
                std::fs::rename(path.join("new"), path.join(name(n))).unwrap();
            }
            let mut dir = Dir::open(&path).unwrap();
            dir.must_read_at_once();
            let (named, seen, begun) = (Cell::new(0), Cell::new(0), Cell::new(0));
            let begin = || {
                named.set(0);
                begun.set(begun.get() + 1);
            };
            let each = |entry: &CStr, _: u64| {
                named.set(named.get() + usize::from(entry == c"held"));
                seen.set(seen.get() + 1);
                // On tmpfs, the next name that is rewritten is two numbers before.
                if begun.get() == 1 && deletes_after.contains(&seen.get()) {
                    let n = entry.to_bytes().get(..3).and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
                    if let Some(next) = n.and_then(|n| n.checked_sub(2)) {
                        let _ = std::fs::remove_file(path.join(name(next)));
                    }
                }
            };
            dir.list_in_one(false, begin, each).unwrap();
            assert_eq!(named.get(), 1, "{}", path.display());
        }
    }

    #[test]
    fn a_listing_names_what_is_there_all_the_time_while_other_files_are_rewritten_and_deleted() {
        names_what_is_there_all_the_time(200, 30..39); // one piece has 38 entries
    }

    /// A signal ends a call early.
    #[test]
    fn a_listing_names_what_is_there_all_the_time_while_signals_come() {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        let is_over = std::sync::atomic::AtomicBool::new(false);
        // SAFETY: the call has no arguments.
        let lister = unsafe { libc::pthread_self() };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(lister, libc::SIGUSR2) };
                    std::thread::sleep(std::time::Duration::from_micros(30));
                }
            });
            let tried = std::panic::catch_unwind(|| (0..20).for_each(|_| names_what_is_there_all_the_time(0, 3..300)));
            is_over.store(true, Ordering::Relaxed);
            tried.unwrap();
        });
    }

    /// A long name may not fit into the rest of the buffer. However large that rest is, there is more to read.
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

    /// An entry has 19 bytes before its name and a zero byte after it, and each entry begins at a multiple of 8 (getdents64(2)).
    #[test]
    fn how_much_was_filled_is_told_to_the_byte() {
        for (width, size) in [(1, 24), (4, 24), (5, 32), (108, 128), (109, 136), (255, 280)] {
            let path = Scratch::new();
            (0..9).for_each(|n| std::fs::write(path.join(format!("{n:0width$}")), "").unwrap());
            let (dir, mut filled) = (Dir::open(&path).unwrap(), 0);
            let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
            let note = |bytes| {
                filled += bytes;
                false
            };
            read_by(&mut buffer, dir.as_fd(), |_, _, _| {}, note).unwrap();
            assert_eq!(filled, 2 * 24 + 9 * size);
        }
    }

    /// In a guest, a folder of its host on ext4, tmpfs or overlayfs has the number of that filesystem.
    #[test]
    fn a_filesystem_without_a_device_is_not_what_its_number_says() {
        let mount =
            |kind: &str| Some(Mount { kind: kind.to_owned(), point: "/mnt".to_owned(), options: "rw".to_owned() });
        for (number, known) in
            [(0xef53, Filesystem::Local), (0x0102_1994, Filesystem::Local), (OVERLAY, Filesystem::Overlay)]
        {
            let refusal = judge(Some(known), number, mount("9p"), || false).unwrap_err();
            assert!(refusal.to_string().contains("(9p) mounted at /mnt"), "{refusal}");
            assert!(judge(Some(known), number, None, || false).is_err());
            assert_eq!(judge(Some(known), number, None, || true).unwrap(), known);
        }
        assert_eq!(judge(Some(Filesystem::Local), 0x0102_1994, mount("tmpfs"), || false).unwrap(), Filesystem::Local);
        assert_eq!(judge(Some(Filesystem::Overlay), OVERLAY, mount("overlay"), || false).unwrap(), Filesystem::Overlay);
    }

    #[test]
    fn a_filesystem_is_what_the_mount_table_says() {
        let refusal = filesystem(Dir::open(Path::new("/proc")).unwrap().as_fd()).unwrap().unwrap_err();
        assert!(
            refusal
                .to_string()
                .starts_with("a filesystem (proc) mounted at /proc on which this lock is not known to work"),
            "{refusal}"
        );
    }
}
