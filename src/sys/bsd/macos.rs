//! macOS: proc_pidinfo, as libproc.h documents it.

use std::io;
use std::mem::{size_of, MaybeUninit};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{getpgid, Pid};

use super::kernel::{Kernel, Seen, This};
use super::sysctl::{sysctl_by_name, text};

impl Kernel for This {
    fn process(pid: u32) -> io::Result<Option<Seen>> {
        /// The value of the argument `arg` that asks for zombies too.
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
            return Ok(None); // there is no such process, or it belongs to another user
        }
        Ok(Some(Seen {
            exited: info.pbi_status == libc::SZOMB,
            micros: info.pbi_start_tvsec as i64 * 1_000_000 + info.pbi_start_tvusec as i64,
            command: text(&info.pbi_comm),
        }))
    }

    /// The kernel shows nothing about a zombie of another user, and for kill(2) the zombie still exists. So this uses getpgid(2): it
    /// finds no process group for a process that has exited, and needs no right (`bsd/kern/kern_prot.c` of xnu).
    fn exists(pid: u32) -> bool {
        Pid::from_raw(pid as i32).is_none_or(|pid| getpgid(Some(pid)) != Err(Errno::SRCH))
    }

    fn base_of_starts() -> io::Result<i64> {
        Ok(0)
    }

    fn boot_time() -> io::Result<i64> {
        let time = sysctl_by_name::<libc::timeval>(c"kern.boottime")?;
        let time = time.ok_or_else(|| io::Error::other("there is no kern.boottime"))?;
        Ok(time.tv_sec * 1_000_000 + i64::from(time.tv_usec))
    }

    /// The kernel's own name for this boot.
    fn boot() -> io::Result<String> {
        let id = sysctl_by_name::<[libc::c_char; 64]>(c"kern.bootsessionuuid")?;
        id.map(|id| text(&id)).ok_or_else(|| io::Error::other("there is no kern.bootsessionuuid"))
    }

    fn filesystem(dir: BorrowedFd<'_>) -> io::Result<(bool, String)> {
        let stat = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(dir))?;
        Ok((stat.f_flags & libc::MNT_LOCAL as u32 != 0, text(&stat.f_fstypename)))
    }
}
