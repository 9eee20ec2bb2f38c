//! NetBSD: `struct kinfo_proc2`, as sysctl(7) returns it.

use std::io;
use std::mem::{size_of, MaybeUninit};

use libc::{kinfo_proc2, CTL_KERN, KERN_PROC2, KERN_PROC_PID};
use rustix::fd::{AsRawFd, BorrowedFd};

use super::kernel::{Kernel, Seen, This};
use super::sysctl::{sysctl, sysctl_by_name, text, Plain};

// SAFETY: numbers and bytes.
unsafe impl Plain for kinfo_proc2 {}
// SAFETY: numbers.
unsafe impl Plain for libc::timespec {}

impl Kernel for This {
    fn process(pid: u32) -> io::Result<Option<Seen>> {
        let size = size_of::<kinfo_proc2>() as libc::c_int;
        let info = sysctl::<kinfo_proc2>(&[CTL_KERN, KERN_PROC2, KERN_PROC_PID, pid as libc::c_int, size, 1])?;
        Ok(info.map(|info| Seen {
            exited: i32::from(info.p_stat) == libc::LSZOMB,
            micros: i64::from(info.p_ustart_sec) * 1_000_000 + i64::from(info.p_ustart_usec),
            command: text(&info.p_comm),
        }))
    }

    fn base_of_starts() -> io::Result<i64> {
        Ok(0)
    }

    fn boot_time() -> io::Result<i64> {
        let time = sysctl_by_name::<libc::timespec>(c"kern.boottime")?;
        let time = time.ok_or_else(|| io::Error::other("there is no kern.boottime"))?;
        Ok(time.tv_sec * 1_000_000 + time.tv_nsec as i64 / 1000)
    }

    /// The host and the time of its boot. It changes after a step of the clock. Then the lock on the claim decides whether a
    /// claimant lives.
    fn boot() -> io::Result<String> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(format!("{host}/{}", Self::boot_time()?.div_euclid(1_000_000)))
    }

    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)> {
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
}
