//! The settings of `waiting.rs`: which claimants come how often, what may happen, and by which rules.

use super::waiting::{EACH, MOST};

/// The rules, and the faults that a test adds on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How often each claimant comes, and whether it waits. 0: it never comes.
    pub waits: [bool; MOST],
    pub rounds: [u8; MOST],
    /// How many each tolerates: 1, or 0 for any number.
    pub slots: [u8; MOST],
    /// Those that keep the lock until all others that can hold it with them have had it too.
    pub keeps: [bool; MOST],
    /// A claimant that tolerates company leaves the line when it has the lock.
    pub passes_on: bool,
    /// Who gives way, and who is a no-show, is judged with the eyes of the first in line.
    pub eyes_of_first: bool,
    pub crashes: u8,
    /// Events of the lock folder may be lost.
    pub lossy: bool,
    /// Waiters take the regular look, which also removes the ticket of a no-show.
    pub looks: bool,
    /// The claimants that look. It bounds the model.
    pub lookers: [bool; MOST],
    /// A claimant may lose its place as a no-show only up to its ticket of this number. It bounds the model.
    pub no_shows: u8,
    /// It is an error if a claimant polls. (Without crashes, the kernel notifies of everything.)
    pub never_polls: bool,
    pub beacons: usize,
    pub verify_after_open: bool,
    /// A beacon is lit again only when nobody has it open.
    pub reuse_check: bool,
    /// What a claimant that leaves writes to its beacon before it closes the beacon.
    pub bytes: Bytes,
    /// A forked child of each claimant keeps the beacons open.
    pub children: bool,
    /// The kernel notifies of a process's death (all processes are in one PID namespace).
    pub pidfd: bool,
    /// Any sleeper may run out of time.
    pub timeouts: bool,
    /// A holder puts its beacon out before it deletes its bid.
    pub tells_first: bool,
    /// A claimant that leaves deletes its ticket first and puts its beacon out afterwards.
    pub ticket_before_beacon: bool,
    /// A claimant that finds a beacon put out removes the ticket, because the ticket's owner is about to remove it.
    pub takes_what_is_out: bool,
    /// A newcomer believes the ticket in the tail only if it is before its own.
    pub earlier_only: bool,
    pub watch_before_check: bool,
    /// Old news are discarded before the check, not after it.
    pub drain_before_check: bool,
    /// A claimant makes its queue again if another claimant has just removed it.
    pub keeps_opening: bool,
    /// A claimant that overtook the first in line may be put to the end of the line only up to its ticket of this
    /// number. It bounds the model.
    pub put_back: u8,
    /// It loses its place only while the bid with which it overtook is still there.
    pub asks_for_the_bid: bool,
    /// Names of bids sort in the opposite order of tickets.
    pub bids_reversed: bool,
}

/// A look at a beacon reads from it, and takes one byte if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    None,
    One,
    /// More bytes than there are claimants.
    Many,
}

pub const RULES: Rules = Rules {
    waits: [true; MOST],
    rounds: [1; MOST],
    slots: [1; MOST],
    keeps: [false; MOST],
    passes_on: true,
    eyes_of_first: true,
    crashes: 0,
    lossy: false,
    looks: false,
    lookers: [true; MOST],
    no_shows: EACH - 1,
    never_polls: false,
    beacons: 2,
    verify_after_open: true,
    reuse_check: true,
    bytes: Bytes::Many,
    children: false,
    pidfd: true,
    timeouts: false,
    tells_first: true,
    ticket_before_beacon: false,
    takes_what_is_out: true,
    earlier_only: true,
    watch_before_check: true,
    drain_before_check: true,
    keeps_opening: true,
    put_back: 0,
    asks_for_the_bid: true,
    bids_reversed: false,
};
