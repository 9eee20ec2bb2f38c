//! A mutex between processes that lives in a folder.
//!
//! A claimant posts a *bid*, a small JSON file named `<GUID>.json`, into the lock folder, looks for rivals, and holds the
//! lock while its bid is the only one: check, bid, check. Anybody can see who holds it with `ls` and `cat`.
//!
//! ```
//! use lockfolder::LockFolder;
//! # let path = std::env::temp_dir().join(format!("lockfolder-doc-{}", std::process::id()));
//! let folder = LockFolder::open(&path)?;
//! let guard = folder.lock()?; // or try_lock(), or lock_timeout(Duration)
//! // ... work that nobody else may do meanwhile ...
//! guard.unlock()?; // or drop it
//! # drop(folder);
//! # std::fs::remove_dir_all(&path).unwrap();
//! # Ok::<(), lockfolder::Error>(())
//! ```
//!
//! # The feature `capi`
//!
//! It adds the C interface, `lf_*`, and is on by default, so that `cargo build --release` makes the C library. A Rust program does
//! without it, and then exports no such symbol: `lockfolder = { version = "0.1", default-features = false }`.
//!
//! # How to read the source
//!
//! - [`LockFolder`] (`folder`) is what everybody uses; [`OpenOptions`] (`options`) say how to open it, and a [`Guard`] (`guard`) is
//!   the lock, held. `handle` is what these share: threads and fork. `opener` is the one process that may use it.
//! - `lock` is the protocol, whole, on one page. `claimant` has its steps, `survey` its check (of each `rival`), `claim` its bid, `place` the
//!   folder, `random` its names.
//! - `strays` are bids that could not be deleted while their handle was there.
//! - `liveness` gives the verdicts: who is alive. `sweep` deletes what the dead left. `bid` is the file, `bids` the snapshot for
//!   users, `fence` the fencing tokens, `names` what all other files are named by, `error` every message.
//! - `waiter` is a wait and how it is cancelled, `wait` the waiting itself, and `queue` the line of those who do. `courtesy` is how a
//!   lock that does not wait gives way to them.
//! - `sys` makes every system call, and is all that differs by platform.
//! - `ffi` is the C interface, with the feature `capi`. It converts and nothing else.

#![deny(unsafe_code, missing_docs, missing_debug_implementations, clippy::print_stdout, clippy::print_stderr)]

mod bid;
mod bids;
mod claim;
mod claimant;
mod error;
mod fence;
#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod ffi;
mod folder;
mod guard;
mod handle;
mod liveness;
mod location;
mod names;
mod opener;
mod options;
mod protocol;
mod queue;
mod random;
mod rival;
#[cfg(test)]
mod scratch;
mod strays;
mod survey;
mod sweep;
#[allow(unsafe_code)]
mod sys;
mod wait;
mod waiter;

/// From here the handle takes what its threads share, so that tests/loom can put its own in the place.
use std::sync;

pub use bids::BidInfo;
pub use error::{BidState, Error, ErrorKind, Holder, Result};
pub use folder::LockFolder;
pub use guard::{Guard, UnlockError};
pub use options::OpenOptions;

/// All of it may be sent to other threads, and be used by several at once.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<LockFolder>();
    is_send_and_sync::<OpenOptions>();
    is_send_and_sync::<Guard>();
    is_send_and_sync::<UnlockError>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Holder>();
    is_send_and_sync::<BidInfo>();
};
