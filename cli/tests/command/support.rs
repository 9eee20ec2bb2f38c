//! Folders, processes and terminals of the tests.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, kill_process_group, Pid, Signal};

/// Ends a run that hangs, and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const OURS: &str = env!("CARGO_BIN_EXE_lockfolder");

/// `lockfolder`, ended by timeout(1) if it hangs. (`--foreground`: timeout makes no process group, and sends nothing to one.)
pub fn ours() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=5", &PATIENCE.as_secs().to_string(), OURS]);
    command
}

/// Runs it, and returns its status and what it said.
pub fn run(arguments: &[&str]) -> Output {
    ours().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The status as a shell sees it.
pub fn status(output: &Output) -> i32 {
    of_shell(output.status)
}

pub fn of_shell(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder for one test, deleted when the test ends.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lockfolder-command-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path); // left by a killed process that had our PID
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn lock(&self) -> String {
        self.path("lock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test, together with everything in its process group, which is its own.
pub struct Running {
    pub child: Child,
    lines: Receiver<String>,
    input: Option<ChildStdin>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let piped = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { input: child.stdin.take(), child, lines }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The next line that it prints. `None`: its output has ended.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it prints nothing"),
        }
    }

    pub fn expect(&self, line: &str) {
        assert_eq!(self.line().as_deref(), Some(line));
    }

    pub fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    pub fn end(mut self) -> ExitStatus {
        self.input = None;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
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
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// `lockfolder run FOLDER cat` holds for as long as its standard input is open.
pub struct Holder(pub Running);

impl Holder {
    pub fn new(folder: &str) -> Holder {
        Holder::with(folder, &[])
    }

    pub fn with(folder: &str, options: &[&str]) -> Holder {
        let mut command = Command::new(OURS);
        let mut holder = Running::start(command.arg("run").args(options).args([folder, "cat"]));
        holder.write("are you there?");
        holder.expect("are you there?");
        Holder(holder)
    }

    pub fn pid(&self) -> u32 {
        self.0.child.id()
    }

    pub fn leave(self) {
        assert_eq!(self.0.end().code(), Some(0));
    }
}

/// A field of `/proc/PID/status`.
pub fn stat(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

/// Whether the process has ended. Somebody may still have to reap it.
pub fn is_gone(pid: u32) -> bool {
    stat(pid, "State").chars().next().is_none_or(|state| state == 'Z')
}

/// Waits until claimants wait for the lock.
pub fn wait_for_waiters(folder: &str, count: usize) {
    wait_until("they wait", || {
        fs::read_dir(Path::new(folder).join(".lockfolder/queue")).is_ok_and(|queue| queue.count() == count)
    });
}

/// A C program of this folder, built once.
pub fn helper() -> String {
    static BUILT: Once = Once::new();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("counter-{}", std::process::id()));
    BUILT.call_once(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command/counter.c");
        let built = Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).status().unwrap();
        assert!(built.success());
    });
    program.to_str().unwrap().to_owned()
}

/// The shell code after which standard error is a full pipe without a reader.
pub const UNREAD: &str = "mkfifo err; exec 3<>err; timeout 1 cat /dev/zero >&3; exec 2>&3;";

/// The children of a process, as `/proc` lists them.
pub fn children(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

/// Reports what was not run. `scripts/test` shows it at its end, and fails under CI=true.
pub fn skip(what: &str) {
    eprintln!("SKIPPED: {what}");
    if let Some(list) = std::env::var_os("LOCKFOLDER_SKIPPED") {
        let mut list = fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "the command: {what}").unwrap();
    }
}
