//! The signals that this process gets, as a stream of records.
//!
//! A handler writes a record of each signal into a pipe, and does nothing else. The witness (`witness.rs`) has the same handler and
//! writes into the same pipe, so each record names its receiver.

use std::io;
use std::mem::{size_of, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::io::Errno;
use rustix::process::{getpid, Pid};

use super::pipes::pipe;

/// A signal that somebody got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Record {
    /// Its PID, or [`WITNESS`].
    pub receiver: i32,
    pub signal: i32,
    /// The process that sent it. 0: the kernel did, as for a key of the terminal or an alarm.
    pub sender: i32,
    /// The value that came with it (sigqueue(3)), or 0.
    pub value: i32,
}

const SIZE: usize = size_of::<Record>();

/// The receiver in a record of the witness.
pub(super) const WITNESS: i32 = -1;

/// The sender in a record of a witness that is in another PID namespace (`unshare --pid` without `--fork`). The senders have other numbers
/// there, or none.
const SOMEBODY: i32 = -1;

static IS_WITNESS: AtomicBool = AtomicBool::new(false);
static IS_APART: AtomicBool = AtomicBool::new(false);

/// From now on the records of this process are those of the witness. `is_apart`: it is in another PID namespace.
pub(super) fn be_the_witness(is_apart: bool) {
    IS_APART.store(is_apart, Ordering::SeqCst);
    IS_WITNESS.store(true, Ordering::SeqCst);
}

impl Record {
    pub fn may_be_by(&self, sender: i32) -> bool {
        self.sender == sender || self.sender == SOMEBODY
    }

    /// Whether this record of the witness is of the same signal as ours, if that was sent to both.
    pub fn is_like(&self, ours: &Record) -> bool {
        // Where a process of another PID namespace is in the group, the kernel tells the sender to some of the others, and 0 to the rest.
        let is_untold = self.sender == 0 || ours.sender == 0;
        self.signal == ours.signal && (is_untold || self.may_be_by(ours.sender))
    }
}

/// The pipe was full, and a record was lost.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Where the handler writes. The pipe stays open for as long as the program runs.
static OUTLET: AtomicI32 = AtomicI32::new(-1);

/// Those that end a program by default. They end the wait, and are passed on to the command. (Those that are mostly about the process
/// itself, such as SIGPIPE, SIGXCPU and SIGSEGV, keep their default.)
const ENDING: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    #[cfg(target_os = "linux")]
    libc::SIGIO,
    #[cfg(target_os = "linux")]
    libc::SIGPWR,
    #[cfg(target_os = "linux")]
    libc::SIGSTKFLT,
];

/// Those that are passed on to the command too, but matter only while it runs.
const OTHERS: &[i32] = &[libc::SIGWINCH, libc::SIGURG, libc::SIGCONT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

fn real_time() -> std::ops::RangeInclusive<i32> {
    #[cfg(target_os = "linux")]
    return libc::SIGRTMIN()..=libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::reversed_empty_ranges)]
    return 1..=0;
}

/// Every signal that may have our handler.
pub(super) fn handled() -> impl Iterator<Item = i32> {
    ENDING.iter().chain(OTHERS).copied().chain([libc::SIGCHLD]).chain(real_time())
}

/// The handlers of this process, and the stream of what they saw.
pub(crate) struct Signals {
    /// It stays open for as long as the program runs: a handler that writes to a pipe without a reader would end the program by SIGPIPE.
    inlet: BorrowedFd<'static>,
    me: Pid,
    /// The signals that were blocked when we began. The command gets the same.
    pub(super) mask: Mask,
    /// The caller ignored the end of children. The command inherits that.
    pub(super) ignores_children: bool,
    /// The signal that ended the wait for the lock.
    pub(super) interrupted: Option<i32>,
}

impl Signals {
    /// From now on the signals that would end this process are recorded instead.
    pub(crate) fn heed() -> io::Result<Signals> {
        let (inlet, outlet) = pipe()?;
        let (inlet, outlet) = (beyond_the_standard_ones(inlet)?, beyond_the_standard_ones(outlet)?);
        OUTLET.store(outlet.as_raw_fd(), Ordering::SeqCst);
        std::mem::forget(outlet);
        // SAFETY: nothing closes it.
        let inlet = unsafe { BorrowedFd::borrow_raw(inlet.into_raw_fd()) };
        let signals = Signals { inlet, me: getpid(), mask: Mask::now(), ignores_children: false, interrupted: None };
        ENDING.iter().copied().chain(real_time()).for_each(|signal| {
            catch(signal);
        });
        Ok(signals)
    }

    /// From now on the signals of job control and the end of children are recorded too.
    pub(super) fn heed_all(&mut self) {
        OTHERS.iter().for_each(|signal| {
            catch(*signal);
        });
        self.ignores_children = catch(libc::SIGCHLD);
    }

    pub(super) fn me(&self) -> Pid {
        self.me
    }

    /// The next record, if there is one.
    pub(super) fn next(&self) -> Option<Record> {
        let mut bytes = [0; SIZE];
        loop {
            match rustix::io::read(self.inlet, &mut bytes) {
                // SAFETY: each write is of one whole record, which has only integers, and a pipe does not split it.
                Ok(SIZE) => return Some(unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) }),
                Err(Errno::INTR) => {}
                // Among the lost ones may be the end of a child.
                _ if IS_LOST.swap(false, Ordering::SeqCst) => {
                    let receiver = self.me.as_raw_nonzero().get();
                    return Some(Record { receiver, signal: libc::SIGCHLD, sender: 0, value: 0 });
                }
                _ => return None,
            }
        }
    }

    /// A signal that ends a program, and that has come since the program began.
    pub(crate) fn ending(&self) -> Option<i32> {
        std::iter::from_fn(|| self.next()).map(|record| record.signal).find(|signal| is_ending(*signal))
    }
}

impl Signals {
    /// A signal of this kind that waits because all are blocked.
    pub(super) fn pending(&self, kind: impl Fn(i32) -> bool) -> Option<i32> {
        let mut pending = MaybeUninit::uninit();
        // SAFETY: the call fills the set.
        let pending = unsafe {
            libc::sigpending(pending.as_mut_ptr());
            pending.assume_init()
        };
        // SAFETY: the set is valid, and the numbers are of signals.
        let is_new = |signal: &i32| unsafe {
            libc::sigismember(&pending, *signal) == 1
                && libc::sigismember(&self.mask.0, *signal) == 0
                && is_caught(*signal)
        };
        handled().filter(|signal| kind(*signal)).find(is_new)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inlet
    }
}

/// Whether it ends a program by default.
pub(super) fn is_ending(signal: i32) -> bool {
    ENDING.contains(&signal) || real_time().contains(&signal)
}

/// Whether it is one by which a terminal stops a job.
pub(super) fn is_stopping(signal: i32) -> bool {
    [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}

/// A caller may have closed the standard descriptors. Ours must not be taken for one of them.
fn beyond_the_standard_ones(fd: OwnedFd) -> io::Result<OwnedFd> {
    match fd.as_raw_fd() {
        0..=2 => Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?),
        _ => Ok(fd),
    }
}

pub(super) fn outlet() -> RawFd {
    OUTLET.load(Ordering::SeqCst)
}

/// Writes a record, as the handler does. Async-signal-safe.
pub(super) fn note(record: Record) {
    // SAFETY: a record has no padding, so all its bytes are set.
    let bytes = unsafe { std::slice::from_raw_parts(ptr::from_ref(&record).cast::<u8>(), SIZE) };
    // SAFETY: the pipe stays open for as long as the program runs.
    let outlet = unsafe { BorrowedFd::borrow_raw(outlet()) };
    // A full pipe has thousands of records that nobody read: then one more is lost.
    if rustix::io::write(outlet, bytes).is_err() {
        IS_LOST.store(true, Ordering::SeqCst);
        // The reader may have emptied the pipe meanwhile, and have gone to sleep.
        let _ = rustix::io::write(outlet, bytes);
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    #[cfg(not(target_os = "linux"))] // on Linux, rustix leaves errno alone
    let errno = io::Error::last_os_error();
    // SAFETY: the kernel passes the information of this signal.
    let info = unsafe { &*info };
    // SAFETY: such a signal has a sender.
    let sender = if is_sent_by_process(info.si_code) { unsafe { info.si_pid() } } else { 0 };
    #[cfg(target_os = "linux")]
    // SAFETY: a signal of sigqueue(3) has a value, and all bits of it are a number.
    let value = if info.si_code == libc::SI_QUEUE { unsafe { info.si_value().sival_ptr as usize as i32 } } else { 0 };
    #[cfg(not(target_os = "linux"))]
    let value = 0;
    let receiver = if IS_WITNESS.load(Ordering::SeqCst) { WITNESS } else { getpid().as_raw_nonzero().get() };
    let sender = if IS_APART.load(Ordering::SeqCst) { SOMEBODY } else { sender };
    note(Record { receiver, signal, sender, value });
    #[cfg(not(target_os = "linux"))]
    set_errno(errno.raw_os_error().unwrap_or(0));
}

/// kill(2), sigqueue(3) and tgkill(2) tell the sender. A timer has other data in the same place.
fn is_sent_by_process(code: i32) -> bool {
    #[cfg(target_os = "linux")]
    return matches!(code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
    #[cfg(not(target_os = "linux"))]
    return code != 0x80 && code <= 0x10001; // SI_USER differs between systems, and all name the sender of kill(2)
}

#[cfg(not(target_os = "linux"))]
fn set_errno(errno: i32) {
    #[cfg(any(target_os = "macos", target_os = "freebsd"))]
    // SAFETY: the function returns the place of this thread's errno.
    unsafe {
        *libc::__error() = errno;
    }
    #[cfg(target_os = "netbsd")]
    // SAFETY: the same.
    unsafe {
        *libc::__errno() = errno;
    }
}

/// Whether it has our handler. A blocked signal waits also if it is ignored.
fn is_caught(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the call fills the action, and all zero is a valid one.
    let action = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == on_signal as *const () as usize
}

/// Records this signal from now on, unless the caller ignores it, as nohup(1) does. True: it was ignored.
fn catch(signal: i32) -> bool {
    let was = set_handler(signal);
    let is_ignored = was.sa_sigaction == libc::SIG_IGN;
    if is_ignored && signal != libc::SIGCHLD {
        // SAFETY: the action is the one that was there before.
        unsafe { libc::sigaction(signal, &was, ptr::null_mut()) };
    }
    is_ignored
}

/// Records this signal from now on, and returns what was done with it before.
pub(super) fn set_handler(signal: i32) -> libc::sigaction {
    let mut was = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zero is a valid action, and the handler does only what a handler may do.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigfillset(&mut action.sa_mask);
        libc::sigaction(signal, &action, was.as_mut_ptr());
        was.assume_init()
    }
}

/// A set of blocked signals.
#[derive(Clone, Copy)]
pub(super) struct Mask(libc::sigset_t);

impl Mask {
    /// The signals that are blocked in this thread now.
    fn now() -> Mask {
        Mask::change(libc::SIG_BLOCK, None)
    }

    /// Blocks all signals in this thread, and returns those that were blocked before.
    pub fn block_all() -> Mask {
        let mut all = MaybeUninit::uninit();
        // SAFETY: the call fills the set.
        let all = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            all.assume_init()
        };
        Mask::change(libc::SIG_SETMASK, Some(all))
    }

    /// No signal is blocked.
    pub fn none() -> Mask {
        let mut none = MaybeUninit::uninit();
        // SAFETY: the call fills the set.
        Mask(unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            none.assume_init()
        })
    }

    /// The same set with this signal blocked, or not blocked.
    pub fn with(mut self, signal: i32, is_blocked: bool) -> Mask {
        // SAFETY: the set is valid.
        unsafe {
            match is_blocked {
                true => libc::sigaddset(&mut self.0, signal),
                false => libc::sigdelset(&mut self.0, signal),
            };
        }
        self
    }

    /// Blocks these signals in this thread, and no others. Async-signal-safe.
    pub fn set(&self) {
        Mask::change(libc::SIG_SETMASK, Some(self.0));
    }

    fn change(how: i32, to: Option<libc::sigset_t>) -> Mask {
        let mut was = MaybeUninit::uninit();
        let to = to.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: both sets are valid, or null.
        Mask(unsafe {
            libc::pthread_sigmask(how, to, was.as_mut_ptr());
            was.assume_init()
        })
    }
}
