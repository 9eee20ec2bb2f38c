//! A mutex between processes that lives in a folder.
//!
//! A *claimant* is a handle on a lock folder. Its *bid* is a small JSON file named `<GUID>.json`. The claimant looks for
//! the bids of others, posts its own, and looks again: check, bid, check. It has the lock if its bid is the only live one,
//! until it deletes that bid. `ls` and `cat` show which process has the lock.
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
//! # Handles, guards and threads
//!
//! - A [`LockFolder`] is a handle: one claimant. Threads that should exclude each other open a handle each. Threads that
//!   share one handle do not wait for each other: while one of them locks it, the lock call of another one fails.
//! - A [`Guard`] is the lock, held. It can be sent to another thread, and it can outlive its handle.
//! - The sub-folder `.lockfolder` of the lock folder holds what the library needs besides the bids: prepared bids, the
//!   line of waiters, and the last fencing token. It stays. Don't delete it while claimants use the folder; without it,
//!   fencing tokens begin again at 1.
//!
//! # The feature `capi`
//!
//! It adds the C interface, `lf_*`. It is on by default, so `cargo build --release` makes the C library. A Rust program
//! turns it off, and then exports no such symbol: `lockfolder = { version = "0.1", default-features = false }`.
//!
//! To read the source, begin with `ARCHITECTURE.md`: it says what each folder of `src` is for.

#![deny(unsafe_code, missing_docs, missing_debug_implementations, clippy::print_stdout, clippy::print_stderr)]

mod api;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod ffi;
mod folder;
mod owner;
mod protocol;
mod renewer;
#[cfg(test)]
mod scratch;
mod slots;
#[allow(unsafe_code)]
mod sys;

/// The handle takes mutexes and atomics from here, so tests/loom can replace them by its own.
use std::sync;

#[cfg(unix)]
pub use api::LostSignal;
pub use api::{BidInfo, Guard, LockFolder, OpenOptions, PendingLock, UnlockError, WaiterInfo};
pub use error::{BidState, Error, ErrorKind, Holder, Reach, Result};
pub use slots::Slots;

/// Several threads may share each of these, and send it to each other.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<LockFolder>();
    is_send_and_sync::<OpenOptions>();
    is_send_and_sync::<Guard>();
    is_send_and_sync::<PendingLock>();
    is_send_and_sync::<UnlockError>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Holder>();
    is_send_and_sync::<BidInfo>();
    is_send_and_sync::<WaiterInfo>();
    is_send_and_sync::<Slots>();
};
