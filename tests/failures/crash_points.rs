//! A claimant is killed, and stopped, at every system call that the library makes. The runs themselves tell how many calls
//! there are. No number is written here.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::c::trace::{a_few_at_a_time, is_as_if_nothing_had_been, lock_folder, At, Call, Fate, Tracer};
use crate::support::Scratch;
use lockfolder::{ErrorKind, LockFolder};

fn open(folder: &Path) -> LockFolder {
    LockFolder::open(folder).unwrap()
}

/// The calls of an undisturbed run.
fn calls(tracer: &Tracer, scenario: &[&str]) -> Vec<Call> {
    tracer.calls(&lock_folder(&Scratch::new()), scenario)
}

/// Every call of an undisturbed run, and one more, which is the end of the run.
fn points(calls: &[Call]) -> Vec<(usize, String)> {
    let named = calls.iter().map(|call| (call.number, format!("killed or stopped in {} at {}", call.step, call.name)));
    named.chain([(calls.len() + 1, "after the last call".to_owned())]).collect()
}

#[test]
fn killed_at_every_system_call_of_a_lonely_life() {
    let tracer = Tracer::new();
    let calls = calls(&tracer, &["alone"]);
    let points = points(&calls);
    a_few_at_a_time(&points, |(number, at)| {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        let story = tracer.run(&folder, &["alone"], &number.to_string(), Fate::Kill);
        assert!(story.end == "killed 9" || *number > calls.len() && story.ended_well(), "{at}: {}", story.text);
        is_as_if_nothing_had_been(&folder, &story, at);
    });
    println!("killed at {} system calls", calls.len());
}

/// A bid that was modified long after it was made looks changed by somebody else: its PID is then no proof of a death while a child
/// of its owner lives. So a claimant that was stopped while it made its claim makes it anew.
#[test]
fn a_bid_of_a_claimant_that_was_stopped_does_not_look_changed() {
    let tracer = Tracer::new();
    let calls = calls(&tracer, &["alone"]);
    // The claim is whole when it becomes a bid.
    let of_lock = calls.iter().filter(|call| call.step == "lock").take_while(|call| call.name != "linkat");
    let of_lock: Vec<usize> = of_lock.map(|call| call.number).collect();
    let told = AtomicUsize::new(0);
    a_few_at_a_time(&of_lock, |&number| {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        let mut holder = tracer.run_holder_up_to(&folder, number);
        if holder.at == At::Asleep {
            return; // this run needed fewer calls
        }
        std::thread::sleep(Duration::from_millis(1200));
        holder.go_on_until_it_has_locked();
        let bids = LockFolder::open(&folder).unwrap().bids().unwrap();
        let bid = std::fs::metadata(folder.join(&bids[0].name)).unwrap();
        let Ok(born) = bid.created() else { return }; // some filesystems do not tell it
        let written = bid.modified().unwrap().duration_since(born).unwrap_or_default();
        assert!(written <= Duration::from_secs(1), "stopped at call {number}: written {written:?} after its birth");
        told.fetch_add(1, Ordering::Relaxed);
    });
    println!("stopped at {} system calls", told.into_inner());
}

#[test]
fn killed_at_every_system_call_of_a_wait() {
    let tracer = Tracer::new();
    // The number of looks of a wait varies. So the loop ends at the first number that no call has.
    for number in 1.. {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        let holder = open(&folder);
        let guard = holder.try_lock().unwrap();
        let story = tracer.run(&folder, &["contended", "30"], &number.to_string(), Fate::Kill);
        let at = format!("killed at call {number} of a wait");
        guard.holds().unwrap_or_else(|e| panic!("{at}: {e}"));
        drop((guard, holder));
        is_as_if_nothing_had_been(&folder, &story, &at);
        if story.ended_well() {
            assert!(number > 30, "{}", story.text);
            println!("killed at {} system calls of a wait", number - 1);
            return;
        }
    }
}

/// Between a lock that succeeded and the unlock.
fn holds(step: &str) -> bool {
    ["holds", "fence", "fence2", "in_use", "bids"].contains(&step)
}

fn locks(step: &str) -> bool {
    ["lock", "wait", "lock3"].contains(&step.trim_end_matches('+'))
}

#[test]
fn stopped_at_every_system_call_nobody_else_comes_in() {
    let tracer = Tracer::new();
    let scenario = ["alone", "50"];
    let calls = calls(&tracer, &scenario);
    a_few_at_a_time(&points(&calls), |(number, at)| {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        let stopped = tracer.run_up_to(&folder, &scenario, *number, Duration::MAX);
        let At::Stopped(step) = stopped.at.clone() else {
            assert!(*number > calls.len());
            return;
        };
        let rival = open(&folder);
        let came_in = match rival.try_lock() {
            Ok(guard) => Some(guard),
            Err(e) if e.kind() == ErrorKind::Busy => None,
            Err(e) => panic!("a rival of one that was {at}: {e}"),
        };
        assert!(!(came_in.is_some() && holds(&step)), "{at}, the claimant held, and a rival came in");
        let before = stopped.story.outcomes.len();
        // From here on the rival holds if it came in. It holds until the other has ended.
        let story = stopped.go_on();
        assert!(story.ended_well(), "{at}: {}", story.text);
        let mut later = story.outcomes[before..].iter();
        if let Some(guard) = came_in {
            guard.holds().unwrap_or_else(|e| panic!("{at}: the rival's bid: {e}"));
            let both = later.find(|outcome| locks(&outcome.step) && outcome.status == "LF_OK");
            assert!(both.is_none(), "{at}: both hold: {both:?}\n{}", story.text);
            guard.unlock().unwrap();
        } else {
            // The rival withdrew, so it changed nothing.
            let refused = later.find(|o| locks(&o.step) && o.step != step && o.status != "LF_OK");
            assert!(refused.is_none(), "{at}: {refused:?}");
        }
        drop(rival);
        is_as_if_nothing_had_been(&folder, &story, at);
    });
    println!("stopped at {} system calls", calls.len());
}

/// A waiter that makes no call for so long sleeps until the kernel wakes it. On a slow machine this can be wrong, so the test
/// must see it a few times. Where it is wrong, the test only ends earlier than it could.
const FALLEN_ASLEEP: Duration = Duration::from_millis(600);

#[test]
fn stopped_at_every_system_call_of_a_wait_the_handover_is_not_missed() {
    let tracer = Tracer::new();
    let (mut stops_in_wait, mut asleep) = (0, 0);
    // The number of calls of a wait depends on how long it lasts. Beyond this number, the calls only repeat.
    for number in 1..=150 {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        let holder = open(&folder);
        let guard = holder.try_lock().unwrap();
        let waiter = tracer.run_up_to(&folder, &["contended", "1000000"], number, FALLEN_ASLEEP);
        let at = waiter.at.clone();
        guard.unlock().unwrap();
        let story = waiter.go_on();
        assert!(story.ended_well(), "{}", story.text);
        let got = story.outcomes.iter().filter(|o| locks(&o.step) && o.status == "LF_OK");
        assert_eq!(got.count(), 1, "{at:?}, call {number}: {}", story.text);
        drop(holder);
        is_as_if_nothing_had_been(&folder, &story, "after a hand-over");
        match at {
            At::Stopped(step) => stops_in_wait += usize::from(step == "wait"),
            At::Asleep if stops_in_wait > 0 && asleep == 2 => break,
            At::Asleep => asleep += 1,
            At::Ended => panic!("call {number}: the waiter ended while another claimant held: {}", story.text),
        }
    }
    assert!(stops_in_wait > 0);
    println!("stopped at {stops_in_wait} system calls of a wait");
}
