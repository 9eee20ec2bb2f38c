//! The real Python package lockfolder 1.0.2 in the same folder: in a race, and each side judging the other.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use crate::c::{compile, contents, guarded, run, said, unexplained, Link, Program};
use crate::support::{skip, Scratch};
use lockfolder::{BidState, ErrorKind, Guard, LockFolder, Slots};

/// The Python that has the package.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let made = run(Command::new(crate::c::root().join("scripts/python-venv")).current_dir(crate::c::root()));
        if !made.status.success() {
            skip(&format!("the Python package: {}", said(&made).trim()));
            return None;
        }
        Some(crate::c::root().join("target/venv/bin/python"))
    });
    python.as_deref()
}

fn peer() -> PathBuf {
    crate::c::root().join("tests/python/peer.py")
}

fn claimant() -> Program {
    Program(compile("claimant.c", &["gcc", "-std=c11", "-O2"], Link::Shared))
}

fn open(folder: &Path) -> LockFolder {
    LockFolder::open(folder).unwrap()
}

/// A process that answers each line with a line. It is killed when the test ends.
struct Puppet {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Puppet {
    fn python(python: &Path, folder: &Path) -> Puppet {
        Puppet::start(Command::new(python).arg(peer()).arg("obey").arg(folder))
    }

    fn start(command: &mut Command) -> Puppet {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Puppet { child, input, output: BufReader::new(output) }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn we_see_a_python_holder() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let ours = open(&scratch);
    let mut theirs = Puppet::python(python, &scratch);
    assert_eq!(theirs.ask("lock"), "True");

    let busy = ours.try_lock().unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy);
    assert!(busy.to_string().contains(&format!("PID {}", theirs.pid())), "{busy}");
    assert!(ours.in_use().unwrap());
    let bids = ours.bids().unwrap();
    assert_eq!(bids.len(), 1);
    assert_eq!((bids[0].state, bids[0].pid), (BidState::Live, Some(theirs.pid())));
    let created = theirs.ask(&format!("created {}", theirs.pid()));
    assert_eq!(bids[0].created.map(|n| n.to_string()), Some(created));
    assert_eq!(theirs.ask("have_lock"), "True", "its bid must still be there");

    assert_eq!(theirs.ask("unlock"), "None");
    drop(ours.try_lock().unwrap());
}

#[test]
fn python_sees_our_holder() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let ours = open(&scratch);
    let mut theirs = Puppet::python(python, &scratch);
    keeps_python_out(&mut theirs, ours.try_lock().unwrap());
    assert_eq!(theirs.ask("in_use"), "False");
    assert_eq!(theirs.ask("lock"), "True");
}

/// Our holder, which then gives the lock back.
fn keeps_python_out(theirs: &mut Puppet, guard: Guard) {
    assert_eq!(theirs.ask("lock"), "False");
    assert_eq!(theirs.ask("in_use"), "True");
    guard.holds().unwrap();
    guard.unlock().unwrap();
}

/// A Python peer tolerates nobody, and nobody tolerates it.
#[test]
fn python_and_claimants_of_several_slots_exclude_each_other() {
    let Some(python) = python() else { return };
    for slots in [Slots::AtMost(3), Slots::Any] {
        let scratch = Scratch::new();
        let ours = [open(&scratch), open(&scratch)];
        ours.iter().for_each(|ours| ours.set_slots(slots).unwrap());
        let mut theirs = Puppet::python(python, &scratch);
        assert_eq!(theirs.ask("lock"), "True");
        for ours in &ours {
            let busy = ours.try_lock().unwrap_err();
            assert_eq!(busy.kind(), ErrorKind::Busy);
            assert!(busy.to_string().contains(&format!("PID {}", theirs.pid())), "{busy}");
        }
        assert_eq!(theirs.ask("have_lock"), "True", "its bid must still be there");
        assert_eq!(theirs.ask("unlock"), "None");
        let guards = ours.each_ref().map(|ours| ours.try_lock().unwrap());
        for guard in guards {
            keeps_python_out(&mut theirs, guard);
        }
        assert_eq!(theirs.ask("in_use"), "False");
        assert_eq!(theirs.ask("lock"), "True");
        assert_eq!(theirs.ask("unlock"), "None");
    }
}

#[test]
fn we_reap_a_dead_python_peer() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let ours = open(&scratch);
    let mut theirs = Puppet::python(python, &scratch);
    assert_eq!(theirs.ask("lock"), "True");
    assert!(ours.try_lock().is_err());
    theirs.kill();
    assert_eq!(contents(&scratch).0.iter().filter(|name| name.ends_with(".json")).count(), 1);
    drop(ours.try_lock().unwrap());
    drop(ours);
    assert_eq!(unexplained(&scratch), None);
}

#[test]
fn python_reaps_our_dead_claimant() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let program = claimant();
    let mut ours = Puppet::start(Command::new(&program.0).arg("hold").arg(&*scratch));
    assert_eq!(ours.hear(), "held");
    let mut theirs = Puppet::python(python, &scratch);
    assert_eq!(theirs.ask("lock"), "False");
    ours.kill();
    assert_eq!(theirs.ask("in_use"), "False");
    assert_eq!(theirs.ask("lock"), "True");
    assert_eq!(theirs.ask("unlock"), "None");
    // We sweep what the Python package does not know.
    open(&scratch).reap_stale().unwrap();
    assert_eq!(unexplained(&scratch), None);
}

#[test]
fn our_created_is_the_number_that_psutil_gives() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let mut theirs = Puppet::python(python, &scratch);
    let program = claimant();
    // Several process starts, because a wrongly rounded number is right most of the time.
    for _ in 0..20 {
        let mut ours = Puppet::start(Command::new(&program.0).arg("hold").arg(&*scratch));
        assert_eq!(ours.hear(), "held");
        let bids = open(&scratch).bids().unwrap();
        let created = bids[0].created.map(|n| n.to_string());
        assert_eq!(created, Some(theirs.ask(&format!("created {}", ours.pid()))));
        ours.kill();
        open(&scratch).reap_stale().unwrap();
    }
}

#[test]
fn three_of_our_processes_race_three_python_peers() {
    const SECONDS: &str = "8";
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let (folder, inside, count) = (scratch.join("lock"), scratch.join("inside"), scratch.join("count"));
    fs::create_dir(&folder).unwrap();
    fs::write(&count, "0").unwrap();
    let program = claimant();
    let start = |mut command: Command| {
        command.arg("race").args([&folder, &inside, &count]).arg(SECONDS);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ours: Vec<Child> = (0..3).map(|_| start(guarded(&program.0))).collect();
    let theirs: Vec<Child> = (0..3)
        .map(|_| {
            let mut command = guarded(python);
            command.arg(peer());
            start(command)
        })
        .collect();
    let end = |children: Vec<Child>| -> Vec<Output> {
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
    };
    let (ours, theirs) = (end(ours), end(theirs));

    // No two claimants were inside at once, because each would have ended with an error.
    for output in ours.iter().chain(&theirs) {
        assert!(output.status.success(), "{}: {}", output.status, said(output));
    }
    let locks = |output: &Output| -> u64 {
        let text = said(output);
        let number = text.lines().find_map(|line| line.strip_prefix("locks "));
        number.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    };
    let (our_locks, their_locks): (Vec<u64>, Vec<u64>) =
        (ours.iter().map(locks).collect(), theirs.iter().map(locks).collect());
    let errors: Vec<String> =
        theirs.iter().flat_map(|o| said(o).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let errors: Vec<&String> = errors.iter().filter(|line| line.starts_with("error ")).collect();
    let of_kind = |kind: &str| errors.iter().filter(|line| line.split(' ').nth(1) == Some(kind)).count();
    println!(
        "locks of ours {our_locks:?}, of Python's {their_locks:?}; in Python {} JSONDecodeErrors, {} FileNotFoundErrors",
        of_kind("JSONDecodeError"),
        of_kind("FileNotFoundError")
    );

    // No update was lost.
    let sum: u64 = our_locks.iter().chain(&their_locks).sum();
    assert_eq!(fs::read_to_string(&count).unwrap(), sum.to_string());
    assert!(our_locks.iter().all(|&locks| locks >= 5), "one of ours was starved: {our_locks:?}");
    // A bid of ours is complete or missing. Our bids are UUIDs of version 7, those of the Python package are of version
    // 4.
    let ours_unread: Vec<_> = errors.iter().filter(|line| is_unread(line) && version(line) != Some('4')).collect();
    assert!(ours_unread.is_empty(), "Python could not read bids of ours: {ours_unread:?}");

    open(&folder).reap_stale().unwrap();
    assert_eq!(unexplained(&folder), None);
}

fn is_unread(error: &str) -> bool {
    error.starts_with("error JSONDecodeError ")
}

/// The version of the UUID in `error KIND NAME CONTENT`.
fn version(error: &str) -> Option<char> {
    error.split(' ').nth(2)?.chars().nth(14)
}
