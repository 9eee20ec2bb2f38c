//! The guard of the Rust interface.

mod support;

use lockfolder::{ErrorKind, LockFolder, Options};
use support::Scratch;

mod libc {
    extern "C" {
        pub fn fork() -> i32;
        pub fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
        pub fn _exit(status: i32) -> !;
    }
}

#[test]
fn a_guard_unlocks_by_hand_or_when_it_is_dropped() {
    let scratch = Scratch::new();
    let path = scratch.folder();
    let folder = LockFolder::open(&path, Options::default()).unwrap();
    let seen: Vec<_> = (0..4)
        .map(|round| {
            let guard = if round % 2 == 0 { folder.try_lock() } else { folder.lock_wait(None) }.unwrap();
            let held = guard.folder().holds().map_err(|e| e.kind());
            if round < 2 {
                drop(guard);
                return (held, Ok(()), folder.holds().map_err(|e| e.kind()));
            }
            // Somebody else deletes its bid.
            std::fs::remove_dir_all(&path).unwrap();
            let unlocked = guard.unlock().map_err(|e| e.kind());
            std::fs::create_dir(&path).unwrap();
            (held, unlocked, folder.holds().map_err(|e| e.kind()))
        })
        .collect();
    let free = Err(ErrorKind::NotHeld);
    let lost = Err(ErrorKind::Lost);
    assert_eq!(seen, [(Ok(()), Ok(()), free), (Ok(()), Ok(()), free), (Ok(()), lost, free), (Ok(()), lost, free)]);
}

/// However it leaves it: by its end, by `?`, or by a panic.
#[test]
fn a_forked_child_may_leave_the_scope_of_its_parents_guard() {
    let scratch = Scratch::new();
    let folder = LockFolder::open(scratch.folder(), Options::default()).unwrap();
    for panics in [false, true] {
        let guard = folder.try_lock().unwrap();
        // SAFETY: the child does what only its own thread needs, and ends by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _guard = guard;
                if panics {
                    std::panic::resume_unwind(Box::new(7)); // a second panic, in the guard's drop, would abort
                }
            }));
            // SAFETY: it takes a number.
            unsafe { libc::_exit(if left.is_err() == panics { 7 } else { 8 }) };
        }
        let mut status = 0;
        // SAFETY: `status` is there for the result.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 7 << 8);
        folder.holds().unwrap();
        guard.unlock().unwrap();
    }
}
