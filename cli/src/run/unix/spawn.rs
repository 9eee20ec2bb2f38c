//! How the command is started.
//!
//! The child waits until we say that it may become the command. So we can look at what came until then: what was sent to our process group
//! before the child was there did not reach it. And we do not wait until it has become the command, as posix_spawn(3) does: Ctrl-Z can stop
//! it on the way, or a filesystem can keep it, and meanwhile signals and the loss of the lock must be heeded.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::ptr;

use rustix::process::{getppid, kill_process, Pid, Signal};

use super::signals::{handled, Mask, Signals};

/// The command, or the child that is to become it.
pub(super) struct Command {
    pub pid: Pid,
    /// The child waits for a byte here, and says why it did not become the command. A successful exec closes its end.
    child: UnixStream,
}

/// What the child needs. It is prepared before, because the child may not allocate.
struct Plan {
    words: Vec<*const libc::c_char>,
    signals: Vec<i32>,
    ignores_children: bool,
    mask: Mask,
    parent: Pid,
}

impl Command {
    /// Makes the child, in our process group. All signals are blocked in this thread. [`Command::go`] or [`Command::cancel`] must follow.
    pub fn prepare(words: &[OsString], signals: &Signals, ends: (UnixStream, UnixStream)) -> io::Result<Command> {
        let words: Result<Vec<CString>, _> = words.iter().map(|word| CString::new(word.as_bytes())).collect();
        let words = words?;
        let plan = Plan {
            words: words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect(),
            signals: handled().collect(),
            ignores_children: signals.ignores_children,
            mask: signals.mask,
            parent: signals.me(),
        };
        let (ours, its) = ends;
        // SAFETY: the child calls only what a signal handler may call, and ends by _exit.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours); // so that it sees our death
                let lives = end_with_parent(plan.parent); // first, because it can be stopped at any time
                let is_to_go = lives && rustix::io::retry_on_intr(|| rustix::io::read(&its, &mut [0])) == Ok(1);
                if is_to_go {
                    let errno = become_command(&plan);
                    let _ = rustix::io::write(&its, &errno.to_ne_bytes());
                }
                // SAFETY: the call does not return.
                unsafe { libc::_exit(crate::errors::CAN_NOT_RUN) }
            }
            pid => Ok(Command { pid: Pid::from_raw(pid).expect("a child has a PID"), child: ours }),
        }
    }

    /// The child may become the command.
    pub fn go(&self) {
        // A child that has died leaves a broken pipe, and the reader of our messages may be gone. Neither must end us. The child is there
        // already, so it does not inherit this.
        // SAFETY: a valid signal and disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        if rustix::io::retry_on_intr(|| rustix::io::write(&self.child, &[1])).is_err() {
            let _ = kill_process(self.pid, Signal::KILL); // or it would wait for ever
        }
    }

    /// The child must not become the command.
    pub fn cancel(self) {
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = super::ending::reap(self.pid);
    }

    /// Why the child did not become the command. It has ended.
    pub fn why_not(&self) -> Option<io::Error> {
        let mut errno = [0; size_of::<i32>()];
        let said = rustix::io::retry_on_intr(|| rustix::io::read(&self.child, &mut errno));
        (said == Ok(errno.len())).then(|| io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
    }
}

/// In the child: runs the command, with the signals as they were when this program began. The result is the errno.
fn become_command(plan: &Plan) -> i32 {
    for signal in &plan.signals {
        reset(*signal);
    }
    if plan.ignores_children {
        // SAFETY: a valid signal and disposition.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    }
    plan.mask.set();
    // SAFETY: the words end with a null pointer, and each ends with NUL.
    unsafe { libc::execvp(plan.words[0], plan.words.as_ptr()) };
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Gives the signal its default again, unless it is ignored.
fn reset(signal: i32) {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both actions are valid.
    unsafe {
        libc::sigaction(signal, ptr::null(), now.as_mut_ptr());
        if now.assume_init().sa_sigaction != libc::SIG_IGN {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// In a child: when the parent dies, the kernel kills this process. False: the parent has died.
pub(super) fn end_with_parent(parent: Pid) -> bool {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // A parent outside of our PID namespace has no number here (`unshare --pid` without `--fork`).
    getppid().is_none_or(|now| now == parent)
}
