//! Crowds that share a lock folder while some of them are killed. A semaphore of the kernel counts those inside (tests/c/crowd.c).

use std::collections::BTreeMap;

use crate::c::{compile, guarded, run, said, unexplained, Link, Program};
use crate::support::Scratch;
use lockfolder::LockFolder;

/// What a crowd did. No more than the places were in use at any time.
fn crowd(words: &str) -> BTreeMap<String, i64> {
    let scratch = Scratch::shm();
    let program = Program(compile("crowd.c", &["gcc", "-std=c11", "-O2"], Link::Static));
    let output = run(guarded(&program.0).arg(scratch.folder()).args(words.split(' ')));
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let numbers = text.lines().filter_map(|line| line.split_once(' '));
    let did: BTreeMap<_, _> = numbers.map(|(what, n)| (what.to_owned(), n.parse().unwrap())).collect();
    assert_eq!((did["violations"], did["failures"]), (0, 0), "{text}");
    assert!(did["fewest"] > 0, "one was starved: {text}");
    let folder = LockFolder::open(scratch.folder()).unwrap();
    folder.reap_stale().unwrap();
    drop(folder.try_lock().unwrap());
    drop(folder);
    assert_eq!(unexplained(&scratch.folder()), None, "{text}");
    println!("{words}: {did:?}");
    did
}

#[test]
fn never_more_than_the_places_are_inside_while_claimants_are_killed() {
    crowd("3 16 0 4 20 2000 0");
}

#[test]
fn no_reader_is_beside_a_writer_and_no_writer_is_passed_by() {
    let did = crowd("0 12 4 4 0 2000 0");
    assert!(did["passed"] <= 2, "a reader had more than two turns while a writer stood in line: {did:?}");
    crowd("0 12 4 4 20 2000 2");
}

#[test]
fn those_who_share_and_those_who_are_alone_take_turns() {
    crowd("3 8 4 4 20 1000 2");
}

#[test]
#[ignore = "long, and with figures that need an idle machine"]
fn soak_all_places_are_used_and_all_have_their_share() {
    let did = crowd("3 16 0 30 20 20000 0");
    assert!(did["used"] >= 950 && did["jain"] >= 950, "{did:?}");
    let did = crowd("0 12 4 30 0 5000 0");
    assert!(did["passed"] <= 2 && did["jain"] >= 950, "{did:?}");
    crowd("0 12 4 30 20 5000 2");
}
