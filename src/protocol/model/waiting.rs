//! The model of waiting. Some claimants wait for their turn, others only call `lf_lock`. They run the real
//! `Wait::step`, `Session` and `acquire` (`mind.rs`). This file is the place in memory that carries out their calls:
//! the bids, the sleep, and what wakes a sleeper. The calls about the line are in `line.rs`.
//!
//! Listings are atomic here, which keeps the number of states small. `bidding.rs` models listings that are not.

use super::calls::{Answer, Call, NONE};
use super::explore::{fault, step, Model, Step};
use super::mind::{Memory, Mind, Minds, Next, Task};
use super::script::Traits;
pub use super::waiting_rules::*;
use crate::protocol::{Count, Leaving};
use crate::slots::Slots;

pub const TWO_HOLDERS: &str = "two holders";
pub const ASLEEP: &str = "somebody sleeps for ever";
pub const POLLS: &str = "somebody has to poll";

/// The number of claimants.
pub const MOST: usize = 3;
/// The number of tickets that each claimant may have in all, because names are never used twice. Tickets sort by their
/// numbers.
pub const EACH: u8 = 4;
pub const TICKETS: usize = EACH as usize * MOST;
/// The FIFOs of each claimant: two with the names of its beacons, and earlier ones that somebody still has open.
pub const FIFOS: u8 = 4;

pub struct Waiting {
    pub rules: Rules,
    pub(super) minds: Minds,
}

/// The next thing that a claimant does. Each is about one system call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    Away,
    // bids
    Glance,
    GlanceForFirst,
    Post,
    Check,
    TakeBack,
    WatchFolder,
    /// With a broken rule: only now the folder is watched, or old news are discarded.
    WatchLate,
    Rival,
    // Line::bury, Line::stand. True: as part of joining.
    Bury(u8),
    Stand,
    OpenQueue(bool),
    MakeQueue(bool),
    ReopenQueue(bool),
    ChooseBeacon,
    Light(u8),
    Link,
    TakeTail,
    LeaveTail(u8),
    // Line::view, Line::watch_predecessor, Line::restore_order
    View,
    IsThere(u8),
    Lookup(u8),
    OpenBeacon(u8, u8),
    IsLit(u8),
    Verify(u8),
    Judge(u8),
    RestoreOrder(u8),
    HasItsBid(u8),
    // Line::discard, also as part of other calls.
    Discard(u8),
    PutOutFor(u8),
    Asleep,
    Holding,
    // Line::tell, Place::withdraw after it.
    Tell,
    Withdraw,
    // Line::leave. True: the claimant had the lock.
    Unticket(bool),
    PutOut(bool),
    CloseBeacon,
    RemoveQueue,
    Done,
    Dying,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claimant {
    pub at: At,
    /// Where the claimant is in the real code. Zero: it is outside.
    pub mind: Mind,
    pub round: u8,
    /// Whether the line is open, and whether its folder is the folder that is there now.
    pub line: bool,
    pub queue_is_there: bool,
    /// Our ticket, as far as we know, and its FIFO.
    pub ticket: u8,
    pub lit: u8,
    /// It has put its beacon out before it withdraws its bid.
    pub has_told: bool,
    /// How many tickets the claimant has had.
    pub came: u8,
    /// The FIFOs that have the names of our beacons.
    pub slots: [u8; 2],
    /// A rival saw this claimant's bid and removed its ticket to restore the order. The claimant has no new ticket yet.
    pub is_put_back: bool,
    /// The rival whose bid the last look showed, until that bid vanishes, because the code may ask for the bid that
    /// long. (A later bid of the same rival has another name.)
    pub shown: u8,
    /// The FIFO of another claimant that this claimant has open, and the one that it keeps open while it holds the lock.
    pub fifo: u8,
    pub put_by: u8,
    /// inotify: the watch is there; an event is on its way; an event can be read.
    pub folder: bool,
    pub underway: bool,
    pub news: bool,
}

const AWAY: Claimant = Claimant {
    at: At::Away,
    mind: 0,
    round: 0,
    line: false,
    queue_is_there: false,
    ticket: NONE,
    lit: NONE,
    has_told: false,
    came: 0,
    slots: [0, 1],
    is_put_back: false,
    shown: NONE,
    fifo: NONE,
    put_by: NONE,
    folder: false,
    underway: false,
    news: false,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub claimants: [Claimant; MOST],
    /// The bids that are there.
    pub bids: u8,
    /// Whether the queue folder is there, and the FIFO of each ticket in it.
    pub queue: bool,
    pub tickets: [u8; TICKETS],
    /// The FIFOs that somebody has open for writing, that have a byte in them, and that say "handed over".
    pub written: u16,
    pub bytes: u16,
    pub handed: u16,
    /// The ticket in the tail, which the last newcomer left there.
    pub tail: u8,
    pub crashes: u8,
}

pub type Go<'a> = &'a mut dyn FnMut(Step, State);

impl State {
    fn bid_vanishes(&mut self, who: usize) {
        self.bids &= !(1 << who);
        for c in self.claimants.iter_mut().filter(|c| c.folder) {
            c.underway = !c.news; // a second event would tell nothing new
        }
        for c in self.claimants.iter_mut().filter(|c| usize::from(c.shown) == who) {
            c.shown = NONE;
        }
    }

    pub fn is_dead(&self, who: usize) -> bool {
        self.claimants[who].at == At::Dead
    }

    /// The wait is over, so everything that it had open is closed.
    pub fn close_wait(&mut self, who: usize) {
        let c = &mut self.claimants[who];
        (c.mind, c.fifo) = (0, NONE);
        (c.folder, c.underway, c.news) = (false, false, false);
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
        let holds = |who: &usize| state.claimants[*who].at == At::Holding;
        let mut holders = (0..MOST).filter(holds);
        if let Some(first) = holders.next() {
            if holders.any(|other| !self.slots(first).tolerates(self.slots(other))) {
                return Some(TWO_HOLDERS);
            }
        }
        let polls = |c: &Claimant| c.at == At::Asleep && !c.is_put_back && !self.sleep_of(c).1;
        (self.rules.never_polls && state.claimants.iter().any(polls)).then_some(POLLS)
    }

    fn wrong_end(&self, state: &State) -> Option<&'static str> {
        state.claimants.iter().any(|c| !matches!(c.at, At::Done | At::Dead)).then_some(ASLEEP)
    }
}

impl Waiting {
    pub fn new(rules: Rules) -> Waiting {
        let is_sociable = |who: &usize| rules.slots[*who] != 1;
        let sociable = (0..MOST).filter(is_sociable).fold(0, |bits, who| bits | 1 << who);
        Waiting { rules, minds: Minds::new(Traits { pidfd: rules.pidfd, sociable }) }
    }

    /// The same with longer minds, which include what the code should not use any more.
    pub fn that_forgets_nothing(rules: Rules) -> Waiting {
        let mut model = Waiting::new(rules);
        model.minds.forgets = false;
        model
    }

    fn steps_of(&self, from: &State, who: usize, go: Go) {
        let mut to = *from;
        let c = &from.claimants[who];
        match c.at {
            At::Away => {
                let task = if self.rules.waits[who] { Task::LockUnlessLine } else { Task::Lock };
                self.begin(to, task, step(who, "comes, and looks for a line"), go);
            }
            At::Glance | At::GlanceForFirst => self.look(to, who, go),
            At::Post => {
                to.bids |= 1 << who;
                self.answer(to, Answer::Posted, step(who, "bids"), go);
            }
            At::Check => self.look(to, who, go),
            At::TakeBack => {
                to.bid_vanishes(who);
                self.answer(to, Answer::Done, step(who, "withdraws"), go);
            }
            At::WatchFolder => {
                let what = if c.folder { "forgets old news" } else { "watches the folder" };
                let c = &mut to.claimants[who];
                if !c.folder {
                    c.folder = self.rules.watch_before_check;
                } else if self.rules.drain_before_check {
                    c.news = false;
                }
                self.answer(to, Answer::Done, step(who, what), go);
            }
            At::WatchLate => {
                let c = &mut to.claimants[who];
                (c.at, c.folder, c.news) = (At::Asleep, true, false);
                go(step(who, "watches the folder, and forgets old news: too late"), to);
            }
            At::Rival => self.look(to, who, go),
            At::Asleep => self.steps_of_sleep(from, who, go),
            At::Holding if self.must_keep(from, who) => {}
            At::Holding => self.begin(to, Task::Unlock, step(who, "unlocks"), go),
            At::Tell => {
                to.claimants[who].has_told = true;
                self.put_out_own(&mut to, who, true);
                self.answer(to, Answer::Done, step(who, "tells its successor"), go);
            }
            At::Withdraw => {
                to.bid_vanishes(who);
                self.answer(to, Answer::Done, step(who, "deletes its bid"), go);
            }
            At::Dying => {
                to.claimants[who].at = At::Dead;
                go(step(who, "counts as dead"), to);
            }
            At::Done | At::Dead => {}
            _ => self.steps_in_line(from, who, go),
        }
    }

    pub fn begin(&self, mut to: State, task: Task, label: Step, go: Go) {
        to.claimants[label.who].mind = self.minds.begin(task);
        self.go_on(to, label, go);
    }

    /// Tells the real code the result of its last call.
    pub fn answer(&self, mut to: State, answer: Answer, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        c.mind = self.minds.after(c.mind, answer);
        self.go_on(to, label, go);
    }

    /// Carries out the next call of the real code. A call without a system call, and one that notifies nobody, is done
    /// at once.
    fn go_on(&self, mut to: State, label: Step, go: Go) {
        let who = label.who;
        let c = &mut to.claimants[who];
        let open = self.minds.open(c.mind);
        c.fifo = open.fifo;
        if !open.watch {
            (c.folder, c.underway, c.news) = (false, false, false);
        }
        let next = self.minds.next(c.mind);
        if !matches!(next, Next::Calls(Call::TakeBack | Call::Pause | Call::RestoreOrder(_))) {
            c.shown = NONE;
        }
        let call = match next {
            Next::Calls(call) => call,
            Next::Again(memory) => return self.begin(to, Task::Step { memory, woken: false, due: false }, label, go),
            Next::Refused if self.rules.waits[who] => {
                return self.begin(to, Task::Step { memory: Memory::NEW, woken: false, due: false }, label, go)
            }
            Next::Sleeps(memory, _) => {
                let is_late = memory.watch && !(self.rules.watch_before_check && self.rules.drain_before_check);
                c.at = if is_late { At::WatchLate } else { At::Asleep };
                c.mind = self.minds.begin(Task::Sleep(memory));
                to.tidy();
                return go(label, to);
            }
            Next::Holds => {
                c.put_by = if c.ticket == NONE { NONE } else { c.fifo };
                to.close_wait(who);
                to.claimants[who].at = At::Holding;
                return go(label, to);
            }
            Next::Refused | Next::OutOfTime | Next::Unlocked => {
                self.round_is_over(&mut to, who);
                return go(label, to);
            }
        };
        to.tidy();
        let c = &mut to.claimants[who];
        c.at = match call {
            Call::Glance => At::Glance,
            Call::GlanceForFirst => At::GlanceForFirst,
            Call::Post => At::Post,
            Call::Check => At::Check,
            // The pause may allow any number of looks, even none.
            Call::Pause => {
                self.answer(to, Answer::OutOfTime, label, go);
                return self.answer(to, Answer::Paused, label, go);
            }
            Call::TakeBack => At::TakeBack,
            Call::Withdraw if c.has_told => At::Withdraw,
            Call::Withdraw => {
                to.bid_vanishes(who);
                return self.answer(to, Answer::Done, label, go);
            }
            Call::FirstInLine => {
                let first = to.tickets_in_line().next();
                return self.answer(to, Answer::First(first.unwrap_or(NONE)), label, go);
            }
            Call::Bury(first) => At::Bury(first),
            Call::Stand if !c.line => At::OpenQueue(false),
            Call::Stand if c.ticket == NONE => At::ChooseBeacon,
            Call::Stand => At::Stand,
            Call::HasTicket => {
                let answer = if c.ticket == NONE { Answer::No } else { Answer::Yes };
                return self.answer(to, answer, label, go);
            }
            Call::View => At::View,
            Call::WatchPredecessor(ticket, known) if known == ticket && c.fifo != NONE => At::IsThere(ticket),
            Call::WatchPredecessor(ticket, _) => {
                (c.at, c.fifo) = (At::Lookup(ticket), NONE);
                to.tidy();
                return go(label, to);
            }
            Call::HasHandedOver if c.fifo == NONE => return self.answer(to, Answer::No, label, go),
            Call::HasHandedOver => {
                let says_so = to.read(who) && to.handed & (1 << to.claimants[who].fifo) != 0;
                self.take_byte(&mut to, who);
                return self.answer(to, if says_so { Answer::Yes } else { Answer::No }, label, go);
            }
            Call::Watch => At::WatchFolder,
            Call::Rival => At::Rival,
            Call::IsOvertaken(ticket, rival) => {
                let is_overtaken = to.tickets[ticket as usize] != NONE && owner(ticket) != rival;
                return self.answer(to, if is_overtaken { Answer::Yes } else { Answer::No }, label, go);
            }
            Call::RestoreOrder(_) if self.rules.put_back == 0 && c.queue_is_there => {
                return self.answer(to, Answer::Done, label, go);
            }
            Call::RestoreOrder(holder) => At::RestoreOrder(holder),
            Call::Discard(ticket) => At::Discard(ticket),
            Call::PassOn if c.ticket == NONE || self.slots(who) == Slots::One || !self.rules.passes_on => {
                return self.answer(to, Answer::Done, label, go);
            }
            Call::PassOn => self.first_of_leaving(true),
            Call::Tell if c.ticket == NONE || !self.rules.tells_first => {
                return self.answer(to, Answer::Done, label, go)
            }
            Call::Tell => At::Tell,
            Call::Leave(_) if c.ticket == NONE => return self.answer(to, Answer::Done, label, go),
            Call::Leave(why) => self.first_of_leaving(why == Leaving::HandsOver),
        };
        go(label, to);
    }

    /// The last step of a call about the line. If the claimant has left the real code already, it is the last step of
    /// the round.
    pub fn has_left(&self, mut to: State, label: Step, go: Go) {
        match to.claimants[label.who].mind {
            0 => {
                self.round_is_over(&mut to, label.who);
                go(label, to);
            }
            _ => self.answer(to, Answer::Done, label, go),
        }
    }

    pub fn round_is_over(&self, to: &mut State, who: usize) {
        to.close_wait(who);
        let c = &mut to.claimants[who];
        c.is_put_back = false;
        c.round += 1;
        c.at = if c.round < self.rules.rounds[who] { At::Away } else { At::Done };
    }

    fn slots(&self, who: usize) -> Slots {
        Slots::of_number(self.rules.slots[who].into())
    }

    /// Whether a holder stays, because others that can hold with it have not had the lock yet.
    fn must_keep(&self, state: &State, who: usize) -> bool {
        let waits_for = |other: usize| {
            let is_over = matches!(state.claimants[other].at, At::Holding | At::Done | At::Dead);
            other != who && !is_over && self.slots(who).tolerates(self.slots(other))
        };
        self.rules.keeps[who] && (0..MOST).any(waits_for)
    }

    /// With whose eyes a claimant looks. One that tolerates nobody needs no others.
    fn eyes(&self, state: &State, who: usize) -> Slots {
        let is_for_first = matches!(state.claimants[who].at, At::GlanceForFirst | At::Rival);
        let first = state.tickets_in_line().next().filter(|_| is_for_first && self.rules.eyes_of_first);
        match self.slots(who) {
            Slots::One => Slots::One,
            ours => first.map_or(ours, |first| self.slots(owner(first) as usize)),
        }
    }

    /// The first live rival by name that keeps a claimant with these eyes out. The stale bids before it are deleted.
    fn first_rival(&self, to: &mut State, who: usize) -> u8 {
        let mut count = Count::new(self.eyes(to, who));
        for n in 0..MOST {
            let other = if self.rules.bids_reversed { MOST - 1 - n } else { n };
            if other == who || to.bids & (1 << other) == 0 {
                continue;
            }
            match to.is_dead(other) {
                true => to.bid_vanishes(other),
                false if count.is_kept_out_by(self.slots(other)) => return other as u8,
                false => {}
            }
        }
        NONE
    }

    fn look(&self, mut to: State, who: usize, go: Go) {
        let is_check = to.claimants[who].at == At::Check;
        let rival = self.first_rival(&mut to, who);
        if rival == NONE {
            let what = if is_check { "checks again: nobody else is there" } else { "checks: nobody is there" };
            return self.answer(to, Answer::Alone, step(who, what), go);
        }
        if self.rules.put_back > 0 {
            to.claimants[who].shown = rival;
        }
        let precedes = !is_check || ((rival as usize) < who) != self.rules.bids_reversed;
        let what = match is_check {
            true if precedes => "checks again: {} is before it",
            true => "checks again: {} does not withdraw",
            false => "checks: {} has a bid there",
        };
        self.answer(to, Answer::Rival(rival, precedes), step(who, what).on(rival as usize), go);
    }
}

/// The owner of a ticket.
pub fn owner(ticket: u8) -> u8 {
    ticket % MOST as u8
}
