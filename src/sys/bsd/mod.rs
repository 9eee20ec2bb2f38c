//! macOS, FreeBSD and NetBSD: who a process is, whether it lives, what a filesystem is, and a bell. Type-checked, never
//! run: `docs/platforms.md`. What differs between them is in a file for each.
//!
//! None has PID namespaces. Where the kernel could tell (kqueue) we look again instead: that is less to get wrong unseen.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{test_kill_process, Pid};

use super::{Dir, Filesystem, ProcessState};

#[cfg_attr(target_os = "macos", path = "macos.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "netbsd.rs")]
mod kernel;

// ---- this process ----

/// Tells a process from its forked children, by PID. (A descendant that gets the PID of an ancestor that is gone, and still has
/// its handle, is taken for it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMark(u32);

pub(crate) fn process_mark() -> ProcessMark {
    ProcessMark(std::process::id())
}

/// Where we look for processes, for a person.
pub(crate) const PROCESS_TABLE: &str = "the kernel's table of processes";

/// Who we are, as our bids say it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub pid: u32,
    /// Microseconds, as the kernel keeps it: since 1970, or since the boot (FreeBSD).
    pub start: Option<u64>,
    /// The process's start in Unix seconds, the same number as psutil's `int(create_time())`.
    pub created: i64,
    pub boot: Option<String>,
    pub pidns: Option<u64>,
    pub host: String,
    pub command: String,
    /// What `created` was computed from.
    base: i64,
}

impl Identity {
    pub(in crate::sys) fn read() -> io::Result<Identity> {
        let pid = std::process::id();
        let base = kernel::base_of_starts()?;
        let me = kernel::process(pid)?.ok_or_else(|| io::Error::other("the kernel does not know this process"))?;
        Ok(Identity {
            pid,
            start: u64::try_from(me.start).ok(),
            created: me.created(base),
            boot: Some(kernel::boot()?),
            pidns: None,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: me.command,
            base,
        })
    }

    /// When this machine was booted at the latest, Unix seconds.
    pub fn booted(&self) -> io::Result<i64> {
        Ok(kernel::boot_time()?.div_euclid(1_000_000))
    }

    /// Somebody set the clock: `created` is now another number for everybody who computes it.
    pub fn clock_stepped(&self) -> bool {
        kernel::base_of_starts().is_ok_and(|base| base.abs_diff(self.base) > 100_000)
    }
}

/// What the kernel says of a process.
struct Known {
    /// A zombie, or one that is about to be.
    exited: bool,
    /// Microseconds since `kernel::base_of_starts`.
    start: i64,
    command: String,
}

impl Known {
    fn created(&self, base: i64) -> i64 {
        (self.start + base).div_euclid(1_000_000)
    }
}

/// A name that the kernel filled in.
fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A value that the kernel fills in, by its numbers (sysctl(3)). `None`: it has none, or of another size.
///
/// # Safety
/// Every content is a valid `T`.
#[allow(dead_code)] // macOS asks otherwise
unsafe fn sysctl<T>(name: &[libc::c_int]) -> io::Result<Option<T>> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut size = size_of::<T>();
    // SAFETY: `name` is read, and `value` has room for `size` bytes.
    let done = unsafe {
        libc::sysctl(
            name.as_ptr().cast_mut(),
            name.len() as libc::c_uint,
            value.as_mut_ptr().cast(),
            &mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    // SAFETY: zeroed, then filled in, and all contents are valid by the caller's promise.
    Ok(found(done, size == size_of::<T>())?.then(|| unsafe { value.assume_init() }))
}

/// The same by name.
///
/// # Safety
/// Every content is a valid `T`.
unsafe fn sysctl_by_name<T>(name: &CStr) -> io::Result<Option<T>> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut size = size_of::<T>();
    // SAFETY: `name` is a C string, and `value` has room for `size` bytes.
    let done =
        unsafe { libc::sysctlbyname(name.as_ptr(), value.as_mut_ptr().cast(), &mut size, std::ptr::null_mut(), 0) };
    // SAFETY: as above. A shorter text is left zeroed at its end.
    Ok(found(done, size > 0 && size <= size_of::<T>())?.then(|| unsafe { value.assume_init() }))
}

fn found(done: libc::c_int, fits: bool) -> io::Result<bool> {
    if done == 0 {
        return Ok(fits);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => Ok(false),
        _ => Err(error),
    }
}

// ---- other processes ----

/// Is the process `pid` the one that started at `start`, or else at `created` (give or take 2 s)?
pub(crate) fn process(_me: &Identity, pid: u32, start: Option<u64>, created: Option<i64>) -> ProcessState {
    if !exists(pid) {
        return ProcessState::Gone;
    }
    let Ok(Some(now)) = kernel::process(pid) else {
        return match exists(pid) {
            true => ProcessState::Exists, // hidden from us, or it came a moment ago
            false => ProcessState::Gone,
        };
    };
    if now.exited {
        return ProcessState::Gone;
    }
    let same = match (start, created) {
        (Some(start), _) => Some(u64::try_from(now.start) == Ok(start)),
        (None, Some(then)) => kernel::base_of_starts().ok().map(|base| now.created(base).abs_diff(then) <= 2),
        (None, None) => None,
    };
    match same {
        Some(true) => ProcessState::Runs,
        Some(false) => ProcessState::Replaced,
        None => ProcessState::Exists,
    }
}

/// Also where it is another user's, or a zombie.
fn exists(pid: u32) -> bool {
    Pid::from_raw(pid as i32).is_none_or(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Nothing tells us when a process exits.
pub(crate) enum Exit {}

impl Exit {
    pub fn of(_pid: u32) -> Option<Exit> {
        None
    }

    pub fn happened(&self) -> bool {
        match *self {}
    }

    pub fn source(&self) -> Source<'_> {
        match *self {}
    }
}

// ---- how a thread sleeps ----

/// Something that can wake a sleeper.
pub(crate) type Source<'a> = BorrowedFd<'a>;

/// Wakes a thread that waits. Ringing is async-signal-safe: one write(2) to a pipe.
pub(crate) struct Bell {
    reader: io::PipeReader,
    writer: io::PipeWriter,
}

impl Bell {
    pub fn new() -> io::Result<Bell> {
        let (reader, writer) = io::pipe()?;
        Ok(Bell { reader, writer })
    }

    /// Called once for each wait at most, so the pipe never fills up.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    /// Sleeps until the bell rings, another source wakes us, or the time is over; a signal may wake us too. Silences the
    /// bell. True: there is something to read from the first source.
    pub fn sleep(&self, others: [Option<Source<'_>>; 2], time: Duration) -> bool {
        let mut fds = vec![PollFd::new(&self.reader, PollFlags::IN)];
        fds.extend(others.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        // poll(2) counts milliseconds here, in 31 bits: a wait that is longer only looks once more.
        let time = time.min(Duration::from_secs(1_000_000));
        let timeout = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ };
        if poll(&mut fds, Some(&timeout)).is_err() {
            return false;
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.reader, &mut [0u8; 8]);
        }
        others[0].is_some() && fds[1].revents().contains(PollFlags::IN)
    }
}

/// Nothing tells us what happens in a folder.
pub(crate) enum FolderWatch {}

impl FolderWatch {
    pub fn new(_dir: &Dir) -> io::Result<FolderWatch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn reset(&self) {
        match *self {}
    }

    pub fn source(&self) -> Source<'_> {
        match *self {}
    }
}

// ---- folders and filesystems ----

/// For a folder that is opened: nothing special.
pub(super) const UNNOTICED: OFlags = OFlags::empty();

/// Names every entry of a folder, and its inode. Opens it anew.
pub(super) fn entries(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        each(entry.file_name(), entry.ino());
    }
    Ok(())
}

/// Device and inode of what is at this path; `None`: stat(2) must tell.
pub(super) fn id_at(_path: &Path) -> rustix::io::Result<Option<(u64, u64)>> {
    Ok(None)
}

/// Fills a buffer from the system's generator, which is safe across fork and in clones of a machine.
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: it fills as many bytes as the buffer has, and can't fail.
    unsafe { libc::arc4random_buf(buffer.as_mut_ptr().cast(), buffer.len()) };
    Ok(())
}

/// Filesystems that only this kernel writes to, if they are marked as local too.
const LOCAL: &[&str] = &["apfs", "hfs", "ufs", "ffs", "lfs", "zfs", "tmpfs", "ext2fs", "msdosfs", "msdos", "exfat"];

/// What filesystem a folder is on. The error is its type, where nobody has shown that it carries the promise.
pub(crate) fn filesystem(dir: &Dir) -> io::Result<Result<Filesystem, String>> {
    let (is_local, kind) = kernel::filesystem(dir.fd())?;
    Ok(match is_local && LOCAL.contains(&kind.as_str()) {
        true => Ok(Filesystem::Local),
        false => Err(kind),
    })
}
