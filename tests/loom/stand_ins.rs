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
    use std::time::Duration;

    use super::{change, sleep_until, state};

    /// No thread forks here.
    #[derive(PartialEq, Eq)]
    pub struct ProcessMark;

    pub fn process_mark() -> ProcessMark {
        ProcessMark
    }

    pub struct Bell(usize);

    impl Bell {
        pub fn new() -> std::io::Result<Bell> {
            let mut state = state();
            state.bells.push(false);
            Ok(Bell(state.bells.len() - 1))
        }

        pub fn ring(&self) {
            change(|state| state.bells[self.0] = true);
        }

        /// Until it rings or the lock is free. Silences it. Its time is never over: a test's time-out is so short that no sleep
        /// begins.
        pub fn sleep(&self, _: (), time: Duration) -> bool {
            assert!(time > Duration::ZERO);
            sleep_until(|state| std::mem::take(&mut state.bells[self.0]) || !state.locked);
            true
        }
    }
}

pub mod claimant {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Instant;

    use super::{change, state};
    use crate::owner::bid::Guid;
    use crate::api::snapshot::BidInfo;
    use crate::error::{Error, ErrorKind, Result};
    use crate::api::options::OpenOptions;
    use crate::protocol::{Backoff, Check, Leaving, Line, Place, Session, Standing, View, Wait};

    /// A folder in which a bid is the lock, if there is none.
    pub struct Folder {
        path: Arc<Path>,
        pub malformed_grace_ms: u32,
    }

    impl Folder {
        pub fn open(path: &Path, _: OpenOptions) -> Result<Folder> {
            Ok(Folder { path: path.into(), malformed_grace_ms: 0 })
        }

        pub fn path(&self) -> &Arc<Path> {
            &self.path
        }

        pub fn sources(_: &Wait<Folder>) {}
    }

    fn busy() -> Error {
        Error::fixed(ErrorKind::Busy, "held")
    }

    impl Place for Folder {
        type Bid = Guid;
        type Rival = ();

        fn enter(&mut self) -> Result<()> {
            Ok(())
        }

        fn clear(&mut self) -> Result<()> {
            Ok(())
        }

        fn glance(&mut self) -> Result<Option<()>> {
            Ok(None)
        }

        fn post(&mut self) -> Result<Guid> {
            let mut state = state();
            if state.locked {
                return Err(busy());
            }
            state.bids += 1;
            state.locked = true;
            Ok(Guid(state.bids))
        }

        fn check(&mut self, _: &Guid) -> Result<Check<()>> {
            Ok(Check::Alone)
        }

        fn precedes(&self, _: &(), _: &Guid) -> bool {
            true
        }

        fn unseen(&mut self, _: &Guid) -> Result<Error> {
            Ok(busy())
        }

        fn keep(&mut self, _: &Guid) {}

        fn take_back(&mut self, _: Guid, error: Error) -> Error {
            change(|state| state.locked = false);
            error
        }

        fn withdraw(&mut self, _: &Guid) -> Result<Option<Error>> {
            change(|state| state.locked = false);
            Ok(None)
        }

        fn tidy(&mut self) {}

        fn abandon(&mut self) {}

        fn busy(&self, _: &()) -> Error {
            busy()
        }

        fn check_process(&self) -> Result<()> {
            Ok(())
        }

        fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error {
            Error::fixed(kind, what)
        }

        fn now(&self) -> Instant {
            Instant::now()
        }

        fn pause(&mut self, _: &mut Backoff) -> bool {
            false
        }
    }

    /// No line is to be had here.
    impl Line for Folder {
        type Ticket = u8;
        type Predecessor = ();
        type Watch = ();

        fn approach(&mut self) -> Result<()> {
            Ok(())
        }

        fn refresh(&mut self) -> Result<bool> {
            Ok(false)
        }

        fn first_in_line(&self) -> Option<u8> {
            None
        }

        fn bury(&mut self, _: u8) -> bool {
            true
        }

        fn stand(&mut self) -> Result<Standing<u8>> {
            Ok(Standing::Nowhere)
        }

        fn has_ticket(&self) -> bool {
            false
        }

        fn view(&mut self) -> Result<View<u8>> {
            Ok(View::default())
        }

        fn watch_predecessor(&mut self, _: u8, _: Option<()>) -> Result<Option<()>> {
            Ok(None)
        }

        fn has_handed_over(_: &()) -> bool {
            false
        }

        fn tells(_: &()) -> bool {
            false
        }

        fn watch(&mut self, _: Option<()>) -> Option<()> {
            None
        }

        fn put_by(&mut self, _: ()) {}

        fn rival(&mut self) -> Result<Option<()>> {
            Ok(state().locked.then_some(()))
        }

        fn last_rival(&self) -> Option<()> {
            None
        }

        fn tells_death(_: &()) -> bool {
            false
        }

        fn restore_order(&mut self, _: &()) -> Result<()> {
            Ok(())
        }

        fn discard(&mut self, _: u8) {}

        fn leave(&mut self, _: Leaving) {}

        fn why_not_yet(&mut self) -> Error {
            busy()
        }

        fn chance(&mut self) -> f64 {
            0.5
        }
    }

    impl Session<Folder> {
        pub fn holds(&self) -> Result<()> {
            self.held_bid().map(drop)
        }

        pub fn in_use(&mut self) -> Result<bool> {
            Ok(state().locked && self.held().is_none())
        }

        pub fn bids(&mut self) -> Result<Vec<BidInfo>> {
            Ok(Vec::new())
        }

        pub fn reap_stale(&mut self) -> Result<usize> {
            Ok(0)
        }

        pub fn fence(&mut self) -> Result<u64> {
            self.held_bid().map(|_| 1)
        }
    }
}

pub mod wait {
    use std::time::Duration;

    use super::change;
    use crate::error::Result;
    use crate::api::handle::Handle;
    use crate::sleeping_wait;
    use crate::sys::Bell;

    /// The real one, counted.
    pub fn wait_in_line(handle: &Handle, bell: &Bell, timeout: Option<Duration>) -> Result<()> {
        change(|state| state.waits += 1);
        let waited = sleeping_wait::wait_in_line(handle, bell, timeout);
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
