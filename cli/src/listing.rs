//! Who is there, as far as the folder tells: the facts that the table, the JSON and the live view show.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lockfolder::{BidInfo, BidState, Reach, Slots, WaiterInfo};

use crate::errors::explain;
use crate::looking::Looked;

/// What is known of one folder at one moment.
pub struct Listing {
    pub path: PathBuf,
    pub reach: Reach,
    /// Why the folder can't be locked without more.
    pub refusal: Option<String>,
    pub bids: Vec<BidInfo>,
    pub waiters: Vec<WaiterInfo>,
    here: Here,
}

impl Listing {
    pub fn of(looked: &Looked) -> lockfolder::Result<Listing> {
        let folder = &looked.folder;
        Ok(Listing {
            path: folder.path().to_path_buf(),
            reach: folder.reach()?,
            refusal: looked.refusal.as_ref().map(explain),
            bids: folder.bids()?,
            waiters: folder.waiters()?,
            here: Here::now(),
        })
    }

    pub fn holder(&self) -> Option<&BidInfo> {
        holder_of(&self.bids)
    }

    pub fn is_in_use(&self) -> bool {
        self.holder().is_some()
    }

    pub fn is_holder(&self, bid: &BidInfo) -> bool {
        holders_of(&self.bids).iter().any(|holder| holder.name == bid.name)
    }

    pub fn place_of_bid(&self, bid: &BidInfo) -> Option<Place> {
        self.here.place(bid.boot.as_deref(), bid.pid_namespace)
    }

    pub fn place_of_waiter(&self, waiter: &WaiterInfo) -> Option<Place> {
        self.here.place(waiter.boot.as_deref(), waiter.pid_namespace)
    }
}

/// The bid of the one that holds, or of the one of them that has held it for longest.
pub fn holder_of(bids: &[BidInfo]) -> Option<&BidInfo> {
    holders_of(bids).first().copied()
}

/// The bids of those that hold, the oldest first. If there are other live ones, they are about to withdraw: that is so for an instant.
pub fn holders_of(bids: &[BidInfo]) -> Vec<&BidInfo> {
    let mut live: Vec<_> = bids.iter().filter(|bid| bid.state != BidState::Stale).collect();
    live.sort_by_key(|bid| std::cmp::Reverse(bid.age));
    let Some(slots) = live.first().map(|oldest| oldest.slots) else { return live };
    live.retain(|bid| bid.slots == slots);
    live.truncate(match slots {
        Slots::One => 1,
        Slots::AtMost(places) => places as usize,
        Slots::Any => usize::MAX,
    });
    live
}

pub fn people(count: usize) -> String {
    match count {
        1 => "1 claimant".to_owned(),
        count => format!("{count} claimants"),
    }
}

/// Where a process is, seen from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In our PID namespace, so its PID means something here.
    Here,
    /// On this host, in another container.
    Container,
    /// On another host, or it was on this one before it was started anew.
    Elsewhere,
}

impl Place {
    pub fn word(self) -> &'static str {
        match self {
            Place::Here => "here",
            Place::Container => "container",
            Place::Elsewhere => "elsewhere",
        }
    }
}

/// Where we are.
struct Here {
    boot: Option<String>,
    pid_namespace: Option<u64>,
}

impl Here {
    fn now() -> Here {
        // Only Linux has it. (Wine shows the file of Linux, but a bid there names the boot in another way.)
        let boot =
            cfg!(target_os = "linux").then(|| fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()).flatten();
        Here { boot: boot.map(|boot| boot.trim().to_owned()), pid_namespace: pid_namespace() }
    }

    fn place(&self, boot: Option<&str>, pid_namespace: Option<u64>) -> Option<Place> {
        if self.boot.as_deref()? != boot? {
            return Some(Place::Elsewhere);
        }
        Some(if self.pid_namespace? == pid_namespace? { Place::Here } else { Place::Container })
    }
}

#[cfg(unix)]
fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

#[cfg(not(unix))]
fn pid_namespace() -> Option<u64> {
    None
}

pub fn name_of_state(state: BidState) -> &'static str {
    match state {
        BidState::Own => "own",
        BidState::Live => "live",
        BidState::Stale => "stale",
        BidState::Malformed => "malformed",
        _ => "unknown",
    }
}

pub fn name_of_reach(reach: Reach) -> &'static str {
    match reach {
        Reach::Host => "host",
        Reach::Overlay => "overlay",
        Reach::Hosts => "hosts",
        _ => "vouched",
    }
}

pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
