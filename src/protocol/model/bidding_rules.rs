//! What is modelled in `bidding.rs`: who competes, on what disk, by what rules.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Ours,
    /// The Python package: writes in two steps, uses its name again, never breaks a tie, throws at what it doesn't expect.
    Python,
    /// Ours, with the tie-break the other way round.
    Reversed,
}

/// What a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// All that is there from its begin to its end; what comes or goes meanwhile, perhaps.
    Local,
    /// That, or all that was there at some time before.
    Stale,
    /// The same, and what the lister itself has done since: sshfs with its default caches.
    StaleButOwn,
}

/// How long the first of several bidders waits for the others to withdraw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Any number of listings, down to none: a machine as slow as can be.
    Any,
    /// Until they have, or one of them holds: 5 ms are enough for two system calls.
    Enough,
}

/// The rules, and what is broken on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub disk: Disk,
    pub patience: Patience,
    /// Ask for a winner too, where nobody crashes.
    pub somebody_wins: bool,
    pub crashes: u8,
    /// How often a Python peer tries, under one name.
    pub python_tries: u8,
    /// `lf_set_malformed_grace`, and its time is longer than any write takes.
    pub grace: bool,
    /// Our first check is a glance: it shows any part of what is there.
    pub glance: bool,
    pub second_check: bool,
    pub tie_break: bool,
    pub own_bid_in_listing: bool,
    /// False: a process that is started again after its crash uses its old name.
    pub fresh_names: bool,
    pub reaps_the_living: bool,
    pub half: Half,
}

/// What a bid counts as while its writer is between its two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Live,
    Absent,
    /// A grace that is shorter than a write.
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
};
