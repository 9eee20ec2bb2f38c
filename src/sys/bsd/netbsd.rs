//! NetBSD: `struct kinfo_proc2`, as sysctl(7) gives it.

use std::io;
use std::mem::{size_of, MaybeUninit};

use libc::{kinfo_proc2, CTL_KERN, KERN_PROC2, KERN_PROC_PID};
use rustix::fd::{AsRawFd, BorrowedFd};

use super::{sysctl, sysctl_by_name, text, ProcStat};

pub(super) fn process(pid: u32) -> io::Result<Option<ProcStat>> {
    let size = size_of::<kinfo_proc2>() as libc::c_int;
    // SAFETY: numbers and bytes.
    let info = unsafe { sysctl::<kinfo_proc2>(&[CTL_KERN, KERN_PROC2, KERN_PROC_PID, pid as libc::c_int, size, 1]) }?;
    Ok(info.map(|info| ProcStat {
        exited: i32::from(info.p_stat) == libc::LSZOMB,
        micros: i64::from(info.p_ustart_sec) * 1_000_000 + i64::from(info.p_ustart_usec),
        command: text(&info.p_comm),
    }))
}

/// Starts are kept as they were on the wall clock: no step of the clock moves them.
pub(super) fn base_of_starts() -> io::Result<i64> {
    Ok(0)
}

/// Microseconds since 1970.
pub(super) fn boot_time() -> io::Result<i64> {
    // SAFETY: any content is a valid timespec.
    let time = unsafe { sysctl_by_name::<libc::timespec>(c"kern.boottime") }?;
    let time = time.ok_or_else(|| io::Error::other("there is no kern.boottime"))?;
    Ok(time.tv_sec * 1_000_000 + time.tv_nsec as i64 / 1000)
}

/// The host and the boot's time. Another after a step of the clock; then the lock on the claim decides who lives.
pub(super) fn boot() -> io::Result<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(format!("{host}/{}", boot_time()?.div_euclid(1_000_000)))
}

/// Whether it is marked as local, and its type.
pub(super) fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)> {
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `stat` has the room that fstatvfs(2) fills, and any content of it is valid.
    let stat = unsafe {
        if libc::fstatvfs(dir.as_raw_fd(), stat.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        stat.assume_init()
    };
    Ok((stat.f_flag & libc::MNT_LOCAL as libc::c_ulong != 0, text(&stat.f_fstypename)))
}
