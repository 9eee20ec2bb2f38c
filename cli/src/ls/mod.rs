//! `lockfolder ls`: who holds the lock, and who waits in which order.

mod json;
mod screen;
mod table;
mod timeline;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;

pub use watch::watch;

use crate::errors::{explain, say, TROUBLE};
use crate::listing::Listing;
use crate::looking::Looked;

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Table,
    Json,
    /// Only the exit status.
    Not,
}

/// Returns the exit status.
pub fn ls(paths: &[PathBuf], how: How) -> i32 {
    let mut status = 1;
    for path in paths {
        match Looked::open(path).and_then(|looked| Listing::of(&looked)) {
            Ok(listing) => {
                if listing.is_in_use() && status != TROUBLE {
                    status = 0;
                }
                let text = match how {
                    How::Table => table::text(&listing),
                    How::Json => json::text(&listing),
                    How::Not => String::new(),
                };
                if let Err(error) = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
                    say(error); // a full disk
                    return TROUBLE;
                }
            }
            Err(error) => {
                say(explain(&error));
                status = TROUBLE;
            }
        }
    }
    status
}
