//! The settings of `bidding.rs`: which claimants compete, on which disk, and by which rules.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Ours,
    /// The Python package: it writes a bid in two steps, uses its name again, never breaks a tie, and throws at
    /// anything unexpected.
    Python,
    /// A claimant of ours with the order of the tie-break reversed.
    Reversed,
    /// A claimant of ours that the first claimant has told that it gives the lock back.
    Told,
    /// A claimant of ours of so many slots. Zero: any number.
    Slots(u8),
}

/// What a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Everything that is there during the whole listing. It may also show what comes or goes meanwhile.
    Local,
    /// The same, or everything that was there at some earlier time.
    Stale,
    /// Like `Stale`, plus the lister's own changes since then: sshfs with its default caches.
    StaleButOwn,
}

/// How long the bidder with the first bid waits for the others to withdraw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// For any number of listings, even none: on an arbitrarily slow machine.
    Any,
    /// Until the others have withdrawn or one of them holds the lock: 5 ms are enough for two system calls.
    Enough,
}

/// The rules, and the faults that a test adds on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub disk: Disk,
    pub patience: Patience,
    /// Also require a winner if nobody crashes.
    pub somebody_wins: bool,
    pub crashes: u8,
    /// How often a Python peer tries under one name.
    pub python_tries: u8,
    /// `lf_set_malformed_grace` is set, and its time is longer than any write takes.
    pub grace: bool,
    /// Our first check is a glance: it may show any subset of the bids.
    pub glance: bool,
    pub second_check: bool,
    pub tie_break: bool,
    pub own_bid_in_listing: bool,
    /// False: a process that is restarted after a crash uses its old name again.
    pub fresh_names: bool,
    pub reaps_the_living: bool,
    pub half: Half,
    pub count: Count,
}

/// How a claimant of several slots counts its rivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As the real code does.
    Real,
    /// The n-th rival does not keep it out.
    OneMore,
    /// It tolerates a claimant of one slot.
    ToleratesOne,
    /// It tolerates claimants that name another number.
    ToleratesOthers,
    /// The first rival keeps it out if its bid precedes, as if there were one place.
    FirstPrecedes,
}

/// How others judge a bid while its writer is between its two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Live,
    Absent,
    /// As stale, because the grace is shorter than a write.
    Stale,
}

pub const RULES: Rules = Rules {
    disk: Disk::Local,
    patience: Patience::Any,
    somebody_wins: false,
    crashes: 0,
    python_tries: 1,
    grace: true,
    glance: true,
    second_check: true,
    tie_break: true,
    own_bid_in_listing: true,
    fresh_names: true,
    reaps_the_living: false,
    half: Half::Live,
    count: Count::Real,
};
