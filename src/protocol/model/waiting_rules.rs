//! What is modelled in `waiting.rs`: who comes how often, what may happen, by what rules.

use super::waiting::MOST;

/// The rules, and what is broken on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How often each comes, and whether it waits; 0: never.
    pub waits: [bool; MOST],
    pub rounds: [u8; MOST],
    pub crashes: u8,
    /// Events of the lock folder may be lost.
    pub lossy: bool,
    /// There is the look about once a second, which also takes the first in line out if it doesn't come forward.
    pub looks: bool,
    /// That anybody polls is wrong (where nobody crashes, the kernel tells all).
    pub never_polls: bool,
    pub beacons: usize,
    pub verify_after_open: bool,
    /// A beacon is lit again only when nobody has it open.
    pub reuse_check: bool,
    /// Whoever leaves writes this, before it closes.
    pub bytes: Bytes,
    /// A forked child of everybody keeps its beacons open.
    pub children: bool,
    /// The kernel tells of a process's death (all are in one PID namespace).
    pub pidfd: bool,
    /// Whoever sleeps may run out of time.
    pub timeouts: bool,
    /// Who leaves deletes its ticket first, and then puts its beacon out.
    pub ticket_before_beacon: bool,
    /// Whoever finds a beacon that was put out takes its ticket away, for its owner is about to do so.
    pub takes_what_is_out: bool,
    /// Of the name that the last who joined has left, whoever joins believes only that it is before its own.
    pub earlier_only: bool,
    pub watch_before_check: bool,
    /// Drains the news before the check, not after it.
    pub drain_before_check: bool,
    /// Whoever finds the queue that it has just made removed makes it again.
    pub keeps_opening: bool,
    /// Up to this ticket of its own, a claimant may be put to the end of the line because it overtook the first. It bounds the model.
    pub put_back: u8,
    /// Names of bids sort the other way round than tickets.
    pub bids_reversed: bool,
}

/// A look whether a beacon is lit reads from it, and takes one byte if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    None,
    One,
    /// More than there are claimants.
    Many,
}

pub const RULES: Rules = Rules {
    waits: [true; MOST],
    rounds: [1; MOST],
    crashes: 0,
    lossy: false,
    looks: false,
    never_polls: false,
    beacons: 2,
    verify_after_open: true,
    reuse_check: true,
    bytes: Bytes::Many,
    children: false,
    pidfd: true,
    timeouts: false,
    ticket_before_beacon: false,
    takes_what_is_out: true,
    earlier_only: true,
    watch_before_check: true,
    drain_before_check: true,
    keeps_opening: true,
    put_back: 0,
    bids_reversed: false,
};
