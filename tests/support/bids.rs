//! Hand-made bids, of any owner.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Map, Value};

/// The name of a bid, from a word of at most 6 letters. The names sort as their words do, and after the names that
/// claimants make.
pub fn bid_name(word: &str) -> String {
    assert!(word.len() <= 6, "{word}");
    let digits: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("eeeeeeee-0000-4000-8000-{digits:0<12}.json")
}

/// A bid to be written. `of` tells the truth about a process. A test then changes what should be false.
#[derive(Clone)]
pub struct Bid(pub Map<String, Value>);

impl Bid {
    /// As the process itself would describe itself, if it is in our PID namespace.
    pub fn of(pid: u32) -> Bid {
        Bid::of_python(pid).with("START", start_of(pid)).with("BOOT", boot_id()).with("PIDNS", pid_namespace())
    }

    /// As the Python package would describe it.
    pub fn of_python(pid: u32) -> Bid {
        let ticks = rustix::param::clock_ticks_per_second();
        Bid(Map::new()).with("PID", pid).with("CREATED", boot_time() + start_of(pid) / ticks)
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Bid {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub fn without(mut self, key: &str) -> Bid {
        self.0.remove(key);
        self
    }

    pub fn number(&self, key: &str) -> i64 {
        self.0[key].as_i64().unwrap()
    }

    /// Posts the bid, and returns its path. The names sort in the order of the calls.
    pub fn post(&self, folder: &Path) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("00000000-0000-4000-8000-{number:012}.json"));
        let _ = std::fs::create_dir(folder);
        self.write(&path);
        path
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, Value::Object(self.0.clone()).to_string()).unwrap();
    }
}

/// The kernel's proof that the owner of a bid lives. It ends when this is dropped, also if another thread forks at that moment and the
/// child has a copy of the descriptor.
pub struct Proof(std::fs::File);

/// Gives the kernel's proof that the owner of this bid lives.
pub fn vouch_for(bid: &Path) -> Proof {
    let file = std::fs::File::options().read(true).write(true).open(bid).unwrap();
    change_lock(&file, libc::F_WRLCK as _).unwrap_or_else(|e| panic!("{}: {e}", bid.display()));
    Proof(file)
}

fn change_lock(file: &std::fs::File, to: libc::c_short) -> std::io::Result<()> {
    // SAFETY: a plain struct of integers, for which zero is a value; an open descriptor.
    let result = unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        lock.l_type = to;
        libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(file), libc::F_OFD_SETLK, &lock)
    };
    (result == 0).then_some(()).ok_or_else(std::io::Error::last_os_error)
}

impl Drop for Proof {
    fn drop(&mut self) {
        change_lock(&self.0, libc::F_UNLCK as _).unwrap();
    }
}

/// Field 22 of `/proc/PID/stat`.
pub fn start_of(pid: u32) -> u64 {
    start_in(&std::fs::read(format!("/proc/{pid}/stat")).unwrap())
}

/// The start in the content of a `/proc/PID/stat`.
pub fn start_in(stat: &[u8]) -> u64 {
    let stat = String::from_utf8_lossy(stat).into_owned();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_ascii_whitespace().nth(22 - 3).unwrap().parse().unwrap()
}

pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

pub fn pid_namespace() -> u64 {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
    link.to_str().unwrap().trim_start_matches("pid:[").trim_end_matches(']').parse().unwrap()
}

pub fn boot_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().trim().parse().unwrap()
}
