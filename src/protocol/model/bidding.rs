//! The model of check, bid, check. Our claimants run the real `acquire` (`mind.rs`) on a folder in memory, against each
//! other and against Python peers. The last comer arrives when all others have gone, and must then get the lock: this
//! is the promise "no wedge".
//!
//! Bids are named by the numbers of their claimants, and sort by them. The model tries every order of arrival, so names
//! may or may not sort by arrival.

pub use super::bidding_rules::*;
use super::calls::{Answer, Call};
use super::explore::{fault, step, Model, Step};
use super::mind::{Mind, Minds, Next, Task};
use super::script::Traits;
use crate::protocol;
use crate::slots::Slots;

pub const TWO_HOLDERS: &str = "two holders";
pub const TOO_MANY: &str = "more holders than places";
pub const NOT_TOGETHER: &str = "two hold together that do not tolerate each other";
pub const PLACES_LEFT: &str = "places are left, and claimants are refused";
pub const WEDGED: &str = "a claimant that is alone is refused";
pub const ALL_REFUSED: &str = "all are refused";

/// The number of claimants, including the last comer.
pub const MOST: usize = 5;

pub struct Bidding {
    /// In the order of their names. The last entry is the last comer.
    pub kinds: Vec<Kind>,
    pub rules: Rules,
    minds: Minds,
}

impl Bidding {
    pub fn new(rules: Rules, racers: &[Kind]) -> Bidding {
        let kinds: Vec<_> = racers.iter().copied().chain([Kind::Ours]).collect();
        assert!(kinds.len() <= MOST);
        Bidding { kinds, rules, minds: Minds::new(Traits { pidfd: true, sociable: 0 }) }
    }

    fn last(&self) -> usize {
        self.kinds.len() - 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum At {
    #[default]
    Away,
    Listing,
    /// Reads the bids that it found, one by one.
    Reading,
    /// Has read a stale bid, and is about to delete the file that has its name by then.
    Reaping(u8),
    Publishing,
    /// A Python peer has opened its file, which is still empty.
    Writing,
    Withdrawing,
    Holding,
    Won,
    Refused,
    Crashed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Folder {
    at: At,
    /// For a claimant of ours: where it is in `acquire`.
    mind: Mind,
    /// It has bid, so the next check is the second one.
    second: bool,
    own_seen: bool,
    tries: u8,
    /// During a listing: the names that were there all the time, and the names that were there at some time.
    must: u8,
    may: u8,
    /// The names that it still has to read.
    found: u8,
    /// What its last listing showed. A stale disk may show this again.
    cache: u8,
    /// The live rivals among those that it has read, as bits.
    company: u8,
}

/// Sets of names are bit sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct State {
    claimants: [Folder; MOST],
    there: u8,
    /// Bids that are not yet completely written.
    half: u8,
    /// Bids whose owners have crashed.
    dead: u8,
    crashes: u8,
}

impl State {
    fn appears(&mut self, name: u8) {
        self.there |= name;
        for c in self.claimants.iter_mut().filter(|c| c.at == At::Listing) {
            c.may |= name & !c.must;
        }
    }

    fn vanishes(&mut self, name: u8) {
        self.there &= !name;
        self.half &= !name;
        self.dead &= !name;
        for c in self.claimants.iter_mut().filter(|c| c.at == At::Listing) {
            c.may |= name & c.must;
            c.must &= !name;
        }
    }

    fn is_over(&self, who: usize) -> bool {
        matches!(self.claimants[who].at, At::Won | At::Refused | At::Crashed)
    }
}

type Go<'a> = &'a mut dyn FnMut(Step, State);

impl Model for Bidding {
    type State = State;

    fn start(&self) -> State {
        let mut state = State::default();
        for (c, kind) in state.claimants.iter_mut().zip(&self.kinds) {
            c.tries = if *kind == Kind::Python { self.rules.python_tries } else { 1 };
        }
        state
    }

    fn steps(&self, from: &State, go: &mut dyn FnMut(Step, State)) {
        for who in 0..self.kinds.len() {
            self.steps_of(from, who, go);
            let at = from.claimants[who].at;
            if at != At::Away && !from.is_over(who) && who != self.last() && from.crashes < self.rules.crashes {
                let mut to = *from;
                to.crashes += 1;
                to.dead |= to.there & bit(who);
                to.claimants[who] = Folder { at: At::Crashed, ..Folder::default() };
                go(fault(who, "crashes"), to);
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let holders: Vec<_> = self.holders(state).map(|who| self.slots(who)).collect();
        let (first, others) = holders.split_first()?;
        if !others.is_empty() && holders.contains(&Slots::One) {
            let is_shared = holders.iter().any(|slots| slots.tolerates_company());
            return Some(if is_shared { NOT_TOGETHER } else { TWO_HOLDERS });
        }
        if others.iter().any(|other| other != first) {
            return Some(NOT_TOGETHER);
        }
        matches!(first, Slots::AtMost(places) if holders.len() > *places as usize).then_some(TOO_MANY)
    }

    fn wrong_end(&self, state: &State) -> Option<&'static str> {
        let won = |who: usize| state.claimants[who].at == At::Won;
        if !won(self.last()) && self.rules.disk == Disk::Local {
            return Some(WEDGED);
        }
        let asked = self.rules.somebody_wins && state.crashes == 0;
        let winners = (0..self.last()).filter(|who| won(*who)).count();
        if asked && winners == 0 {
            return Some(ALL_REFUSED);
        }
        // If all tolerate each other, then as many win as there are places.
        let slots = self.slots(0);
        let share = (0..self.last()).all(|who| slots.tolerates(self.slots(who)));
        let places = if slots == Slots::Any { usize::MAX } else { slots.number() as usize };
        (asked && share && winners < places.min(self.last())).then_some(PLACES_LEFT)
    }
}

fn bit(who: usize) -> u8 {
    1 << who
}

fn names(set: u8) -> impl Iterator<Item = usize> {
    (0..MOST).filter(move |name| set & bit(*name) != 0)
}

/// All subsets of a set.
fn subsets(set: u8) -> impl Iterator<Item = u8> {
    (0..=set).filter(move |subset| subset & !set == 0)
}

impl Bidding {
    fn steps_of(&self, from: &State, who: usize, go: Go) {
        let own = bit(who);
        let mut to = *from;
        match from.claimants[who].at {
            At::Away => {
                if who != self.last() || (0..who).all(|other| from.is_over(other)) {
                    self.come(to, step(who, "comes, and begins to list"), go);
                }
            }
            At::Listing => self.steps_of_listing(from, who, go),
            At::Reading => self.steps_of_reading(from, who, go),
            At::Reaping(name) => {
                let was_there = to.there & bit(name as usize) != 0;
                to.vanishes(bit(name as usize));
                let label = step(who, "deletes the bid of {}").on(name as usize);
                match was_there || self.kinds[who] != Kind::Python {
                    true => self.read_on(to, label, go),
                    false => self.throw(to, label, go),
                }
            }
            At::Publishing if from.there & own != 0 => {
                // Possible only if names are used again: link(2) fails, and this claimant leaves no bid behind.
                self.answer(to, Answer::Failed, step(who, "finds its name taken"), go);
            }
            At::Publishing => {
                to.appears(own);
                if self.kinds[who] == Kind::Python {
                    to.half |= own;
                    to.claimants[who].at = At::Writing;
                    return go(step(who, "creates its bid, empty"), to);
                }
                self.has_bid(to, step(who, "bids"), go);
            }
            At::Writing => {
                to.half &= !own; // if the file was deleted meanwhile, the write has no effect
                self.has_bid(to, step(who, "writes its bid"), go);
            }
            At::Withdrawing if self.is_ours(who) => {
                to.vanishes(own);
                self.answer(to, Answer::Done, step(who, "withdraws"), go);
            }
            At::Withdrawing | At::Holding => {
                let (at, label) = match from.claimants[who].at {
                    At::Holding => (At::Won, "unlocks"),
                    _ => (At::Refused, "withdraws"),
                };
                to.vanishes(own);
                self.over(to, at, step(who, label), go);
            }
            At::Crashed if !self.rules.fresh_names && from.claimants[who].tries == 0 => {
                to.claimants[who] = Folder { tries: 1, ..Folder::default() };
                self.come(to, step(who, "is started again, and begins to list"), go);
            }
            At::Crashed | At::Won | At::Refused => {}
        }
    }

    fn slots(&self, who: usize) -> Slots {
        match self.kinds[who] {
            Kind::Slots(n) => Slots::of_number(n.into()),
            _ => Slots::One,
        }
    }

    fn holders<'a>(&self, state: &'a State) -> impl Iterator<Item = usize> + 'a {
        state.claimants.iter().enumerate().filter(|(_, c)| c.at == At::Holding).map(|(who, _)| who)
    }

    /// The first of these live rivals, in the order of their names, that keeps a claimant out.
    fn keeps_out(&self, who: usize, rivals: impl Iterator<Item = usize>) -> Option<usize> {
        let (ours, mut count) = (self.slots(who), protocol::Count::new(self.slots(who)));
        let mut more = 0;
        for rival in rivals {
            let theirs = self.slots(rival);
            let counted = match self.rules.count {
                Count::Real | Count::FirstPrecedes => theirs,
                Count::OneMore if more == 0 && ours.tolerates(theirs) => {
                    more = 1;
                    continue;
                }
                Count::ToleratesOne if theirs == Slots::One => ours,
                Count::ToleratesOthers if theirs.tolerates_company() => ours,
                Count::OneMore | Count::ToleratesOne | Count::ToleratesOthers => theirs,
            };
            if count.is_kept_out_by(counted) {
                return Some(rival);
            }
        }
        None
    }

    fn is_ours(&self, who: usize) -> bool {
        self.kinds[who] != Kind::Python
    }

    /// Which bid wins when two bid at once.
    fn precedes(&self, rival: usize, own: usize) -> bool {
        match self.kinds[own] {
            _ if !self.rules.tie_break => true,
            Kind::Reversed => rival > own,
            _ => rival < own,
        }
    }

    fn come(&self, mut to: State, label: Step, go: Go) {
        let who = label.who;
        if !self.is_ours(who) {
            return self.list(to, label, go);
        }
        to.claimants[who].mind = self.minds.begin(match self.kinds[who] {
            Kind::Told => Task::AcquireTold,
            _ => Task::Acquire,
        });
        self.go_on(to, label, go);
    }

    /// Tells the real `acquire` the result of its last call.
    fn answer(&self, mut to: State, answer: Answer, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        c.mind = self.minds.after(c.mind, answer);
        self.go_on(to, label, go);
    }

    /// Carries out the next call of `acquire`.
    fn go_on(&self, mut to: State, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        match self.minds.next(c.mind) {
            Next::Calls(Call::Glance) => return self.list(to, label, go),
            Next::Calls(Call::Post) => c.at = At::Publishing,
            Next::Calls(Call::Check) => {
                c.second = true;
                if !self.rules.second_check {
                    // Without the second check, the place sees no rival.
                    return self.answer(to, Answer::Alone, label, go);
                }
                return self.list(to, label, go);
            }
            Next::Calls(Call::Pause) => return self.pause(to, label, go),
            Next::Calls(Call::TakeBack) => c.at = At::Withdrawing,
            Next::Holds => (c.at, c.mind) = (At::Holding, 0),
            Next::Refused => return self.over(to, At::Refused, label, go),
            other => unreachable!("acquire comes to {other:?}"),
        }
        go(label, to);
    }

    fn over(&self, mut to: State, at: At, label: Step, go: Go) {
        let tries = to.claimants[label.who].tries - 1;
        let at = if tries > 0 { At::Away } else { at };
        to.claimants[label.who] = Folder { at, tries, ..Folder::default() };
        go(label, to);
    }

    fn list(&self, mut to: State, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        (c.at, c.found, c.own_seen, c.may, c.company) = (At::Listing, 0, false, 0, 0);
        c.must = to.there;
        if self.rules.disk == Disk::Local {
            if self.rules.glance && !c.second && self.kinds[label.who] != Kind::Python {
                (c.must, c.may) = (0, to.there);
            }
            return go(label, to);
        }
        let mut stale = to;
        let c = &mut stale.claimants[label.who];
        c.must = c.cache;
        go(Step { what: "begins to list, from its cache", ..label }, stale);
        to.claimants[label.who].cache = to.there;
        go(label, to);
    }

    fn has_bid(&self, mut to: State, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        if self.rules.disk == Disk::StaleButOwn {
            c.cache |= bit(label.who);
        }
        if self.is_ours(label.who) {
            return self.answer(to, Answer::Posted, label, go);
        }
        c.second = true;
        self.list(to, label, go);
    }

    fn steps_of_listing(&self, from: &State, who: usize, go: Go) {
        let c = &from.claimants[who];
        let stays = self.rules.disk != Disk::Local; // a stale listing shows no concurrent change
        for also in subsets(if stays { 0 } else { c.may }) {
            let mut to = *from;
            let seen = if stays { from.claimants[who].must } else { c.must | also };
            let c = &mut to.claimants[who];
            (c.must, c.may) = (0, 0);
            // A Python peer always skips its own name. We skip ours once we have bid.
            let skip = if c.second || self.kinds[who] == Kind::Python { bit(who) } else { 0 };
            (c.found, c.own_seen) = (seen & !skip, c.second && seen & bit(who) != 0);
            self.read_on(to, step(who, if also == 0 { "ends its listing" } else { "ends its listing, late" }), go);
        }
    }

    fn read_on(&self, mut to: State, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        c.at = At::Reading;
        if c.found == 0 {
            self.no_rival(to, label, go);
        } else {
            go(label, to);
        }
    }

    fn steps_of_reading(&self, from: &State, who: usize, go: Go) {
        let is_python = self.kinds[who] == Kind::Python;
        // We read the bids by name. A Python peer reads them in the order of the directory, which may be any order.
        let next = names(from.claimants[who].found).take(if is_python { MOST } else { 1 });
        for name in next {
            let mut to = *from;
            to.claimants[who].found &= !bit(name);
            let is = |set: u8| set & bit(name) != 0;
            let label = |what| step(who, what).on(name);
            if !is(from.there) {
                match is_python {
                    true => self.throw(to, label("does not find the bid of {}"), go),
                    false => self.read_on(to, label("finds the bid of {} gone"), go),
                }
            } else if is(from.half) && is_python {
                self.throw(to, label("can't parse the bid of {}"), go);
            } else if is(from.half) && self.rules.half == Half::Absent {
                self.read_on(to, label("passes over the empty bid of {}"), go);
            } else if is(from.dead) && (!is(from.half) || self.rules.grace)
                || is(from.half) && self.rules.half == Half::Stale
                || self.rules.reaps_the_living && !is_python
            {
                to.claimants[who].at = At::Reaping(name as u8);
                go(label("reads the bid of {}: stale"), to);
            } else {
                self.rival(to, name, label("reads the bid of {}: live"), go);
            }
        }
    }

    /// A Python peer throws an exception. Before it has bid, that is a refusal. Afterwards its bid stays until its
    /// caller deletes it.
    fn throw(&self, mut to: State, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        c.found = 0;
        if !c.second {
            return self.over(to, At::Refused, label, go);
        }
        c.at = At::Withdrawing;
        go(label, to);
    }

    fn no_rival(&self, mut to: State, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        if !self.is_ours(label.who) {
            c.at = if c.second { At::Holding } else { At::Publishing };
            c.own_seen = false;
            return go(label, to);
        }
        let is_proof = !c.second || c.own_seen || !self.rules.own_bid_in_listing;
        (c.own_seen, c.company) = (false, 0);
        self.answer(to, if is_proof { Answer::Alone } else { Answer::Unseen }, label, go);
    }

    fn rival(&self, mut to: State, rival: usize, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        if self.is_ours(label.who) {
            c.company |= bit(rival);
            let company = c.company;
            if self.keeps_out(label.who, names(company)).is_none() {
                return self.read_on(to, label, go);
            }
            (c.found, c.own_seen, c.company) = (0, false, 0);
            let precedes = match self.rules.count {
                Count::FirstPrecedes => names(company).any(|other| self.precedes(other, label.who)),
                _ => self.precedes(rival, label.who),
            };
            return self.answer(to, Answer::Rival(rival as u8, precedes), label, go);
        }
        (c.found, c.own_seen) = (0, false);
        if !c.second {
            return self.over(to, At::Refused, label, go);
        }
        c.at = At::Withdrawing;
        go(label, to);
    }

    /// The place decides how long a pause takes, and whether there is time for another.
    fn pause(&self, to: State, label: Step, go: Go) {
        let enough = self.rules.patience == Patience::Enough;
        if !enough || self.keeps_out(label.who, self.holders(&to)).is_some() {
            self.answer(to, Answer::OutOfTime, Step { what: "has no more patience", ..label }, go);
        }
        self.answer(to, Answer::Paused, label, go);
    }
}
