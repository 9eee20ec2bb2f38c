//! What the code of `lease.rs` remembers between two calls, and the sets of names that a claimant sees. A run has no
//! absolute times: what a claimant remembers becomes ages when a call ends, and moments when the next call begins.

use std::time::Duration;

use super::lease_rules::{Broken, Rules};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::lease::{Moment, Name, Names, Observed, Renewal, Term};

/// The holder and two observers.
pub const MAKERS: u8 = 3;
pub const HOLDER: u8 = 0;
/// The greatest number that the model has room for.
pub const NUMBERS: u8 = 8;

/// A set of names, one bit for each.
pub type Set = u32;

pub fn name(number: u8, maker: u8) -> Set {
    assert!(number <= NUMBERS, "the model has no room for so many numbers");
    1 << ((number - 1) * MAKERS + maker)
}

pub const EVERYTHING: Set = (1 << (NUMBERS * MAKERS)) - 1;

/// The number of a name, or 0 if there is none.
pub fn number_of(name: Set) -> u8 {
    name.checked_ilog2().map_or(0, |bit| bit as u8 / MAKERS + 1)
}

/// All names of this number.
pub fn names_of(number: u8) -> Set {
    (0..MAKERS).map(|maker| name(number, maker)).sum()
}

/// The one with the greatest number. The empty set, if there is none.
pub fn last(names: Set) -> Set {
    names.checked_ilog2().map_or(0, |bit| 1 << bit)
}

/// All subsets of a set.
pub fn subsets(set: Set) -> impl Iterator<Item = Set> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let subset = next?;
        next = (subset != set).then(|| subset.wrapping_sub(set) & set);
        Some(subset)
    })
}

pub fn list(names: Set) -> Vec<Name> {
    let bits = (0..Set::BITS as u8).filter(|bit| names & (1 << bit) != 0);
    bits.map(|bit| Name { number: u64::from(bit / MAKERS) + 1, maker: u64::from(bit % MAKERS) }).collect()
}

/// What a holder remembers. The times are ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub last: u8,
    pub began: u8,
    pub tried: u8,
}

pub const NEVER: u8 = u8::MAX;

impl Memory {
    pub const NEW: Memory = Memory { last: 0, began: 0, tried: NEVER };

    pub fn ages(&mut self, by: u8, most: u8) {
        self.began = (self.began + by).min(most);
        if self.tried != NEVER {
            self.tried = (self.tried + by).min(most);
        }
    }

    /// The real [`Term`] at this moment.
    pub fn term(self, lease: u8, now: Moment) -> Term {
        let [began, tried] = [self.began, self.tried].map(|age| now.saturating_sub(units(age)));
        let mut term = Term::new(units(lease), began);
        for number in 0..self.last {
            let seen = Some((1..=number + 1).map(|number| name(number, HOLDER)).sum());
            let renewed = term.renew(&mut Fixed { now: began, seen });
            assert!(matches!(renewed, Ok(Renewal::Renewed)));
        }
        if self.tried != NEVER {
            // A term that was lost by then stays so. That makes no difference to the model.
            let _ = term.renew(&mut Fixed { now: tried, seen: None });
        }
        term
    }

    pub fn of(term: &Term, lease: u8, now: Moment, tries: &[u8]) -> Memory {
        let began = term.renew_at() - units(lease) / 6;
        let memory = Memory { last: term.last() as u8, began: (now - began).as_secs() as u8, tried: NEVER };
        let mut all = tries.iter().map(|tried| Memory { tried: *tried, ..memory });
        all.find(|memory| memory.term(lease, now) == *term).expect("the code remembers more than the model does")
    }
}

pub fn units(count: u8) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// When each run begins.
pub const START: Moment = Duration::from_secs(1000);

/// A place that stands still.
struct Fixed {
    now: Moment,
    seen: Option<Set>,
}

impl Names for Fixed {
    fn make(&mut self, _: u64) {}

    fn list(&mut self) -> Result<Vec<Name>> {
        self.seen.map(list).ok_or_else(error)
    }

    fn has_bid(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn remove(&mut self, _: u64) {}

    fn us(&self) -> u64 {
        u64::from(HOLDER)
    }

    fn now(&self) -> Moment {
        self.now
    }
}

pub fn error() -> Error {
    Error::fixed(ErrorKind::Io, "no answer")
}

/// What an observer remembers: the last name, as a set, and how long ago it saw it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    pub last: Set,
    pub since: u8,
}

/// The real [`Observed`] after a look that began this long ago. Also whether it has expired.
pub fn look(rules: &Rules, before: Option<Sight>, seen: Set, looking: u8) -> (Sight, bool) {
    let began = START - units(looking);
    let ended = if rules.broken == Broken::CountsFromTheStart { began } else { START };
    let seen = if rules.broken == Broken::ForgetsTheMaker { without_makers(seen) } else { seen };
    let observed = match before {
        None => Observed::new(&list(seen), began, ended),
        Some(sight) => {
            let mut observed = Observed::new(&list(sight.last), began, began - units(sight.since));
            observed.look(&list(seen), began, ended);
            observed
        }
    };
    let since = match before {
        Some(sight) if sight.last == last(seen) => sight.since + looking,
        _ => (START - ended).as_secs() as u8,
    };
    let mut same = Observed::new(&list(last(seen)), began, START - units(since));
    same.was_renewed = observed.was_renewed;
    assert_eq!(observed, same, "the code remembers more than the model does");
    let sight = Sight { last: last(seen), since: since.min(rules.lease) };
    (sight, observed.has_expired(units(rules.lease)))
}

/// The same numbers, as if the holder had made them all.
pub fn without_makers(names: Set) -> Set {
    (1..=NUMBERS).filter(|number| names & names_of(*number) != 0).map(|number| name(number, HOLDER)).sum()
}
