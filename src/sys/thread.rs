//! Threads of ours.

use std::io;
use std::thread::Builder;

/// Room for a few calls of the system, and for an error text.
const STACK: usize = 128 * 1024;

/// Starts a thread that no signal of the program interrupts.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A new thread has the mask of its maker (pthread_create(3)). So no signal can reach it, not even in its first moment.
    let _blocked = Blocked::all();
    Builder::new().name(name.into()).stack_size(STACK).spawn(run).map(drop)
}

/// While this value lives, this thread gets no signal.
struct Blocked {
    #[cfg(unix)]
    before: libc::sigset_t,
}

#[cfg(unix)]
impl Blocked {
    fn all() -> Blocked {
        // SAFETY: both sets are valid places. A set of zeros is valid, and the call fills it.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            // A fault of the thread itself must not be held back: the kernel would then kill the process (sigprocmask(2)).
            for fault in [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP] {
                libc::sigdelset(&mut all, fault);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Blocked { before }
        }
    }
}

#[cfg(unix)]
impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: this thread had this mask before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

#[cfg(windows)]
impl Blocked {
    fn all() -> Blocked {
        Blocked {}
    }
}
