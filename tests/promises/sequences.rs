//! Any sequence of calls gets the answers of a small model. For long runs, see `fuzz/fuzz_targets/sequence.rs`.

#[path = "../support/sequence.rs"]
mod sequence;

use crate::support::Scratch;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

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
fn any_sequence_of_calls_matches_the_model_in_memory() {
    holds_on(&Scratch::shm(), 400);
}

#[test]
fn any_sequence_of_calls_matches_the_model_on_disk() {
    holds_on(&Scratch::new(), 100);
}

/// `make fuzz` begins with these seeds. A sequence that a fuzzer finds wrong should be added to them.
#[test]
fn the_seeds_of_the_fuzzer_match_the_model() {
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
