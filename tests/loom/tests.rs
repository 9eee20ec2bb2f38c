//! The promises of a handle to the threads that share it.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use crate::api::handle::Handle;
use crate::api::{LockFolder, OpenOptions};
use crate::error::ErrorKind;
use crate::protocol::Session;
use crate::stand_ins::state;

/// A handle as C has it: the handle holds the lock, without a guard.
fn open() -> Arc<Handle> {
    Arc::new(Handle::open("lock".as_ref(), OpenOptions::new()).unwrap())
}

/// Runs `work` in another thread, on the same handle.
fn beside<T: 'static>(handle: &Arc<Handle>, work: impl FnOnce(&Handle) -> T + 'static) -> thread::JoinHandle<T> {
    let handle = handle.clone();
    thread::spawn(move || work(&handle))
}

/// Runs `body` in every possible order.
fn in_every_order(body: impl Fn() + Send + Sync + 'static) {
    loom::model(body);
}

/// For a `body` with too many orders: runs every order in which a thread is interrupted at most `most` times.
fn with_interruptions(most: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(most);
    model.check(body);
}

fn kind(result: crate::error::Result<()>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

#[test]
fn one_of_several_threads_that_lock_one_handle_succeeds() {
    in_every_order(|| {
        let handle = open();
        let other = beside(&handle, |handle| kind(handle.acquire()));
        let answers = [kind(handle.acquire()), other.join().unwrap()];
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "{answers:?}");
        let refusals = [Some(ErrorKind::Busy), Some(ErrorKind::AlreadyHeld)];
        assert!(answers.iter().all(|answer| answer.is_none() || refusals.contains(answer)), "{answers:?}");
        handle.call(Session::unlock).unwrap();
        handle.acquire().unwrap();
        assert_eq!(kind(handle.acquire()), Some(ErrorKind::AlreadyHeld));
    });
}

#[test]
fn threads_that_lock_and_unlock_one_handle_leave_it_free() {
    in_every_order(|| {
        let handle = open();
        let work = |handle: &Handle| {
            let locked = kind(handle.acquire());
            // Any thread may unlock what another thread locked.
            let unlocked = kind(handle.call(Session::unlock));
            (i32::from(locked.is_none()), i32::from(unlocked.is_none()))
        };
        let other = beside(&handle, work);
        let (ours, theirs) = (work(&handle), other.join().unwrap());
        let left = ours.0 + theirs.0 - ours.1 - theirs.1;
        assert_eq!(left, i32::from(handle.call(|claimant| claimant.holds()).is_ok()));
        assert_eq!(left, i32::from(state().locked));
    });
}

#[test]
fn a_lock_beside_a_wait_on_one_handle_is_refused() {
    in_every_order(|| {
        let (holder, handle) = (open(), open());
        holder.acquire().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.acquire_within(None)));
        let other = beside(&handle, |handle| kind(handle.acquire()));
        holder.call(Session::unlock).unwrap();
        let answers = (waiter.join().unwrap(), other.join().unwrap());
        match answers {
            (None, Some(ErrorKind::Busy | ErrorKind::AlreadyHeld)) => {}
            (Some(ErrorKind::Busy | ErrorKind::AlreadyHeld), None) => {}
            // The first call was refused because of the second, and the second because of the holder.
            (Some(ErrorKind::Busy), Some(ErrorKind::Busy)) => assert!(!state().locked),
            _ => panic!("{answers:?}"),
        }
        assert_eq!(handle.call(|claimant| claimant.holds()).is_ok(), state().locked);
    });
}

#[test]
fn cancel_wakes_a_wait_that_nothing_else_would_end() {
    in_every_order(|| {
        let (holder, handle) = (open(), open());
        holder.acquire().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.acquire_within(None)));
        while !handle.waiter.is_in_progress() {
            thread::yield_now();
        }
        handle.cancel().unwrap();
        assert_eq!(waiter.join().unwrap(), Some(ErrorKind::Cancelled));
        assert_eq!(kind(handle.call(|claimant| claimant.holds())), Some(ErrorKind::NotHeld));
        holder.call(Session::unlock).unwrap();
        assert_eq!(kind(handle.acquire_within(None)), None);
    });
}

#[test]
fn a_wait_that_is_cancelled_while_it_gets_the_lock_gives_the_lock_back() {
    with_interruptions(5, || {
        let (holder, handle) = (open(), open());
        holder.acquire().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.acquire_within(None)));
        let canceller = beside(&handle, |handle| {
            let before = handle.waiter.is_in_progress();
            handle.cancel().unwrap();
            before && handle.waiter.is_in_progress()
        });
        holder.call(Session::unlock).unwrap();
        let (waited, in_progress) = (waiter.join().unwrap(), canceller.join().unwrap());
        match waited {
            None => assert!(!in_progress, "the wait was cancelled, but it got the lock"),
            Some(kind) => assert_eq!(kind, ErrorKind::Cancelled),
        }
        assert_eq!(handle.call(|claimant| claimant.holds()).is_ok(), waited.is_none());
        assert_eq!(state().locked, waited.is_none());
    });
}

#[test]
fn cancel_ends_one_wait_and_no_later_one() {
    with_interruptions(5, || {
        let (holder, handle) = (open(), open());
        let canceller = beside(&handle, |handle| handle.cancel().unwrap());
        let first = kind(handle.acquire_within(None));
        assert!([None, Some(ErrorKind::Cancelled)].contains(&first));
        if first.is_none() {
            handle.call(Session::unlock).unwrap();
        }
        // The second wait must sleep. A late effect of the cancel may wake it without a reason.
        holder.acquire().unwrap();
        let second = beside(&handle, |handle| kind(handle.acquire_within(None)));
        holder.call(Session::unlock).unwrap();
        let second = second.join().unwrap();
        if first.is_some() {
            assert_eq!(second, None, "one cancel ended two waits");
        }
        canceller.join().unwrap();
        if second.is_none() {
            handle.call(Session::unlock).unwrap();
        }
        assert_eq!(kind(handle.acquire_within(None)), None, "a wait that began after the cancel must succeed");
    });
}

#[test]
fn a_wait_that_is_cancelled_as_its_time_ends_returns_either_status() {
    in_every_order(|| {
        let (holder, handle) = (open(), open());
        holder.acquire().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.acquire_within(Some(Duration::from_nanos(1)))));
        handle.cancel().unwrap();
        let waited = waiter.join().unwrap();
        assert!([Some(ErrorKind::Timeout), Some(ErrorKind::Cancelled)].contains(&waited), "{waited:?}");
        assert_eq!(kind(handle.acquire_within(Some(Duration::ZERO))), Some(ErrorKind::Timeout));
    });
}

#[test]
fn each_guard_gives_back_only_its_own_lock() {
    in_every_order(|| {
        let folder = Arc::new(LockFolder::open("lock").unwrap());
        let lock_and_unlock = |folder: &LockFolder| match folder.try_lock() {
            Ok(guard) => guard.unlock().map_err(|failed| failed.error().kind()),
            Err(e) => Err(e.kind()),
        };
        let other = folder.clone();
        let other = thread::spawn(move || lock_and_unlock(&other));
        for answer in [lock_and_unlock(&folder), other.join().unwrap()] {
            assert!([Ok(()), Err(ErrorKind::Busy), Err(ErrorKind::AlreadyHeld)].contains(&answer), "{answer:?}");
        }
        assert!(!state().locked);
        drop(folder.try_lock().unwrap());
        assert!(!state().locked);
    });
}
