//! `lockfolder reap`: deletes what dead processes left.

use std::io::{self, Write};
use std::path::Path;

use lockfolder::LockFolder;

use crate::errors::{explain, say, TROUBLE};

/// Returns the exit status.
pub fn reap(path: &Path, trust: bool, quiet: bool) -> i32 {
    let folder = LockFolder::options().create(false).trust_filesystem(trust).open(path);
    match folder.and_then(|folder| folder.reap_stale()) {
        Ok(count) if !quiet => {
            let bids = if count == 1 { "bid" } else { "bids" };
            match writeln!(io::stdout(), "reaped {count} stale {bids}") {
                Ok(()) => 0,
                Err(error) => {
                    say(error);
                    TROUBLE
                }
            }
        }
        Ok(_) => 0,
        Err(error) => {
            say(explain(&error));
            TROUBLE
        }
    }
}
