//! Where a claimant is in the real code of `lease.rs`, and what that code remembers, as in `mind.rs`: the code is run
//! again with all the answers that its place has given. Each such run is made once, and has a number.

use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;

pub use super::lease_memory::*;
use super::lease_rules::{Rules, RULES};
use super::memo::Memo;
use crate::error::Result;
use crate::protocol::lease::{Loss, Moment, Name, Names, Observed, Renewal};

/// What a claimant begins to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// `Term::renew`
    Renew(Memory),
    /// `Observed::take_over`, by this claimant. It remembers this name.
    TakeOver(u8, Set),
}

/// A call of the code to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Now,
    Make(u8),
    List,
    HasBid,
    Remove(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The time since the task began.
    At(u8),
    Done,
    Shown(Set),
    HasBid(bool),
    Error,
}

/// What the code does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Calls(Call),
    Renewed(Memory),
    NotYet(Memory),
    Lost(Loss),
    TakesOver(bool),
}

/// The number of a run. Zero means no run.
pub type Mind = u32;

#[derive(Clone)]
struct Run {
    task: Task,
    answers: Vec<Answer>,
    next: Next,
}

pub struct Minds {
    rules: Rules,
    runs: RefCell<Vec<Run>>,
    /// Whether a mind leaves out what the code does not use any more.
    pub forgets: bool,
    begun: Memo<Task, Mind>,
    known: Memo<(Task, Vec<Answer>), Mind>,
    after: Memo<(Mind, Answer), Mind>,
    listed: Memo<(Mind, Set, Set), Rc<[Mind]>>,
    rights: Memo<Memory, (u8, u8)>,
}

impl Minds {
    pub fn new(rules: Rules) -> Minds {
        let none = Run { task: Task::TakeOver(0, 0), answers: Vec::new(), next: Next::TakesOver(false) };
        let runs = RefCell::new(vec![none]);
        Minds {
            rules,
            runs,
            forgets: rules.listings == RULES.listings,
            begun: Memo::default(),
            known: Memo::default(),
            after: Memo::default(),
            listed: Memo::default(),
            rights: Memo::default(),
        }
    }

    pub fn begin(&self, task: Task) -> Mind {
        self.begun.get(task, |task| self.of(*task, Vec::new()))
    }

    pub fn after(&self, mind: Mind, answer: Answer) -> Mind {
        self.after.get((mind, answer), |_| {
            let Run { task, mut answers, .. } = self.runs.borrow()[mind as usize].clone();
            answers.push(answer);
            if self.forgets && matches!(answer, Answer::Shown(_)) {
                self.forget(task, &mut answers);
            }
            self.of(task, answers)
        })
    }

    /// Replaces the last listing by a usual one, after which the code does the same. Otherwise there would be too many
    /// minds. One test explores with all listings.
    fn forget(&self, task: Task, answers: &mut Vec<Answer>) {
        let (usual, rest): (_, &[_]) = match task {
            Task::Renew(memory) => {
                let own = |last: u8| (1..=last).map(|number| name(number, HOLDER)).sum();
                let rest = [true, false].map(|has_bid| vec![Answer::HasBid(has_bid), Answer::At(0)]);
                ([own(memory.last + 1), own(memory.last), EVERYTHING], &rest.clone())
            }
            Task::TakeOver(us, known) => ([known | name(number_of(known) + 1, us), EVERYTHING, 0], &[Vec::new()]),
        };
        let does = |answers: &[Answer]| {
            let runs = rest.iter().map(|rest| run(&self.rules, task, &[answers, rest].concat()));
            runs.collect::<Vec<_>>()
        };
        let before = &answers[..answers.len() - 1];
        let others = usual.map(|names| [before, &[Answer::Shown(names)]].concat());
        let all = does(answers);
        if let Some(other) = others.into_iter().find(|other| does(other) == all) {
            *answers = other;
        }
    }

    /// What the code may come to when a listing ends that shows these names, and perhaps those too.
    pub fn after_listing(&self, mind: Mind, must: Set, may: Set, shown: impl Fn(Set) -> Set) -> Rc<[Mind]> {
        self.listed.get((mind, must, may), |_| {
            let all = subsets(may).map(|also| self.after(mind, Answer::Shown(shown(must | also))));
            let mut all: Vec<_> = all.collect();
            all.sort_unstable();
            all.dedup();
            all.into()
        })
    }

    fn of(&self, task: Task, answers: Vec<Answer>) -> Mind {
        self.known.get((task, answers), |(task, answers)| self.add(*task, answers.clone()))
    }

    pub fn next(&self, mind: Mind) -> Next {
        self.runs.borrow()[mind as usize].next
    }

    /// The last listing, if the code got so many.
    pub fn listing(&self, mind: Mind, count: usize) -> Option<Answer> {
        let run = &self.runs.borrow()[mind as usize];
        let listings = run.answers.iter().copied().filter(|answer| matches!(answer, Answer::Shown(_)));
        listings.skip(count - 1).last()
    }

    /// For how long the holder may still rely on the lock, and the end of the numbers that it may delete.
    pub fn rights(&self, memory: Memory) -> (u8, u8) {
        self.rights.get(memory, |memory| {
            let term = memory.term(self.rules.lease, START);
            let valid_for = term.valid_until().unwrap_or_default().saturating_sub(START);
            (valid_for.as_secs() as u8, term.spare().end as u8)
        })
    }

    fn add(&self, task: Task, answers: Vec<Answer>) -> Mind {
        let next = run(&self.rules, task, &answers);
        let mut runs = self.runs.borrow_mut();
        runs.push(Run { task, answers, next });
        runs.len() as Mind - 1
    }
}

fn run(rules: &Rules, task: Task, answers: &[Answer]) -> Next {
    let us = if let Task::TakeOver(us, _) = task { us } else { HOLDER };
    let mut script = Script { us, answers, used: Cell::new(0), call: Cell::new(None) };
    match catch_unwind(AssertUnwindSafe(|| perform(rules, task, &mut script))) {
        Ok(next) => {
            assert_eq!(script.used.get(), answers.len(), "the code no longer asks for all this");
            next
        }
        Err(panic) => script.call.get().map_or_else(|| resume_unwind(panic), Next::Calls),
    }
}

fn perform(rules: &Rules, task: Task, script: &mut Script<'_>) -> Next {
    match task {
        Task::Renew(memory) => {
            let mut term = memory.term(rules.lease, START);
            let renewed = term.renew(script);
            let took = script.elapsed();
            let tries = [NEVER, took, memory.tried.saturating_add(took)];
            let memory = || Memory::of(&term, rules.lease, START + units(took), &tries);
            match renewed {
                Ok(Renewal::Renewed) => Next::Renewed(memory()),
                Ok(Renewal::Failed) | Err(_) => Next::NotYet(memory()),
                Ok(Renewal::Lost(loss)) => Next::Lost(loss),
            }
        }
        Task::TakeOver(_, known) => {
            let observed = Observed::new(&list(known), START, START);
            Next::TakesOver(matches!(observed.take_over(script), Ok(true)))
        }
    }
}

/// A place that knows its answers in advance. A call without an answer ends the run.
struct Script<'a> {
    us: u8,
    answers: &'a [Answer],
    used: Cell<usize>,
    call: Cell<Option<Call>>,
}

impl Script<'_> {
    fn ask(&self, call: Call) -> Answer {
        let Some(answer) = self.answers.get(self.used.get()) else {
            self.call.set(Some(call));
            resume_unwind(Box::new(())) // no message and no hook: this only ends the run
        };
        self.used.set(self.used.get() + 1);
        *answer
    }

    fn elapsed(&self) -> u8 {
        let times = self.answers.iter().rev().filter_map(|a| if let Answer::At(time) = a { Some(*time) } else { None });
        times.take(1).sum()
    }
}

impl Names for Script<'_> {
    fn make(&mut self, number: u64) {
        self.ask(Call::Make(number as u8));
    }

    fn list(&mut self) -> Result<Vec<Name>> {
        match self.ask(Call::List) {
            Answer::Shown(names) => Ok(list(names)),
            _ => Err(error()),
        }
    }

    fn has_bid(&mut self) -> Result<bool> {
        match self.ask(Call::HasBid) {
            Answer::HasBid(has_bid) => Ok(has_bid),
            _ => Err(error()),
        }
    }

    fn remove(&mut self, number: u64) {
        self.ask(Call::Remove(number as u8));
    }

    fn us(&self) -> u64 {
        u64::from(self.us)
    }

    fn now(&self) -> Moment {
        match self.ask(Call::Now) {
            Answer::At(time) => START + units(time),
            other => unreachable!("the time is {other:?}"),
        }
    }
}
