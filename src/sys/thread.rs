//! Threads of ours.

use std::io;
use std::thread::{Builder, JoinHandle};

use super::process::{process_mark, ProcessMark};

/// A thread that no signal of the program interrupts. Its drop waits for its end, because a program may unload the code of the thread
/// after it has closed the handle (dlclose(3)).
pub(crate) struct Thread {
    /// `Some` until the drop.
    handle: Option<JoinHandle<()>>,
    /// In a forked child there is no such thread.
    of: ProcessMark,
}

impl Thread {
    /// Room for a few calls of the system, and for an error text.
    // Not `pub`: cbindgen puts a public constant into the header.
    pub(crate) const STACK: usize = 128 * 1024;

    pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        Thread::spawn_with(Thread::STACK, name, run)
    }

    /// The same with another size of the stack.
    pub fn spawn_with(stack: usize, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        // A new thread has the mask of its maker (pthread_create(3)). So no signal can reach it, not even in its first moment.
        let _blocked = Blocked::all();
        let run = move || {
            // It also has the slack of its maker's timers (prctl(2)), which could be longer than a lease.
            #[cfg(target_os = "linux")]
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
            run();
        };
        let handle = Builder::new().name(name.into()).stack_size(stack).spawn(run)?;
        Ok(Thread { handle: Some(handle), of: process_mark() })
    }

    pub fn has_ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        match self.handle.take() {
            Some(handle) if self.of == process_mark() => drop(handle.join()),
            handle => std::mem::forget(handle),
        }
    }
}

/// Does this in a thread of its own that gets no signal, and waits for the result.
#[cfg(target_os = "linux")]
pub(super) fn in_a_thread<T: Send>(run: impl FnOnce() -> T + Send) -> io::Result<T> {
    let _blocked = Blocked::all();
    std::thread::scope(|scope| {
        let thread = Builder::new().stack_size(Thread::STACK).spawn_scoped(scope, run)?;
        thread.join().map_err(|_| io::ErrorKind::Other.into())
    })
}

/// While this value lives, this thread gets no signal.
pub(super) struct Blocked {
    #[cfg(unix)]
    before: libc::sigset_t,
}

#[cfg(unix)]
impl Blocked {
    pub fn all() -> Blocked {
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
    pub fn all() -> Blocked {
        Blocked {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn the_drop_of_a_thread_waits_for_its_end() {
        static HAS_RUN: AtomicBool = AtomicBool::new(false);
        let thread = Thread::spawn("test", || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            HAS_RUN.store(true, Ordering::Release);
        });
        drop(thread.unwrap());
        assert!(HAS_RUN.load(Ordering::Acquire));
    }
}
