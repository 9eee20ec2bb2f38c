//! Runs the real [`acquire`] one call at a time. A call of [`Place`] that has no answer yet ends the run; the model carries the call
//! out in as many steps as it likes, adds the answer, and runs `acquire` again from its beginning with all answers so far.
//!
//! So the state of a claimant inside `acquire` is the list of its answers, and nothing of `acquire` is written a second time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{acquire, Backoff, Check, Place};

/// What `acquire` asks of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Glance,
    Post,
    Check,
    Pause,
    TakeBack,
}

/// What the place says. Names of bids are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The answer to a glance or a check.
    Rival(u8),
    /// No rival in a glance; in a check our bid alone.
    Alone,
    /// A check that does not show our bid.
    Unseen,
    /// The bid is posted.
    Posted,
    /// The bid could not be posted.
    Failed,
    /// The pause is over, and there is time for more.
    Paused,
    /// There is no time for a pause.
    OutOfTime,
    TakenBack,
}

/// What `acquire` does after these answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Calls(Call),
    Holds,
    Refused,
}

/// The answers since `acquire` began. There are few, because a pause that is over makes `acquire` forget what came
/// after its bid; [`Replay::after`] makes sure of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Answers {
    all: [Option<Answer>; 5],
}

impl Answers {
    pub fn count(&self) -> usize {
        self.all.iter().flatten().count()
    }

    fn and(mut self, answer: Answer) -> Answers {
        self.all[self.count()] = Some(answer);
        self
    }

    fn since_the_bid(mut self) -> Answers {
        self.all[2..].fill(None);
        self
    }
}

/// Who wins when two bid at once. One of them is right, and the others break the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tie {
    Lowest,
    Highest,
    Nobody,
}

#[derive(Default)]
pub struct Replay {
    known: RefCell<HashMap<(u8, Tie, Answers), Next>>,
}

impl Replay {
    /// The answers with one more, and what the claimant `own` does then.
    pub fn after(&self, own: u8, tie: Tie, answers: Answers, answer: Answer) -> (Answers, Next) {
        let all = answers.and(answer);
        let next = self.next(own, tie, all);
        if answer != Answer::Paused {
            return (all, next);
        }
        let fewer = all.since_the_bid();
        assert_eq!(self.next(own, tie, fewer), next, "acquire remembers more of its rounds than the model does");
        (fewer, next)
    }

    pub fn next(&self, own: u8, tie: Tie, answers: Answers) -> Next {
        *self.known.borrow_mut().entry((own, tie, answers)).or_insert_with(|| run(own, tie, &answers))
    }
}

fn run(own: u8, tie: Tie, answers: &Answers) -> Next {
    let mut script = Script { own, tie, answers: answers.all.iter().flatten().copied().collect(), at: 0, call: None };
    match catch_unwind(AssertUnwindSafe(|| acquire(&mut script))) {
        Ok(Ok(_)) => Next::Holds,
        Ok(Err(_)) => Next::Refused,
        Err(panic) => script.call.map_or_else(|| resume_unwind(panic), Next::Calls),
    }
}

/// A place that knows its answers beforehand.
struct Script {
    own: u8,
    tie: Tie,
    answers: Vec<Answer>,
    at: usize,
    call: Option<Call>,
}

impl Script {
    fn ask(&mut self, call: Call) -> Answer {
        let Some(answer) = self.answers.get(self.at) else {
            self.call = Some(call);
            resume_unwind(Box::new(())) // no message, no hook: it only ends the run
        };
        self.at += 1;
        *answer
    }
}

fn refusal() -> Error {
    Error::fixed(ErrorKind::Busy, "a rival")
}

impl Place for Script {
    type Bid = u8;
    type Rival = u8;

    fn enter(&mut self) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        Ok(())
    }

    fn glance(&mut self) -> Result<Option<u8>> {
        match self.ask(Call::Glance) {
            Answer::Rival(rival) => Ok(Some(rival)),
            _ => Ok(None),
        }
    }

    fn post(&mut self) -> Result<u8> {
        match self.ask(Call::Post) {
            Answer::Failed => Err(Error::fixed(ErrorKind::Io, "the name is taken")),
            _ => Ok(self.own),
        }
    }

    fn check(&mut self, _: &u8) -> Result<Check<u8>> {
        Ok(match self.ask(Call::Check) {
            Answer::Rival(rival) => Check::Rival(rival),
            Answer::Unseen => Check::Unseen,
            _ => Check::Alone,
        })
    }

    fn precedes(&self, rival: &u8, own: &u8) -> bool {
        match self.tie {
            Tie::Lowest => rival < own,
            Tie::Highest => rival > own,
            Tie::Nobody => true,
        }
    }

    fn unseen(&mut self, _: &u8) -> Result<Error> {
        Ok(refusal())
    }

    fn keep(&mut self, _: &u8) {}

    fn take_back(&mut self, _: u8, error: Error) -> Error {
        self.ask(Call::TakeBack);
        error
    }

    fn busy(&self, _: &u8) -> Error {
        refusal()
    }

    fn check_process(&self) -> Result<()> {
        Ok(())
    }

    fn withdraw(&mut self, _: &u8) -> Result<Option<Error>> {
        unreachable!("acquire does not unlock")
    }

    fn tidy(&mut self) {}

    fn abandon(&mut self) {}

    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::fixed(kind, what)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&mut self, _: &mut Backoff) -> bool {
        self.ask(Call::Pause) == Answer::Paused
    }
}
