//! A snapshot of a folder's bids, for people and programs that want to see the claimants.

use std::ffi::OsString;
use std::time::Duration;

use crate::error::BidState;
use crate::owner::bid::posted_at;
use crate::owner::rival::Rival;
use crate::slots::Slots;
use crate::sys;

/// One bid of a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BidInfo {
    /// The file's name in the lock folder.
    pub name: OsString,
    /// The owner's PID, in its own PID namespace. `None` if the bid can't be read.
    pub pid: Option<u32>,
    /// When the owner's process started, Unix seconds. `None` if the bid does not say.
    pub created: Option<i64>,
    /// The owner's host name. `None` if the bid does not say. It is what the bid says: any user of the folder may have written
    /// any characters, so escape it before you print it (`{:?}` does so).
    pub host: Option<String>,
    /// The owner's command name. `None` if the bid does not say. Escape it too.
    pub command: Option<String>,
    /// The owner's PID namespace (the inode of its `/proc/self/ns/pid`). `None` if the bid does not say.
    pub pid_namespace: Option<u64>,
    /// The boot of the owner's kernel (`/proc/sys/kernel/random/boot_id`). `None` if the bid does not say.
    pub boot: Option<String>,
    /// The length of the owner's lease. `None`: it has none.
    pub lease: Option<Duration>,
    /// How many may hold the lock together by this bid.
    pub slots: Slots,
    /// The time since the bid was posted, by the wall clock, in whole milliseconds.
    pub age: Duration,
    /// The state of the bid.
    pub state: BidState,
}

impl BidInfo {
    pub(crate) fn new(rival: Rival, is_own: bool) -> BidInfo {
        let state = if is_own { BidState::Own } else { rival.state() };
        let now = (sys::unix_nanos() / 1_000_000) as i64;
        let posted = posted_at(&rival.name).or(rival.modified).unwrap_or(now);
        let slots = rival.slots();
        let bid = rival.bid.ok();
        BidInfo {
            name: sys::file_name(&rival.name),
            pid: bid.as_ref().map(|bid| bid.pid),
            created: bid.as_ref().and_then(|bid| bid.created),
            host: bid.as_ref().and_then(|bid| bid.host.clone()),
            pid_namespace: bid.as_ref().and_then(|bid| bid.pidns),
            boot: bid.as_ref().and_then(|bid| bid.boot.clone()),
            lease: bid.as_ref().and_then(|bid| bid.lease).map(|ms| Duration::from_millis(ms.into())),
            command: bid.and_then(|bid| bid.command),
            slots,
            age: Duration::from_millis(now.saturating_sub(posted).try_into().unwrap_or(0)),
            state,
        }
    }
}

/// A claimant that waits in line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaiterInfo {
    /// The owner's PID, in its own PID namespace. `None` if we may not read it.
    pub pid: Option<u32>,
    /// The owner's host name. `None` if it is not known.
    pub host: Option<String>,
    /// The owner's command name. `None` if it is not known.
    pub command: Option<String>,
    /// The owner's PID namespace. `None` if it is not known.
    pub pid_namespace: Option<u64>,
    /// The boot of the owner's kernel. `None` if it is not known.
    pub boot: Option<String>,
    /// The time since it joined the line, by the wall clock, in whole milliseconds.
    pub age: Duration,
}

impl WaiterInfo {
    /// `arrival`: when it joined, in Unix nanoseconds.
    pub(crate) fn new(arrival: u64, owner: Rival) -> WaiterInfo {
        let bid = owner.bid.ok();
        WaiterInfo {
            pid: bid.as_ref().map(|bid| bid.pid),
            host: bid.as_ref().and_then(|bid| bid.host.clone()),
            pid_namespace: bid.as_ref().and_then(|bid| bid.pidns),
            boot: bid.as_ref().and_then(|bid| bid.boot.clone()),
            command: bid.and_then(|bid| bid.command),
            age: Duration::from_millis(sys::unix_nanos().saturating_sub(arrival) / 1_000_000),
        }
    }
}
