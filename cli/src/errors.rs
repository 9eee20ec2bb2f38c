//! What this program says when something fails, and its exit statuses.

use std::fmt::Display;
use std::io::{self, Write};

/// Those of `run`, which are those of flock(1), env(1) and sysexits.h.
pub const WRONG_USAGE: i32 = 64;
pub const CAN_NOT_LOCK: i32 = 71;
pub const LOST: i32 = 75;
pub const CAN_NOT_RUN: i32 = 126;
pub const NOT_FOUND: i32 = 127;
/// That of the other sub-commands.
pub const TROUBLE: i32 = 2;

/// Says it on standard error. If that is closed, nobody listens.
pub fn say(what: impl Display) {
    let _ = io::stderr().write_all(line(what).as_bytes());
}

/// The line that says it.
pub fn line(what: impl Display) -> String {
    format!("lockfolder: {what}\n")
}

/// The library's message, with the options of this command instead of the names of its C interface.
pub fn explain(error: &lockfolder::Error) -> String {
    in_words_of_ours(&error.to_string())
}

pub fn in_words_of_ours(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// The names in messages of the library that mean something only to a program.
const WORDS: [(&str, &str); 6] = [
    (
        "without such a thread, open the folder with LF_OPEN_NO_THREAD and call lf_renew",
        "let this user have more threads: `ulimit -u`",
    ),
    ("pass LF_OPEN_TRUST_FILESYSTEM", "use --trust-filesystem"),
    ("LF_OPEN_TRUST_FILESYSTEM", "--trust-filesystem"),
    ("lf_set_malformed_grace", "--malformed-grace"),
    ("this handle on the lock folder", "this claimant of the lock folder"),
    ("this handle names", "this claimant names"),
];

/// Prints what clap has to say, and gives the exit status. Help is no error.
pub fn usage(error: &clap::Error, wrong: i32) -> i32 {
    match error.use_stderr() {
        true => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let _ = write!(io::stderr(), "lockfolder: {text}");
            wrong
        }
        false => {
            let _ = write!(io::stdout(), "{error}");
            0
        }
    }
}
