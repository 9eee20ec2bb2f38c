//! The API of users: [`LockFolder`] and its [`Guard`], and the rules of threads and of fork. No other room names a concrete
//! place.

mod calls;
#[cfg(feature = "etcd")]
mod either;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod lock_folder;
pub(crate) mod options;
pub(crate) mod pending;
mod place;
pub(crate) mod snapshot;
pub(crate) mod wait;
pub(crate) mod waiter;
mod waiting;

pub use guard::{Guard, UnlockError};
pub use lock_folder::LockFolder;
#[cfg(unix)]
pub use lock_folder::LostSignal;
pub use options::OpenOptions;
pub use pending::PendingLock;
pub use snapshot::{BidInfo, WaiterInfo};
