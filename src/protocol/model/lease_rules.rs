//! The settings of `lease.rs`: the clocks, what may happen, and by which rules.

/// The rules, and the faults that a test adds on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The lease, in units of the clocks.
    pub lease: u8,
    /// How far the holder's clock and those of the observers advance in the same time.
    pub rates: [u8; 2],
    /// The greatest number that the holder makes. It bounds the model.
    pub numbers: u8,
    pub observers: usize,
    pub crashes: u8,
    /// How often a request is executed late (also once more), or a call fails.
    pub faults: u8,
    /// A look that no link of one's own precedes may show what the last one showed.
    pub stale_looks: bool,
    /// The holder deletes a number only after it has made the number that is greater by this. 2: as the code says.
    pub lag: u8,
    /// The holder deletes number 1 only after it has unlocked.
    pub keeps_the_first: bool,
    /// The holder may delete a number more than once.
    pub repeats: bool,
    /// How many listings a takeover really takes. The code is told the last one again for the others.
    pub listings: usize,
    pub broken: Broken,
}

/// A rule of the code that a test breaks, by what it tells the code or by what it does with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// The holder counts from the answer to its renewal.
    CountsFromTheAnswer,
    /// The holder forgets that an earlier try may have made the number.
    ForgetsTheFirstTry,
    /// An observer counts from the start of the look that first showed the number.
    CountsFromTheStart,
    /// An observer removes a bid whose lease expired, and makes no number.
    MakesNoNumber,
    /// An observer remembers a number, but not who made it.
    ForgetsTheMaker,
    /// An observer does not ask whether the number that it remembers is still there.
    ForgetsTheNumber,
}

pub const RULES: Rules = Rules {
    lease: 6,
    rates: [2, 3],
    numbers: 3,
    observers: 1,
    crashes: 0,
    faults: 0,
    stale_looks: false,
    lag: 2,
    keeps_the_first: false,
    repeats: false,
    listings: 3,
    broken: Broken::Nothing,
};
