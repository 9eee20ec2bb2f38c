//! A lock on etcd as one claimant sees it, by the recipe of etcd's own clients: below the prefix, each claimant has a key named by its
//! lease. The key with the oldest create revision holds the lock, and each other claimant waits for the deletion of the key before its
//! own. So our lock excludes `etcdctl lock` and the Go client's `concurrency.Mutex` too. The value of a key of ours is our bid.
//!
//! It implements the [`Place`](crate::protocol::Place) of the protocol (`place.rs`) and the line of the waiters (`line.rs`). A ticket in
//! this line is a key, and so is a bid: the first in line holds the lock.

mod calls;
mod claimant;
mod client;
mod fault;
mod keys;
mod lease;
mod line;
mod place;
mod requests;
mod tls;
mod transport;
mod url;
mod watch;

pub(crate) use claimant::Etcd;
