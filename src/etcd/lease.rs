//! The lease of a claimant, which its key is bound to: etcd deletes the key when the lease is over. The claimant and the thread that
//! renews the lease share it.
//!
//! The holder counts from before the renewal was sent, and stops after two thirds of the lease, as on a shared folder
//! (`protocol::lease`). Etcd counts from a later moment, and waits for the whole lease. So no clocks are compared.
//!
//! A renewal counts only if the true leader made it. A member that was cut off, or whose disk stands still, may believe for a while that
//! it leads, and it answers renewals. So a look at our key follows, at the same endpoint, which a majority must confirm. If the member and
//! the term of the leader are the same in both answers, then the leader that renewed the lease still led afterwards.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::etcd::client::Client;
use crate::etcd::fault::Fault;
use crate::etcd::transport::STACK;
use crate::protocol::lease::{interval, validity, Moment};
use crate::renewer::Renewable;
use crate::sys::{self, process_mark, Alarm, ProcessMark, Thread};

/// After a renewal that failed, the next try is this much later.
const RETRY: Duration = Duration::from_millis(200);

/// How long the thread stays after the end of a lock, because the program may lock again.
const LINGER: Duration = Duration::from_secs(1);

pub(super) struct Lease {
    pub id: u64,
    /// Our key: the prefix, and the number of the lease in hex.
    pub key: String,
    length: Duration,
    client: Arc<Client>,
    /// A moment before the last renewal that counts was sent, in nanoseconds.
    began: AtomicU64,
    /// When the next renewal is due, in nanoseconds.
    next: AtomicU64,
    /// The revision that created our key. 0: we have none, and the lease is not renewed.
    created: AtomicU64,
    /// We hold the lock, so the alarm rings if the lease is over.
    is_held: AtomicBool,
    is_lost: AtomicBool,
    /// Our key was gone.
    has_vanished: AtomicBool,
    /// Why the last renewal failed.
    refusal: Mutex<Option<String>>,
    /// One renewal at a time.
    renewing: Mutex<()>,
    alarm: Mutex<Option<Arc<Alarm>>>,
    /// In a forked child the lease is the parent's.
    of: ProcessMark,
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    /// A lease that etcd has granted. `began`: a moment before it was asked for.
    pub fn new(
        id: u64,
        key: String,
        length: Duration,
        client: Arc<Client>,
        began: Moment,
        alarm: Option<Arc<Alarm>>,
    ) -> Lease {
        Lease {
            id,
            key,
            length,
            client,
            began: AtomicU64::new(nanos(began)),
            next: AtomicU64::new(nanos(began + interval(length))),
            created: AtomicU64::new(0),
            is_held: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            has_vanished: AtomicBool::new(false),
            refusal: Mutex::new(None),
            renewing: Mutex::new(()),
            alarm: Mutex::new(alarm),
            of: process_mark(),
        }
    }

    pub fn length(&self) -> Duration {
        self.length
    }

    /// Our key is there, so the lease is to be renewed.
    pub fn stand(&self, created: u64) {
        self.created.store(created, Ordering::Release);
    }

    pub fn created(&self) -> u64 {
        self.created.load(Ordering::Acquire)
    }

    /// Our key has the lock.
    pub fn hold(&self) {
        self.is_held.store(true, Ordering::Release);
        self.set_alarm();
    }

    /// Our key is gone, or about to go.
    pub fn stop(&self) {
        self.is_held.store(false, Ordering::Release);
        self.created.store(0, Ordering::Release);
        if self.of == process_mark() {
            locked(&self.alarm).iter().for_each(|alarm| alarm.clear());
        }
    }

    fn valid_until(&self) -> Moment {
        match self.is_lost.load(Ordering::Acquire) {
            true => Moment::ZERO,
            false => Duration::from_nanos(self.began.load(Ordering::Acquire)) + validity(self.length),
        }
    }

    /// For how long it is still certain that etcd keeps our key. `None`: that is not certain any more, and never will be again.
    pub fn valid_for(&self) -> Option<Duration> {
        let left = self.valid_until().checked_sub(sys::since_boot()).filter(|left| !left.is_zero());
        if left.is_none() {
            self.lose();
        }
        left
    }

    /// Whether another lock can begin with this lease without a renewal.
    pub fn is_fresh(&self) -> bool {
        let since = sys::since_boot().saturating_sub(Duration::from_nanos(self.began.load(Ordering::Acquire)));
        since < interval(self.length) && !self.is_lost.load(Ordering::Acquire)
    }

    /// From now on the lock counts as lost.
    pub fn lose(&self) {
        if !self.is_lost.swap(true, Ordering::AcqRel) {
            self.set_alarm();
        }
    }

    /// Why it was lost, as the end of a sentence.
    pub fn why_lost(&self) -> String {
        if self.has_vanished.load(Ordering::Acquire) {
            return "our key was deleted, or etcd ended its lease".to_owned();
        }
        match &*locked(&self.refusal) {
            Some(refusal) => format!("the lease could not be renewed in time: {refusal}"),
            None => {
                "the lease could not be renewed in time (this process or its host was stopped, or etcd did not answer)"
                    .to_owned()
            }
        }
    }

    /// Rings this alarm when the lock is lost.
    pub fn ring(&self, alarm: Arc<Alarm>) {
        *locked(&self.alarm) = Some(alarm);
        self.set_alarm();
    }

    fn set_alarm(&self) {
        if self.of != process_mark() || !self.is_held.load(Ordering::Acquire) {
            return; // the timer is the parent's too
        }
        locked(&self.alarm).iter().for_each(|alarm| alarm.set(self.valid_until()));
    }

    pub fn is_due(&self) -> bool {
        self.created() > 0 && self.due_in().is_zero()
    }

    /// Renews the lease, if our key is there. The result says why that failed, if it did; the lock may still be held.
    pub fn renew(&self) -> Result<(), Option<Fault>> {
        let _one = locked(&self.renewing);
        let created = self.created();
        if created == 0 || self.of != process_mark() {
            return Ok(());
        }
        let Some(left) = self.valid_for() else { return Err(None) };
        let end = sys::now() + left;
        let mut renewed = Err(None);
        // Each endpoint gets one try.
        for _ in 0..self.client.endpoints() {
            let at = self.client.current();
            let time = (self.length / 8).min(end.saturating_duration_since(sys::now()));
            renewed = self.renew_at(at, created, time).map_err(Some);
            match &renewed {
                Ok(true) => break,
                Ok(false) => {} // an election has come between
                Err(_) => self.client.pass_on(at),
            }
            if time.is_zero() || self.created() != created {
                break;
            }
        }
        let pause = if matches!(renewed, Ok(true)) { interval(self.length) } else { RETRY };
        self.next.store(nanos(sys::since_boot() + pause), Ordering::Release);
        match renewed {
            Ok(true) => {
                *locked(&self.refusal) = None;
                Ok(())
            }
            Ok(false) => Err(None),
            Err(fault) => {
                *locked(&self.refusal) = fault.as_ref().map(Fault::to_string);
                Err(fault)
            }
        }
    }

    /// True: renewed, or lost for certain. False: the leader may not have been the leader.
    fn renew_at(&self, at: usize, created: u64, time: Duration) -> Result<bool, Fault> {
        let sent = sys::since_boot();
        let (is_known, renewed_by) = self.client.keep_alive(at, self.id, time)?;
        let (own, seen_by) = self.client.own_at(at, &self.key, time)?;
        if self.created() != created {
            return Ok(true); // the lock was given back meanwhile
        }
        if own.is_none_or(|own| own.created != created) {
            self.has_vanished.store(true, Ordering::Release);
            self.lose();
            return Ok(true);
        }
        if !is_known || renewed_by != seen_by {
            return Ok(false);
        }
        self.began.fetch_max(nanos(sent), Ordering::AcqRel);
        self.set_alarm();
        Ok(true)
    }

    /// Somebody saw that our key is gone.
    pub fn vanish(&self) {
        self.has_vanished.store(true, Ordering::Release);
        self.lose();
    }
}

impl Renewable for Lease {
    const STACK: usize = STACK;

    fn due_in(&self) -> Duration {
        let due = Duration::from_nanos(self.next.load(Ordering::Acquire)).saturating_sub(sys::since_boot());
        match self.created() {
            // A lock that begins meanwhile does not wake the thread.
            0 if !due.is_zero() => due.min(LINGER),
            0 => LINGER,
            _ => due,
        }
    }

    fn is_over(&self) -> bool {
        self.created() == 0 || self.valid_for().is_none()
    }

    fn renew_now(&self, _: &mut Option<Thread>) {
        let _ = self.renew();
    }
}
