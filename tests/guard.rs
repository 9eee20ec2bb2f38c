//! The guard of the Rust interface.

mod support;

use lockfolder::{ErrorKind, LockFolder, Options};
use support::Scratch;

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
