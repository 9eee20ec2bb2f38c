//! The model of a lease: one holder renews it, and observers take it over. They run the real code of
//! `src/protocol/lease.rs` (`lease_mind.rs`), on a server in memory.
//!
//! Time passes at any moment between two steps, for all at once. The clock of the holder is the slow one.

use std::hash::{Hash, Hasher};

use super::explore::{fault, step, Model, Step};
use super::lease_mind::*;
pub use super::lease_rules::*;

pub const NOT_EXCLUDED: &str = "a holder is valid though its lease was taken over";
pub const WEDGED: &str = "the bid of a crashed holder stays";

/// The holder and two observers.
const MOST: usize = MAKERS as usize;
const OWNER: usize = HOLDER as usize;

pub struct Leasing {
    pub rules: Rules,
    pub minds: Minds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum At {
    #[default]
    Away,
    Posting,
    Idle,
    Looking,
    /// Runs the real code.
    Calling,
    /// Is about to delete the bid.
    Removing,
    /// Deletes the numbers, in any order.
    Clearing,
    Gone,
    Crashed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    pub at: At,
    pub mind: Mind,
    /// For the holder: the time since its call began. For an observer: since its look began.
    pub elapsed: u8,
    pub memory: Memory,
    pub sight: Option<Sight>,
    /// During a listing: the names that were there all the time, and the names that were there at some time.
    pub must: Set,
    pub may: Set,
    pub lists: bool,
}

/// Tests run unoptimised. Few words are hashed faster than many fields.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for c in &self.claimants {
            let sight = c.sight.unwrap_or(Sight { last: Set::MAX, since: 0 });
            let Memory { last, began, tried } = c.memory;
            hasher.write_u64(u64::from_le_bytes([c.at as u8, c.elapsed, last, began, tried, sight.since, 0, 0]));
            hasher.write_u64(u64::from(c.must) << 32 | u64::from(c.may));
            hasher.write_u64(u64::from(c.mind) << 32 | u64::from(sight.last));
        }
        hasher.write_u64(u64::from(self.there) << 32 | u64::from(self.to_make));
        hasher.write_u64(u64::from(self.to_remove) << 32 | u64::from(self.removed) << 8 | u64::from(self.faults));
    }
}

const AWAY: Claimant =
    Claimant { at: At::Away, mind: 0, elapsed: 0, memory: Memory::NEW, sight: None, must: 0, may: 0, lists: false };

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub claimants: [Claimant; MOST],
    pub posted: bool,
    pub deleted: bool,
    pub there: Set,
    /// Requests that are executed late: names to make, and the numbers to remove.
    pub to_make: Set,
    pub to_remove: u16,
    /// The numbers that the holder has asked to remove.
    pub removed: u16,
    pub faults: u8,
    pub crashes: u8,
    /// An observer has found that nobody holds the lock by this bid any more.
    pub taken: bool,
}

impl State {
    pub fn has_bid(&self) -> bool {
        self.posted && !self.deleted
    }

    /// Makes a name, unless its number is there.
    pub fn make(&mut self, name: Set, number: u8) {
        if self.there & names_of(number) == 0 {
            self.there |= name;
            for c in self.claimants.iter_mut().filter(|c| c.lists) {
                c.may |= name & !c.must;
            }
        }
    }

    pub fn remove(&mut self, number: u8) {
        let gone = self.there & names_of(number);
        self.there &= !gone;
        for c in self.claimants.iter_mut().filter(|c| c.lists) {
            c.may |= gone & c.must;
            c.must &= !gone;
        }
    }

    pub fn begins_to_list(&mut self, who: usize) {
        let c = &mut self.claimants[who];
        (c.must, c.may, c.lists) = (self.there, 0, true);
    }

    pub fn ends_listing(&mut self, who: usize) {
        let c = &mut self.claimants[who];
        (c.must, c.may, c.lists) = (0, 0, false);
    }

    pub fn is_over(&mut self, who: usize, at: At) {
        self.claimants[who] = Claimant { at, ..AWAY };
    }
}

impl State {
    /// Deletes the bid. An observer that looks would find it gone, and go too.
    fn delete(&mut self) {
        self.deleted = true;
        for who in 1..MOST {
            if matches!(self.claimants[who].at, At::Away | At::Idle | At::Looking) {
                self.is_over(who, At::Gone);
            }
        }
    }

    /// When the bid and its holder are gone, nothing can go wrong any more. So such states are all the same.
    pub fn forget(&mut self) {
        if self.deleted && !matches!(self.claimants[OWNER].at, At::Posting | At::Idle | At::Calling) {
            *self = State { posted: true, deleted: true, taken: self.taken, ..START };
            (0..MOST).for_each(|who| self.is_over(who, At::Gone));
        }
    }
}

const START: State = State {
    claimants: [AWAY; MOST],
    posted: false,
    deleted: false,
    there: 0,
    to_make: 0,
    to_remove: 0,
    removed: 0,
    faults: 0,
    crashes: 0,
    taken: false,
};

pub type Go<'a> = &'a mut dyn FnMut(Step, State);

const DELETES: [&str; 9] = [
    "",
    "deletes number 1",
    "deletes number 2",
    "deletes number 3",
    "deletes number 4",
    "deletes number 5",
    "deletes number 6",
    "deletes number 7",
    "deletes number 8",
];

impl Model for Leasing {
    type State = State;

    fn start(&self) -> State {
        START
    }

    fn steps(&self, from: &State, go: &mut dyn FnMut(Step, State)) {
        self.time_passes(from, go);
        self.late_requests(from, go);
        for who in 0..=self.rules.observers {
            self.steps_of(from, who, go);
            let at = from.claimants[who].at;
            if from.crashes < self.rules.crashes
                && self.may_fail(from)
                && !matches!(at, At::Away | At::Gone | At::Crashed)
            {
                let mut to = *from;
                to.crashes += 1;
                to.is_over(who, At::Crashed);
                to.forget();
                go(fault(who, "crashes"), to);
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        (state.taken && self.is_valid(state)).then_some(NOT_EXCLUDED)
    }

    fn wrong_end(&self, state: &State) -> Option<&'static str> {
        let looks = (1..=self.rules.observers).any(|who| state.claimants[who].at != At::Crashed);
        (state.has_bid() && looks).then_some(WEDGED)
    }
}

impl Leasing {
    pub fn new(rules: Rules) -> Leasing {
        Leasing { rules, minds: Minds::new(rules) }
    }

    /// Whether the holder relies on the lock now.
    fn is_valid(&self, state: &State) -> bool {
        let holder = &state.claimants[OWNER];
        matches!(holder.at, At::Idle | At::Calling) && self.minds.rights(holder.memory).0 > holder.elapsed
    }

    /// An age that is as good as any greater one: the lock is lost by then, and a lease expired.
    pub fn oldest(&self, who: usize) -> u8 {
        if who == OWNER {
            self.rules.lease * 2 / 3
        } else {
            self.rules.lease
        }
    }

    /// Observers that take over at once make numbers, and remove them again. Only a fault leaves one behind. Faults happen
    /// only while there are few numbers. It bounds the model.
    pub fn may_fail(&self, state: &State) -> bool {
        number_of(last(state.there)) <= self.rules.numbers + 1
    }

    fn time_passes(&self, from: &State, go: Go) {
        let mut to = *from;
        for (who, c) in to.claimants.iter_mut().enumerate() {
            let (by, oldest) = (self.rules.rates[usize::from(who != OWNER)], self.oldest(who));
            match (c.at, &mut c.sight) {
                (At::Posting, _) => c.memory.ages(by, oldest),
                (At::Idle, _) if who == OWNER => c.memory.ages(by, oldest),
                (At::Idle, Some(sight)) => sight.since = (sight.since + by).min(oldest),
                (At::Calling, _) if who == OWNER => c.elapsed = (c.elapsed + by).min(oldest),
                (At::Looking, _) => c.elapsed = (c.elapsed + by).min(oldest),
                _ => {}
            }
        }
        if to != *from {
            go(step(OWNER, "and the others: time passes"), to);
        }
    }

    fn late_requests(&self, from: &State, go: Go) {
        if from.to_make == 0 && from.to_remove == 0 {
            return;
        }
        for number in 1..=NUMBERS {
            for maker in (0..MAKERS).filter(|maker| from.to_make & name(number, *maker) != 0) {
                let mut to = *from;
                to.to_make &= !name(number, maker);
                to.make(name(number, maker), number);
                go(fault(maker as usize, "sees nothing: its request to make a number is executed late"), to);
            }
            if from.to_remove & (1 << number) != 0 {
                let mut to = *from;
                to.to_remove &= !(1 << number);
                to.remove(number);
                go(fault(OWNER, "or another: a request to remove a number is executed late"), to);
            }
        }
    }

    fn steps_of(&self, from: &State, who: usize, go: Go) {
        let mut to = *from;
        match from.claimants[who].at {
            At::Away if who == OWNER => {
                to.claimants[who].at = At::Posting;
                go(step(who, "begins to post its bid"), to);
            }
            At::Away if !from.posted => {}
            At::Away => {
                to.claimants[who].at = At::Idle;
                self.steps_of_observer(&to, who, go);
            }
            At::Posting => {
                to.posted = true;
                to.claimants[who].at = At::Idle;
                go(step(who, "has posted its bid"), to);
            }
            At::Idle if who == OWNER => self.steps_of_holder(from, go),
            At::Idle => self.steps_of_observer(from, who, go),
            At::Looking => self.end_of_look(from, who, go),
            At::Calling => self.steps_of_call(from, who, go),
            At::Removing => {
                to.delete();
                self.clear(to, step(who, "deletes the bid"), go);
            }
            At::Clearing => {
                for number in (1..=NUMBERS).filter(|number| from.there & names_of(*number) != 0) {
                    let mut to = *from;
                    to.remove(number);
                    self.clear(to, step(who, DELETES[number as usize]), go);
                }
            }
            At::Gone | At::Crashed => {}
        }
    }

    fn clear(&self, mut to: State, label: Step, go: Go) {
        to.is_over(label.who, if to.there == 0 { At::Gone } else { At::Clearing });
        to.forget();
        go(label, to);
    }

    fn steps_of_holder(&self, from: &State, go: Go) {
        let memory = from.claimants[OWNER].memory;
        if memory.last < self.rules.numbers {
            let mut to = *from;
            let c = &mut to.claimants[OWNER];
            if self.rules.broken == Broken::ForgetsTheFirstTry {
                c.memory.tried = NEVER;
            }
            (c.at, c.elapsed) = (At::Calling, 0);
            c.mind = self.minds.begin(Task::Renew(c.memory));
            self.go_on(to, step(OWNER, "begins to renew"), go);
        }
        let first = if self.rules.keeps_the_first { 2 } else { 1 };
        let end = match self.rules.lag {
            2 => self.minds.rights(memory).1,
            lag => (memory.last + 1).saturating_sub(lag),
        };
        for number in first..end {
            if from.removed & (1 << number) == 0 || self.rules.repeats && from.there & names_of(number) != 0 {
                let asked = State { removed: from.removed | 1 << number, ..*from };
                self.remove(&asked, number, step(OWNER, DELETES[number as usize]), go);
            }
        }
        let mut to = *from;
        to.is_over(OWNER, if to.deleted { At::Gone } else { At::Removing });
        to.forget();
        go(step(OWNER, "unlocks"), to);
    }

    fn steps_of_observer(&self, from: &State, who: usize, go: Go) {
        let mut to = *from;
        let c = &mut to.claimants[who];
        (c.at, c.elapsed) = (At::Looking, 0);
        to.begins_to_list(who);
        match self.rules.observers {
            1 => go(step(who, "begins to look"), to),
            // With more observers there would be too many states, so their looks are one step.
            _ => self.end_of_look(&to, who, go),
        }
    }

    fn end_of_look(&self, from: &State, who: usize, go: Go) {
        let c = &from.claimants[who];
        let before = c.sight.map_or(0, |sight| sight.last);
        // Only the last name matters. So not all subsets are needed.
        let greater = (0..Set::BITS).map(|bit| 1 << bit).filter(|also| c.may & also != 0 && *also > c.must);
        let shown = [0].into_iter().chain(greater).map(|also| (c.must | also, "looks"));
        let stale = self.rules.stale_looks.then_some((before, "looks, and sees only old names"));
        for (seen, label) in shown.chain(stale) {
            let mut to = *from;
            to.ends_listing(who);
            let (sight, has_expired) = look(&self.rules, c.sight, seen, c.elapsed);
            let c = &mut to.claimants[who];
            (c.at, c.elapsed, c.sight) = (At::Idle, 0, Some(sight));
            if !has_expired {
                go(step(who, label), to);
            } else if self.rules.broken == Broken::MakesNoNumber {
                self.takes_over(to, step(who, "finds the lease expired"), go);
            } else if number_of(sight.last) >= self.rules.numbers + 3 {
                go(step(who, "makes no further number, to bound the model"), to);
            } else {
                (c.at, c.mind) = (At::Calling, self.minds.begin(Task::TakeOver(who as u8, sight.last)));
                self.go_on(to, step(who, "finds the lease expired"), go);
            }
        }
    }

    pub fn takes_over(&self, mut to: State, label: Step, go: Go) {
        to.taken = true;
        to.is_over(label.who, At::Removing);
        go(label, to);
    }
}
