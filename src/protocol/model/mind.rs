//! The mind of a claimant: where it is in the real code, and what that code remembers. A mind is the task with which
//! the code began, and the answers that its place has given since. The code is run again with all these answers, so no
//! part of it is written a second time. Each such run is made once, and has a number.

use std::cell::RefCell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::time::Duration;

use super::calls::{Answer, Call, FORGOTTEN, NONE};
use super::memo::Memo;
use super::script::{Open, Script, Ticket, Traits};
use crate::error::ErrorKind;
use crate::protocol::{acquire, acquire_told, Place, Session, Step, View, Wait};

/// What a claimant begins to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// `acquire`
    Acquire,
    /// `acquire_told`, by the first claimant
    AcquireTold,
    /// `Session::lock_unless_owed`, on a new handle
    Lock,
    /// `Session::lock_unless_line`
    LockUnlessLine,
    /// `Session::lock_out_of_turn`
    LockOutOfTurn,
    /// `Wait::step`. `woken`: by news. `due`: a look is due.
    Step { memory: Memory, woken: bool, due: bool },
    /// `Session::unlock`
    Unlock,
    /// Nothing, because it sleeps.
    Sleep(Memory),
}

/// What a [`Wait`] remembers from one step to the next. The tickets that it saw in the line are not part of this,
/// because a new view precedes each use. (If one did not, the run would fail; see [`FORGOTTEN`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub watch: bool,
    pub holder: u8,
    pub ahead: u8,
    pub fifo: u8,
    pub has_view: bool,
    pub has_predecessor: bool,
    pub has_first: bool,
    pub seen: u8,
    pub no_show: u8,
    pub signs: u8,
}

impl Memory {
    pub const NEW: Memory = Memory {
        watch: false,
        holder: NONE,
        ahead: NONE,
        fifo: NONE,
        has_view: false,
        has_predecessor: false,
        has_first: false,
        seen: NONE,
        no_show: NONE,
        signs: 0,
    };

    fn of(wait: &Wait<Script>) -> Memory {
        let number = |ticket: &Option<Ticket>| ticket.map_or(NONE, |ticket| ticket.0);
        let memory = Memory {
            watch: wait.watch.is_some(),
            holder: wait.holders.last().map_or(NONE, |holder| holder.who),
            ahead: wait.ahead.as_ref().map_or(NONE, |ahead| ahead.ticket),
            fifo: wait.ahead.as_ref().map_or(NONE, |ahead| ahead.fifo),
            has_view: wait.view.length > 0,
            has_predecessor: wait.view.predecessor.is_some(),
            has_first: wait.view.first.is_some(),
            seen: wait.seen.map_or(NONE, |seen| seen.who),
            no_show: number(&wait.no_show),
            signs: if wait.no_show.is_some() { wait.signs } else { 0 },
        };
        assert!(![memory.holder, memory.seen, memory.no_show].contains(&FORGOTTEN));
        memory
    }

    fn wait(self, script: &mut Script) -> Wait<Script> {
        let forgotten = |is_there: bool| is_there.then_some(Ticket(FORGOTTEN));
        let mut wait = Wait::new(script);
        wait.watch = self.watch.then(|| script.new_watch());
        wait.holders = (self.holder != NONE).then(|| script.rival_of(self.holder)).into_iter().collect();
        wait.ahead = (self.ahead != NONE).then(|| script.predecessor(self.ahead, self.fifo));
        wait.seen = (self.seen != NONE).then(|| script.rival_of(self.seen));
        (wait.no_show, wait.signs) = (Ticket::some(self.no_show), self.signs);
        wait.view = View {
            first: forgotten(self.has_first),
            predecessor: forgotten(self.has_predecessor),
            before: vec![Ticket(FORGOTTEN)],
            length: usize::from(self.has_view),
            ..View::default()
        };
        wait
    }
}

/// What the code does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Calls(Call),
    Holds,
    Refused,
    OutOfTime,
    Unlocked,
    Again(Memory),
    /// It sleeps. The flag says whether the kernel notifies it of all that it waits for; if not, it polls.
    Sleeps(Memory, bool),
}

/// The number of a run. Zero means no run.
pub type Mind = u32;

#[derive(Clone)]
struct Run {
    task: Task,
    answers: Vec<Answer>,
    next: Next,
    open: Open,
}

pub struct Minds {
    traits: Traits,
    /// Whether a mind leaves out the answers that the code does not use any more.
    pub forgets: bool,
    runs: RefCell<Vec<Run>>,
    begun: Memo<Task, Mind>,
    known: Memo<(Task, Vec<Answer>), Mind>,
    after: Memo<(Mind, Answer), Mind>,
}

impl Minds {
    pub fn new(traits: Traits) -> Minds {
        let none = run(Task::Sleep(Memory::NEW), Vec::new(), traits);
        Minds {
            traits,
            forgets: true,
            runs: RefCell::new(vec![none]),
            begun: Memo::default(),
            known: Memo::default(),
            after: Memo::default(),
        }
    }

    /// The number of runs.
    pub fn count(&self) -> usize {
        self.runs.borrow().len()
    }

    pub fn begin(&self, task: Task) -> Mind {
        self.begun.get(task, |task| self.of(*task, Vec::new()))
    }

    pub fn after(&self, mind: Mind, answer: Answer) -> Mind {
        self.after.get((mind, answer), |_| {
            let run = self.runs.borrow()[mind as usize].clone();
            let all: Vec<_> = run.answers.iter().copied().chain([answer]).collect();
            let full = super::mind::run(run.task, all, self.traits);
            let next = match answer {
                // Otherwise the number of minds would be endless.
                Answer::Paused => self.of(full.task, without_the_past(full.task, &full.answers)),
                _ if self.forgets => self.shortest(&full),
                _ => self.of(full.task, full.answers.clone()),
            };
            assert_eq!(full.next, self.next(next), "the code remembers more than the model does");
            assert_eq!(full.open, self.open(next), "the code remembers more than the model does");
            next
        })
    }

    pub fn next(&self, mind: Mind) -> Next {
        self.runs.borrow()[mind as usize].next
    }

    pub fn open(&self, mind: Mind) -> Open {
        self.runs.borrow()[mind as usize].open
    }

    fn shortest(&self, full: &Run) -> Mind {
        // A step that stands in line may reach the state that a new step reaches at once. What the code remembers is
        // then unchanged, and the shorter run stands for both.
        if let (Next::Calls(Call::Stand), Task::Step { memory, due, .. }) = (full.next, full.task) {
            let at_once = self.begin(Task::Step { memory, woken: false, due });
            if self.next(at_once) == full.next && self.open(at_once) == full.open {
                return at_once;
            }
        }
        self.of(full.task, without_the_past(full.task, &full.answers))
    }

    fn of(&self, task: Task, answers: Vec<Answer>) -> Mind {
        self.known.get((task, answers), |(task, answers)| {
            let mind = self.count() as Mind;
            self.runs.borrow_mut().push(run(*task, answers.clone(), self.traits));
            mind
        })
    }
}

/// The answers without those that the code does not use any more: how an attempt failed, what a look showed before a
/// pause, and which rival an earlier look showed. (The run with all answers is made too, and must give the same result.
/// One test explores with all answers.)
fn without_the_past(task: Task, answers: &[Answer]) -> Vec<Answer> {
    let mut fewer = answers.to_vec();
    // The first answer of a step is then the news of a hand-over.
    let is_told = matches!(task, Task::Step { woken: true, due: false, .. }) && answers.first() == Some(&Answer::Yes);
    match *answers {
        [.., _, Answer::Paused] => fewer.truncate(fewer.len() - 2),
        [Answer::First(_), Answer::No, _, Answer::OutOfTime] if task == Task::Lock => fewer = vec![Answer::First(NONE)],
        [.., Answer::Posted, Answer::Rival(who, _), Answer::Done]
        | [.., Answer::Posted, Answer::Rival(who, _), Answer::OutOfTime, Answer::Done] => {
            let bid = answers.iter().rposition(|answer| *answer == Answer::Posted).expect("matched");
            // Before the bid there was a glance, and before that there may have been the news of a hand-over.
            if task != Task::AcquireTold {
                let is_told = is_told && bid == 2;
                fewer.truncate(if is_told { bid - 2 } else { bid - 1 });
                fewer.push(if is_told { Answer::No } else { Answer::Rival(who, true) });
            }
        }
        _ => {}
    }
    if fewer.last().is_some_and(|last| last.is_of_look()) {
        let last = fewer.len() - 1;
        // After the news of a hand-over the code asks whether the rival is the one that told it.
        let from = if is_told { 2.min(last) } else { 0 };
        for answer in &mut fewer[from..last] {
            if let Answer::Rival(who, _) = answer {
                *who = FORGOTTEN;
            }
        }
    }
    fewer
}

fn run(task: Task, answers: Vec<Answer>, traits: Traits) -> Run {
    let script = Script::new(scripted(task, &answers), traits);
    let next = match catch_unwind(AssertUnwindSafe(|| perform(task, script.clone()))) {
        Ok(next) => next,
        Err(panic) => script.call().map_or_else(|| resume_unwind(panic), Next::Calls),
    };
    Run { task, answers, next, open: script.open() }
}

fn scripted(task: Task, answers: &[Answer]) -> Vec<Answer> {
    let locked: &[Answer] = match task {
        Task::Unlock => &[Answer::Alone, Answer::Posted, Answer::Alone],
        _ => &[],
    };
    [locked, answers].concat()
}

fn perform(task: Task, mut script: Script) -> Next {
    let mut session = Session::new(script.clone());
    let next = match task {
        Task::Acquire => match acquire(&mut script) {
            Ok(()) => Next::Holds,
            Err(_) => Next::Refused,
        },
        Task::AcquireTold => match acquire_told(&mut script, Place::glance, |rival| rival.who == 0) {
            Ok(()) => Next::Holds,
            Err(_) => Next::Refused,
        },
        Task::Lock => match session.lock_unless_owed() {
            Ok(()) => Next::Holds,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Busy);
                Next::Refused
            }
        },
        Task::LockUnlessLine => match session.lock_unless_line() {
            Ok(true) => Next::Holds,
            Ok(false) => Next::Refused,
            Err(e) => panic!("{e}"),
        },
        Task::LockOutOfTurn => match session.lock_out_of_turn() {
            Ok(()) => Next::Holds,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Busy);
                Next::OutOfTime
            }
        },
        Task::Unlock => {
            session.lock().expect("as scripted");
            session.unlock().expect("nothing fails");
            Next::Unlocked
        }
        Task::Step { memory, woken, due } => {
            let mut wait = memory.wait(&mut script);
            let now = wait.next_look;
            wait.next_look += if due { Duration::ZERO } else { Duration::from_secs(3600) };
            let step = wait.step(&mut session, now, woken).expect("nothing fails");
            let next = match step {
                Step::Acquired => Next::Holds,
                Step::Again => Next::Again(Memory::of(&wait)),
                Step::SleepUntil(_) => Next::Sleeps(Memory::of(&wait), wait.is_told()),
            };
            script.end();
            next
        }
        Task::Sleep(memory) => {
            let wait = memory.wait(&mut script);
            let told = wait.is_told();
            script.end();
            Next::Sleeps(memory, told)
        }
    };
    script.end();
    next
}
