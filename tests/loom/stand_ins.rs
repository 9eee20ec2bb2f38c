//! What the handle calls. The lock folder and the bells of its waiters are one mutex and one condition variable.

use loom::sync::{Condvar, Mutex, MutexGuard};

/// The state of the whole system.
#[derive(Default)]
pub struct State {
    pub locked: bool,
    /// How many bids were posted.
    bids: u32,
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
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    use super::{change, sleep_until, state};

    // Not an atomic of loom, because the order of two looks at the clock needs no exploration.
    loom::lazy_static! {
        static ref LOOKS: AtomicU32 = AtomicU32::new(0);
    }

    /// Each look at this clock takes a nanosecond. On the real clock, a slow machine would take other ways through the code than
    /// it took before, and loom can't explore that.
    pub fn now() -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        let looks = LOOKS.fetch_add(1, Ordering::Relaxed);
        *START.get_or_init(Instant::now) + Duration::from_nanos(looks.into())
    }

    /// No clock jumps here.
    #[derive(Clone, Copy)]
    pub struct Clocks;

    impl Clocks {
        pub fn now() -> Option<Clocks> {
            None
        }

        pub fn jump(&self) -> i64 {
            0
        }
    }

    pub fn unix_nanos() -> u64 {
        0
    }

    pub fn file_name(name: &std::ffi::CStr) -> std::ffi::OsString {
        name.to_str().unwrap().into()
    }

    /// No lease is lost here.
    pub enum Alarm {}

    impl Alarm {
        pub fn source(&self) -> std::os::fd::BorrowedFd<'_> {
            match *self {}
        }
    }

    /// Event loops have no threads to explore.
    pub enum WaitSet {}

    impl WaitSet {
        pub fn new(_: &Waker) -> std::io::Result<Option<WaitSet>> {
            Ok(None)
        }

        pub fn watch(&self, _: &(), _: Duration) {
            match *self {}
        }

        pub fn forget(&self, _: &()) {
            match *self {}
        }

        pub fn is_ready(&self) -> bool {
            match *self {}
        }

        pub fn source(&self) -> std::os::fd::BorrowedFd<'_> {
            match *self {}
        }
    }

    pub struct Waker(usize);

    impl Waker {
        pub fn new() -> std::io::Result<Waker> {
            let mut state = state();
            state.bells.push(false);
            Ok(Waker(state.bells.len() - 1))
        }

        pub fn ring(&self) {
            change(|state| state.bells[self.0] = true);
        }

        pub fn silence(&self) {
            change(|state| state.bells[self.0] = false);
        }

        /// Sleeps until the bell rings or the lock is free, and silences the bell. The time never ends a sleep, because
        /// the time-outs of the tests are too short for a sleep to begin.
        pub fn sleep(&self, _: &(), _: Duration) -> bool {
            sleep_until(|state| std::mem::take(&mut state.bells[self.0]) || !state.locked);
            true
        }
    }
}

pub mod folder {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::sys::Alarm;
    use super::{change, state};
    use crate::error::{Error, ErrorKind, Reach, Result};
    use crate::owner::bid::BidName;
    use crate::owner::rival::Rival;
    use crate::protocol::{Backoff, Check, Leaving, Line, Place, Standing, View, WaitsFor};
    use crate::slots::Slots;

    pub(crate) use crate::options;

    /// A ticket, as a snapshot of the line shows it. There is none here.
    pub struct Arrival {
        pub arrival: u64,
    }

    /// A folder in which a bid takes the lock, if the lock is free.
    pub struct Folder {
        path: Arc<Path>,
    }

    impl Folder {
        pub fn open(path: &Path, _: options::Options) -> Result<Folder> {
            Ok(Folder { path: path.into() })
        }

        pub fn path(&self) -> &Arc<Path> {
            &self.path
        }

        pub fn sources(_: WaitsFor<'_, Folder>) {}

        pub fn sources_but_news(_: WaitsFor<'_, Folder>) {}

        /// Any wake-up while the lock is taken counts as another file's change, even a wake-up by the bell, because
        /// such changes can happen at any time.
        pub fn is_others_change(_: WaitsFor<'_, Folder>) -> bool {
            state().locked
        }

        pub fn holds(&self, _: &BidName) -> Result<()> {
            Ok(())
        }

        pub fn line(&self) -> Result<Vec<(Arrival, Rival)>> {
            Ok(Vec::new())
        }

        pub fn set_command(&mut self, _: &str) {}

        pub fn set_malformed_grace(&mut self, _: u32) -> Result<()> {
            Ok(())
        }

        pub fn reach(&self) -> Reach {
            Reach::Host
        }

        pub fn bids(&mut self, _: Option<&BidName>) -> Result<Vec<(Rival, bool)>> {
            Ok(Vec::new())
        }

        pub fn reap_stale(&mut self, _: Option<&BidName>) -> Result<usize> {
            Ok(0)
        }

        pub fn fence(&mut self, _: &BidName) -> Result<u64> {
            Ok(1)
        }

        pub fn renew(&self) -> Result<()> {
            Ok(())
        }

        pub fn valid_for(&self) -> Result<Option<Duration>> {
            Ok(None)
        }

        pub fn set_lease(&mut self, _: Duration) -> Result<()> {
            Ok(())
        }

        pub fn set_slots(&mut self, _: Slots) -> Result<()> {
            Ok(())
        }

        pub fn lost_descriptor(&mut self) -> Result<Option<Arc<Alarm>>> {
            Ok(None)
        }
    }

    fn busy() -> Error {
        Error::fixed(ErrorKind::Busy, "held")
    }

    impl Place for Folder {
        type Bid = BidName;
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

        fn post(&mut self) -> Result<BidName> {
            let mut state = state();
            if state.locked {
                return Err(busy());
            }
            state.bids += 1;
            state.locked = true;
            Ok(BidName(state.bids))
        }

        fn check(&mut self, _: &BidName) -> Result<Check<()>> {
            Ok(Check::Alone)
        }

        fn precedes(&self, _: &(), _: &BidName) -> bool {
            true
        }

        fn unseen(&mut self, _: &BidName) -> Result<Error> {
            Ok(busy())
        }

        fn keep(&mut self, _: &BidName) {}

        fn take_back(&mut self, _: BidName, error: Error) -> Error {
            change(|state| state.locked = false);
            error
        }

        fn withdraw(&mut self, _: &BidName) -> Result<Option<Error>> {
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
            super::sys::now()
        }

        fn pause(&mut self, _: &mut Backoff) -> bool {
            false
        }
    }

    /// There is no line here.
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

        fn has_line(&self) -> bool {
            self.first_in_line().is_some()
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

        fn glance_after(&mut self, _: &()) -> Result<Option<()>> {
            self.glance()
        }

        fn is_leaving(_: &(), _: &()) -> bool {
            false
        }

        fn tells(_: &()) -> bool {
            false
        }

        fn watch(&mut self, _: Option<()>) -> Option<()> {
            None
        }

        fn put_by(&mut self, _: Option<()>, _: Option<()>) {}

        fn rival(&mut self, _: Option<u8>) -> Result<Option<()>> {
            Ok(state().locked.then_some(()))
        }

        fn glance_for(&mut self, _: u8) -> Result<Option<()>> {
            Ok(None)
        }

        fn last_rivals(&self) -> Vec<()> {
            Vec::new()
        }

        fn is_same_bid(_: &(), _: &()) -> bool {
            true
        }

        fn is_overtaken(&self, _: u8, (): &(), (): &()) -> bool {
            false
        }

        fn tells_death(_: &()) -> bool {
            false
        }

        fn restore_order(&mut self, _: &()) -> Result<()> {
            Ok(())
        }

        fn discard(&mut self, _: u8) {}

        fn pass_on(&mut self) {}

        fn tell(&mut self) {}

        fn leave(&mut self, _: Leaving) {}

        fn comes_later(&self, _: &()) -> Error {
            busy()
        }

        fn why_not_yet(&mut self) -> Error {
            busy()
        }

        fn chance(&mut self) -> f64 {
            0.5
        }
    }
}

pub mod owner {
    pub mod bid {
        /// Each lock has a name of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct BidName(pub u32);

        pub fn posted_at(_: &std::ffi::CStr) -> Option<i64> {
            None
        }
    }

    /// No thread forks here.
    pub mod opener {
        use std::path::Path;
        use std::sync::Arc;

        use crate::error::Result;

        pub struct Opener;

        impl Opener {
            pub fn this_process() -> Opener {
                Opener
            }

            pub fn check(&self, _: &Arc<Path>) -> Result<()> {
                Ok(())
            }
        }
    }

    pub mod rival {
        use std::ffi::CString;

        use crate::error::BidState;
        use crate::slots::Slots;

        /// No test lists the bids.
        pub struct Rival {
            pub name: CString,
            pub modified: Option<i64>,
            pub bid: Result<Bid, ()>,
        }

        pub struct Bid {
            pub pid: u32,
            pub created: Option<i64>,
            pub host: Option<String>,
            pub command: Option<String>,
            pub pidns: Option<u64>,
            pub boot: Option<String>,
            pub lease: Option<u32>,
        }

        impl Rival {
            pub fn state(&self) -> BidState {
                BidState::Live
            }

            pub fn slots(&self) -> Slots {
                Slots::One
            }
        }
    }
}
