//! Any thread may call any function on one handle at any time. Threads with a handle each exclude each other.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::support::{both, listing, Kind, Puppet, Scratch};
use lockfolder::ffi::{
    lf_bid_list_free, lf_bid_list_len, lf_bids, lf_cancel, lf_close, lf_error_code, lf_error_message, lf_fence,
    lf_folder, lf_holds, lf_in_use, lf_lock, lf_lock_wait, lf_open, lf_reap_stale, lf_set_malformed_grace,
    lf_status_name, lf_unlock,
};
use lockfolder::{ErrorKind, LockFolder};

both!(any_thread_may_unlock_a_lock_of_another_thread, the_lock_of_a_thread_that_ended_stays_with_the_handle);

/// A handle as C has it. Any thread may use it.
#[derive(Clone, Copy)]
struct Handle(*mut lf_folder);

// SAFETY: the header allows any thread to use a handle.
unsafe impl Send for Handle {}
// SAFETY: the header allows several threads to use a handle at once.
unsafe impl Sync for Handle {}

impl Handle {
    fn open(folder: &Path) -> Handle {
        let path = CString::new(folder.as_os_str().as_bytes()).unwrap();
        let mut handle = ptr::null_mut();
        // SAFETY: good pointers.
        assert_eq!(unsafe { lf_open(path.as_ptr(), 0, &mut handle) }, 0);
        Handle(handle)
    }
}

fn name(status: i32) -> &'static str {
    // SAFETY: a static string.
    unsafe { CStr::from_ptr(lf_status_name(status)) }.to_str().unwrap()
}

/// Panics if two threads are inside at once.
struct Witness {
    inside: AtomicBool,
    entries: AtomicU64,
}

impl Witness {
    fn new() -> Witness {
        Witness { inside: AtomicBool::new(false), entries: AtomicU64::new(0) }
    }

    fn visit(&self) {
        assert!(!self.inside.swap(true, Ordering::SeqCst), "two threads are inside at once");
        thread::yield_now();
        self.entries.fetch_add(1, Ordering::SeqCst);
        assert!(self.inside.swap(false, Ordering::SeqCst), "two threads were inside at once");
    }
}

#[test]
fn threads_with_a_handle_each_exclude_each_other() {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let witness = Witness::new();
        thread::scope(|scope| {
            for number in 0..6 {
                let (witness, path) = (&witness, scratch.folder());
                scope.spawn(move || {
                    let folder = LockFolder::open(path).unwrap();
                    for round in 0..150 {
                        // Half of the threads wait, and half only try.
                        if number % 2 == 0 {
                            let guard = folder.lock().unwrap();
                            witness.visit();
                            guard.unlock().unwrap();
                        } else {
                            match folder.try_lock() {
                                Ok(_guard) => witness.visit(),
                                Err(e) => assert_eq!(e.kind(), ErrorKind::Busy, "round {round}: {e}"),
                            }
                        }
                    }
                });
            }
        });
        assert!(witness.entries.load(Ordering::SeqCst) >= 450);
        assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
    }
}

#[test]
fn fencing_tokens_are_unique_and_grow_from_holder_to_holder() {
    let scratch = Scratch::new();
    let last = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (last, path) = (&last, scratch.folder());
            scope.spawn(move || {
                for _ in 0..15 {
                    let folder = LockFolder::open(&path).unwrap();
                    let guard = folder.lock().unwrap();
                    let token = guard.fence().unwrap();
                    let before = last.swap(token, Ordering::SeqCst);
                    assert!(token > before, "{token} after {before}");
                    drop(guard);
                }
            });
        }
    });
    assert_eq!(last.load(Ordering::SeqCst), 60, "a token was left out");
}

/// Many threads call every function on one handle, in an uncontrolled order.
#[test]
fn one_handle_hammered_by_many_threads_stays_consistent() {
    let scratch = Scratch::shm();
    let (handle, rival) = (Handle::open(&scratch.folder()), Handle::open(&scratch.folder()));
    let mut answers: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u64).map(|seed| scope.spawn(move || hammer(handle, rival, seed))).collect();
        for thread in threads {
            thread.join().unwrap().into_iter().for_each(|(key, n)| *answers.entry(key).or_default() += n);
        }
    });
    for (function, allowed) in [
        ("lock", &["LF_OK", "LF_BUSY", "LF_ERR_ALREADY_HELD"][..]),
        ("wait", &["LF_OK", "LF_BUSY", "LF_TIMEOUT", "LF_CANCELLED", "LF_ERR_ALREADY_HELD", "LF_ERR_NOT_HELD"]),
        ("unlock", &["LF_OK", "LF_ERR_NOT_HELD"]),
        ("holds", &["LF_OK", "LF_ERR_NOT_HELD"]),
        ("fence", &["LF_OK", "LF_ERR_NOT_HELD"]),
        ("in_use", &["LF_OK"]),
        ("reap", &["LF_OK"]),
        ("bids", &["LF_OK"]),
        ("cancel", &["LF_OK"]),
        ("grace", &["LF_OK"]),
    ] {
        let seen: Vec<_> = answers.keys().filter(|(of, _)| *of == function).map(|(_, status)| *status).collect();
        assert!(seen.iter().all(|status| allowed.contains(status)), "{function}: {answers:?}");
        assert!(seen.contains(&"LF_OK"), "{function} never worked: {answers:?}");
    }
    // SAFETY: open handles.
    unsafe {
        lf_unlock(handle.0);
        lf_unlock(rival.0);
        assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
        assert_eq!(name(lf_lock(handle.0)), "LF_OK");
        assert_eq!(name(lf_lock(rival.0)), "LF_BUSY");
        assert_eq!(name(lf_unlock(handle.0)), "LF_OK");
        assert_eq!(name(lf_lock(rival.0)), "LF_OK");
        lf_close(handle.0);
        lf_close(rival.0);
    }
    assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
}

fn hammer(handle: Handle, rival: Handle, seed: u64) -> BTreeMap<(&'static str, &'static str), u32> {
    let mut answers = BTreeMap::new();
    let mut dice = seed * 2 + 1;
    let (mut in_use, mut reaped, mut token, mut list) = (false, 0, 0, ptr::null_mut());
    let mut text = [0; 100];
    for _ in 0..1500 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // SAFETY: open handles, and pointers to our own memory.
        let (function, status) = unsafe {
            match dice >> 33 & 15 {
                0 | 1 => ("lock", lf_lock(handle.0)),
                2 => ("wait", lf_lock_wait(handle.0, 2)),
                3 => ("wait", lf_lock_wait(handle.0, 0)),
                4..=6 => ("unlock", lf_unlock(handle.0)),
                7 => ("holds", lf_holds(handle.0)),
                8 => ("in_use", lf_in_use(handle.0, &mut in_use)),
                9 => ("reap", lf_reap_stale(handle.0, &mut reaped)),
                10 => ("fence", lf_fence(handle.0, &mut token)),
                11 => ("cancel", lf_cancel(handle.0)),
                12 => ("grace", lf_set_malformed_grace(handle.0, 1000)),
                13 => {
                    let status = lf_bids(handle.0, &mut list);
                    assert!(lf_bid_list_len(list) <= 2);
                    lf_bid_list_free(list);
                    ("bids", status)
                }
                14 => {
                    let length = lf_error_message(handle.0, text.as_mut_ptr(), text.len());
                    lf_error_code(handle.0);
                    assert!(CStr::from_ptr(text.as_ptr()).to_bytes().len() <= length);
                    continue;
                }
                // Now and then the rival holds the lock, so that calls can find it busy.
                _ => {
                    let _ = lf_lock(rival.0);
                    lf_unlock(rival.0);
                    continue;
                }
            }
        };
        *answers.entry((function, name(status))).or_default() += 1;
    }
    answers
}

fn any_thread_may_unlock_a_lock_of_another_thread(kind: Kind) {
    let scratch = Scratch::new();
    let (mut puppet, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    puppet.must("start 1 lock 0");
    puppet.must("join 1");
    puppet.must("holds 0");
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    puppet.must("start 1 fence 0");
    puppet.must("join 1");
    puppet.must("start 2 unlock 0");
    puppet.must("join 2");
    other.must("lock 0");
    puppet.must("start 1 lock 0");
    assert_eq!(puppet.ask("join 1"), "LF_BUSY");
    let why = puppet.why(0); // the message belongs to the handle, not to the thread
    assert!(why.contains(&other.pid().to_string()), "{why}");
}

fn the_lock_of_a_thread_that_ended_stays_with_the_handle(kind: Kind) {
    let scratch = Scratch::new();
    let (mut puppet, mut other) = (Puppet::new(kind), Puppet::at(kind, &scratch.folder()));
    puppet.must(&format!("start 1 open 0 0 {}", crate::support::encode(scratch.folder())));
    puppet.must("join 1");
    puppet.must("start 1 lock 0");
    puppet.must("join 1");
    for _ in 0..3 {
        assert_eq!(other.ask("lock 0"), "LF_BUSY");
        assert_eq!(other.must("reap 0").number(), 0);
    }
    puppet.must("holds 0");
    puppet.must("unlock 0");
    other.must("lock 0");
}

#[test]
fn a_guard_unlocks_when_it_is_dropped_even_by_a_panic() {
    let scratch = Scratch::new();
    let open = || LockFolder::open(scratch.folder()).unwrap();
    let (a, b) = (open(), open());
    let guard = a.try_lock().unwrap();
    assert_eq!(b.try_lock().err().map(|e| e.kind()), Some(ErrorKind::Busy));
    drop(guard);
    drop(b.try_lock().unwrap());
    let panicked = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _guard = a.try_lock().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        holder.join().is_err()
    });
    assert!(panicked);
    b.try_lock().unwrap().unlock().unwrap();
    a.try_lock().unwrap().unlock().unwrap();
}
