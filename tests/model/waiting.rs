//! The model of waiting (`src/protocol/wait.rs`, docs/waiting.md). Some wait their turn, some call `lf_lock` alone. What they do with the
//! line is in `line.rs`; here are the lock, the sleep, and what wakes a sleeper.
//!
//! Check, bid, check is as in `bidding.rs`, but with listings that are atomic, to keep the states few.

use super::explore::{fault, step, Model, Step};
pub use super::waiting_rules::*;

pub const TWO_HOLDERS: &str = "two holders";
pub const ASLEEP: &str = "somebody sleeps for ever";
pub const POLLS: &str = "somebody has to poll";

/// Claimants.
pub const MOST: usize = 3;
/// Tickets that each may have in all: names are never used twice. By their numbers they sort.
pub const EACH: u8 = 4;
pub const TICKETS: usize = EACH as usize * MOST;
/// FIFOs of each claimant: two that have its beacons' names, and those that had and that somebody still has open.
pub const FIFOS: u8 = 4;
pub const NONE: u8 = u8::MAX;

pub struct Waiting {
    pub rules: Rules,
}

/// Where a claimant is; each is one system call to come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    Away,
    // lock_as_first, lock_if_free, lock_unless_line: check, bid, check
    First,
    Reset,
    Check(Why),
    Publish(Why),
    Recheck(Why),
    Withdraw(Why),
    WatchFolder,
    DrainLate,
    // stand_in_line; true: as part of the joining
    Stand,
    OpenQueue(bool),
    MakeQueue(bool),
    ReopenQueue(bool),
    ChooseBeacon,
    Light(u8),
    Link,
    TakeTail,
    LeaveTail(u8),
    // view, watch_predecessor
    View,
    Lookup,
    OpenBeacon(u8),
    IsLit,
    Verify,
    Judge,
    // forfeit_no_show
    Look,
    Discard(u8),
    PutOutFor(u8),
    TakeLeft(u8),
    Asleep,
    Holding,
    // leave_line; true: it had the lock
    Unticket(bool),
    PutOut(bool),
    CloseBeacon,
    RemoveQueue,
    Done,
    Dying,
    Dead,
}

/// What to do when it is busy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// `lf_lock`: give up.
    Once,
    /// No line was there: stand in line.
    Fast,
    /// The one before it has handed over.
    Turn,
    /// The first in line.
    First,
    /// The same, with the folder watched.
    Again,
    /// No line is to be had.
    Nowhere,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claimant {
    pub at: At,
    pub round: u8,
    /// The line is open; and its folder is the one that is there.
    pub line: bool,
    pub queue_is_there: bool,
    /// Our ticket, as far as we know, and its FIFO.
    pub ticket: u8,
    pub lit: u8,
    /// How many tickets it has had.
    pub came: u8,
    /// The FIFOs that have our beacons' names.
    pub slots: [u8; 2],
    /// The view: the one before us, and the first.
    pub predecessor: u8,
    pub first: u8,
    /// The ticket that we watch, and its FIFO, if that tells.
    pub ahead: u8,
    pub fifo: u8,
    /// inotify: there; an event on its way; an event to read.
    pub folder: bool,
    pub underway: bool,
    pub news: bool,
    /// The rival that the last check saw; we watch its process.
    pub rival: u8,
    /// It is time for a look; whom the last one found not to come forward.
    pub due: bool,
    pub no_show: u8,
}

const AWAY: Claimant = Claimant {
    at: At::Away,
    round: 0,
    line: false,
    queue_is_there: false,
    ticket: NONE,
    lit: NONE,
    came: 0,
    slots: [0, 1],
    predecessor: NONE,
    first: NONE,
    ahead: NONE,
    fifo: NONE,
    folder: false,
    underway: false,
    news: false,
    rival: NONE,
    due: false,
    no_show: NONE,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub claimants: [Claimant; MOST],
    /// The bids that are there.
    pub bids: u8,
    /// The queue folder is there; the FIFO of each ticket in it.
    pub queue: bool,
    pub tickets: [u8; TICKETS],
    /// FIFOs that somebody has open for writing; that have a byte in them; that say "handed over".
    pub written: u16,
    pub bytes: u16,
    pub handed: u16,
    /// The ticket that whoever joined last left for the next.
    pub tail: u8,
    pub crashes: u8,
}

pub type Go<'a> = &'a mut dyn FnMut(Step, State);

impl State {
    fn bid_vanishes(&mut self, who: usize) {
        self.bids &= !(1 << who);
        for c in self.claimants.iter_mut().filter(|c| c.folder) {
            c.underway = !c.news; // a second one tells nothing new
        }
    }

    pub fn is_dead(&self, who: usize) -> bool {
        self.claimants[who].at == At::Dead
    }

    /// What everybody has lost who closes what it waited by.
    pub fn forget_watch(&mut self, who: usize) {
        let c = &mut self.claimants[who];
        (c.predecessor, c.first, c.ahead, c.fifo) = (NONE, NONE, NONE, NONE);
        (c.folder, c.underway, c.news, c.rival, c.due, c.no_show) = (false, false, false, NONE, false, NONE);
        self.tidy();
    }
}

impl Model for Waiting {
    type State = State;

    fn start(&self) -> State {
        let mut claimants = [AWAY; MOST];
        for (c, rounds) in claimants.iter_mut().zip(self.rules.rounds) {
            if rounds == 0 {
                c.at = At::Done;
            }
        }
        let (queue, tickets, tail) = (false, [NONE; TICKETS], NONE);
        State { claimants, bids: 0, queue, tickets, written: 0, bytes: 0, handed: 0, tail, crashes: 0 }
    }

    fn steps(&self, from: &State, go: &mut dyn FnMut(Step, State)) {
        for (who, c) in from.claimants.iter().enumerate() {
            self.steps_of(from, who, go);
            if c.underway {
                let mut to = *from;
                to.claimants[who].underway = false;
                if self.rules.lossy {
                    go(fault(who, "is not told that a bid was deleted: the event is lost"), to);
                }
                to.claimants[who].news = true;
                go(step(who, "has news: a bid was deleted"), to);
            }
            let is_there = !matches!(c.at, At::Away | At::Done | At::Dying | At::Dead);
            if is_there && from.crashes < self.rules.crashes {
                let mut to = *from;
                to.crashes += 1;
                if !self.rules.children {
                    to.written &= !(0xf << (who * FIFOS as usize));
                }
                to.claimants[who] = Claimant { at: At::Dying, ..AWAY };
                to.tidy();
                go(fault(who, "is killed: what it has open is closed"), to);
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        if state.claimants.iter().filter(|c| c.at == At::Holding).count() > 1 {
            return Some(TWO_HOLDERS);
        }
        let polls = |c: &Claimant| c.at == At::Asleep && !self.is_told(c);
        (self.rules.never_polls && state.claimants.iter().any(polls)).then_some(POLLS)
    }

    fn wrong_end(&self, state: &State) -> Option<&'static str> {
        state.claimants.iter().any(|c| !matches!(c.at, At::Done | At::Dead)).then_some(ASLEEP)
    }
}

impl Waiting {
    /// Whether the kernel tells all that a sleeper waits for; if not, it polls.
    fn is_told(&self, c: &Claimant) -> bool {
        match c.ahead {
            NONE => c.folder && c.rival != NONE && self.rules.pidfd,
            _ => c.fifo != NONE,
        }
    }

    fn steps_of(&self, from: &State, who: usize, go: Go) {
        let mut to = *from;
        let mut next = |at: At, what: &'static str| {
            to.claimants[who].at = at;
            go(step(who, what), to);
        };
        let c = &from.claimants[who];
        match c.at {
            At::Away if !self.rules.waits[who] => next(At::Check(Why::Once), "comes, and won't wait"),
            At::Away if from.queue => next(At::Stand, "comes, and finds a line"),
            At::Away => next(At::Check(Why::Fast), "comes, and finds no line"),
            At::Check(why) => self.check(to, who, why, go),
            At::Publish(why) => {
                to.bids |= 1 << who;
                to.claimants[who].at = At::Recheck(why);
                go(step(who, "bids"), to);
            }
            At::Recheck(why) => self.recheck(to, who, why, go),
            At::Withdraw(why) => {
                to.bid_vanishes(who);
                self.busy(to, step(who, "withdraws"), why, go);
            }
            At::First => {
                let c = &mut to.claimants[who];
                (c.predecessor, c.first, c.ahead, c.fifo) = (NONE, NONE, NONE, NONE);
                (c.at, c.due) = (At::Check(Why::First), false);
                to.tidy();
                go(step(who, "is the first in line"), to);
            }
            At::Reset => {
                (to.claimants[who].at, to.claimants[who].news) = (At::Check(Why::Again), false);
                go(step(who, "forgets old news"), to);
            }
            At::DrainLate => {
                (to.claimants[who].at, to.claimants[who].news) = (At::Asleep, false);
                go(step(who, "forgets old news, and falls asleep"), to);
            }
            At::WatchFolder => {
                let c = &mut to.claimants[who];
                c.folder = true;
                c.at = if self.rules.watch_before_check { At::Check(Why::Again) } else { At::Asleep };
                go(step(who, "watches the folder"), to);
            }
            At::Asleep => self.steps_of_sleep(from, who, go),
            At::Holding => {
                to.bid_vanishes(who);
                let has_ticket = to.claimants[who].ticket != NONE;
                match has_ticket {
                    true => to.claimants[who].at = self.first_of_leaving(true),
                    false => self.round_is_over(&mut to, who),
                }
                go(step(who, "unlocks"), to);
            }
            At::Dying => next(At::Dead, "counts as dead"),
            At::Done | At::Dead => {}
            _ => self.steps_in_line(from, who, go),
        }
    }

    pub fn round_is_over(&self, to: &mut State, who: usize) {
        let c = &mut to.claimants[who];
        c.round += 1;
        c.at = if c.round < self.rules.rounds[who] { At::Away } else { At::Done };
    }

    /// The stale are deleted; the first live rival by name.
    fn first_rival(&self, to: &mut State, who: usize) -> u8 {
        let mut first = NONE;
        for other in (0..MOST).filter(|other| *other != who) {
            if to.bids & (1 << other) == 0 {
                continue;
            }
            if to.is_dead(other) {
                to.bid_vanishes(other);
            } else if first == NONE || self.rules.bids_reversed {
                first = other as u8;
            }
        }
        first
    }

    fn check(&self, mut to: State, who: usize, why: Why, go: Go) {
        let rival = self.first_rival(&mut to, who);
        to.claimants[who].rival = rival;
        if rival != NONE {
            return self.busy(to, step(who, "checks: {} has a bid there").on(rival as usize), why, go);
        }
        to.claimants[who].at = At::Publish(why);
        go(step(who, "checks: nobody is there"), to);
    }

    fn recheck(&self, mut to: State, who: usize, why: Why, go: Go) {
        let rival = self.first_rival(&mut to, who);
        to.claimants[who].rival = rival;
        if rival == NONE {
            to.forget_watch(who);
            to.claimants[who].at = At::Holding;
            return go(step(who, "checks again: holds"), to);
        }
        // If ours is the first it lists again, for some time; that is this step, later.
        to.claimants[who].at = At::Withdraw(why);
        let is_first = (who < rival as usize) != self.rules.bids_reversed;
        let what = if is_first { "checks again: {} does not withdraw" } else { "checks again: {} is before it" };
        go(step(who, what).on(rival as usize), to);
    }

    fn busy(&self, mut to: State, label: Step, why: Why, go: Go) {
        let c = &mut to.claimants[label.who];
        c.at = match why {
            Why::Once => At::Done,
            Why::Fast | Why::Turn => At::Stand,
            Why::First if !c.folder => At::WatchFolder,
            Why::First if self.rules.drain_before_check => At::Reset,
            Why::First => At::Check(Why::Again),
            Why::Again if !self.rules.drain_before_check => At::DrainLate,
            Why::Again | Why::Nowhere => At::Asleep,
        };
        if matches!(why, Why::Once | Why::Fast | Why::Turn | Why::Nowhere) {
            c.rival = NONE;
        }
        go(label, to);
    }

    fn steps_of_sleep(&self, from: &State, who: usize, go: Go) {
        let c = &from.claimants[who];
        let mut wake = |what: &'static str, due: bool, handed: bool| {
            let mut to = *from;
            to.claimants[who].due = due;
            to.claimants[who].at = match c.ahead {
                _ if due => At::Stand,
                NONE if c.ticket != NONE => At::First,
                // So nobody is before it, and it need not read the line.
                _ if handed => At::Check(Why::Turn),
                _ => At::Stand,
            };
            go(step(who, what), to);
        };
        let dead = |who: u8| self.rules.pidfd && who != NONE && from.is_dead(who as usize);
        if c.ahead != NONE {
            if c.fifo != NONE && !from.is_lit(c.fifo) {
                // Without bytes it was closed, and may be that of a dead one.
                wake("is woken: the beacon went out", false, from.bytes & from.handed & (1 << c.fifo) != 0);
            }
            if dead(owner(c.ahead)) {
                wake("is woken: the one before it died", false, false);
            }
        } else {
            if c.news {
                wake("is woken: a bid was deleted", false, false);
            }
            if dead(c.rival) {
                wake("is woken: the holder died", false, false);
            }
        }
        if !self.is_told(c) {
            wake("polls", false, false);
        }
        if self.rules.looks {
            wake("wakes up for a look", true, false);
        }
        if self.rules.timeouts {
            let mut to = *from;
            to.forget_watch(who);
            match c.ticket {
                NONE => self.round_is_over(&mut to, who),
                _ => to.claimants[who].at = self.first_of_leaving(false),
            }
            go(fault(who, "runs out of time"), to);
        }
    }
}

/// Whose ticket it is.
pub fn owner(ticket: u8) -> u8 {
    ticket % MOST as u8
}
