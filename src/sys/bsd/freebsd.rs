//! FreeBSD: `struct kinfo_proc`, as sysctl(3) returns it.

use std::io;

use libc::{kinfo_proc, CTL_KERN, KERN_PROC, KERN_PROC_PID};
use rustix::fd::BorrowedFd;

use super::kernel::{Kernel, Seen, This};
use super::sysctl::{sysctl, sysctl_by_name, text, Plain};

// SAFETY: numbers, bytes, and pointers that we never follow.
unsafe impl Plain for kinfo_proc {}

impl Kernel for This {
    fn process(pid: u32) -> io::Result<Option<Seen>> {
        // The kernel stores the start relative to the boot, and adds the time of the boot, which each step of the clock moves. So we
        // subtract that time again. The loop repeats if the clock is set between the two questions. This hardly happens 100 times in a row.
        for _ in 0..100 {
            let base = Self::boot_time()?;
            let info = sysctl::<kinfo_proc>(&[CTL_KERN, KERN_PROC, KERN_PROC_PID, pid as libc::c_int])?;
            if Self::boot_time()? == base {
                return Ok(info.map(|info| Seen {
                    exited: info.ki_stat == libc::SZOMB,
                    micros: micros(info.ki_start) - base,
                    command: text(&info.ki_comm),
                }));
            }
        }
        Err(io::Error::other("kern.boottime keeps changing"))
    }

    fn base_of_starts() -> io::Result<i64> {
        Self::boot_time()
    }

    fn boot_time() -> io::Result<i64> {
        let time = sysctl_by_name::<libc::timeval>(c"kern.boottime")?;
        Ok(micros(time.ok_or_else(|| io::Error::other("there is no kern.boottime"))?))
    }

    /// The machine and the time of its boot. It changes after a step of the clock. Then the lock on the claim decides whether a
    /// claimant lives.
    fn boot() -> io::Result<String> {
        let machine = sysctl_by_name::<[libc::c_char; 64]>(c"kern.hostuuid")?;
        let machine = machine.map(|id| text(&id)).ok_or_else(|| io::Error::other("there is no kern.hostuuid"))?;
        Ok(format!("{machine}/{}", Self::boot_time()?.div_euclid(1_000_000)))
    }

    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)> {
        let stat = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(dir))?;
        Ok((stat.f_flags & libc::MNT_LOCAL != 0, text(&stat.f_fstypename)))
    }
}

fn micros(time: libc::timeval) -> i64 {
    #[allow(clippy::unnecessary_cast)] // their types differ by architecture
    (time.tv_sec as i64 * 1_000_000 + time.tv_usec as i64)
}
