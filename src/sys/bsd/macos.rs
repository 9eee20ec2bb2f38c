//! macOS: proc_pidinfo, as libproc.h documents it.

use std::io;
use std::mem::{size_of, MaybeUninit};

use rustix::fd::BorrowedFd;

use super::{sysctl_by_name, text, ProcStat};

pub(super) fn process(pid: u32) -> io::Result<Option<ProcStat>> {
    /// For the fourth argument: zombies too.
    const ZOMBIES: u64 = 1;
    let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = size_of::<libc::proc_bsdinfo>() as libc::c_int;
    // SAFETY: `info` has room for `size` bytes, and any content of it is valid.
    let (filled, info) = unsafe {
        let filled =
            libc::proc_pidinfo(pid as libc::c_int, libc::PROC_PIDTBSDINFO, ZOMBIES, info.as_mut_ptr().cast(), size);
        (filled, info.assume_init())
    };
    if filled < size {
        return Ok(None); // no such process, or not ours to know
    }
    Ok(Some(ProcStat {
        exited: info.pbi_status == libc::SZOMB,
        micros: info.pbi_start_tvsec as i64 * 1_000_000 + info.pbi_start_tvusec as i64,
        command: text(&info.pbi_comm),
    }))
}

/// Starts are kept as they were on the wall clock: no step of the clock moves them.
pub(super) fn base_of_starts() -> io::Result<i64> {
    Ok(0)
}

/// Microseconds since 1970.
pub(super) fn boot_time() -> io::Result<i64> {
    // SAFETY: any content is a valid timeval.
    let time = unsafe { sysctl_by_name::<libc::timeval>(c"kern.boottime") }?;
    let time = time.ok_or_else(|| io::Error::other("there is no kern.boottime"))?;
    Ok(time.tv_sec * 1_000_000 + i64::from(time.tv_usec))
}

/// The kernel's own name for this boot.
pub(super) fn boot() -> io::Result<String> {
    // SAFETY: any content is valid: these are bytes.
    let id = unsafe { sysctl_by_name::<[libc::c_char; 64]>(c"kern.bootsessionuuid") }?;
    id.map(|id| text(&id)).ok_or_else(|| io::Error::other("there is no kern.bootsessionuuid"))
}

/// Whether it is marked as local, and its type.
pub(super) fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)> {
    let stat = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(dir))?;
    Ok((stat.f_flags & libc::MNT_LOCAL as u32 != 0, text(&stat.f_fstypename)))
}
