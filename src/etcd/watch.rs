//! A watch on the key of our predecessor alone. A thread reads what etcd tells, and rings a bell that a wait sleeps at.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::etcd::client::Client;
use crate::etcd::requests::{news, watch, News};
use crate::etcd::transport::Breaker;
use crate::etcd::transport::STACK;
use crate::sys::{process_mark, ProcessMark, Source, Thread, Waker};

/// The pauses before a broken watch begins again grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

const WATCHING: u8 = 0;
const DELETED: u8 = 1;
/// Etcd can't say what happened, so the waiter looks.
const GAP: u8 = 2;

/// The predecessor as a watch shows it.
pub(crate) struct Predecessor {
    /// The revision that created its key.
    pub created: u64,
    shared: Arc<Shared>,
    of: ProcessMark,
    _thread: Thread,
}

struct Shared {
    state: AtomicU8,
    bell: Waker,
    breaker: Breaker,
    is_over: AtomicBool,
    /// For a pause that can be ended.
    pause: Waker,
}

impl Predecessor {
    /// `from`: the first revision that we have not seen.
    pub(super) fn watch(client: &Arc<Client>, key: String, created: u64, from: u64) -> std::io::Result<Predecessor> {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(WATCHING),
            bell: Waker::new()?,
            breaker: Breaker::default(),
            is_over: AtomicBool::new(false),
            pause: Waker::new()?,
        });
        let (client, of_thread) = (Arc::clone(client), Arc::clone(&shared));
        let thread = Thread::spawn_with(STACK, "lockfolder-wait", move || of_thread.run(&client, &key, from))?;
        Ok(Predecessor { created, shared, of: process_mark(), _thread: thread })
    }

    /// Its key was deleted while we watched.
    pub fn is_gone(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) == DELETED
    }

    /// The watch says nothing any more.
    pub fn is_over(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) != WATCHING
    }

    /// Readable after it was deleted, and after a gap.
    pub fn source(&self) -> Source<'_> {
        self.shared.bell.source()
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        if self.of != process_mark() {
            return; // in a forked child the connection is the parent's, and a cut would end it there too
        }
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.pause.ring();
        self.shared.breaker.cut();
        // The drop of the thread waits for its end. It may be about to connect, which is bounded.
    }
}

impl Shared {
    fn run(&self, client: &Arc<Client>, key: &str, mut from: u64) {
        let mut pause = PAUSES.0;
        while !self.is_over.load(Ordering::Acquire) {
            let at = client.current();
            let seen = client.stream(at, "watch", &watch(key, from), &self.breaker);
            let Ok(stream) = seen else {
                client.pass_on(at);
                self.pause.sleep(&[], pause);
                pause = (pause * 2).min(PAUSES.1);
                continue;
            };
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                match news(&String::from_utf8_lossy(&line)) {
                    News::Nothing(next) => from = from.max(next),
                    News::Deleted => return self.tell(DELETED),
                    News::Gap => {
                        // Whatever writes such answers, the waiter does not look without a pause.
                        self.pause.sleep(&[], PAUSES.0);
                        return self.tell(GAP);
                    }
                }
                pause = PAUSES.0;
            }
            if self.breaker.is_cut() {
                return;
            }
            // The connection broke. The next one goes on from the same revision, so no news is lost.
            client.pass_on(at);
            self.pause.sleep(&[], pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn tell(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.bell.ring();
    }
}
