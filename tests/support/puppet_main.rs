//! A puppet in Rust: it does with the Rust interface what puppet.c does with the C interface. puppet.c explains the
//! words.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lockfolder::{BidState, Error, ErrorKind, Guard, LockFolder, OpenOptions, PendingLock, Slots};

/// What neither std nor the library offers. All of it is in libc, which std links anyway.
mod c {
    extern "C" {
        pub fn fork() -> i32;
        pub fn dup2(from: i32, to: i32) -> i32;
        pub fn umask(mask: u32) -> u32;
        pub fn setgroups(size: usize, list: *const u32) -> i32;
        pub fn setresgid(real: u32, effective: u32, saved: u32) -> i32;
        pub fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
        pub fn setns(fd: i32, kind: i32) -> i32;
        pub fn unshare(what: i32) -> i32;
        pub fn close(fd: i32) -> i32;
        pub fn fcntl(fd: i32, command: i32, argument: i32) -> i32;
        pub fn prctl(what: i32, ...) -> i32;
    }

    /// `struct sock_fprog` of linux/filter.h.
    #[repr(C)]
    pub struct Program {
        pub length: u16,
        pub filter: *const Filter,
    }

    /// `struct sock_filter`.
    #[repr(C)]
    pub struct Filter(pub u16, pub u8, pub u8, pub u32);
}

#[derive(Default)]
struct Puppet {
    handles: Mutex<BTreeMap<String, Arc<LockFolder>>>,
    /// The guard of each handle that was locked, until it is unlocked. C has no guard, and asks the handle.
    guards: Mutex<BTreeMap<String, Guard>>,
    /// The wait of each handle that was begun.
    pending: Mutex<BTreeMap<String, PendingLock>>,
    /// The last failure on each handle. That of `open` is under "-".
    failures: Mutex<BTreeMap<String, Error>>,
    jobs: Mutex<BTreeMap<String, JoinHandle<String>>>,
}

fn main() {
    let puppet = Arc::new(Puppet::default());
    // Each line is read alone, so nothing is read ahead when a fork changes the files behind the descriptors.
    while let Some(Ok(line)) = std::io::stdin().lock().lines().next() {
        let answer = puppet.run(&line);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").and_then(|()| out.flush()).unwrap();
    }
}

impl Puppet {
    fn run(self: &Arc<Self>, line: &str) -> String {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        if name == "start" {
            let (job, line) = rest.split_once(' ').unwrap();
            let (me, line) = (Arc::clone(self), line.to_owned());
            let thread = std::thread::spawn(move || me.run(&line));
            self.jobs.lock().unwrap().insert(job.to_owned(), thread);
            return "LF_OK".into();
        }
        let words: Vec<OsString> = rest.split(' ').map(decode).collect();
        let text = |i: usize| words.get(i).and_then(|word| word.to_str()).unwrap_or("");
        let number = |i: usize| text(i).parse::<i64>().unwrap_or(0);
        let first = text(0);
        match name {
            "open" => {
                let opened = options(number(1) as u32).open(&words[2]);
                self.say(
                    "-",
                    opened.map(|folder| {
                        self.handles.lock().unwrap().insert(first.to_owned(), Arc::new(folder));
                        String::new()
                    }),
                )
            }
            "close" => {
                self.pending.lock().unwrap().remove(first);
                self.guards.lock().unwrap().remove(first);
                self.handles.lock().unwrap().remove(first);
                "LF_OK".into()
            }
            "lock" => self.lock(first, LockFolder::try_lock),
            "wait" | "patient" => {
                let timeout = u64::try_from(number(1)).ok().map(Duration::from_millis);
                self.lock(first, |folder| loop {
                    match timeout.map_or_else(|| folder.lock(), |timeout| folder.lock_timeout(timeout)) {
                        Err(error) if name == "patient" && error.kind() == ErrorKind::Busy => {}
                        done => return done,
                    }
                })
            }
            "begin" => {
                let timeout = u64::try_from(number(1)).ok().map(Duration::from_millis);
                self.ask(first, |folder| {
                    let pending = folder.begin_lock(timeout)?;
                    self.pending.lock().unwrap().insert(first.to_owned(), pending);
                    Ok(String::new())
                })
            }
            "step" => {
                let mut pending = self.pending.lock().unwrap();
                let stepped = pending.get_mut(first).map(PendingLock::step);
                if !matches!(stepped, Some(Ok(None))) {
                    pending.remove(first);
                }
                match stepped {
                    Some(Ok(None)) => "LF_PENDING".into(),
                    Some(Ok(Some(guard))) => self.lock(first, |_| Ok(guard)),
                    Some(Err(error)) => self.say(first, Err(error)),
                    None => "LF_ERR_INVALID".into(),
                }
            }
            "end" => {
                self.pending.lock().unwrap().remove(first);
                "LF_OK".into()
            }
            "is_due" => {
                let pending = self.pending.lock().unwrap();
                let due = pending[first].descriptor().expect("Linux has it");
                let mut fds = [rustix::event::PollFd::from_borrowed_fd(due, rustix::event::PollFlags::IN)];
                let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
                format!("LF_OK {}", rustix::event::poll(&mut fds, Some(&now)).unwrap())
            }
            "cancel" => self.call(first, |folder| folder.cancel()),
            "unlock" => self.unlock(first),
            "holds" => self.call(first, |folder| folder.holds()),
            "in_use" => self.ask(first, |folder| folder.in_use().map(|yes| u8::from(yes).to_string())),
            "reap" => self.ask(first, |folder| folder.reap_stale().map(|n| n.to_string())),
            "fence" => match self.guards.lock().unwrap().get(first) {
                Some(guard) => self.say(first, guard.fence().map(|n| n.to_string())),
                None => self.ask(first, held_by_none),
            },
            "grace" => self.call(first, |folder| folder.set_malformed_grace(Duration::from_millis(number(1) as u64))),
            "set_slots" => self.call(first, |folder| folder.set_slots(slots_of(number(1) as u32))),
            "set_lease" => self.call(first, |folder| folder.set_lease(Duration::from_millis(number(1) as u64))),
            "renew" => match self.guards.lock().unwrap().get(first) {
                Some(guard) => self.say(first, guard.renew().map(|()| String::new())),
                None => self.ask(first, held_by_none),
            },
            "valid_for" => match self.guards.lock().unwrap().get(first) {
                Some(guard) => {
                    let left = guard.valid_for().map(|left| left.map_or(-1, |left| left.as_millis() as i64));
                    self.say(first, left.map(|left| left.to_string()))
                }
                None => self.ask(first, held_by_none),
            },
            "is_lost" => self.ask(first, |folder| {
                let lost = folder.lost_signal()?.expect("Linux has it");
                let mut fds = [rustix::event::PollFd::new(&lost, rustix::event::PollFlags::IN)];
                let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
                Ok(rustix::event::poll(&mut fds, Some(&now)).unwrap().to_string())
            }),
            "spin" => self.ask(first, |folder| spin(folder, number(1), words.get(2))),
            "hog" => self.ask(first, |folder| hog(folder, number(1), Duration::from_micros(number(2) as u64))),
            "crowd" => match crowd(std::path::Path::new(&words[0]), number(1) as usize) {
                Ok(steps) => format!("LF_OK {steps}"),
                Err(error) => error.to_string(),
            },
            "bids" => self.ask(first, bids),
            "error" => {
                let text = self.failures.lock().unwrap().get(first).map_or(String::new(), Error::to_string);
                format!("LF_OK {}", encode(text.as_bytes()))
            }
            "code" => {
                format!("LF_OK {}", self.failures.lock().unwrap().get(first).and_then(Error::raw_os_error).unwrap_or(0))
            }
            "pid" => format!("LF_OK {}", std::process::id()),
            "join" => {
                let thread = self.jobs.lock().unwrap().remove(first).unwrap();
                thread.join().unwrap_or_else(|_| "panic".into())
            }
            "fork" => fork(&words[0], &words[1]),
            "spawn" => {
                #[allow(clippy::zombie_processes)] // the test that asked for it ends it
                let child = Command::new("sleep").arg("600").spawn().unwrap();
                format!("LF_OK {}", child.id())
            }
            "become" => become_user(number(0) as u32, number(if text(1).is_empty() { 0 } else { 1 }) as u32),
            "cd" => done(std::env::set_current_dir(&words[0])),
            "umask" => {
                // SAFETY: the call changes only the umask of this process.
                unsafe { c::umask(u32::from_str_radix(first, 8).unwrap()) };
                "LF_OK".into()
            }
            "enter" => done(enter(first)),
            "shift_children" => done(shift_children(first, text(1))),
            "chroot" => done(std::os::unix::fs::chroot(&words[0]).and_then(|()| std::env::set_current_dir("/"))),
            "no_kill" => done(forbid_kill()),
            "close_from" => {
                // SAFETY: the puppet has no descriptors of its own here. The library's descriptors are lost, which is the
                // purpose of this command.
                (number(0) as i32..1024).for_each(|fd| unsafe {
                    c::close(fd);
                });
                "LF_OK".into()
            }
            "reuse" => done(reuse(first)),
            "exec" => done(Err(Command::new("sleep").arg("600").exec())),
            _ => format!("unknown command {name}"),
        }
    }

    fn lock(&self, handle: &str, how: impl FnOnce(&LockFolder) -> Result<Guard, Error>) -> String {
        self.call(handle, |folder| {
            let guard = how(folder)?;
            // A guard whose unlock failed may be there from before. It is bound to its own bid, so its end harms no other
            // lock.
            self.guards.lock().unwrap().insert(handle.to_owned(), guard);
            Ok(())
        })
    }

    fn unlock(&self, handle: &str) -> String {
        let guard = self.guards.lock().unwrap().remove(handle);
        self.ask(handle, |folder| match guard {
            None => held_by_none(folder),
            Some(guard) => guard.unlock().map(|()| String::new()).map_err(|failed| {
                let error = failed.error().clone();
                self.guards.lock().unwrap().insert(handle.to_owned(), failed.into_guard());
                error
            }),
        })
    }

    fn call(&self, handle: &str, body: impl FnOnce(&LockFolder) -> Result<(), Error>) -> String {
        self.ask(handle, |folder| body(folder).map(|()| String::new()))
    }

    fn ask(&self, handle: &str, body: impl FnOnce(&LockFolder) -> Result<String, Error>) -> String {
        let folder = self.handles.lock().unwrap().get(handle).map(Arc::clone);
        self.say(handle, body(&folder.expect("an open handle")))
    }

    fn say(&self, handle: &str, result: Result<String, Error>) -> String {
        match result {
            Ok(data) => format!("LF_OK {data}").trim_end().to_owned(),
            Err(error) => {
                let kind = error.kind();
                self.failures.lock().unwrap().insert(handle.to_owned(), error);
                status(kind).to_owned()
            }
        }
    }
}

/// Waits on so many folders at once, in one thread with one epoll instance. It waits in vain for 3 s, and then each wait ends in one of
/// four ways. Answers how many steps it took in vain, and in how many seconds.
fn crowd(parent: &std::path::Path, count: usize) -> Result<String, Box<dyn std::error::Error>> {
    use rustix::event::epoll;
    let descriptors = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    std::fs::create_dir(parent)?;
    let before = descriptors()?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (mut guards, mut waits) = (Vec::new(), Vec::new());
    for number in 0..count {
        let path = parent.join(number.to_string());
        let folder = LockFolder::open(&path)?;
        guards.push(Some(LockFolder::open(&path)?.lock()?));
        let pending = folder.begin_lock((number % 4 == 1).then_some(Duration::from_secs(5)))?;
        let due = pending.descriptor().ok_or("no descriptor")?;
        epoll::add(&poller, due, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        waits.push(Some((folder, pending)));
    }
    let began = std::time::Instant::now();
    let (mut in_vain, mut ended) = (0, 0);
    let mut events = Vec::with_capacity(64);
    let tick = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let mut may_end = false;
    while ended < count {
        if !may_end && began.elapsed() > Duration::from_secs(3) {
            may_end = true;
            for number in 0..count {
                match (number % 4, &waits[number]) {
                    (0, _) => drop(guards[number].take()),
                    (2, Some((folder, _))) => folder.cancel()?,
                    (3, _) => {
                        waits[number] = None;
                        ended += 1;
                    }
                    _ => {} // its time will be over
                }
            }
        }
        events.clear();
        epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), Some(&tick))?;
        for event in &events {
            let number = event.data.u64() as usize;
            let Some((_, pending)) = &mut waits[number] else { continue };
            let outcome = match pending.step() {
                Ok(None) => {
                    in_vain += u32::from(!may_end);
                    continue;
                }
                Ok(Some(guard)) => guard.unlock().map(|()| None)?,
                Err(error) => Some(error.kind()),
            };
            if outcome != [None, Some(ErrorKind::Timeout), Some(ErrorKind::Cancelled)][number % 4] {
                return Err(format!("wait {number} ended with {outcome:?}").into());
            }
            waits[number] = None;
            ended += 1;
        }
    }
    drop((guards, waits, poller));
    let left = descriptors()?;
    // A handle keeps a watch for its next wait, and a closed handle keeps nothing.
    if left != before {
        return Err(format!("{before} descriptors became {left}").into());
    }
    Ok(format!("{in_vain} 3"))
}

/// Without a guard, only the handle can be asked. It says that it does not hold, or that we are a child.
fn held_by_none(folder: &LockFolder) -> Result<String, Error> {
    Err(folder.holds().expect_err("held, but by no guard"))
}

fn bids(folder: &LockFolder) -> Result<String, Error> {
    let bids = folder.bids()?.into_iter().map(|bid| {
        let state = match bid.state {
            BidState::Own => 0,
            BidState::Live => 1,
            BidState::Stale => 2,
            BidState::Unknown => 3,
            BidState::Malformed => 4,
            _ => 99,
        };
        let text = |text: Option<String>| text.map_or("%".into(), |text| encode(text.as_bytes()));
        let name = encode(bid.name.as_bytes());
        let (pid, created) = (bid.pid.unwrap_or(0), bid.created.unwrap_or(-1));
        format!("{name},{state},{pid},{created},{},{},{}", bid.age.as_millis(), text(bid.host), text(bid.command))
    });
    Ok(bids.collect::<Vec<_>>().join(" "))
}

fn spin(folder: &LockFolder, times: i64, witness: Option<&OsString>) -> Result<String, Error> {
    let mut had = 0;
    for _ in 0..times {
        match folder.try_lock() {
            Ok(guard) => {
                if let Some(witness) = witness {
                    let made = File::options().write(true).create_new(true).open(witness);
                    if let Err(e) = made.and_then(|_| std::fs::remove_file(witness)) {
                        return Ok(format!("VIOLATION {e}"));
                    }
                }
                guard.unlock().map(|()| had += 1)?;
            }
            Err(error) if error.kind() == ErrorKind::Busy => {}
            Err(error) => return Err(error),
        }
    }
    Ok(had.to_string())
}

fn hog(folder: &LockFolder, times: i64, work: Duration) -> Result<String, Error> {
    let (mut had, mut refused) = (0, 0);
    while had < times {
        match folder.try_lock() {
            Ok(guard) => {
                std::thread::sleep(work);
                had += 1;
                guard.unlock()?;
            }
            Err(error) if error.kind() == ErrorKind::Busy => refused += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(refused.to_string())
}

fn status(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => "LF_BUSY",
        ErrorKind::Timeout => "LF_TIMEOUT",
        ErrorKind::Cancelled => "LF_CANCELLED",
        ErrorKind::Invalid => "LF_ERR_INVALID",
        ErrorKind::NotHeld => "LF_ERR_NOT_HELD",
        ErrorKind::AlreadyHeld => "LF_ERR_ALREADY_HELD",
        ErrorKind::Lost => "LF_ERR_LOST",
        ErrorKind::Forked => "LF_ERR_FORKED",
        ErrorKind::Io => "LF_ERR_IO",
        ErrorKind::Unsafe => "LF_ERR_UNSAFE",
        ErrorKind::Unsupported => "LF_ERR_UNSUPPORTED",
        ErrorKind::Internal => "LF_ERR_INTERNAL",
        _ => "LF_UNKNOWN",
    }
}

fn options(flags: u32) -> OpenOptions {
    assert_eq!(flags & !15, 0, "the Rust interface has no way to say this");
    let mut options = LockFolder::options();
    options
        .create(flags & 1 == 0)
        .private(flags & 2 != 0)
        .trust_filesystem(flags & 4 != 0)
        .renew_in_thread(flags & 8 == 0);
    options
}

/// The child answers too, on the FIFOs whose paths it was given.
fn fork(from: &OsString, to: &OsString) -> String {
    // SAFETY: the puppet's own threads hold no lock that the child needs, and glibc takes care of its own locks.
    let pid = unsafe { c::fork() };
    if pid == 0 {
        let from = File::options().read(true).open(from).unwrap();
        let to = File::options().write(true).open(to).unwrap();
        // SAFETY: both descriptors are open, and nothing is buffered.
        unsafe {
            c::dup2(from.as_raw_fd(), 0);
            c::dup2(to.as_raw_fd(), 1);
        }
    }
    format!("LF_OK {pid}")
}

fn become_user(user: u32, group: u32) -> String {
    // SAFETY: plain system calls.
    let failed = unsafe {
        c::setgroups(0, std::ptr::null()) < 0
            || c::setresgid(group, group, group) < 0
            || c::setresuid(user, user, user) < 0
    };
    done(if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) })
}

/// Enters the namespace that a file of `/proc/PID/ns` names.
fn enter(file: &str) -> std::io::Result<()> {
    let file = std::fs::File::open(file)?;
    // SAFETY: an open descriptor.
    called(unsafe { c::setns(file.as_raw_fd(), 0) })
}

/// Our children will be in a time namespace of their own. We are not.
fn shift_children(seconds: &str, nanos: &str) -> std::io::Result<()> {
    const CLONE_NEWTIME: i32 = 0x80;
    // SAFETY: a plain system call.
    called(unsafe { c::unshare(CLONE_NEWTIME) })?;
    std::fs::write("/proc/self/timens_offsets", format!("boottime {seconds} {nanos}\n"))
}

/// All descriptors from 3 on are closed, and each number is that of an open file or folder now.
fn reuse(path: &str) -> std::io::Result<()> {
    let is_folder = std::fs::metadata(path)?.is_dir();
    let file = std::fs::File::options().append(!is_folder).read(true).open(path)?;
    let file = std::os::fd::IntoRawFd::into_raw_fd(file);
    for fd in (3..1024).filter(|fd| *fd != file) {
        // SAFETY: the library's descriptors are lost, which is the purpose of this command.
        unsafe {
            if c::fcntl(fd, 1, 0) >= 0 {
                // F_GETFD
                called(c::dup2(file, fd).min(0))?;
            }
        }
    }
    Ok(())
}

/// A sandbox in which kill(2) is EPERM.
fn forbid_kill() -> std::io::Result<()> {
    const KILL: u32 = if cfg!(target_arch = "x86_64") { 62 } else { 129 };
    const PR_SET_NO_NEW_PRIVS: i32 = 38;
    const PR_SET_SECCOMP: i32 = 22;
    const SECCOMP_MODE_FILTER: u64 = 2;
    const EPERM: u32 = 1;
    // Load the number of the call. If it is that of kill, return an error, else make the call.
    let filter = [
        c::Filter(0x20, 0, 0, 0),
        c::Filter(0x15, 0, 1, KILL),
        c::Filter(0x06, 0, 0, 0x0005_0000 | EPERM),
        c::Filter(0x06, 0, 0, 0x7fff_0000),
    ];
    let program = c::Program { length: 4, filter: filter.as_ptr() };
    // SAFETY: the arguments are as prctl(2) says, and the program outlives the calls.
    unsafe {
        called(c::prctl(PR_SET_NO_NEW_PRIVS, 1u64, 0u64, 0u64, 0u64))?;
        called(c::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program as *const c::Program))
    }
}

fn called(result: i32) -> std::io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn done(result: std::io::Result<()>) -> String {
    match result {
        Ok(()) => "LF_OK".into(),
        Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(0)),
    }
}

fn encode(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "%%".into();
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    bytes.iter().map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}

fn decode(word: &str) -> OsString {
    let (mut bytes, mut rest) = (Vec::new(), word);
    while let Some(first) = rest.chars().next() {
        let (byte, length) = match (first, rest.get(1..3)) {
            ('%', Some(hex)) => (u8::from_str_radix(hex, 16).unwrap(), 3),
            (plain, _) => (plain as u8, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    OsString::from_vec(bytes)
}

fn slots_of(number: u32) -> Slots {
    match number {
        0 => Slots::Any,
        1 => Slots::One,
        n => Slots::AtMost(n),
    }
}
