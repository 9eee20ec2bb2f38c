//! The thread that renews the lease of one handle. It lives while the handle waits or holds the lock, and a little longer.

use std::io;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::etcd::lease::Lease;
use crate::sys::Thread;

/// Room for TLS.
pub(super) const STACK: usize = 1024 * 1024;

/// The sending side of the thread. Its drop ends the thread.
#[derive(Default)]
pub(super) struct Renewer {
    running: Option<Running>,
}

struct Running {
    /// Declared before the thread, so that it is dropped first: that ends the thread, and the drop of the thread waits for its end.
    inbox: Sender<Arc<Lease>>,
    /// False once the thread has decided to end. Nobody sends without this lock, so the thread misses nothing.
    is_alive: Arc<Mutex<bool>>,
    _thread: Thread,
}

impl Renewer {
    /// Renews this lease from now on, whenever its key is there.
    pub fn take(&mut self, lease: &Arc<Lease>) -> io::Result<()> {
        if self.send(lease) {
            return Ok(());
        }
        let (inbox, received) = channel();
        let is_alive = Arc::new(Mutex::new(true));
        let (alive, lease) = (Arc::clone(&is_alive), Arc::clone(lease));
        let thread = Thread::spawn_with(STACK, "lockfolder", move || run(lease, &received, &alive))?;
        self.running = Some(Running { inbox, is_alive, _thread: thread });
        Ok(())
    }

    fn send(&self, lease: &Arc<Lease>) -> bool {
        self.running.as_ref().is_some_and(|thread| {
            let is_alive = thread.is_alive.lock().unwrap_or_else(PoisonError::into_inner);
            *is_alive && thread.inbox.send(Arc::clone(lease)).is_ok()
        })
    }

    /// In a forked child there is no such thread, and what we share with it may be locked for ever.
    pub fn abandon(&mut self) {
        std::mem::forget(self.running.take());
    }
}

fn run(mut lease: Arc<Lease>, inbox: &Receiver<Arc<Lease>>, is_alive: &Mutex<bool>) {
    loop {
        match inbox.recv_timeout(lease.due_in()) {
            Ok(next) => lease = next,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if lease.created() == 0 || lease.valid_for().is_none() => {
                let mut is_alive = is_alive.lock().unwrap_or_else(PoisonError::into_inner);
                match inbox.try_recv() {
                    Ok(next) => lease = next,
                    Err(_) => {
                        *is_alive = false;
                        return;
                    }
                }
            }
            // An error is no loss yet: the next try may succeed. The holder learns of a loss by the time alone.
            Err(RecvTimeoutError::Timeout) => drop(lease.renew()),
        }
    }
}
