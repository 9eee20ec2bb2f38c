//! Whose turn it is in the line; and what becomes of a test where this machine kept somebody from its turn.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::places::line;
use crate::support::{listing, wait_until, Puppet};

/// Who doesn't come forward for so long, while the lock is free, loses its place: `SECOND_LOOK` of `src/protocol/wait.rs`.
pub const NO_SHOW: Duration = Duration::from_secs(1);

/// Somebody lost its place, and rightly: this machine kept it from coming forward.
struct Dozed;

/// A test of who comes before whom, which says nothing if somebody dozed: then once more.
pub fn unless_somebody_dozes(test: impl Fn()) {
    for _ in 0..5 {
        match catch_unwind(AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(why) if why.is::<Dozed>() => eprintln!("this machine kept somebody from its turn: once more"),
            Err(why) => resume_unwind(why),
        }
    }
    panic!("again and again this machine kept somebody from its turn");
}

/// The one whose turn it is gets the lock, and is alone with it. The lock is free since `freed`, or a moment later.
#[track_caller]
pub fn is_served(waiters: &mut [Puppet], turn: usize, freed: Instant) {
    let mut first = None;
    wait_until(|| {
        first = waiters.iter().position(Puppet::has_answered);
        first.is_some()
    });
    if first != Some(turn) {
        assert!(freed.elapsed() >= NO_SHOW, "{first:?} was served before {turn}");
        resume_unwind(Box::new(Dozed));
    }
    assert_eq!(waiters[turn].hear(), "LF_OK");
    assert!(!waiters.iter().any(Puppet::has_answered), "somebody else was served too");
}

/// Each in turn gets the lock, is alone with it, and gives it back.
#[track_caller]
pub fn are_served(waiters: &mut [Puppet], mut freed: Instant) {
    for turn in 0..waiters.len() {
        is_served(waiters, turn, freed);
        freed = Instant::now();
        waiters[turn].must("unlock 0");
    }
}

/// And nobody else is in line.
#[track_caller]
pub fn are_served_in_order(waiters: &mut [Puppet], folder: &Path, freed: Instant) {
    are_served(waiters, freed);
    assert!(!folder.join(".lockfolder/queue").exists(), "the line outlives those in it: {:?}", line(folder));
    assert_eq!(listing(folder), [".lockfolder"]);
}
