//! The programs of `examples-c/`, unchanged: built by `make examples`, and run as real processes.

mod statuses_and_signals;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, kill_process_group, Pid, Signal};

/// Names of hand-made bids.
const DEAD: &str = "eeeeeeee-0000-4000-8000-00000000000a.json";
const ODD: &str = "eeeeeeee-0000-4000-8000-00000000000b.json";
const OTHER: &str = "eeeeeeee-0000-4000-8000-00000000000c.json";

/// Ends a run that hangs, and measures nothing.
const PATIENCE: Duration = Duration::from_secs(120);

const PASSED_ON: [Signal; 6] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

fn program(name: &str) -> Command {
    static BUILT: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    BUILT.call_once(|| {
        let made = Command::new("make").arg("examples").current_dir(root).output().expect("make can be run");
        assert!(made.status.success(), "make examples failed:\n{}", String::from_utf8_lossy(&made.stderr));
    });
    Command::new(root.join("target/examples-c").join(name))
}

/// The same, ended by timeout(1) if it hangs.
fn bounded(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &PATIENCE.as_secs().to_string()]).arg(program(name).get_program());
    command
}

/// A folder for one test, deleted when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        Scratch::under(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn under(parent: &Path) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lockfolder-examples-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        let _ = fs::remove_dir_all(&path); // left by a killed process that had our PID
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test, together with everything that it started. It has a process group of its own, as
/// a shell would give it, so that it can be suspended.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.process_group(0).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn stat(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    }

    fn wait_until_it_catches(&self, signal: Signal) {
        let bit = 1 << (signal.as_raw() - 1);
        wait_until("it catches the signal", || {
            u64::from_str_radix(&self.stat("SigCgt"), 16).is_ok_and(|caught| caught & bit != 0)
        });
    }

    fn end(mut self) -> std::process::ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After the process is reaped, another process may get its PID.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// `lockrun FOLDER cat` holds as long as its standard input is open.
struct Holder {
    lockrun: Running,
    input: ChildStdin,
    output: Lines,
}

impl Holder {
    fn new(folder: &Path) -> Holder {
        let mut command = program("lockrun");
        command.arg(folder).arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut lockrun = Running::start(&mut command);
        let (input, output) = (lockrun.0.stdin.take().unwrap(), Lines::of(&mut lockrun.0));
        let mut holder = Holder { lockrun, input, output };
        holder.echo();
        holder
    }

    /// The command runs, so the lock is held.
    fn echo(&mut self) {
        self.input.write_all(b"are you there?\n").unwrap();
        assert_eq!(self.output.next().as_deref(), Some("are you there?"));
    }

    fn leave(self) {
        drop(self.input);
        assert_eq!(self.lockrun.end().code(), Some(0));
    }
}

/// The lines that a process prints.
struct Lines(Receiver<String>);

impl Lines {
    fn of(child: &mut Child) -> Lines {
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Lines(receiver)
    }

    /// `None`: the output has ended.
    fn next(&self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it prints nothing"),
        }
    }
}

fn lockrun(arguments: &[&str], folder: &Path, command: &[&str]) -> Output {
    bounded("lockrun").args(arguments).arg(folder).args(command).output().unwrap()
}

fn lockls(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output = bounded("lockls").args(arguments).arg(folder).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn bids_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "json")).collect()
}

#[test]
fn hello_takes_the_lock_and_gives_it_back() {
    let scratch = Scratch::new();
    let output = bounded("hello").arg(scratch.lock()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lockls(&[], &scratch.lock()), (Some(1), String::new()));

    let output = bounded("hello").arg(scratch.0.join("missing/lock")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing/lock"), "{output:?}");
}

#[test]
fn lockls_tells_who_is_there() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    assert_eq!(lockls(&[], &lock), (Some(2), String::new()), "a missing folder");
    assert!(!lock.exists(), "lockls made the folder");

    // A holder is killed, and leaves its bid.
    let dead = Holder::new(&lock);
    dead.lockrun.signal(Signal::KILL);
    let dead_pid = dead.lockrun.0.id();
    dead.lockrun.end();
    let (status, table) = lockls(&[], &lock);
    assert_eq!((status, table.lines().count()), (Some(1), 2), "only a stale bid: {table}");
    let stale = fs::read(&bids_in(&lock)[0]).unwrap();

    // The next holder reaps that bid. The test puts it back, beside a bid that is cut off, and one with control
    // characters for the terminal.
    let live = Holder::new(&lock);
    assert_eq!(bids_in(&lock).len(), 1);
    fs::write(lock.join(DEAD), stale).unwrap();
    let odd = lock.join(ODD);
    fs::write(&odd, "").unwrap();
    let other_host = r#"{"PID": 77, "BOOT": "elsewhere", "HOST": "host\u001b[31m\n", "COMMAND": "a\\b\u009b"}"#;
    fs::write(lock.join(OTHER), other_host).unwrap();

    let (status, table) = lockls(&[], &lock);
    assert_eq!(status, Some(0), "{table}");
    assert!(table.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{table:?}");
    let row = |name: &str| -> Vec<&str> {
        table
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name}: {table}"))
            .split_whitespace()
            .collect()
    };
    assert_eq!(row("STATE"), ["STATE", "PID", "COMMAND", "HOST", "AGE", "NAME"]);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(
        row(&live.lockrun.0.id().to_string())[..4],
        ["live", &live.lockrun.0.id().to_string(), "lockrun", host.trim()]
    );
    assert_eq!(row(DEAD)[..3], ["stale", &dead_pid.to_string(), "lockrun"]);
    assert_eq!(row(ODD)[..4], ["malformed", "-", "-", "-"]);
    assert_eq!(row(OTHER)[1..4], ["77", r"a\\b\xc2\x9b", r"host\x1b[31m\x0a"]);
    assert_eq!(lockls(&["-q"], &lock), (Some(0), String::new()));

    // A bid of another boot on a local filesystem. Its owner is dead too.
    let (status, reaped) = lockls(&["--reap"], &lock);
    assert_eq!(status, Some(0));
    let is_other_stale = row(OTHER)[0] == "stale";
    assert!(
        reaped.starts_with(if is_other_stale { "reaped 2 stale bids\n" } else { "reaped 1 stale bid\n" }),
        "{reaped}"
    );
    assert!(!lock.join(DEAD).exists() && odd.exists());

    live.leave();
    assert_eq!(lockls(&["-q"], &lock).0, Some(0), "what can't be read counts as live");
    fs::remove_file(odd).unwrap();
    let _ = fs::remove_file(lock.join(OTHER));
    assert_eq!(lockls(&["-r"], &lock), (Some(1), "reaped 0 stale bids\n".to_owned()));
    assert_eq!(bounded("lockls").output().unwrap().status.code(), Some(2), "no folder given");
}

fn race(arguments: &[&str], scratch: &Scratch) -> (Option<i32>, String) {
    let output = bounded("race").args(arguments).arg(scratch.lock()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    eprintln!("{text}");
    (output.status.code(), text)
}

/// The number at the beginning of the line that begins with `title`, and that of its second part.
fn numbers(report: &str, title: &str) -> (u64, u64) {
    let line =
        report.lines().find_map(|line| line.strip_prefix(title)).unwrap_or_else(|| panic!("no {title}: {report}"));
    let mut parts = line.split(',').map(|part| part.split_whitespace().next().unwrap().parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// 8 processes, 20 SIGKILLs a second, 8 seconds.
fn race_with_kills(scratch: &Scratch) {
    let picture = scratch.0.join("race.svg");
    let arguments = ["-p", "8", "-s", "8", "-k", "20", "--svg", picture.to_str().unwrap()];
    let (status, report) = race(&arguments, scratch);
    assert_eq!(status, Some(0), "{report}");
    assert!(report.contains("verdict     good"), "{report}");
    assert_eq!(numbers(&report, "violations"), (0, 0));
    assert!(numbers(&report, "killed").0 > 0, "no process was killed: {report}");
    // The count may be one more than was reported, if the last process inside was killed just before its report.
    let (in_ledger, reported) = numbers(&report, "updates");
    assert!(in_ledger > 0 && (in_ledger == reported || in_ledger == reported + 1), "{report}");

    // Only the counter of the fencing tokens is left, with the last value that race saw.
    let left: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 2, "a lock folder and a picture: {left:?}");
    let left: Vec<_> = fs::read_dir(scratch.lock()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lockfolder"]);
    let left: Vec<_> =
        fs::read_dir(scratch.lock().join(".lockfolder")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 1 && left[0].to_string_lossy().starts_with("fence-"), "{left:?}");

    let picture = fs::read_to_string(picture).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n") && picture.len() < 150_000);
}

#[test]
fn a_race_with_kills_on_disk() {
    race_with_kills(&Scratch::new());
}

#[test]
fn a_race_with_kills_in_memory() {
    const TMPFS: i128 = 0x0102_1994;
    let shm = Path::new("/dev/shm");
    if !rustix::fs::statfs(shm).is_ok_and(|stat| i128::from(stat.f_type) == TMPFS) {
        return skip("a race on tmpfs: /dev/shm is none");
    }
    race_with_kills(&Scratch::under(shm));
}

#[test]
fn a_race_of_those_who_try_again_and_again() {
    // So many holders are killed that one is killed inside even on a very slow machine.
    let (status, report) = race(&["-s", "3", "-k", "20", "--kill-holders", "30", "--try"], &Scratch::new());
    assert_eq!(status, Some(0), "{report}");
    assert!(numbers(&report, "killed").1 > 0, "no process was killed inside: {report}");
}

/// The verdict can be bad: both witnesses see it when the lock is skipped.
#[test]
fn a_race_without_the_lock_is_a_violation() {
    let (status, report) = race(&["-s", "2", "--sabotage"], &Scratch::new());
    assert_eq!(status, Some(1), "{report}");
    assert!(report.contains("verdict     VIOLATED"), "{report}");
    let (by_referee, in_ledger) = numbers(&report, "violations");
    assert!(by_referee > 0 && in_ledger > 0, "{report}");
}

/// No invalid access and no leak, in any of the programs and in the library that they use.
#[test]
fn all_are_clean_under_valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return skip("the examples under valgrind: there is none");
    }
    let scratch = Scratch::new();
    let lock = scratch.lock();
    let lock = lock.to_str().unwrap();
    let holder = Holder::new(&scratch.0.join("held"));
    let held = scratch.0.join("held");
    let held = held.to_str().unwrap();
    for (name, arguments, status) in [
        ("hello", &[lock][..], 0),
        ("lockrun", &[lock, "sh", "-c", "exit 4"], 4),
        ("lockrun", &["-w", "0.1", held, "true"], 1),
        ("lockls", &[held], 0),
        ("lockls", &["--reap", lock], 1),
        (
            "race",
            &["-p", "3", "-s", "3", "-k", "1", "--kill-holders", "5", "--work", "20", "--svg", "/dev/null", lock],
            0,
        ),
    ] {
        let mut valgrind = Command::new("timeout");
        valgrind.args(["--kill-after=5", "300", "valgrind"]).args([
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect",
        ]);
        let output = valgrind.arg(program(name).get_program()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{name} {arguments:?}: {said}");
        assert!(!said.contains("== "), "{name} {arguments:?}: {said}");
    }
    holder.leave();
}

/// Reports what was not run. `scripts/test` shows it at its end, and fails under CI=true.
fn skip(what: &str) {
    eprintln!("SKIPPED: {what}");
    if let Some(list) = std::env::var_os("LOCKFOLDER_SKIPPED") {
        let mut list = OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "{what}").unwrap();
    }
}
