//! What the handle calls: the lock folder and the bells of those who wait for it, as one mutex and one condition variable.

use loom::sync::{Condvar, Mutex, MutexGuard};

/// What the system knows.
#[derive(Default)]
pub struct State {
    pub locked: bool,
    /// How many were posted.
    bids: u32,
    /// How many waits are between their beginning and their end.
    pub waits: u32,
    bells: Vec<bool>,
}

pub struct System {
    state: Mutex<State>,
    changed: Condvar,
}

loom::lazy_static! {
    static ref SYSTEM: System = System { state: Mutex::new(State::default()), changed: Condvar::new() };
}

pub fn state() -> MutexGuard<'static, State> {
    SYSTEM.state.lock().unwrap()
}

pub fn change(how: impl FnOnce(&mut State)) {
    how(&mut state());
    SYSTEM.changed.notify_all();
}

pub fn sleep_until(mut so: impl FnMut(&mut State) -> bool) {
    let mut state = state();
    while !so(&mut state) {
        state = SYSTEM.changed.wait(state).unwrap();
    }
}

pub mod sys {
    use super::{change, sleep_until, state};

    /// No thread forks here.
    #[derive(PartialEq, Eq)]
    pub struct ProcessMark;

    pub fn process_mark() -> ProcessMark {
        ProcessMark
    }

    pub struct Bell(usize);

    pub enum News {
        Left,
    }

    impl Bell {
        pub fn new() -> std::io::Result<Bell> {
            let mut state = state();
            state.bells.push(false);
            Ok(Bell(state.bells.len() - 1))
        }

        pub fn ring(&self) {
            change(|state| state.bells[self.0] = true);
        }

        /// Until it rings or the lock is free. Silences it.
        pub fn sleep(&self) {
            sleep_until(|state| std::mem::take(&mut state.bells[self.0]) || !state.locked);
        }
    }
}

pub mod claimant {
    use std::path::Path;
    use std::sync::Arc;

    use super::{change, state};
    use crate::bid::Guid;
    use crate::bids::BidInfo;
    use crate::error::{Error, ErrorKind, Result};
    use crate::options::OpenOptions;
    use crate::sys::News;

    pub struct Claimant {
        path: Arc<Path>,
        held: Option<Guid>,
        pub malformed_grace_ms: u32,
    }

    impl Claimant {
        pub fn open(path: &Path, _: OpenOptions) -> Result<Claimant> {
            Ok(Claimant { path: path.into(), held: None, malformed_grace_ms: 0 })
        }

        pub fn path(&self) -> &Arc<Path> {
            &self.path
        }

        pub fn held(&self) -> Option<Guid> {
            self.held
        }

        pub fn lock_unless_owed(&mut self) -> Result<()> {
            self.lock()
        }

        pub fn lock(&mut self) -> Result<()> {
            assert!(self.held.is_none(), "the handle's turn lets nobody lock what is held");
            let mut state = state();
            if state.locked {
                return Err(Error::fixed(ErrorKind::Busy, "held"));
            }
            state.bids += 1;
            (state.locked, self.held) = (true, Some(Guid(state.bids)));
            Ok(())
        }

    pub fn let_go(&mut self) {
        let _ = self.unlock();
    }

        pub fn unlock(&mut self) -> Result<()> {
            self.holds()?;
            self.held = None;
            change(|state| state.locked = false);
            Ok(())
        }

        pub fn holds(&self) -> Result<()> {
            match self.held {
                Some(_) => Ok(()),
                None => Err(Error::fixed(ErrorKind::NotHeld, "not held")),
            }
        }

        pub fn give_back(&mut self, error: Error) -> Error {
            let _ = self.unlock();
            error
        }

        pub fn leave_line(&mut self, _news: News) {}

        pub fn in_use(&mut self) -> Result<bool> {
            Ok(state().locked && self.held.is_none())
        }

        pub fn bids(&mut self) -> Result<Vec<BidInfo>> {
            Ok(Vec::new())
        }

        pub fn reap_stale(&mut self) -> Result<usize> {
            Ok(0)
        }

        pub fn fence(&mut self) -> Result<u64> {
            self.holds().map(|()| 1)
        }

        pub fn abandon(&mut self) {}
    }
}

pub mod wait {
    use std::time::Duration;

    use super::change;
    use crate::error::{Error, ErrorKind, Result};
    use crate::handle::Handle;
    use crate::sys::Bell;

    /// In the order of `src/wait.rs`: first to try, then to ask whether it is cancelled, then to sleep.
    pub fn wait_in_line(handle: &Handle, bell: &Bell, timeout: Option<Duration>) -> Result<()> {
        change(|state| state.waits += 1);
        let waited = loop {
            if handle.claimant().lock().is_ok() {
                break Ok(());
            }
            if handle.waiter.is_cancelled() {
                break Err(Error::fixed(ErrorKind::Cancelled, "cancelled"));
            }
            if timeout.is_some() {
                break Err(Error::fixed(ErrorKind::Timeout, "out of time"));
            }
            bell.sleep();
        };
        change(|state| state.waits -= 1);
        waited
    }
}

pub mod bids {
    pub struct BidInfo;
}

pub mod bid {
    /// Each lock has one of its own.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Guid(pub u32);

    impl Guid {
        pub fn as_c_str(&self) -> &'static std::ffi::CStr {
            c"a bid"
        }
    }
}
