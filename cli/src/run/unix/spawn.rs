//! How the command is started.
//!
//! On Linux the child shares the memory of this process until it has become the command (CLONE_VFORK, as posix_spawn(3) does it), because
//! that is fast. It differs from posix_spawn(3) in one step: the child asks to be killed when this process dies.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use rustix::process::{getppid, Pid};

use super::signals::{handled, Mask, Signals};

/// What the child needs. It is prepared before, because the child may not allocate.
struct Plan {
    words: Vec<*const libc::c_char>,
    signals: Vec<i32>,
    ignores_children: bool,
    mask: Mask,
    parent: Pid,
    /// errno of the exec that failed.
    failure: i32,
}

/// Starts the command in our process group. All signals are blocked in this thread. The inner error says why the command can't be run.
pub(super) fn spawn(words: &[OsString], signals: &Signals) -> io::Result<Result<Pid, io::Error>> {
    let words: Result<Vec<CString>, _> = words.iter().map(|word| CString::new(word.as_bytes())).collect();
    let words = words?;
    let mut plan = Plan {
        words: words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect(),
        signals: handled().collect(),
        ignores_children: signals.ignores_children,
        mask: signals.mask,
        parent: signals.me(),
        failure: 0,
    };
    let pid = start(&mut plan)?;
    match plan.failure {
        0 => Ok(Ok(pid)),
        errno => {
            let _ = super::ending::reap(pid);
            Ok(Err(io::Error::from_raw_os_error(errno)))
        }
    }
}

#[cfg(target_os = "linux")]
fn start(plan: &mut Plan) -> io::Result<Pid> {
    extern "C" fn child(plan: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the parent keeps the plan, and sleeps until we are done with it.
        become_command(unsafe { &mut *plan.cast::<Plan>() })
    }
    // execvp(3) may need a copy of the pointers on its stack, to run a script by the shell.
    let size = 128 * 1024 + 2 * size_of_val(plan.words.as_slice());
    let mut stack: Vec<u128> = Vec::with_capacity(size / size_of::<u128>());
    let top = stack.as_mut_ptr().wrapping_add(stack.capacity());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its top, and both it and the plan live until the child has gone from this memory.
    match unsafe { libc::clone(child, top.cast(), flags, ptr::from_mut(plan).cast()) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid).expect("a child has a PID")),
    }
}

#[cfg(not(target_os = "linux"))]
fn start(plan: &mut Plan) -> io::Result<Pid> {
    use super::pipes::{pipe, Blocking};
    let (inlet, outlet) = pipe(Blocking::Yes)?;
    // SAFETY: the child calls only what a signal handler may call, and ends by _exit.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let status = become_command(plan);
            let _ = rustix::io::write(&outlet, &plan.failure.to_ne_bytes());
            // SAFETY: the call does not return.
            unsafe { libc::_exit(status) }
        }
        pid => pid,
    };
    drop(outlet);
    let mut failure = [0; size_of::<i32>()];
    // The exec closes the pipe.
    if let Ok(4) = rustix::io::retry_on_intr(|| rustix::io::read(&inlet, &mut failure)) {
        plan.failure = i32::from_ne_bytes(failure);
    }
    Ok(Pid::from_raw(pid).expect("a child has a PID"))
}

/// In the child: runs the command, with the signals as they were when this program began.
fn become_command(plan: &mut Plan) -> libc::c_int {
    if !end_with_parent(plan.parent) {
        plan.failure = libc::ESRCH;
        return 0;
    }
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
    plan.failure = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    0
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
