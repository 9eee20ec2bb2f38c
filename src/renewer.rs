//! The thread that renews the lease of one handle, in a shared folder or on an engine. It lives while the handle has something to renew,
//! and a little longer.
//!
//! Each handle has its own thread, so that a server that does not answer can't delay the leases of other handles.

use std::io;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::sys::Thread;

/// A lease, as the thread sees it.
pub(crate) trait Renewable: Send + Sync + 'static {
    /// What the thread needs to make a renewal.
    const STACK: usize;

    /// For how long the thread may sleep. When there is nothing to renew, it stays for so long, because the program may lock again.
    fn due_in(&self) -> Duration;

    /// There is nothing to renew. A lease that serves for many locks may begin again.
    fn is_over(&self) -> bool;

    /// Renews the lease. An error is no loss yet: the next try may succeed. The holder learns of a loss by the time alone.
    /// `helper` has room for a thread for what may wait; the drop of our thread waits for its end.
    fn renew_now(&self, helper: &mut Option<Thread>);
}

/// The sending side of the thread. Its drop ends the thread.
pub(crate) struct Renewer<L> {
    running: Option<Running<L>>,
}

struct Running<L> {
    /// Declared before the thread, so that it is dropped first: that ends the thread, and the drop of the thread waits for its end.
    inbox: Sender<Arc<L>>,
    /// What was sent last. It keeps nothing open.
    lease: Weak<L>,
    /// False once the thread has decided to end. Nobody sends without this lock, so the thread misses nothing.
    is_alive: Arc<Mutex<bool>>,
    _thread: Thread,
}

impl<L> Default for Renewer<L> {
    fn default() -> Renewer<L> {
        Renewer { running: None }
    }
}

impl<L: Renewable> Renewer<L> {
    /// Renews this lease from now on.
    pub fn take(&mut self, lease: &Arc<L>) -> io::Result<()> {
        if let Some(thread) = &mut self.running {
            let is_alive = thread.is_alive.lock().unwrap_or_else(PoisonError::into_inner);
            // To wake the thread costs nearly a tenth of a lock on etcd, and it looks at this lease anyway before it is due.
            let is_known = std::ptr::eq(Weak::as_ptr(&thread.lease), Arc::as_ptr(lease));
            if *is_alive && (is_known || thread.inbox.send(Arc::clone(lease)).is_ok()) {
                thread.lease = Arc::downgrade(lease);
                return Ok(());
            }
        }
        let (inbox, received) = channel();
        let is_alive = Arc::new(Mutex::new(true));
        let (alive, first) = (Arc::clone(&is_alive), Arc::clone(lease));
        let thread = Thread::spawn_with(L::STACK, "lockfolder", move || run(first, &received, &alive))?;
        self.running = Some(Running { inbox, lease: Arc::downgrade(lease), is_alive, _thread: thread });
        Ok(())
    }

    /// This lease is over. The thread looks at it now, if there is one.
    pub fn end(&self, lease: &Arc<L>) {
        self.running.iter().for_each(|thread| drop(thread.inbox.send(Arc::clone(lease))));
    }

    /// In a forked child there is no such thread, and what we share with it may be locked for ever.
    pub fn abandon(&mut self) {
        std::mem::forget(self.running.take());
    }
}

fn run<L: Renewable>(mut lease: Arc<L>, inbox: &Receiver<Arc<L>>, is_alive: &Mutex<bool>) {
    let mut helper: Option<Thread> = None;
    loop {
        match inbox.recv_timeout(lease.due_in()) {
            Ok(next) => lease = next,
            // The handle is closed, so it has given back what it had.
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if lease.is_over() => {
                let mut is_alive = is_alive.lock().unwrap_or_else(PoisonError::into_inner);
                match inbox.try_recv() {
                    Ok(next) => lease = next,
                    Err(_) if !lease.is_over() => {} // another lock has begun with it
                    Err(_) => {
                        *is_alive = false;
                        return;
                    }
                }
            }
            // It was over when the sleep began, and has begun again.
            Err(RecvTimeoutError::Timeout) if !lease.due_in().is_zero() => {}
            Err(RecvTimeoutError::Timeout) => lease.renew_now(&mut helper),
        }
    }
}

/// What to do where the thread can't be started.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    // clone(2): EINVAL, where the children of this process are in another PID namespace.
    let is_apart = cfg!(target_os = "linux") && error.kind() == io::ErrorKind::InvalidInput;
    match is_apart {
        true => {
            "a process that gave its children another PID namespace can have no threads. Start it inside that namespace: `unshare --pid --fork`, \
             `nsenter --pid` without `--no-fork`"
        }
        false => "without such a thread, open the folder with LF_OPEN_NO_THREAD and call lf_renew",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Instant;

    struct Counted {
        renewals: AtomicU64,
        is_over: AtomicBool,
        next: Mutex<Instant>,
    }

    impl Renewable for Counted {
        const STACK: usize = Thread::STACK;

        fn due_in(&self) -> Duration {
            self.next.lock().unwrap().saturating_duration_since(Instant::now())
        }

        fn is_over(&self) -> bool {
            self.is_over.load(Ordering::SeqCst)
        }

        fn renew_now(&self, _: &mut Option<Thread>) {
            *self.next.lock().unwrap() = Instant::now() + Duration::from_millis(1);
            self.renewals.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Counted {
        fn new() -> Arc<Counted> {
            Arc::new(Counted {
                renewals: AtomicU64::new(0),
                is_over: AtomicBool::new(false),
                next: Mutex::new(Instant::now()),
            })
        }

        fn is_renewed_again(&self) {
            let before = self.renewals.load(Ordering::SeqCst);
            while self.renewals.load(Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn each_lease_is_renewed_whether_the_thread_runs_or_is_about_to_end() {
        let mut renewer = Renewer::default();
        for round in 0..200 {
            let lease = Counted::new();
            for _ in 0..3 {
                lease.is_over.store(false, Ordering::SeqCst);
                renewer.take(&lease).unwrap();
                lease.is_renewed_again();
                lease.is_over.store(true, Ordering::SeqCst);
                let about_when_the_thread_ends = Duration::from_micros(round % 20 * 100);
                std::thread::sleep(about_when_the_thread_ends);
            }
        }
    }

    #[test]
    fn the_drop_ends_the_thread() {
        let lease = Counted::new();
        let mut renewer = Renewer::default();
        renewer.take(&lease).unwrap();
        lease.is_renewed_again();
        drop(renewer);
        assert_eq!(Arc::strong_count(&lease), 1); // the thread has dropped its own
    }
}
