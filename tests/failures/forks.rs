//! A signal handler forks in the middle of a call, and the child goes on with that call. The fork comes at every system call that the
//! library makes. The parent's lock is unharmed, and the child learns that it is a child.

use std::path::Path;

use crate::c::trace::{a_few_at_a_time, is_as_if_nothing_had_been, lock_folder, Call, Fate, First, Story, Tracer};
use crate::support::Scratch;
use lockfolder::LockFolder;

/// Checks the results of the calls in the parent, and what they left in the folder. Parent and child share the position in an open file
/// (fork(2)). So a read of the parent may find nothing left to read, and that call fails. The next one succeeds. An unlock may find
/// that the child has deleted the bid a moment before.
fn is_as_without_a_fork(story: &Story, at: &str) {
    assert!(story.ended_well(), "{at}: {}", story.text);
    for outcome in &story.outcomes {
        let again = story.outcomes.iter().find(|it| it.step == format!("{}+", outcome.step)).map(|it| &*it.status);
        let expected = match (&*outcome.step, &*outcome.status) {
            (_, "LF_OK") => true,
            ("unlock" | "unlock2" | "unlock3", "LF_ERR_LOST") => again == Some("LF_ERR_NOT_HELD"),
            ("unlock+" | "unlock2+" | "unlock3+", "LF_ERR_NOT_HELD") => true,
            _ => again == Some("LF_OK"),
        };
        assert!(expected, "{at}: {outcome:?}\n{}", story.text);
        let holds = ["holds", "fence", "in_use", "bids", "fence2"].contains(&&*outcome.step)
            || ["lock", "wait", "lock3"].contains(&outcome.step.trim_end_matches('+')) && outcome.status == "LF_OK";
        let ours = outcome.bids.iter().filter(|bid| !bid.starts_with("11111111") && !bid.starts_with("01111111"));
        assert_eq!(ours.count(), usize::from(holds), "{at}: {outcome:?}\n{}", story.text);
    }
}

fn forked_at(tracer: &Tracer, first: First, call: &Call) {
    let at = format!("forked before call {} ({}) of {}, the {first:?} first", call.number, call.name, call.step);
    let scratch = Scratch::new();
    let folder = lock_folder(&scratch);
    let story = tracer.run(&folder, &["alone"], &call.number.to_string(), Fate::Signal);
    is_as_without_a_fork(&story, &at);
    assert_eq!(story.children.len(), 1, "{at}: {}", story.text);
    let (step, status) = &story.children[0];
    assert!(["open", "close"].contains(&&**step) || status == "LF_ERR_FORKED", "{at}: {step} {status}\n{}", story.text);
    is_as_if_nothing_had_been(&folder, &story, &at);
}

#[test]
fn a_child_that_goes_on_with_a_call_of_its_parent_does_no_harm() {
    for first in [First::Parent, First::Child] {
        let tracer = Tracer::of_forking(first);
        let calls = tracer.calls(&lock_folder(&Scratch::new()), &["alone"]);
        a_few_at_a_time(&calls, |call| forked_at(&tracer, first, call));
        println!("forked before {} system calls", calls.len());
    }
}

fn holder(folder: &Path) -> LockFolder {
    LockFolder::open(folder).unwrap()
}

/// Another claimant holds the lock: child and parent leave nothing, and the holder is not harmed.
#[test]
fn a_child_that_goes_on_with_a_wait_does_no_harm() {
    for first in [First::Parent, First::Child] {
        let tracer = Tracer::of_forking(first);
        for number in 1.. {
            let at = format!("forked before call {number} of a wait, the {first:?} first");
            let scratch = Scratch::new();
            let folder = lock_folder(&scratch);
            let holder = holder(&folder);
            let guard = holder.try_lock().unwrap();
            let story = tracer.run(&folder, &["contended", "30"], &number.to_string(), Fate::Signal);
            guard.holds().unwrap_or_else(|e| panic!("{at}: {e}"));
            assert!(story.ended_well(), "{at}: {}", story.text);
            let bids = story.outcomes.iter().map(|outcome| outcome.bids.len());
            assert!(bids.clone().all(|count| count == 1), "{at}: {}", story.text);
            drop((guard, holder));
            is_as_if_nothing_had_been(&folder, &story, &at);
            if story.children.is_empty() {
                assert!(number > 30, "{}", story.text);
                break;
            }
            let (step, status) = &story.children[0];
            assert!(
                ["open", "close"].contains(&&**step) || status == "LF_ERR_FORKED",
                "{at}: {step} {status}\n{}",
                story.text
            );
        }
    }
}
