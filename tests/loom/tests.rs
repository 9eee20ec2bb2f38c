//! What a handle promises to threads that share it.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use crate::error::ErrorKind;
use crate::folder::{LockFolder, Options};
use crate::stand_ins::{sleep_until, state};

fn open() -> Arc<LockFolder> {
    Arc::new(LockFolder::open("lock", Options::default()).unwrap())
}

/// What another thread does with the same handle.
fn beside<T: 'static>(
    handle: &Arc<LockFolder>,
    work: impl FnOnce(&LockFolder) -> T + 'static,
) -> thread::JoinHandle<T> {
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
        let other = beside(&handle, |handle| kind(handle.lock()));
        let answers = [kind(handle.lock()), other.join().unwrap()];
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "{answers:?}");
        let refusals = [Some(ErrorKind::Busy), Some(ErrorKind::AlreadyHeld)];
        assert!(answers.iter().all(|answer| answer.is_none() || refusals.contains(answer)), "{answers:?}");
        handle.unlock().unwrap();
        handle.lock().unwrap();
        assert_eq!(kind(handle.lock()), Some(ErrorKind::AlreadyHeld));
    });
}

#[test]
fn threads_that_lock_and_unlock_one_handle_leave_it_free() {
    in_every_order(|| {
        let handle = open();
        let work = |handle: &LockFolder| {
            let locked = kind(handle.lock());
            // Anybody may unlock what another locked.
            let unlocked = kind(handle.unlock());
            (i32::from(locked.is_none()), i32::from(unlocked.is_none()))
        };
        let other = beside(&handle, work);
        let (ours, theirs) = (work(&handle), other.join().unwrap());
        let left = ours.0 + theirs.0 - ours.1 - theirs.1;
        assert_eq!(left, i32::from(handle.holds().is_ok()));
        assert_eq!(left, i32::from(state().locked));
    });
}

#[test]
fn a_lock_beside_a_wait_on_one_handle_is_refused() {
    in_every_order(|| {
        let (holder, handle) = (open(), open());
        holder.lock().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.wait(None)));
        let other = beside(&handle, |handle| kind(handle.lock()));
        holder.unlock().unwrap();
        let answers = (waiter.join().unwrap(), other.join().unwrap());
        match answers {
            (None, Some(ErrorKind::Busy | ErrorKind::AlreadyHeld)) => {}
            (Some(ErrorKind::Busy | ErrorKind::AlreadyHeld), None) => {}
            // The first was refused for the second, and the second for the holder.
            (Some(ErrorKind::Busy), Some(ErrorKind::Busy)) => assert!(!state().locked),
            _ => panic!("{answers:?}"),
        }
        assert_eq!(handle.holds().is_ok(), state().locked);
    });
}

#[test]
fn cancel_wakes_a_wait_that_nothing_else_would_end() {
    in_every_order(|| {
        let (holder, handle) = (open(), open());
        holder.lock().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.wait(None)));
        sleep_until(|state| state.waits > 0);
        handle.cancel().unwrap();
        assert_eq!(waiter.join().unwrap(), Some(ErrorKind::Cancelled));
        assert_eq!(kind(handle.holds()), Some(ErrorKind::NotHeld));
        holder.unlock().unwrap();
        assert_eq!(kind(handle.wait(None)), None);
    });
}

#[test]
fn a_wait_that_was_cancelled_just_when_it_got_the_lock_gives_it_back() {
    with_interruptions(5, || {
        let (holder, handle) = (open(), open());
        holder.lock().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.wait(None)));
        let canceller = beside(&handle, |handle| {
            let before = state().waits > 0;
            handle.cancel().unwrap();
            before && state().waits > 0
        });
        holder.unlock().unwrap();
        let (waited, in_progress) = (waiter.join().unwrap(), canceller.join().unwrap());
        match waited {
            None => assert!(!in_progress, "cancelled, and got it all the same"),
            Some(kind) => assert_eq!(kind, ErrorKind::Cancelled),
        }
        assert_eq!(handle.holds().is_ok(), waited.is_none());
        assert_eq!(state().locked, waited.is_none());
    });
}

#[test]
fn cancel_ends_one_wait_and_no_later_one() {
    with_interruptions(5, || {
        let (holder, handle) = (open(), open());
        let canceller = beside(&handle, |handle| handle.cancel().unwrap());
        let first = kind(handle.wait(None));
        assert!([None, Some(ErrorKind::Cancelled)].contains(&first));
        if first.is_none() {
            handle.unlock().unwrap();
        }
        // The second has to sleep; what is left of the cancel may wake it for nothing.
        holder.lock().unwrap();
        let second = beside(&handle, |handle| kind(handle.wait(None)));
        holder.unlock().unwrap();
        let second = second.join().unwrap();
        if first.is_some() {
            assert_eq!(second, None, "cancelled once, and two waits ended");
        }
        canceller.join().unwrap();
        if second.is_none() {
            handle.unlock().unwrap();
        }
        assert_eq!(kind(handle.wait(None)), None, "a wait that began after the cancel");
    });
}

#[test]
fn a_wait_whose_time_is_over_when_it_is_cancelled_says_one_of_both() {
    in_every_order(|| {
        let (holder, handle) = (open(), open());
        holder.lock().unwrap();
        let waiter = beside(&handle, |handle| kind(handle.wait(Some(Duration::from_secs(1)))));
        handle.cancel().unwrap();
        let waited = waiter.join().unwrap();
        assert!([Some(ErrorKind::Timeout), Some(ErrorKind::Cancelled)].contains(&waited), "{waited:?}");
        assert_eq!(kind(handle.wait(Some(Duration::ZERO))), Some(ErrorKind::Timeout));
    });
}
