//! What a handle promises to threads that share it.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use crate::api::handle::Handle;
use crate::api::{LockFolder, OpenOptions};
use crate::error::ErrorKind;
use crate::stand_ins::state;

/// A handle as C has it: the lock is the handle's, and there is no guard.
fn open() -> Arc<Handle> {
    Arc::new(Handle::open("lock".as_ref(), OpenOptions::new()).unwrap())
}

/// What another thread does with the same handle.
fn beside<T: 'static>(handle: &Arc<Handle>, work: impl FnOnce(&Handle) -> T + 'static) -> thread::JoinHandle<T> {
    let handle = handle.clone();
    thread::spawn(move || work(&handle))
}

/// Runs `body` in every order that there is.
fn in_every_order(body: impl Fn() + Send + Sync + 'static) {
    loom::model(body);
}

/// For what has too many orders: in every one in which a thread is interrupted no more than so often.
fn with_interruptions(most: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(most);
    model.check(body);
}

fn kind(result: crate::error::Result<()>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

#[test]
fn of_threads_that_lock_one_handle_one_gets_it() {
    in_every_order(|| {
        let handle = open();
        let other = beside(&handle, |handle| kind(handle.acquire()));
        let answers = [kind(handle.acquire()), other.join().unwrap()];
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "{answers:?}");
        let refusals = [Some(ErrorKind::Busy), Some(ErrorKind::AlreadyHeld)];
        assert!(answers.iter().all(|answer| answer.is_none() || refusals.contains(answer)), "{answers:?}");
        handle.enter().unwrap().unlock().unwrap();
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
            // Anybody may unlock what another locked.
            let unlocked = kind(handle.enter().unwrap().unlock());
            (i32::from(locked.is_none()), i32::from(unlocked.is_none()))
        };
        let other = beside(&handle, work);
        let (ours, theirs) = (work(&handle), other.join().unwrap());
        let left = ours.0 + theirs.0 - ours.1 - theirs.1;
        assert_eq!(left, i32::from(handle.enter().unwrap().holds().is_ok()));
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
        holder.enter().unwrap().unlock().unwrap();
        let answers = (waiter.join().unwrap(), other.join().unwrap());
        match answers {
            (None, Some(ErrorKind::Busy | ErrorKind::AlreadyHeld)) => {}
            (Some(ErrorKind::Busy | ErrorKind::AlreadyHeld), None) => {}
            // The first was refused for the second, and the second for the holder.
            (Some(ErrorKind::Busy), Some(ErrorKind::Busy)) => assert!(!state().locked),
            _ => panic!("{answers:?}"),
        }
        assert_eq!(handle.enter().unwrap().holds().is_ok(), state().locked);
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
        assert_eq!(kind(handle.enter().unwrap().holds()), Some(ErrorKind::NotHeld));
        holder.enter().unwrap().unlock().unwrap();
        assert_eq!(kind(handle.acquire_within(None)), None);
    });
}

#[test]
fn a_wait_that_was_cancelled_just_when_it_got_the_lock_gives_it_back() {
    with_interruptions(5, || {
        let (holder, handle) = (open(), open());
        holder.acquire().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.acquire_within(None)));
        let canceller = beside(&handle, |handle| {
            let before = handle.waiter.is_in_progress();
            handle.cancel().unwrap();
            before && handle.waiter.is_in_progress()
        });
        holder.enter().unwrap().unlock().unwrap();
        let (waited, in_progress) = (waiter.join().unwrap(), canceller.join().unwrap());
        match waited {
            None => assert!(!in_progress, "cancelled, and got it all the same"),
            Some(kind) => assert_eq!(kind, ErrorKind::Cancelled),
        }
        assert_eq!(handle.enter().unwrap().holds().is_ok(), waited.is_none());
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
            handle.enter().unwrap().unlock().unwrap();
        }
        // The second has to sleep; what is left of the cancel may wake it for nothing.
        holder.acquire().unwrap();
        let second = beside(&handle, |handle| kind(handle.acquire_within(None)));
        holder.enter().unwrap().unlock().unwrap();
        let second = second.join().unwrap();
        if first.is_some() {
            assert_eq!(second, None, "cancelled once, and two waits ended");
        }
        canceller.join().unwrap();
        if second.is_none() {
            handle.enter().unwrap().unlock().unwrap();
        }
        assert_eq!(kind(handle.acquire_within(None)), None, "a wait that began after the cancel");
    });
}

#[test]
fn a_wait_whose_time_is_over_when_it_is_cancelled_says_one_of_both() {
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
fn each_guard_gives_back_the_lock_that_it_was_given_for() {
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
