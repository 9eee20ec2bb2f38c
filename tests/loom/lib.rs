//! Threads that share a handle, in every order that their steps can have: loom runs each test once for each of them, and
//! fails if one ends in a deadlock, as a wake-up that is lost would.
//!
//! What users call (`src/api/`) and the protocol (`src/protocol/`) are the library's own source, on loom's mutexes and atomics. The place is a stand-in: a lock folder
//! without a line, in memory. So are the sleeps.
#![allow(dead_code, unused_imports)] // no test uses all of the source

#[path = "../../src/api/mod.rs"]
mod api;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/folder/options.rs"]
mod options;
#[path = "../../src/protocol/mod.rs"]
mod protocol;

mod stand_ins;
use loom::sync;
use stand_ins::{folder, owner, sys};

#[cfg(test)]
mod tests;
