//! Threads that share a handle, in every order of their steps. Loom runs each test once for each order, and fails if
//! one ends in a deadlock, as after a lost wake-up.
//!
//! The calls of users (`src/api/`) and the protocol (`src/protocol/`) are the library's own source, on loom's mutexes
//! and atomics. The place is a stand-in: a lock folder in memory, without a line. The sleeps are stand-ins too.
#![allow(dead_code, unused_imports)] // no single test uses all of the source

#[path = "../../src/api/mod.rs"]
mod api;
#[path = "../../src/error/mod.rs"]
mod error;
#[path = "../../src/folder/options.rs"]
mod options;
#[path = "../../src/protocol/mod.rs"]
mod protocol;
#[path = "../../src/slots.rs"]
mod slots;

mod stand_ins;
use loom::sync;
use stand_ins::{folder, owner, sys};

#[cfg(test)]
mod tests;
