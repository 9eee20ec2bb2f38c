//! Turns in the line. A test is repeated if this machine kept a claimant from its turn.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::line::places::line;
use crate::support::{listing, wait_until, Puppet};

/// A claimant that does not come forward for this long while the lock is free loses its place: `SECOND_LOOK` of
/// `src/protocol/wait.rs`.
pub const NO_SHOW: Duration = Duration::from_secs(1);

/// A claimant rightly lost its place, because this machine kept it from coming forward.
struct Dozed;

/// Runs a test of the order of claimants. If a claimant dozed, the test proves nothing and is run again.
pub fn unless_somebody_dozes(test: impl Fn()) {
    for _ in 0..5 {
        match catch_unwind(AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(why) if why.is::<Dozed>() => {
                eprintln!("this machine kept a claimant from its turn: the test runs again")
            }
            Err(why) => resume_unwind(why),
        }
    }
    panic!("this machine kept a claimant from its turn again and again");
}

/// The waiter whose turn it is gets the lock, and no other waiter does. The lock has been free since `freed`, or a
/// moment later.
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
    assert!(!waiters.iter().any(Puppet::has_answered), "a second waiter holds the lock");
}

/// Each waiter in turn gets the lock alone, and gives it back.
#[track_caller]
pub fn are_served(waiters: &mut [Puppet], mut freed: Instant) {
    for turn in 0..waiters.len() {
        is_served(waiters, turn, freed);
        freed = Instant::now();
        waiters[turn].must("unlock 0");
    }
}

/// Asserts that no claimant is left in line.
#[track_caller]
pub fn are_served_in_order(waiters: &mut [Puppet], folder: &Path, freed: Instant) {
    are_served(waiters, freed);
    assert!(!folder.join(".lockfolder/queue").exists(), "the line outlives its claimants: {:?}", line(folder));
    assert_eq!(listing(folder), [".lockfolder"]);
}
