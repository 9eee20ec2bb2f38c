//! The witness tells whether a signal was sent to our whole process group, or to us alone.
//!
//! The command is in our process group, so a signal to the group reaches it without our help, and we must not send it once more. A signal
//! to us alone must be passed on. The kernel tells us who sent a signal, but not to whom. So there is a third process in the group, the
//! witness, which does nothing but record its signals. What it got too was sent to all.
//!
//! It also serves where a service manager sends a signal to each process of a unit, one by one.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

use super::relay::wait_for;
use super::signals::{self, set_handler, Mask, Record, Signals};

/// What became of the signal that asks.
#[derive(PartialEq)]
pub(super) enum Asked {
    Yes,
    NotNow,
    Gone,
}

/// One question to the witness. An answer to an earlier question says nothing about it.
pub(super) struct Question(i32);

/// The signal that asks the witness. Linux delivers pending signals in the order of their numbers, so the answer comes after all others.
fn signal() -> i32 {
    #[cfg(target_os = "linux")]
    return libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    return libc::SIGURG;
}

pub(super) struct Witness {
    pub pid: Pid,
    me: Pid,
    asked: Cell<i32>,
}

impl Witness {
    /// Starts it. All signals are blocked in this thread.
    pub fn start(signals: &Signals) -> io::Result<Witness> {
        let me = signals.me();
        // SAFETY: the child calls only what a signal handler may call, and ends by _exit or a signal.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => watch(me),
            pid => Ok(Witness { pid: Pid::from_raw(pid).expect("a child has a PID"), me, asked: Cell::new(0) }),
        }
    }

    /// A new question. Every signal to the group that was sent before [`Witness::ask`] is recorded before the answer: that of the witness,
    /// and ours.
    pub fn question(&self) -> Question {
        // The kernel holds its lock of all processes while it sends a signal to a group, and setpgid(2) waits for this lock. So a signal
        // that one of us has got by now, the others have got too. (The call changes nothing: there is no such group.)
        // SAFETY: the call has no other effect.
        unsafe { libc::setpgid(self.pid.as_raw_nonzero().get(), i32::MAX) };
        self.asked.set(self.asked.get().wrapping_add(1));
        Question(self.asked.get())
    }

    /// Asks, or asks again: in a storm of signals the pipe is full, and an answer can be lost.
    pub fn ask(&self, question: &Question) -> Asked {
        let pid = self.pid.as_raw_nonzero().get();
        #[cfg(target_os = "linux")]
        // SAFETY: the witness is our child and we have not reaped it.
        let is_asked = unsafe {
            libc::sigqueue(
                pid,
                signal(),
                libc::sigval { sival_ptr: std::ptr::without_provenance_mut(question.0 as usize) },
            ) == 0
        };
        #[cfg(not(target_os = "linux"))]
        let is_asked = {
            let _ = question;
            // SAFETY: the same.
            unsafe { libc::kill(pid, signal()) == 0 }
        };
        match is_asked {
            true => Asked::Yes,
            // Our user has as many signals in the queues of all its processes as RLIMIT_SIGPENDING allows (sigqueue(3)).
            false if io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN) => Asked::NotNow,
            false => Asked::Gone,
        }
    }

    /// A witness that somebody stopped does not answer.
    pub fn wake(&self) {
        let _ = kill_process(self.pid, Signal::CONT);
    }

    pub fn is_answer(&self, record: &Record, question: &Question) -> bool {
        let is_answer = record.signal == signal() && self.is_ours(record);
        is_of(record) && is_answer && (cfg!(not(target_os = "linux")) || record.value == question.0)
    }

    /// Whether we ourselves sent it: we ask the witness, and wake it.
    pub fn is_ours(&self, record: &Record) -> bool {
        [signal(), libc::SIGCONT].contains(&record.signal) && record.may_be_by(self.me.as_raw_nonzero().get())
    }

    /// Whether it has ended: somebody killed it.
    pub fn is_gone(&self) -> bool {
        super::ending::has_ended(self.pid)
    }

    /// Ends it. What is read of the signals meanwhile is lost.
    ///
    /// A debugger can keep it from ending. So can what is left in a PID namespace that it is the first process of (`unshare --pid` without
    /// `--fork`). Then this process leaves it to its own parent.
    pub fn end(self, signals: &Signals) {
        let _ = kill_process(self.pid, Signal::KILL);
        let end = Instant::now() + Duration::from_secs(1);
        while !self.is_gone() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // The end of a child is a record.
            wait_for(signals, left);
            while signals.next().is_some() {}
        }
        let _ = super::ending::reap(self.pid);
    }
}

/// Whether the record is of the witness.
pub(super) fn is_of(record: &Record) -> bool {
    record.receiver == signals::WITNESS
}

/// In the witness: records signals until the end.
fn watch(parent: Pid) -> ! {
    // Its parent may be gone by now.
    let lives = super::spawn::end_with_parent(parent);
    if lives {
        hide();
        close_all_but(signals::outlet());
        signals::be_the_witness(rustix::process::getppid().is_none());
        set_handler(signal());
        Mask::none().set();
    }
    loop {
        if !lives {
            // SAFETY: the call does not return.
            unsafe { libc::_exit(0) };
        }
        rustix::event::pause();
    }
}

/// The witness must not hold the files of the runner open: a reader of a pipe would wait for its end.
fn close_all_but(kept: RawFd) {
    #[cfg(target_os = "linux")]
    // SAFETY: nothing in this process uses the other descriptors from now on.
    unsafe {
        let kept = kept as u32;
        libc::syscall(libc::SYS_close_range, 0u32, kept - 1, 0u32);
        libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0u32);
    }
    #[cfg(not(target_os = "linux"))]
    for fd in (0..256).filter(|fd| *fd != kept) {
        // SAFETY: the same.
        unsafe { libc::close(fd) };
    }
}

/// pkill(1) finds processes by their names, killall(1) and fuser(1) also by their executables and files. What they send to the runner must
/// not reach the witness too. (The tools of root see its executable nevertheless.)
fn hide() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::thread::set_name(c"lf-witness");
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
        crate::arguments::rename(b"(lf-witness)");
    }
}
