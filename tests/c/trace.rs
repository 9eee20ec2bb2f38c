//! Runs `sequence.c` under `tracer.c`. The tracer kills the claimant, stops it, or makes one of its system calls fail.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use lockfolder::LockFolder;

use super::{compile, guarded, run, said, unexplained, Link, Program};

/// Ends a run that hangs, and measures nothing.
const HANGS: Duration = Duration::from_secs(100);

/// What the tracer does at the call.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Nothing,
    Kill,
    Stop,
    /// A signal comes right before it. Its handler forks if `SEQUENCE_FORK` is set.
    Signal,
    /// It fails with this `errno`.
    Fail(i32),
    /// The call fails, and so does each later call of its kind.
    FailOn(i32),
    /// The call fails, and so does each later call that looks up a name or lists a folder.
    FailDisk(i32),
}

/// One system call that the library made.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: usize,
    pub step: String,
    pub name: String,
}

/// The result of one call of the library.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The name in `sequence.c`. A `+` at its end marks the second try.
    pub step: String,
    pub status: String,
    pub code: i32,
    /// The bids that were in the folder then.
    pub bids: Vec<String>,
    pub message: String,
}

/// The whole output of a run.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub calls: Vec<Call>,
    pub outcomes: Vec<Outcome>,
    /// The result of a call in a child that was forked in the middle of the call and went on with it: the step and the status.
    pub children: Vec<(String, String)>,
    /// What each bid of the claimant said.
    pub own_bids: Vec<String>,
    /// The last fencing token, 0 if there was none.
    pub token: u64,
    /// The open descriptors before and after, of a run that ended by itself.
    pub descriptors: Option<(u32, u32)>,
    /// `exited 0` or `killed 9`.
    pub end: String,
    /// The output as it was printed.
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
            "child" => self.children.push((word(), word())),
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
    /// Which of the two goes on first after a fork by a signal handler.
    forks: Option<First>,
}

/// After a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Parent,
    Child,
}

impl Tracer {
    pub fn new() -> Tracer {
        Tracer {
            tracer: Program(compile("tracer.c", &["gcc", "-std=c11", "-O1"], Link::Alone)),
            sequence: Program(compile("sequence.c", &["gcc", "-std=c11", "-O1"], Link::Shared)),
            user: None,
            forks: None,
        }
    }

    /// Its signal handler forks. The named process goes on first. The other waits until that one has finished the call.
    pub fn of_forking(first: First) -> Tracer {
        Tracer { forks: Some(first), ..Tracer::new() }
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
            Fate::Signal => ("signal", None),
            Fate::Fail(error) => ("fail", Some(error)),
            Fate::FailOn(error) => ("fail-on", Some(error)),
            Fate::FailDisk(error) => ("fail-disk", Some(error)),
        };
        let mut command = match fate {
            Fate::Stop => Command::new(&self.tracer.0), // its `Stopped` ends it
            _ => guarded(&self.tracer.0),
        };
        command.arg(mode).arg(at).arg(error.map_or("-".to_owned(), |e| e.to_string()));
        command.arg(&self.sequence.0).arg(folder).args(scenario);
        command.envs(self.forks.map(|first| ("SEQUENCE_FORK", if first == First::Child { "child" } else { "parent" })));
        command.envs(self.user.as_ref().map(|user| ("SEQUENCE_USER", user)));
        command
    }

    /// Runs the claimant until it ends in any way. `at` is the number of the call. Where the number of calls varies with the time,
    /// `at` also has the name: `7,openat`.
    pub fn run(&self, folder: &Path, scenario: &[&str], at: &str, fate: Fate) -> Story {
        let output = run(self.command(folder, scenario, at, fate).stdin(Stdio::null()));
        let mut story = Story::default();
        String::from_utf8_lossy(&output.stdout).lines().for_each(|line| story.read(line));
        assert!(output.status.success() && !story.end.is_empty(), "{}", said(&output));
        story
    }

    /// The system calls of a run that the tracer leaves alone.
    pub fn calls(&self, folder: &Path, scenario: &[&str]) -> Vec<Call> {
        let story = self.run(folder, scenario, "-", Fate::Nothing);
        assert!(story.ended_well() && story.calls.len() > 10, "{}", story.text);
        story.calls
    }

    /// Runs the claimant up to the call, where it stops. If no output comes for `patience`, the claimant sleeps before that call.
    pub fn run_up_to(&self, folder: &Path, scenario: &[&str], number: usize, patience: Duration) -> Stopped {
        let mut stopped = self.start(folder, scenario, number);
        stopped.read_on(patience);
        stopped
    }

    /// Runs a claimant that holds until `go_on`. It stops at the call, if the call comes before it holds.
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

/// The position of a claimant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At the system call, in this step.
    Stopped(String),
    /// Before the system call, and it makes no calls now.
    Asleep,
    Ended,
}

/// A claimant that is stopped at a system call, or has ended before that call.
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

    /// `Asleep`: the claimant has locked, or has failed twice.
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

    /// The result of its lock.
    pub fn locked(&self) -> Option<&Outcome> {
        self.story.outcomes.iter().find(|it| it.step == "lock" && it.status == "LF_OK" || it.step == "lock+")
    }

    /// Continues a holder that is stopped, until it has locked or has failed twice.
    pub fn go_on_until_it_has_locked(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        self.read_on_until_it_has_locked();
    }

    /// Continues the claimant to its end.
    pub fn go_on(mut self) -> Story {
        if self.at != At::Ended {
            // A claimant that sleeps may still come to the call. Then it continues there.
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
        // The program dies with its tracer (PTRACE_O_EXITKILL).
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks the folder after a claimant is gone, in whatever way it ended. The next claimant gets the lock at the first try, and a
/// token that is larger than all before. After that, only known files are left.
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

/// Calls `each` with every item, a few at a time. A panic is passed on.
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
pub fn lock_folder(scratch: &crate::support::Scratch) -> PathBuf {
    scratch.join("lock")
}
