//! The lease of the bid by which we hold the lock. The claimant and the thread that renews the lease share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::{self, Files};
use crate::error::{Error, Result};
use crate::folder::names::LeaseName;
use crate::protocol::lease::{Loss, Moment, Renewal, Term};
use crate::renewer::Renewable;
use crate::sys::{self, process_mark, Alarm, Dir, ProcessMark, Thread};

/// After a renewal that failed, the next try is this much later.
const RETRY: Duration = Duration::from_millis(250);

/// How long the thread stays after the end of a lease.
const LINGER: Duration = Duration::from_secs(1);

/// So many numbers of a lease may stand before the old ones are removed. A server that was started again lets nobody remove a file
/// for a while (RFC 8881, section 8.4.2.1), so this is not done with each renewal.
const KEPT: u64 = 64;

pub(crate) struct Hold {
    /// Nobody keeps this for long, except while the server of the folder does not answer.
    state: Mutex<State>,
    /// [`Term::valid_until`] in nanoseconds. 0: the lock is lost.
    valid_until: AtomicU64,
    has_ended: AtomicBool,
    /// Somebody was told that the lock is lost, so it stays lost.
    is_lost: AtomicBool,
    /// In a forked child the lease is the parent's.
    of: ProcessMark,
    alarm: Mutex<Option<Arc<Alarm>>>,
}

struct State {
    term: Term,
    files: Files<Arc<Dir>>,
    /// All smaller numbers are removed.
    removed: u64,
    next: Moment,
    /// Why the last renewal failed.
    refusal: Option<String>,
}

impl Hold {
    pub fn new(term: Term, files: Files<Arc<Dir>>, alarm: Option<Arc<Alarm>>) -> Hold {
        let next = term.renew_at();
        let hold = Hold {
            valid_until: AtomicU64::new(0),
            state: Mutex::new(State { term, files, removed: 1, next, refusal: None }),
            has_ended: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            of: process_mark(),
            alarm: Mutex::new(alarm),
        };
        hold.publish(&hold.state());
        hold
    }

    fn is_ours(&self) -> bool {
        self.of == process_mark()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings this alarm when the lock is lost.
    pub fn ring(&self, alarm: Arc<Alarm>) {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = Some(alarm);
        self.set_alarm();
    }

    fn set_alarm(&self) {
        if !self.is_ours() {
            return; // the timer is the parent's too
        }
        if let Some(alarm) = &*self.alarm.lock().unwrap_or_else(PoisonError::into_inner) {
            alarm.set(Duration::from_nanos(self.valid_until.load(Ordering::Acquire)));
        }
    }

    /// Shows the state to those who must not wait for it.
    fn publish(&self, state: &State) {
        let until = state.term.valid_until().filter(|_| !self.is_lost.load(Ordering::Acquire));
        self.show(until.map_or(0, |until| u64::try_from(until.as_nanos()).unwrap_or(u64::MAX)));
        // Somebody may have been told in between that the lock is lost, and then it stays lost.
        if self.is_lost.load(Ordering::Acquire) {
            self.show(0);
        }
    }

    fn show(&self, until: u64) {
        let before = self.valid_until.swap(until, Ordering::AcqRel);
        // An alarm that rings already is left alone: to set it anew would silence it for a moment.
        if until > 0 || Duration::from_nanos(before) > sys::since_boot() {
            self.set_alarm();
        }
    }

    /// For how long it is still certain that we hold the lock. `None`: the lock is lost. It never waits.
    pub fn valid_for(&self) -> Option<Duration> {
        let until = Duration::from_nanos(self.valid_until.load(Ordering::Acquire));
        until.checked_sub(sys::since_boot()).filter(|left| !left.is_zero())
    }

    /// Why the lock is lost, and why the last renewal failed. `None`: the lock is not lost.
    pub fn loss(&self) -> Option<(Loss, Option<String>)> {
        if self.valid_for().is_some() {
            return None;
        }
        self.lose();
        match self.state.try_lock() {
            Ok(mut state) => {
                let loss = state.term.loss(sys::since_boot()).unwrap_or(Loss::TooLate);
                Some((loss, state.refusal.clone()))
            }
            Err(_) => Some((Loss::TooLate, None)), // a renewal is under way that comes too late
        }
    }

    /// From now on the lock counts as lost.
    pub fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.show(0);
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Renews the lease, if the lock is still held. The error says why it could not.
    pub fn renew(&self) -> Result<Renewal> {
        if !self.is_ours() {
            return Ok(Renewal::Failed);
        }
        let mut state = self.state();
        if self.has_ended() {
            return Ok(Renewal::Failed);
        }
        let State { term, files, next, refusal, .. } = &mut *state;
        let renewed = term.renew(files);
        *next = match renewed {
            Ok(Renewal::Renewed) => term.renew_at(),
            Ok(Renewal::Lost(_)) => Moment::MAX,
            Ok(Renewal::Failed) | Err(_) => sys::since_boot() + RETRY,
        };
        let renewed = match (renewed, files.refusal.take()) {
            (Ok(Renewal::Failed), Some(refusal)) => Err(Error::io("renew the lease of the bid", &*files.path, refusal)),
            (renewed, _) => renewed,
        };
        match &renewed {
            Ok(Renewal::Renewed) => *refusal = None,
            Ok(Renewal::Failed | Renewal::Lost(_)) => {}
            Err(error) => *refusal = Some(error.to_string()),
        }
        self.publish(&state);
        match self.is_lost.load(Ordering::Acquire) {
            true => Ok(Renewal::Lost(Loss::TooLate)),
            false => renewed,
        }
    }

    /// What removes the old numbers, if there are many by now. A server may let it wait, so the thread that renews does not do it.
    pub fn cleaner(&self) -> Option<impl FnOnce() + Send + 'static> {
        let mut state = self.state();
        let (from, end) = (state.removed, state.term.spare().end);
        (end.saturating_sub(from) >= KEPT).then(|| {
            state.removed = end;
            let (folder, bid) = (Arc::clone(&state.files.folder), state.files.bid);
            move || (from..end).for_each(|number| files::remove(&folder, LeaseName { bid, number }))
        })
    }

    /// No renewal begins from now on, because the bid is about to be withdrawn.
    pub fn stop(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Ends the lease. `is_withdrawn`: its bid is gone, so its numbers go too. Otherwise other claimants will find it expired.
    pub fn end(&self, is_withdrawn: bool) {
        self.stop();
        if !self.is_ours() {
            return;
        }
        let state = self.state();
        self.valid_until.store(0, Ordering::Release);
        if let Some(alarm) = &*self.alarm.lock().unwrap_or_else(PoisonError::into_inner) {
            alarm.clear();
        }
        if is_withdrawn && state.term.has_tried() {
            files::remove_all(&state.files.folder, state.files.bid);
        }
    }
}

impl Renewable for Hold {
    const STACK: usize = Thread::STACK;

    fn due_in(&self) -> Duration {
        if self.has_ended() {
            return LINGER;
        }
        self.state().next.saturating_sub(sys::since_boot())
    }

    fn is_over(&self) -> bool {
        self.has_ended()
    }

    fn renew_now(&self, helper: &mut Option<Thread>) {
        let _ = self.renew();
        if helper.as_ref().is_none_or(Thread::has_ended) {
            *helper = self.cleaner().and_then(|clean| Thread::spawn("lockfolder-clean", clean).ok());
        }
    }
}
