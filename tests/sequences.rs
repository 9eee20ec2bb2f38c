//! Any sequence of calls answers what a small model says. Its twin for long runs is `fuzz/fuzz_targets/sequence.rs`.

#[path = "support/sequence.rs"]
mod sequence;
mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::Scratch;

fn holds_on(scratch: &Scratch, cases: u32) {
    let folder = scratch.folder();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&proptest::collection::vec(any::<u8>(), 0..80), |steps| {
        let _ = std::fs::remove_dir_all(&folder);
        sequence::run(&folder, &steps);
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
}

#[test]
fn any_sequence_of_calls_answers_what_the_model_says_in_memory() {
    holds_on(&Scratch::shm(), 400);
}

#[test]
fn any_sequence_of_calls_answers_what_the_model_says_on_disk() {
    holds_on(&Scratch::new(), 100);
}

/// What `make fuzz` begins with. A sequence that a fuzzer finds wrong belongs beside them.
#[test]
fn the_fuzzers_seeds_answer_what_the_model_says() {
    let scratch = Scratch::shm();
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/sequence");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let steps = std::fs::read(seed.unwrap().path()).unwrap();
        sequence::run(&scratch.join(count.to_string()), &steps);
        count += 1;
    }
    assert!(count > 0);
}
