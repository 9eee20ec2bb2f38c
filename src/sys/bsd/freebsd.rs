//! FreeBSD: `struct kinfo_proc`, as sysctl(3) gives it.

use std::io;

use libc::{kinfo_proc, CTL_KERN, KERN_PROC, KERN_PROC_PID};
use rustix::fd::BorrowedFd;

use super::{sysctl, sysctl_by_name, text, ProcStat};

pub(super) fn process(pid: u32) -> io::Result<Option<ProcStat>> {
    // The kernel keeps the start since the boot and adds the boot's time, which each step of the clock moves: undo that.
    // Not many times in a row does somebody set the clock between our two questions.
    for _ in 0..100 {
        let base = boot_time()?;
        // SAFETY: numbers, bytes, and pointers that we never follow.
        let info = unsafe { sysctl::<kinfo_proc>(&[CTL_KERN, KERN_PROC, KERN_PROC_PID, pid as libc::c_int]) }?;
        if boot_time()? == base {
            return Ok(info.map(|info| ProcStat {
                exited: info.ki_stat == libc::SZOMB,
                micros: micros(info.ki_start) - base,
                command: text(&info.ki_comm),
            }));
        }
    }
    Err(io::Error::other("kern.boottime keeps changing"))
}

fn micros(time: libc::timeval) -> i64 {
    #[allow(clippy::unnecessary_cast)] // their types differ by architecture
    (time.tv_sec as i64 * 1_000_000 + time.tv_usec as i64)
}

/// What starts are counted from, in microseconds since 1970.
pub(super) fn base_of_starts() -> io::Result<i64> {
    boot_time()
}

/// Microseconds since 1970.
pub(super) fn boot_time() -> io::Result<i64> {
    // SAFETY: any content is a valid timeval.
    let time = unsafe { sysctl_by_name::<libc::timeval>(c"kern.boottime") }?;
    Ok(micros(time.ok_or_else(|| io::Error::other("there is no kern.boottime"))?))
}

/// The machine and the boot's time. Another after a step of the clock; then the lock on the claim decides who lives.
pub(super) fn boot() -> io::Result<String> {
    // SAFETY: any content is valid: these are bytes.
    let machine = unsafe { sysctl_by_name::<[libc::c_char; 64]>(c"kern.hostuuid") }?;
    let machine = machine.map(|id| text(&id)).ok_or_else(|| io::Error::other("there is no kern.hostuuid"))?;
    Ok(format!("{machine}/{}", boot_time()?.div_euclid(1_000_000)))
}

/// Whether it is marked as local, and its type.
pub(super) fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)> {
    let stat = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(dir))?;
    Ok((stat.f_flags & libc::MNT_LOCAL != 0, text(&stat.f_fstypename)))
}
