//! Threads that share a handle, in every order that their steps can have: loom runs each test once for each of them, and
//! fails if one ends in a deadlock, as a wake-up that is lost would.
//!
//! The handle itself (`src/folder.rs`, `src/guard.rs`, `src/handle.rs`), its waits (`src/wait.rs`), how they are cancelled
//! (`src/waiter.rs`), and the protocol are the library's own source, on loom's mutexes and atomics. The place is a stand-in: a lock folder
//! without a line, in memory. So are the sleeps.
#![allow(dead_code, unused_imports)] // no test uses all of the source

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/folder.rs"]
mod folder;
#[path = "../../src/guard.rs"]
mod guard;
#[path = "../../src/handle.rs"]
mod handle;
#[path = "../../src/opener.rs"]
mod opener;
#[path = "../../src/options.rs"]
mod options;
#[path = "../../src/protocol/mod.rs"]
mod protocol;
#[path = "../../src/wait.rs"]
mod sleeping_wait;
#[path = "../../src/waiter.rs"]
mod waiter;

mod stand_ins;
use loom::sync;
use stand_ins::{bid, bids, claimant, sys, wait};

#[cfg(test)]
mod tests;
