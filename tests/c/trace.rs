//! `sequence.c` under `tracer.c`: a claimant to which something happens at one of its system calls.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use lockfolder::LockFolder;

use super::{compile, guarded, run, said, unexplained, Link, Program};

/// A guard, not a measure.
const HANGS: Duration = Duration::from_secs(100);

/// What happens at the call.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Nothing,
    Kill,
    Stop,
    /// It fails with this `errno`.
    Fail(i32),
    /// It fails, and so does each later call of its kind.
    FailOn(i32),
    /// It fails, and so does each later call that looks at a file by its name or lists a folder.
    FailDisk(i32),
}

/// One system call that the library made.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: usize,
    pub step: String,
    pub name: String,
}

/// What one call of the library came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// As `sequence.c` names it; with a `+` at its end: the second try.
    pub step: String,
    pub status: String,
    pub code: i32,
    /// What was in the folder then.
    pub bids: Vec<String>,
    pub message: String,
}

/// All that a run printed.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub calls: Vec<Call>,
    pub outcomes: Vec<Outcome>,
    /// What each bid of the claimant said.
    pub own_bids: Vec<String>,
    /// The last fencing token, 0 if there was none.
    pub token: u64,
    /// Open descriptors before and after, of a run that came to its end.
    pub descriptors: Option<(u32, u32)>,
    /// `exited 0` or `killed 9`.
    pub end: String,
    /// As it was printed.
    pub text: String,
}

impl Story {
    fn read(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        match word().as_str() {
            "call" => {
                let number = word().parse().unwrap();
                self.calls.push(Call { number, step: word(), name: word() });
            }
            "result" => {
                let (step, status, code) = (word(), word(), word().parse().unwrap());
                let bids = word().split(',').filter(|bid| *bid != "-").map(str::to_owned).collect();
                self.outcomes.push(Outcome { step, status, code, bids, message: word() });
            }
            "bid" => self.own_bids.push(line.to_owned()),
            "token" => self.token = word().parse().unwrap(),
            "fds" => self.descriptors = Some((word().parse().unwrap(), word().parse().unwrap())),
            "exited" | "killed" => self.end = line.to_owned(),
            _ => panic!("not understood: {line:?} in\n{}", self.text),
        }
    }

    pub fn ended_well(&self) -> bool {
        self.end == "exited 0"
    }
}

pub struct Tracer {
    tracer: Program,
    sequence: Program,
    user: Option<String>,
}

impl Tracer {
    pub fn new() -> Tracer {
        Tracer {
            tracer: Program(compile("tracer.c", &["gcc", "-std=c11", "-O1"], Link::Alone)),
            sequence: Program(compile("sequence.c", &["gcc", "-std=c11", "-O1"], Link::Shared)),
            user: None,
        }
    }

    /// The claimant is this user, of this group.
    pub fn of_user(user: u32, group: u32) -> Tracer {
        Tracer { user: Some(format!("{user} {group}")), ..Tracer::new() }
    }

    fn command(&self, folder: &Path, scenario: &[&str], at: &str, fate: Fate) -> Command {
        let (mode, error) = match fate {
            Fate::Nothing => ("list", None),
            Fate::Kill => ("kill", None),
            Fate::Stop => ("stop", None),
            Fate::Fail(error) => ("fail", Some(error)),
            Fate::FailOn(error) => ("fail-on", Some(error)),
            Fate::FailDisk(error) => ("fail-disk", Some(error)),
        };
        let mut command = match fate {
            Fate::Stop => Command::new(&self.tracer.0), // ends with its `Stopped`
            _ => guarded(&self.tracer.0),
        };
        command.arg(mode).arg(at).arg(error.map_or("-".to_owned(), |e| e.to_string()));
        command.arg(&self.sequence.0).arg(folder).args(scenario);
        command.envs(self.user.as_ref().map(|user| ("SEQUENCE_USER", user)));
        command
    }

    /// Runs the claimant to its end, whatever that is. `at` is the number of the call and, where how many there are depends
    /// on the time, its name: `7,openat`.
    pub fn run(&self, folder: &Path, scenario: &[&str], at: &str, fate: Fate) -> Story {
        let output = run(self.command(folder, scenario, at, fate).stdin(Stdio::null()));
        let mut story = Story::default();
        String::from_utf8_lossy(&output.stdout).lines().for_each(|line| story.read(line));
        assert!(output.status.success() && !story.end.is_empty(), "{}", said(&output));
        story
    }

    /// The system calls of a run to which nothing happens.
    pub fn calls(&self, folder: &Path, scenario: &[&str]) -> Vec<Call> {
        let story = self.run(folder, scenario, "-", Fate::Nothing);
        assert!(story.ended_well() && story.calls.len() > 10, "{}", story.text);
        story.calls
    }

    /// Runs the claimant up to the call, where it stops; or until nothing has happened for so long that it sleeps.
    pub fn run_up_to(&self, folder: &Path, scenario: &[&str], number: usize, patience: Duration) -> Stopped {
        let mut stopped = self.start(folder, scenario, number);
        stopped.read_on(patience);
        stopped
    }

    /// Runs one that holds until it is told to go on. It stops at the call, if it comes there before it holds.
    pub fn run_holder_up_to(&self, folder: &Path, number: usize) -> Stopped {
        let mut stopped = self.start(folder, &["hold"], number);
        stopped.read_on_until_it_has_locked();
        stopped
    }

    fn start(&self, folder: &Path, scenario: &[&str], number: usize) -> Stopped {
        let mut command = self.command(folder, scenario, &number.to_string(), Fate::Stop);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Stopped { child, lines, story: Story::default(), at: At::Asleep }
    }
}

/// Where a claimant is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At the system call, in this step.
    Stopped(String),
    /// Somewhere before it, and it makes no calls.
    Asleep,
    Ended,
}

/// A claimant that stands still at a system call, or has ended before it came to it.
pub struct Stopped {
    child: Child,
    lines: mpsc::Receiver<String>,
    pub story: Story,
    pub at: At,
}

impl Stopped {
    fn read_on(&mut self, patience: Duration) {
        self.at = loop {
            match self.lines.recv_timeout(patience) {
                Err(RecvTimeoutError::Timeout) => break At::Asleep,
                Err(RecvTimeoutError::Disconnected) => break At::Ended,
                Ok(line) => match line.strip_prefix("stopped ") {
                    Some(at) => break At::Stopped(at.split(' ').next().unwrap().to_owned()),
                    None => self.story.read(&line),
                },
            }
        };
        if self.at == At::Ended {
            let status = self.child.wait().unwrap();
            assert!(status.success() && !self.story.end.is_empty(), "{status}\n{}", self.story.text);
        }
    }

    /// `Asleep`: it has locked, or failed to do so twice.
    fn read_on_until_it_has_locked(&mut self) {
        while self.locked().is_none() {
            let line = self.lines.recv_timeout(HANGS).unwrap_or_else(|e| panic!("{e}:\n{}", self.story.text));
            match line.strip_prefix("stopped ") {
                Some(at) => {
                    self.at = At::Stopped(at.split(' ').next().unwrap().to_owned());
                    return;
                }
                None => self.story.read(&line),
            }
        }
        self.at = At::Asleep;
    }

    /// What its lock came to.
    pub fn locked(&self) -> Option<&Outcome> {
        self.story.outcomes.iter().find(|it| it.step == "lock" && it.status == "LF_OK" || it.step == "lock+")
    }

    /// Lets a holder that is stopped go on until it has locked, or failed to do so twice.
    pub fn go_on_until_it_has_locked(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        self.read_on_until_it_has_locked();
    }

    /// Lets it go on, to its end.
    pub fn go_on(mut self) -> Story {
        if self.at != At::Ended {
            // Who sleeps may still come to the call; then it passes.
            writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        }
        while self.at != At::Ended {
            self.read_on(HANGS);
            assert!(self.at != At::Asleep, "it hangs:\n{}", self.story.text);
        }
        std::mem::take(&mut self.story)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // The tracer's end is the end of what it traces (PTRACE_O_EXITKILL).
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What must be so after whatever befell a claimant that is gone: the next one gets the lock at the first try, and a token
/// that is larger than every one before; and after it nothing is left that has no explanation.
pub fn is_as_if_nothing_had_been(folder: &Path, story: &Story, at: &str) {
    let next = LockFolder::open(folder).unwrap();
    let guard = next.try_lock().unwrap_or_else(|e| panic!("{at}: then the lock was not free: {e}\n{}", story.text));
    let token = guard.fence().unwrap();
    assert!(token > story.token, "{at}: the token {token} came after {}", story.token);
    guard.unlock().unwrap();
    next.reap_stale().unwrap();
    drop(next);
    assert_eq!(unexplained(folder), None, "{at}\n{}", story.text);
}

/// Does `each` with every item, a few at a time; a panic is passed on.
pub fn a_few_at_a_time<T: Sync>(items: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(item);
                }
            });
        }
    });
}

/// Where the folder of a run is, in a scratch folder.
pub fn lock_folder(scratch: &super::Scratch) -> PathBuf {
    scratch.join("lock")
}
