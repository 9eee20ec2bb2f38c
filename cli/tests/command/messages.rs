//! Messages name the options of this command, and not the C interface of the library.

use std::fs;
use std::path::Path;

#[allow(dead_code)] // the rest of it
#[path = "../../src/errors.rs"]
mod errors;

/// Reads all strings of the library that can become a part of a message.
#[test]
fn no_message_names_the_c_interface() {
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../src")];
    let mut changed = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let is_other =
            |part: std::path::Component| ["ffi", "model", "tests.rs"].iter().any(|name| part.as_os_str() == *name);
        if path.components().any(is_other) {
            continue; // it makes no messages
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines() {
            let code = line.split("//").next().unwrap();
            let ours = errors::in_words_of_ours(code);
            changed += usize::from(ours != code);
            assert!(!ours.contains("LF_") && !ours.contains("lf_"), "{}: we can't say this: {line}", path.display());
        }
    }
    assert!(changed > 3, "the test looks at the wrong files");
}
