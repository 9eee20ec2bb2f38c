//! Drives the puppets. A puppet is a process of its own that does what it is told and answers.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, pidfd_send_signal, Pid, PidfdFlags, Signal};

use super::build::built;

/// The interface that a puppet uses, of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    C,
    Rust,
    /// In C, and each wait is that of an event loop.
    Loop,
}

/// Ends a test that hangs. On a machine of any speed, nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Puppet {
    /// The process that we started: the puppet, or the program that started it. None: the puppet is the child of another
    /// process.
    child: Option<Child>,
    pid: u32,
    pidfd: OwnedFd,
    to: File,
    from: File,
}

/// The answer of a puppet: a status, and data if it is `LF_OK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(String);

impl Answer {
    pub fn status(&self) -> &str {
        self.0.split(' ').next().unwrap()
    }

    /// The words after the status.
    pub fn data(&self) -> Vec<&str> {
        self.0.split(' ').skip(1).collect()
    }

    #[track_caller]
    pub fn number(&self) -> u64 {
        assert_eq!(self.status(), "LF_OK", "{self:?}");
        self.data()[0].parse().unwrap()
    }

    /// The first word of data, as text.
    #[track_caller]
    pub fn text(&self) -> String {
        self.text_at(0)
    }

    #[track_caller]
    pub fn text_at(&self, index: usize) -> String {
        let data = self.data();
        let word = data.get(index).unwrap_or_else(|| panic!("no word {index} in {self:?}"));
        decode(word).to_string_lossy().into_owned()
    }
}

impl PartialEq<str> for Answer {
    fn eq(&self, status: &str) -> bool {
        self.status() == status
    }
}

impl PartialEq<&str> for Answer {
    fn eq(&self, status: &&str) -> bool {
        self.status() == *status
    }
}

/// A bid as `lf_bids` returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: OsString,
    pub state: &'static str,
    pub pid: i64,
    pub created: i64,
    pub age_ms: i64,
    pub host: Option<String>,
    pub command: Option<String>,
}

impl Puppet {
    pub fn new(kind: Kind) -> Puppet {
        Puppet::behind(&[], kind)
    }

    /// A puppet that has opened `folder` as handle 0.
    #[track_caller]
    pub fn at(kind: Kind, folder: &Path) -> Puppet {
        let mut puppet = Puppet::new(kind);
        puppet.open(0, folder);
        puppet
    }

    /// A puppet started by another program, such as `["unshare", "--pid", "--fork"]`. A shell gets it as `"$@"`.
    pub fn behind(before: &[&str], kind: Kind) -> Puppet {
        // The orphans of a puppet become our children. Else they would go to a process that may never reap them.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let program = match kind {
            Kind::C | Kind::Loop => &built().c,
            Kind::Rust => &built().rust,
        };
        let mut words = before.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        if kind == Kind::Loop {
            command.env("LOCKFOLDER_PUPPET_LOOPS", "1");
        }
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (to, from) = (File::from(OwnedFd::from(to)), File::from(OwnedFd::from(from)));
        let pid = child.id();
        let mut puppet = Puppet { pidfd: pidfd(pid), child: Some(child), pid, to, from };
        if !before.is_empty() {
            puppet.ask("pid"); // the puppet runs now, so the program that forks it has forked
            puppet.pid = last_descendant(pid);
            puppet.pidfd = pidfd(puppet.pid);
        }
        puppet
    }

    /// Its PID, in our PID namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The number of times that its threads went to sleep by themselves.
    pub fn sleeps(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let of_one = |thread: std::fs::DirEntry| {
            let status = std::fs::read_to_string(thread.path().join("status")).unwrap();
            let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            switches.unwrap().trim().parse::<u64>().unwrap()
        };
        threads.map(|thread| of_one(thread.unwrap())).sum()
    }

    /// Tells it something, and returns the answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Answer {
        self.tell(command);
        self.hear()
    }

    /// Tells it something. The answer is read later.
    #[track_caller]
    pub fn tell(&mut self, command: &str) {
        // In one write, so that the puppet reads it as a whole or not at all.
        if let Err(e) = self.to.write_all(format!("{command}\n").as_bytes()) {
            panic!("puppet {} does not listen to {command:?}: {e}", self.pid);
        }
    }

    #[track_caller]
    pub fn hear(&mut self) -> Answer {
        let mut line = Vec::new();
        let mut byte = [0; 4096];
        let end = Instant::now() + PATIENCE;
        while line.last() != Some(&b'\n') {
            assert!(readable(&self.from, end), "puppet {} does not answer", self.pid);
            match self.from.read(&mut byte).unwrap() {
                0 => panic!("puppet {} died: {:?}", self.pid, self.child.as_mut().map(Child::wait)),
                n => line.extend_from_slice(&byte[..n]),
            }
        }
        line.pop();
        Answer(String::from_utf8(line).unwrap())
    }

    /// True if an answer is there.
    pub fn has_answered(&self) -> bool {
        readable(&self.from, Instant::now())
    }

    /// Asks, and insists on `LF_OK`.
    #[track_caller]
    pub fn must(&mut self, command: &str) -> Answer {
        let answer = self.ask(command);
        if answer != "LF_OK" {
            let why = self.ask("error 0");
            panic!("{command}: {answer:?}; the last message of handle 0: {}", why.text());
        }
        answer
    }

    #[track_caller]
    pub fn open(&mut self, handle: u32, folder: &Path) {
        let answer = self.ask(&format!("open {handle} 0 {}", encode(folder)));
        assert_eq!(answer, "LF_OK", "{}", self.why_not_opened());
    }

    /// `lf_open`, with flags. It may fail.
    #[track_caller]
    pub fn try_open(&mut self, handle: u32, flags: u32, folder: &Path) -> Answer {
        self.ask(&format!("open {handle} {flags} {}", encode(folder)))
    }

    #[track_caller]
    pub fn why_not_opened(&mut self) -> String {
        self.ask("error -").text()
    }

    /// `lf_error_message`.
    #[track_caller]
    pub fn why(&mut self, handle: u32) -> String {
        self.ask(&format!("error {handle}")).text()
    }

    /// `lf_error_code`.
    #[track_caller]
    pub fn code(&mut self, handle: u32) -> i32 {
        self.ask(&format!("code {handle}")).number() as i32
    }

    #[track_caller]
    pub fn bids(&mut self, handle: u32) -> Vec<Seen> {
        let answer = self.ask(&format!("bids {handle}"));
        assert_eq!(answer, "LF_OK");
        answer.data().into_iter().map(Seen::parse).collect()
    }

    /// Forks. The child is a puppet too, with the same handles.
    #[track_caller]
    pub fn fork(&mut self) -> Puppet {
        let fifos = super::Scratch::shm();
        let (to, from) = (fifos.join("to"), fifos.join("from"));
        for fifo in [&to, &from] {
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        // Neither open waits for the other end of the FIFO.
        let from_child = std::fs::OpenOptions::new().read(true).custom_flags(0o4000).open(&from).unwrap(); // O_NONBLOCK
        let to_child = std::fs::OpenOptions::new().read(true).write(true).open(&to).unwrap();
        let pid = self.must(&format!("fork {} {}", encode(&to), encode(&from))).number() as u32;
        let mut child = Puppet { child: None, pid, pidfd: pidfd(pid), to: to_child, from: from_child };
        assert_eq!(child.hear(), "LF_OK");
        child
    }

    /// Waits for the lock in a thread of its own: job 1. Returns when the wait is under way.
    #[track_caller]
    pub fn start_to_wait(&mut self, handle: u32, timeout_ms: i64) {
        self.must(&format!("start 1 patient {handle} {timeout_ms}"));
        // While the wait is under way, a lock call of another thread is refused without a look at the folder.
        wait_until(|| self.ask(&format!("lock {handle}")) == "LF_BUSY" && self.why(handle).contains("thread"));
    }

    /// Starts a program that runs longer than any test.
    #[track_caller]
    pub fn spawn(&mut self, how: &str) -> Orphan {
        let program = Orphan(self.must(&format!("spawn {how}")).number() as u32);
        // The call returns a moment before exec(3) has closed the last descriptor.
        wait_until(|| std::fs::read_to_string(format!("/proc/{}/comm", program.0)).unwrap() == "sleep\n");
        program
    }

    /// SIGKILL. Returns when the puppet has exited. No process has reaped it then.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.wait_for_exit();
    }

    pub fn wait_for_exit(&self) {
        assert!(readable(&self.pidfd, Instant::now() + PATIENCE), "puppet {} does not die", self.pid);
    }

    /// SIGKILL, and reaps the puppet: then its PID is free.
    pub fn kill_and_reap(mut self) {
        self.end();
    }

    /// SIGSTOP. Returns when the puppet has stopped.
    pub fn stop(&self) {
        pidfd_send_signal(&self.pidfd, Signal::STOP).unwrap();
        wait_until(|| state_of(self.pid) == Some('T'));
    }

    pub fn go_on(&self) {
        pidfd_send_signal(&self.pidfd, Signal::CONT).unwrap();
    }

    fn end(&mut self) {
        self.kill();
        match &mut self.child {
            Some(child) if child.id() == self.pid => drop(child.wait()),
            Some(starter) => {
                // The starter ends by itself when its child has ended, unless it is a program of another kind.
                let _ = starter.kill();
                let _ = starter.wait();
                reap_orphan(self.pid); // unless the starter did that
            }
            None => reap_orphan(self.pid),
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that a puppet started. It ends with the test.
pub struct Orphan(pub u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_raw(self.0 as i32).unwrap(), Signal::KILL);
        reap_orphan(self.0);
    }
}

impl Seen {
    fn parse(word: &str) -> Seen {
        let parts: Vec<&str> = word.split(',').collect();
        let number = |i: usize| parts[i].parse::<i64>().unwrap();
        let text = |i: usize| (parts[i] != "%").then(|| decode(parts[i]).to_string_lossy().into_owned());
        let states = ["OWN", "LIVE", "STALE", "UNKNOWN", "MALFORMED"];
        let (name, state) = (decode(parts[0]), states[number(1) as usize]);
        Seen { name, state, pid: number(2), created: number(3), age_ms: number(4), host: text(5), command: text(6) }
    }
}

/// Looks again and again until the condition is true.
#[track_caller]
pub fn wait_until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "it never came to be");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The letter of the state in `/proc/PID/stat`; `None`: there is no such process.
pub fn state_of(pid: u32) -> Option<char> {
    stat_fields(pid)?.first()?.chars().next()
}

fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

fn last_descendant(mut pid: u32) -> u32 {
    let mut children = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Some(child) = entry.unwrap().file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat_fields(child).and_then(|fields| fields.get(1)?.parse::<u32>().ok()) {
            children.insert(parent, child);
        }
    }
    while let Some(&child) = children.get(&pid) {
        pid = child;
    }
    pid
}

fn pidfd(pid: u32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Waits for a process that was the child of another process, and becomes ours when that process is gone. Before that, it is
/// left to its parent.
fn reap_orphan(pid: u32) {
    let _ = rustix::process::waitpid(Pid::from_raw(pid as i32), rustix::process::WaitOptions::empty());
}

fn readable(fd: impl rustix::fd::AsFd, end: Instant) -> bool {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(n) => return n > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("poll: {e}"),
        }
    }
}

pub fn encode(path: impl AsRef<OsStr>) -> String {
    let bytes = path.as_ref().as_bytes();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    bytes.iter().map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}

/// "%" means no text, and "%%" an empty text. Here both become empty.
fn decode(word: &str) -> OsString {
    let (mut bytes, mut rest) = (Vec::new(), if word.starts_with("%%") { "" } else { word });
    while let Some(first) = rest.chars().next() {
        let (byte, length) = match (first, rest.get(1..3)) {
            ('%', Some(hex)) => (u8::from_str_radix(hex, 16).unwrap(), 3),
            ('%', None) => break,
            (plain, _) => (plain as u8, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    OsString::from_vec(bytes)
}
