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
//! `ARCHITECTURE.md` says what each room is for, and what it may import. In short:
//!
//! - `protocol` is what a claimant does, and in what order: `acquire` is check-bid-check, whole, on one page. It knows no file and no
//!   process. `Place` and `Line` say what it needs of where bids are posted.
//! - `folder` is the lock folder: the place of that protocol. It posts, lists and reaps bids, and keeps the line of those who wait.
//! - `owner` is a bid's content, and the verdict whether its owner is alive.
//! - `api` is what users call: [`LockFolder`], [`OpenOptions`], [`Guard`].
//! - `sys` makes every system call, and is all that differs by platform.
//! - `ffi` is the C interface, with the feature `capi`. It converts and nothing else.
//! - `error` is every error and its message.

#![deny(unsafe_code, missing_docs, missing_debug_implementations, clippy::print_stdout, clippy::print_stderr)]

mod api;
mod error;
#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod ffi;
mod folder;
mod owner;
mod protocol;
#[cfg(test)]
mod scratch;
#[allow(unsafe_code)]
mod sys;

/// From here the handle takes what its threads share, so that tests/loom can put its own in the place.
use std::sync;

pub use api::{BidInfo, Guard, LockFolder, OpenOptions, UnlockError};
pub use error::{BidState, Error, ErrorKind, Holder, Result};

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
