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

use super::{doze, Dir, Filesystem, Identity};

#[cfg_attr(target_os = "macos", path = "macos.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "netbsd.rs")]
mod kernel;

/// A moment as filesystems note it. Here none is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(());

impl Moment {
    pub fn now() -> Moment {
        Moment(())
    }

    pub fn nanos(self) -> u64 {
        0
    }
}

/// Whether owners and modes are what they say: taken for so here.
pub(super) fn is_known(_dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(true)
}

/// When a folder was made: not asked for here.
pub(super) fn born(_dir: BorrowedFd<'_>) -> Option<Moment> {
    None
}

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

/// The clock as we saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockView {
    /// What `Identity::created` was computed from.
    base: i64,
}

impl Identity {
    pub(super) fn read(_before: Option<&Identity>) -> io::Result<Identity> {
        let pid = std::process::id();
        // First: so a step of the clock meanwhile is one after it.
        let clock_view = ClockView { base: kernel::base_of_starts()? };
        let seen = kernel::process(pid)?.ok_or_else(|| io::Error::other("the kernel does not know this process"))?;
        Ok(Identity {
            pid,
            start: seen.start(&Outlook),
            created: seen.created(&Outlook)?,
            boot: Some(kernel::boot()?),
            pidns: None,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: seen.command,
            clock_view,
        })
    }

    /// When this machine was booted, Unix seconds.
    pub fn booted(&self) -> io::Result<i64> {
        Ok(kernel::boot_time()?.div_euclid(1_000_000))
    }
}

impl ClockView {
    pub fn clock_stepped(&self) -> bool {
        kernel::base_of_starts().is_ok_and(|base| base.abs_diff(self.base) > 100_000)
    }
}

/// What the kernel says of a process.
pub(super) struct ProcStat {
    /// A zombie, or one that is about to be.
    pub exited: bool,
    /// Microseconds since `kernel::base_of_starts`.
    micros: i64,
    command: String,
}

impl ProcStat {
    pub fn start(&self, _from: &Outlook) -> Option<u64> {
        u64::try_from(self.micros).ok()
    }

    pub fn created(&self, _from: &Outlook) -> io::Result<i64> {
        Ok((self.micros + kernel::base_of_starts()?).div_euclid(1_000_000))
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

/// Every process looks alike from everywhere.
pub(super) struct Outlook;

impl Outlook {
    pub fn now(_me: &Identity) -> Option<Outlook> {
        Some(Outlook)
    }

    pub fn look(&self, _me: &Identity, pid: u32) -> Option<ProcStat> {
        kernel::process(pid).ok()?
    }
}

/// Nothing tells us when a process exits.
pub(crate) enum ExitWatch {}

impl ExitWatch {
    pub fn of(_pid: u32) -> io::Result<ExitWatch> {
        Err(io::ErrorKind::Unsupported.into())
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
pub(crate) struct Waker {
    reader: io::PipeReader,
    writer: io::PipeWriter,
}

impl Waker {
    pub fn new() -> io::Result<Waker> {
        let (reader, writer) = io::pipe()?;
        Ok(Waker { reader, writer })
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
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return false,
            Err(_) => {
                doze(time); // to return at once would make a waiter spin
                return false;
            }
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
        true => Ok(Filesystem::LocalByName),
        false => Err(kind),
    })
}
