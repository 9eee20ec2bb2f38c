//! Folder calls that Linux does better than POSIX or differently from other systems, the promises of the filesystems on Linux, and the
//! random numbers of Linux.

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, CWD};
use rustix::io::Errno;

use super::calls::{descriptor, retry};
use super::contract::System;
use super::files::Files;
use super::filesystem::{Filesystem, Refusal};
use super::linux_list::{glance, kinds};
use super::linux_mounts::{self, Mount};
use super::linux_proc::{own_proc, Proc};
use super::stat::{FileId, Known, Rights};

/// The flag for opening a folder so that a listing does not change its time of last access.
const UNNOTICED: OFlags = OFlags::NOATIME;

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
/// `AT_STATX_DONT_SYNC` (statx(2)). FUSE and NFS do.
fn fixed_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Known>> {
    let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let found = match retry(|| fs::statx(dir, name, how, StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK)) {
        Ok(stat) => Ok(Known {
            id: FileId { device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino },
            kind: FileType::from_raw_mode(stat.stx_mode.into()),
            links: stat.stx_nlink.into(),
        }),
        // Linux before 4.11 does not have this call, and some sandboxes forbid it.
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOSYS | Errno::PERM)) => {
            stat_within(dir, name).map(|stat| Known::of(&stat))
        }
        Err(e) => Err(e),
    };
    match found {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => Ok(None),
        found => found.map(Some),
    }
}

/// The owner and the mode, without the times: see [`id_at`].
fn owner_and_mode(dir: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    match retry(|| fs::statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::UID | StatxFlags::MODE)) {
        Ok(stat) => Ok((stat.stx_uid, stat.stx_mode.into())),
        Err(_) => retry(|| fs::fstat(dir)).map(|stat| (stat.st_uid, stat.st_mode)),
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

    #[cfg(test)]
    pub fn of_seconds(seconds: i64) -> Moment {
        Moment(seconds, 0)
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

    fn fixed_within(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Known>> {
        fixed_within(dir, name)
    }

    fn owner_and_mode(dir: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
        owner_and_mode(dir)
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
    use super::*;
    use crate::sys::Dir;
    use rustix::fd::AsFd;

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

    /// Forbids a system call to this thread, as a sandbox does.
    fn forbid(call: libc::c_long, error: Errno) {
        // struct seccomp_data begins with the number of the call.
        let (load, is_equal, answer) = (0x20, 0x15, 0x06);
        let filter = [
            libc::sock_filter { code: load, jt: 0, jf: 0, k: 0 },
            libc::sock_filter { code: is_equal, jt: 0, jf: 1, k: call as u32 },
            libc::sock_filter { code: answer, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | error.raw_os_error() as u32 },
            libc::sock_filter { code: answer, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: the program and its filter live until the call returns.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
        }
    }

    /// Linux before 4.11 and 5.6 does not have these calls, and some sandboxes forbid them.
    #[test]
    fn all_is_the_same_without_statx_and_openat2() {
        let path = crate::scratch::Scratch::new();
        std::fs::write(path.join("file"), "").unwrap();
        let mut dir = Dir::open(&path).unwrap();
        dir.tell_writers();
        let look = || {
            let at = |name| (dir.file_id(name).unwrap(), dir.sight(name));
            let known = dir.see(c"file").unwrap().known;
            (at(c"file"), at(c"none"), Dir::look_up(&path).unwrap().0, known.kind, known.links, dir.are_we_alone())
        };
        let before = look();
        for (call, error) in [libc::SYS_statx, libc::SYS_openat2]
            .into_iter()
            .flat_map(|call| [(call, Errno::NOSYS), (call, Errno::PERM)])
        {
            std::thread::scope(|scope| {
                let there = scope.spawn(|| {
                    forbid(call, error);
                    look()
                });
                assert_eq!(there.join().unwrap(), before, "{call} {error}");
            });
        }
    }
}
