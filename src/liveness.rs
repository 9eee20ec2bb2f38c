//! Who is alive. A rival's bid may be deleted only when its owner is provably gone; everything else counts as live.
//!
//! | the bid | decides |
//! | --- | --- |
//! | our boot, our PID namespace | the process with its PID and start time |
//! | our boot, another PID namespace | the lock that the kernel keeps on the bid while its owner lives |
//! | another boot | that lock too; without one, and on a local filesystem, the boot is over |
//! | a Python peer's: PID and CREATED alone | the process with its PID and start time, to 2 s |

use crate::bid::Bid;
use crate::sys::{self, Exit, Filesystem, Identity, ProcessState, Small, Source};

/// What is known of a bid's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Live,
    /// Provably gone.
    Stale,
    /// It can't be judged from here: another host or container. Counts as live.
    Unknown,
    /// The bid can't be read, so it has no owner to judge. Counts as live.
    Malformed,
}

/// How to ask again whether an owner that was alive still is, in one system call.
pub(crate) enum Pulse {
    Process(Exit),
    Lock(Small),
    None,
}

impl Pulse {
    /// Whether the owner still lives. `None`: not known, the bid is to be judged anew.
    pub fn beats(&self) -> Option<bool> {
        match self {
            Pulse::Process(exit) => Some(!exit.happened()),
            Pulse::Lock(file) => file.is_locked().ok().filter(|locked| *locked),
            Pulse::None => None,
        }
    }

    /// What wakes a sleeper when the owner dies, where the kernel tells.
    pub fn source(&self) -> Option<Source<'_>> {
        match self {
            Pulse::Process(exit) => Some(exit.source()),
            Pulse::Lock(_) | Pulse::None => None,
        }
    }
}

/// Judges the owner of a bid. `file` is the bid, open.
pub(crate) fn judge(bid: &Bid, file: Small, me: &Identity, on: Filesystem) -> (Verdict, Pulse) {
    let this_boot = bid.boot.is_none() || bid.boot == me.boot;
    let this_namespace = bid.pidns.is_none() || bid.pidns == me.pidns;
    if this_boot && this_namespace {
        let (verdict, pulse) = judge_by_pid(bid, me, on);
        // One of ours that doesn't say its namespace is from where that can't be seen, so its PID may not count here.
        let is_sure = verdict != Verdict::Stale || bid.boot.is_none() || bid.pidns.is_some();
        if is_sure {
            return (verdict, pulse);
        }
    }
    match file.is_locked() {
        Ok(true) => (Verdict::Live, Pulse::Lock(file)),
        // Some containers are given a boot ID of their own (systemd-nspawn(1)), so even a bid of "another boot" is
        // only gone when its lock is.
        Ok(false) if on.is_local() || this_boot && on.locks_prove_death() => (Verdict::Stale, Pulse::None),
        _ => (Verdict::Unknown, Pulse::None),
    }
}

fn judge_by_pid(bid: &Bid, me: &Identity, on: Filesystem) -> (Verdict, Pulse) {
    // First the descriptor, then the look: so what we watch is what we saw.
    let exit = Exit::of(bid.pid);
    let state = sys::process(me, bid.pid, bid.start, bid.created);
    // Whoever had the PID has exited, even where more can't be seen of it.
    let state = if exit.as_ref().is_some_and(Exit::happened) { ProcessState::Gone } else { state };
    match state {
        ProcessState::Runs | ProcessState::Exists => (Verdict::Live, exit.map_or(Pulse::None, Pulse::Process)),
        // A bid that doesn't say where its PID counts may be from another host, if others can write here.
        ProcessState::Gone | ProcessState::Replaced if bid.boot.is_none() && !on.is_local() => {
            (Verdict::Unknown, Pulse::None)
        }
        ProcessState::Gone | ProcessState::Replaced => (Verdict::Stale, Pulse::None),
    }
}

/// Whether an unreadable bid, last modified at `modified` (Unix milliseconds), has been there for too long: longer than the
/// caller's grace, or since before this boot, where nobody but this machine writes.
pub(crate) fn is_abandoned(modified: i64, grace_ms: u32, me: &Identity, on: Filesystem) -> bool {
    let now = (sys::unix_nanos() / 1_000_000) as i64;
    let over = grace_ms > 0 && now.saturating_sub(modified) >= i64::from(grace_ms);
    over || on.is_local() && me.booted().is_ok_and(|boot| modified < boot * 1000)
}
