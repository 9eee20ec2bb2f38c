//! A place that knows its answers in advance. A call without an answer ends the run of the real code that made it. The
//! model carries the call out in any number of steps, adds the answer, and runs the code again (`mind.rs`).

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Instant;

use super::calls::{Answer, Call, FORGOTTEN, NONE};
use super::waiting::owner;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Backoff, Check, Leaving, Line, Place, Standing, View};

/// Tickets sort by their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(pub u8);

impl Ticket {
    pub fn some(ticket: u8) -> Option<Ticket> {
        (ticket != NONE).then_some(Ticket(ticket))
    }

    fn number(self) -> u8 {
        assert_ne!(self.0, FORGOTTEN, "the code remembers more of the line than the model does");
        self.0
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Ticket) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Ticket {}

impl PartialOrd for Ticket {
    fn partial_cmp(&self, other: &Ticket) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ticket {
    fn cmp(&self, other: &Ticket) -> std::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}

/// A live claimant that a look showed.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    pub who: u8,
    precedes: bool,
    tells_death: bool,
}

/// The claimant right before ours. Its FIFO is closed on drop.
pub struct Predecessor {
    pub ticket: u8,
    pub fifo: u8,
    script: Script,
}

/// inotify. Closed on drop.
pub struct Watch {
    script: Script,
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        if self.fifo != NONE {
            self.script.0.fifo.set(NONE);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.script.0.watches.set(false);
    }
}

/// What never changes in a model, and the code may ask for.
#[derive(Clone, Copy)]
pub struct Traits {
    /// The kernel notifies of a process's death.
    pub pidfd: bool,
    /// The claimants that tolerate company, as bits.
    pub sociable: u8,
}

impl Traits {
    fn tolerates_company(self, who: u8) -> bool {
        self.sociable & (1 << who) != 0
    }
}

#[derive(Clone)]
pub struct Script(Rc<Inner>);

struct Inner {
    answers: RefCell<std::vec::IntoIter<Answer>>,
    traits: Traits,
    /// The call that has no answer yet.
    call: Cell<Option<Call>>,
    /// The run has ended. Any further call comes from a drop.
    is_over: Cell<bool>,
    last_rival: Cell<Option<Option<Rival>>>,
    /// What the code has open now, and (`open`) what it had open at its last call.
    fifo: Cell<u8>,
    put_by: Cell<u8>,
    watches: Cell<bool>,
    open: Cell<Open>,
    now: Instant,
}

/// What a wait has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub fifo: u8,
    pub watch: bool,
}

impl Script {
    pub fn new(answers: Vec<Answer>, traits: Traits) -> Script {
        Script(Rc::new(Inner {
            answers: RefCell::new(answers.into_iter()),
            traits,
            call: Cell::new(None),
            is_over: Cell::new(false),
            last_rival: Cell::new(None),
            fifo: Cell::new(NONE),
            put_by: Cell::new(NONE),
            watches: Cell::new(false),
            open: Cell::new(Open { fifo: NONE, watch: false }),
            now: Instant::now(),
        }))
    }

    pub fn call(&self) -> Option<Call> {
        self.0.call.get()
    }

    /// What was open at the end.
    pub fn open(&self) -> Open {
        self.0.open.get()
    }

    /// Ends the run: from here on the code may ask nothing.
    pub fn end(&self) {
        assert!(self.0.is_over.get() || self.0.answers.borrow().len() == 0, "the code no longer asks for all this");
        if !self.0.is_over.replace(true) {
            let open = &self.0;
            let fifo = if open.fifo.get() == NONE { open.put_by.get() } else { open.fifo.get() };
            open.open.set(Open { fifo, watch: open.watches.get() });
        }
    }

    pub fn rival_of(&self, who: u8) -> Rival {
        Rival { who, precedes: false, tells_death: self.0.traits.pidfd }
    }

    pub fn predecessor(&self, ticket: u8, fifo: u8) -> Predecessor {
        assert_eq!(self.0.fifo.get(), NONE, "two predecessors are watched at once");
        self.0.fifo.set(fifo);
        Predecessor { ticket, fifo, script: self.clone() }
    }

    pub fn new_watch(&self) -> Watch {
        assert!(!self.0.watches.replace(true), "the folder is watched twice");
        Watch { script: self.clone() }
    }

    fn ask(&self, call: Call) -> Answer {
        if self.0.is_over.get() {
            return Answer::Done;
        }
        let answer = self.0.answers.borrow_mut().next();
        answer.unwrap_or_else(|| {
            self.0.call.set(Some(call));
            self.end();
            resume_unwind(Box::new(())) // no message and no hook: this only ends the run
        })
    }

    fn look(&self, call: Call) -> Answer {
        let answer = self.ask(call);
        let rival = match answer {
            Answer::Rival(who, precedes) => Some(Rival { precedes, ..self.rival_of(who) }),
            _ => None,
        };
        self.0.last_rival.set(Some(rival));
        answer
    }

    fn seen(&self) -> Option<Rival> {
        self.0.last_rival.get().expect("the last look was in an earlier step: the model has forgotten it")
    }
}

fn refusal() -> Error {
    Error::fixed(ErrorKind::Busy, "a rival")
}

impl Place for Script {
    type Bid = ();
    type Rival = Rival;

    fn enter(&mut self) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        Ok(())
    }

    fn glance(&mut self) -> Result<Option<Rival>> {
        self.look(Call::Glance);
        Ok(self.seen())
    }

    fn post(&mut self) -> Result<()> {
        match self.ask(Call::Post) {
            Answer::Failed => Err(Error::fixed(ErrorKind::Io, "the name is taken")),
            _ => Ok(()),
        }
    }

    fn check(&mut self, (): &()) -> Result<Check<Rival>> {
        let answer = self.look(Call::Check);
        Ok(match self.seen() {
            Some(rival) => Check::Rival(rival),
            None if answer == Answer::Unseen => Check::Unseen,
            None => Check::Alone,
        })
    }

    fn precedes(&self, rival: &Rival, (): &()) -> bool {
        rival.precedes
    }

    fn unseen(&mut self, (): &()) -> Result<Error> {
        Ok(refusal())
    }

    fn keep(&mut self, (): &()) {}

    fn take_back(&mut self, (): (), error: Error) -> Error {
        self.ask(Call::TakeBack);
        error
    }

    fn withdraw(&mut self, (): &()) -> Result<Option<Error>> {
        self.ask(Call::Withdraw);
        Ok(None)
    }

    fn tidy(&mut self) {}

    fn abandon(&mut self) {}

    fn busy(&self, _: &Rival) -> Error {
        refusal()
    }

    fn check_process(&self) -> Result<()> {
        Ok(())
    }

    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::fixed(kind, what)
    }

    fn now(&self) -> Instant {
        self.0.now
    }

    fn pause(&mut self, _: &mut Backoff) -> bool {
        self.ask(Call::Pause) == Answer::Paused
    }
}

impl Line for Script {
    type Ticket = Ticket;
    type Predecessor = Predecessor;
    type Watch = Watch;

    fn approach(&mut self) -> Result<()> {
        Ok(())
    }

    /// The folder never changes in this model.
    fn refresh(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn first_in_line(&self) -> Option<Ticket> {
        match self.ask(Call::FirstInLine) {
            Answer::First(ticket) => Ticket::some(ticket),
            _ => None,
        }
    }

    fn has_line(&self) -> bool {
        self.first_in_line().is_some()
    }

    fn bury(&mut self, first: Ticket) -> bool {
        self.ask(Call::Bury(first.number())) == Answer::Yes
    }

    fn stand(&mut self) -> Result<Standing<Ticket>> {
        Ok(match self.ask(Call::Stand) {
            Answer::Stood => Standing::Stood,
            Answer::Joined(told) => Standing::Joined(Ticket::some(told)),
            Answer::Lost => Standing::Lost,
            _ => Standing::Nowhere,
        })
    }

    fn has_ticket(&self) -> bool {
        self.ask(Call::HasTicket) == Answer::Yes
    }

    fn view(&mut self) -> Result<View<Ticket>> {
        let Answer::View(before) = self.ask(Call::View) else { return Ok(View::default()) };
        let before: Vec<_> = (0..16).filter(|ticket| before & (1 << ticket) != 0).map(Ticket).collect();
        let (first, ahead) = (before.first().copied(), before.len());
        let mut view = View { first, before, ahead, length: ahead + 1, ..View::default() };
        view.step_back();
        Ok(view)
    }

    fn watch_predecessor(&mut self, ticket: Ticket, known: Option<Predecessor>) -> Result<Option<Predecessor>> {
        let watched = known.as_ref().map_or(NONE, |known| known.ticket);
        let answer = self.ask(Call::WatchPredecessor(ticket.number(), watched));
        if answer == Answer::Known {
            return Ok(known);
        }
        drop(known);
        Ok(match answer {
            Answer::Watches(fifo) => Some(self.predecessor(ticket.number(), fifo)),
            _ => None,
        })
    }

    fn has_handed_over(predecessor: &Predecessor) -> bool {
        predecessor.script.ask(Call::HasHandedOver) == Answer::Yes
    }

    fn is_leaving(predecessor: &Predecessor, rival: &Rival) -> bool {
        let teller = owner(predecessor.ticket);
        !predecessor.script.0.traits.tolerates_company(teller) && rival.who == teller
    }

    fn glance_after(&mut self, _: &Predecessor) -> Result<Option<Rival>> {
        self.glance()
    }

    fn tells(predecessor: &Predecessor) -> bool {
        predecessor.fifo != NONE
    }

    fn watch(&mut self, known: Option<Watch>) -> Option<Watch> {
        self.ask(Call::Watch);
        known.or_else(|| Some(self.new_watch()))
    }

    fn put_by(&mut self, _: Option<Watch>, predecessor: Option<Predecessor>) {
        self.0.put_by.set(predecessor.map_or(NONE, |predecessor| predecessor.fifo));
    }

    fn rival(&mut self, _: Option<Ticket>) -> Result<Option<Rival>> {
        self.look(Call::Rival);
        Ok(self.seen())
    }

    fn glance_for(&mut self, _: Ticket) -> Result<Option<Rival>> {
        self.look(Call::GlanceForFirst);
        Ok(self.seen())
    }

    fn last_rivals(&self) -> Vec<Rival> {
        self.seen().into_iter().collect()
    }

    /// A claimant's next bid counts as the same here. So the code takes fewer rivals for others than it may.
    fn is_same_bid(one: &Rival, other: &Rival) -> bool {
        one.who == other.who
    }

    /// In the models with looks nobody shares, so the lock was free between two bids.
    fn is_overtaken(&self, ticket: Ticket, _: &Rival, now: &Rival) -> bool {
        self.ask(Call::IsOvertaken(ticket.number(), now.who)) == Answer::Yes
    }

    fn tells_death(rival: &Rival) -> bool {
        rival.tells_death
    }

    fn restore_order(&mut self, holder: &Rival) -> Result<()> {
        self.ask(Call::RestoreOrder(holder.who));
        Ok(())
    }

    fn discard(&mut self, ticket: Ticket) {
        self.ask(Call::Discard(ticket.number()));
    }

    fn pass_on(&mut self) {
        self.ask(Call::PassOn);
    }

    fn comes_later(&self, _: &Rival) -> Error {
        refusal()
    }

    fn tell(&mut self) {
        self.ask(Call::Tell);
    }

    fn leave(&mut self, why: Leaving) {
        self.ask(Call::Leave(why));
    }

    fn why_not_yet(&mut self) -> Error {
        refusal()
    }

    fn chance(&mut self) -> f64 {
        0.5
    }
}
