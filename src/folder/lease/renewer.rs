//! The thread that renews the leases of one handle. It lives while the handle holds a lease, and a little longer.
//!
//! Each handle has its own thread, so that a server that does not answer can't delay the leases of other handles.

use std::io;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::hold::Hold;
use crate::sys::Thread;

/// The sending side of the thread. Its drop ends the thread.
#[derive(Default)]
pub(crate) struct Renewer {
    running: Option<Running>,
}

struct Running {
    /// Declared before the thread, so that it is dropped first: that ends the thread, and the drop of the thread waits for its end.
    inbox: Sender<Arc<Hold>>,
    /// False once the thread has decided to end. Nobody sends without this lock, so the thread misses nothing.
    is_alive: Arc<Mutex<bool>>,
    _thread: Thread,
}

impl Renewer {
    /// Renews this lease from now on.
    pub fn take(&mut self, hold: Arc<Hold>) -> io::Result<()> {
        if self.send(&hold) {
            return Ok(());
        }
        let (inbox, received) = channel();
        let is_alive = Arc::new(Mutex::new(true));
        let alive = Arc::clone(&is_alive);
        let thread = Thread::spawn("lockfolder", move || run(hold, &received, &alive))?;
        self.running = Some(Running { inbox, is_alive, _thread: thread });
        Ok(())
    }

    /// The thread looks at this lease now. False: there is no thread.
    pub fn send(&self, hold: &Arc<Hold>) -> bool {
        self.running.as_ref().is_some_and(|thread| {
            let is_alive = thread.is_alive.lock().unwrap_or_else(PoisonError::into_inner);
            *is_alive && thread.inbox.send(Arc::clone(hold)).is_ok()
        })
    }

    /// In a forked child there is no such thread, and what we share with it may be locked for ever.
    pub fn abandon(&mut self) {
        std::mem::forget(self.running.take());
    }
}

fn run(mut hold: Arc<Hold>, inbox: &Receiver<Arc<Hold>>, is_alive: &Mutex<bool>) {
    let mut cleaner: Option<Thread> = None;
    loop {
        match inbox.recv_timeout(hold.due_in()) {
            Ok(next) => hold = next,
            // The handle is closed, so it has withdrawn its bid.
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if hold.has_ended() => {
                let mut is_alive = is_alive.lock().unwrap_or_else(PoisonError::into_inner);
                match inbox.try_recv() {
                    Ok(next) => hold = next,
                    Err(_) => {
                        *is_alive = false;
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                // An error is no loss yet: the next try may succeed. The holder learns of a loss by the time alone.
                let _ = hold.renew();
                if cleaner.as_ref().is_none_or(Thread::has_ended) {
                    cleaner = hold.cleaner().and_then(|clean| Thread::spawn("lockfolder-clean", clean).ok());
                }
            }
        }
    }
}
