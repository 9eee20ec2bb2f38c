//! Any sequence of calls on a real folder, beside a model. The same test in `cargo test` is
//! `tests/promises/sequences.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/sequence.rs"]
mod sequence;

fuzz_target!(|steps: &[u8]| {
    let folder = std::env::temp_dir().join(format!("lockfolder-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    sequence::run(&folder, &steps[..steps.len().min(200)]);
    let _ = std::fs::remove_dir_all(&folder);
});
