//! The identity of a process, and whether the process lives. How a system shows its processes is in the module of that system.

use std::cell::OnceCell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use super::contract::{Identity, ProcessState, Processes, Source, System};

/// Tells a process from its forked children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMark(<System as Processes>::Mark);

/// Where a process is looked up. Messages to people contain it.
pub(crate) const PROCESS_TABLE: &str = System::TABLE;

/// The mark of the calling process.
pub(crate) fn process_mark() -> ProcessMark {
    ProcessMark(System::mark())
}

/// Makes now what the first use of a handle would make otherwise, while another thread may fork.
pub(crate) fn prepare_for_fork() {
    System::prepare_for_fork();
}

impl Identity {
    /// The identity of this process. It is read once per process, and again after a step of the clock or a fork.
    pub fn current() -> io::Result<Arc<Identity>> {
        /// The PID belongs to the key, because a child that shares its parent's memory (CLONE_VM, vfork) has the parent's mark. Such a
        /// child can be PID 1 of a new namespace, as its parent is of an older one.
        type Key = (ProcessMark, u32, Option<u64>);
        static CACHE: Shared<Option<(Key, Arc<Identity>)>> = Shared::new(None);
        let pid = std::process::id();
        let mark = (process_mark(), pid, if pid == 1 { System::namespace_of_pids() } else { None });
        let known = || {
            let of_us = |cache: &mut Option<(Key, Arc<Identity>)>| cache.clone().filter(|(of, _)| *of == mark);
            CACHE.change(of_us).flatten().map(|(_, identity)| identity)
        };
        let mut before = known();
        loop {
            if let Some(identity) = before.as_ref().filter(|identity| !identity.clock_stepped()) {
                return Ok(Arc::clone(identity));
            }
            let identity = Arc::new(System::identify(before.as_deref())?);
            // Another thread may have been faster. Then the identity that it stored stays.
            let kept = CACHE.change(|cache| {
                let now = cache.as_ref().filter(|(of, _)| *of == mark).map(|(_, identity)| identity);
                match (now, &before) {
                    (Some(now), Some(before)) if !Arc::ptr_eq(now, before) => false,
                    (Some(_), None) => false,
                    _ => {
                        *cache = Some((mark, Arc::clone(&identity)));
                        true
                    }
                }
            });
            if kept != Some(false) {
                return Ok(identity);
            }
            before = known();
        }
    }

    /// Whether the clock was set. If so, every process that computes `created` now gets another number.
    pub fn clock_stepped(&self) -> bool {
        System::has_stepped(&self.clock)
    }

    /// The latest time at which this machine can have booted, in Unix seconds.
    pub fn booted(&self) -> io::Result<i64> {
        System::booted(&self.clock)
    }
}

/// A value that the threads of a process change. Each thread locks it only for a moment.
struct Shared<T> {
    value: Mutex<T>,
    /// The process whose thread locked it last.
    locked_in: AtomicU32,
}

impl<T> Shared<T> {
    const fn new(value: T) -> Shared<T> {
        Shared { value: Mutex::new(value), locked_in: AtomicU32::new(0) }
    }

    /// `None`: the value stays locked for ever. That happens in a child that was forked while another thread of the parent held
    /// the lock, because fork does not copy that thread.
    fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let own = std::process::id();
        let mut elsewhere = 0;
        // Many tries, so that a busy machine is not mistaken for a fork. `locked_in` alone does not prove a fork, because a child
        // can have the PID of its parent (PID 1 of a new namespace).
        for _ in 0..1000 {
            let mut value = match self.value.try_lock() {
                Ok(value) => value,
                Err(TryLockError::Poisoned(value)) => value.into_inner(),
                Err(TryLockError::WouldBlock) if elsewhere == 5 => break,
                Err(TryLockError::WouldBlock) => {
                    // Counted more than once, because a thread of ours may have locked it and not yet stored its PID.
                    elsewhere += u32::from(self.locked_in.load(Ordering::Relaxed) != own);
                    super::sleep(Duration::from_millis(1));
                    continue;
                }
            };
            self.locked_in.store(own, Ordering::Relaxed);
            return Some(change(&mut value));
        }
        None
    }
}

/// The view that we have of other processes now. It is read when it is needed, and anew for each pass over the bids, because a
/// program can enter another namespace, root or sandbox at any time.
#[derive(Default)]
pub(crate) struct View(OnceCell<Option<<System as Processes>::Outlook>>);

impl View {
    /// `None`: this process can see nothing about other processes.
    fn outlook(&self, me: &Identity) -> Option<&<System as Processes>::Outlook> {
        self.0.get_or_init(|| System::outlook(me.pid)).as_ref()
    }
}

/// Tells when a process of our PID namespace exits, even if another process gets its PID later.
pub(crate) struct ExitWatch(<System as Processes>::Exit);

impl ExitWatch {
    /// Whether the process has exited. A zombie has exited. A process has not exited if only its main thread has ended.
    pub fn happened(&self) -> bool {
        System::has_exited(&self.0)
    }

    pub fn source(&self) -> Source<'_> {
        System::source(&self.0)
    }
}

/// Whether there is a process with a PID. It can be any process.
pub(crate) enum Presence {
    /// There is none. This proof needs no view of `/proc`.
    Gone,
    /// There is one. It may have exited since then. Where the kernel tells this, [`ExitWatch::happened`] returns true.
    Exists(Option<ExitWatch>),
}

/// Whether there is a process `pid` in our PID namespace.
pub(crate) fn presence(pid: u32) -> Presence {
    match System::watch(pid) {
        Ok(exit) => Presence::Exists(Some(ExitWatch(exit))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Presence::Gone,
        Err(_) if System::exists(pid) => Presence::Exists(None),
        Err(_) => Presence::Gone,
    }
}

/// Whether the process `pid` of our PID namespace is the one that started at `start`. Without `start`, it compares `created`, with a
/// tolerance of 2 s.
pub(crate) fn process(view: &View, me: &Identity, pid: u32, start: Option<u64>, created: Option<i64>) -> ProcessState {
    let Some(outlook) = view.outlook(me) else {
        return ProcessState::Exists;
    };
    let seen = match System::look(outlook, pid) {
        Ok(seen) => seen,
        Err(state) => return state,
    };
    if let Some(start) = start {
        return System::is_from(&seen, outlook, start, created);
    }
    match created.and_then(|created| System::is_created(&seen, outlook, created)) {
        Some(true) => ProcessState::Runs,
        Some(false) => ProcessState::Replaced,
        None => ProcessState::Exists,
    }
}

/// Whether two values of CREATED can be those of one process.
pub(super) fn is_about(now: i64, then: i64) -> bool {
    now.abs_diff(then) <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This holds also while another thread reads the identity.
    #[test]
    fn all_threads_have_the_identity_that_was_read_first() {
        let first = Identity::current().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        assert!(Arc::ptr_eq(&Identity::current().unwrap(), &first));
                    }
                });
            }
        });
    }

    #[test]
    fn we_run() {
        let me = Identity::current().unwrap();
        assert_eq!(process(&View::default(), &me, me.pid, me.start, None), ProcessState::Runs);
        assert_eq!(process(&View::default(), &me, me.pid, None, Some(me.created)), ProcessState::Runs);
        assert_eq!(process(&View::default(), &me, me.pid, me.start.map(|s| s + 1), None), ProcessState::Replaced);
        assert_eq!(process(&View::default(), &me, me.pid, None, Some(me.created - 3)), ProcessState::Replaced);
        #[cfg(any(target_os = "linux", windows))] // other systems can't watch a process
        assert!(!ExitWatch(System::watch(me.pid).unwrap()).happened());
    }
}
