//! A user that may only read the folder locks the files that the library's proof of life consists of: bids and claims. This
//! neither keeps a dead container's bid alive nor keeps a user from making a claim.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::c::trace::{At, Tracer};
use crate::support::containers::contained;
use crate::support::users::User;
use crate::support::{both, namespaces_or_skip, set_mode, Kind, Puppet, Scratch};

both!(a_reader_keeps_no_dead_container_alive, a_reader_robs_no_live_container);

/// This user may list and read, and may do nothing else.
const READER: User = User { id: 47_150, group: 47_150 };

/// Linux's numbers, see fcntl(2).
mod fcntl {
    pub const F_SETLEASE: i32 = 1024;
    pub const F_OFD_SETLK: i32 = 37;
    pub const F_SETLK: i32 = 6;
    pub const F_RDLCK: i16 = 0;

    #[repr(C)]
    pub struct Flock {
        pub kind: i16,
        pub whence: i16,
        pub start: i64,
        pub length: i64,
        pub pid: i32,
    }

    extern "C" {
        pub fn fcntl(fd: i32, command: i32, ...) -> i32;
        pub fn flock(fd: i32, how: i32) -> i32;
    }
}

/// A way to lock a file that is open for reading. Returns whether the lock was granted.
type Lock = (&'static str, fn(&File) -> bool);

fn record_lock(file: &File, command: i32) -> bool {
    let lock = fcntl::Flock { kind: fcntl::F_RDLCK, whence: 0, start: 0, length: 0, pid: 0 };
    // SAFETY: the call only reads the lock.
    unsafe { fcntl::fcntl(file.as_raw_fd(), command, &lock) == 0 }
}

fn flock(file: &File, how: i32) -> bool {
    // SAFETY: a plain system call.
    unsafe { fcntl::flock(file.as_raw_fd(), how | 4) == 0 } // LOCK_NB
}

const LOCKS: [Lock; 5] = [
    ("flock, shared", |file| flock(file, 1)),
    ("flock, exclusive", |file| flock(file, 2)),
    ("an open file description's read lock", |file| record_lock(file, fcntl::F_OFD_SETLK)),
    ("a process's read lock", |file| record_lock(file, fcntl::F_SETLK)),
    // SAFETY: a plain system call.
    ("a lease", |file| unsafe { fcntl::fcntl(file.as_raw_fd(), fcntl::F_SETLEASE, i32::from(fcntl::F_RDLCK)) == 0 }),
];

/// The bids and the claims.
fn proofs(folder: &Path) -> Vec<PathBuf> {
    let names = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let all = names(folder.to_owned()).chain(names(folder.join(".lockfolder")));
    all.filter(|path| path.extension().is_some_and(|it| it == "json")).collect()
}

/// Opens the files as the reader. Each file is opened once for each way to lock, so that no way blocks another.
fn open_all(folder: &Path) -> Vec<File> {
    let proofs = proofs(folder);
    READER.acts(|| {
        assert!(proofs.iter().all(|path| File::options().write(true).open(path).is_err()), "the reader may write");
        proofs.iter().filter_map(|path| File::open(path).ok()).collect() // a file that is being made may still be its maker's alone
    })
}

/// On a disk and in memory: a folder that every user may read, and only root may write.
fn each_filesystem(mut test: impl FnMut(&Scratch)) {
    if namespaces_or_skip("another PID namespace, and a reader who is another user") {
        for scratch in [Scratch::public(), Scratch::shm()] {
            fs::create_dir(scratch.folder()).unwrap();
            set_mode(&scratch.folder(), 0o755);
            test(&scratch);
        }
    }
}

/// The number of times that each lock was granted.
fn each_lock(kind: Kind, mut test: impl FnMut(&mut Puppet, &mut Puppet, &Scratch, Lock) -> usize) {
    each_filesystem(|scratch| {
        let mut reader = Puppet::at(kind, &scratch.folder());
        let mut had = 0;
        for lock in LOCKS {
            let mut holder = contained(kind, scratch);
            holder.must("lock 0");
            had += test(&mut holder, &mut reader, scratch, lock);
        }
        assert!(had > 0);
    });
}

fn a_reader_keeps_no_dead_container_alive(kind: Kind) {
    for after_death in [false, true] {
        each_lock(kind, |holder, next, scratch, (what, lock)| {
            let files = open_all(&scratch.folder());
            let lock_all = || files.iter().filter(|file| lock(file)).count();
            let mut had = if after_death { 0 } else { lock_all() };
            holder.kill();
            had += if after_death { lock_all() } else { 0 };
            let when = format!("{what}, {had} of {}, taken after its death: {after_death}", files.len());
            assert_eq!(next.bids(0)[0].state, "STALE", "{when}");
            let got = next.ask("lock 0");
            assert!(got == "LF_OK", "{when}: {got:?}: {}", next.why(0));
            next.must("unlock 0");
            had
        });
    }
}

/// The reverse: nothing that the reader does proves a death.
fn a_reader_robs_no_live_container(kind: Kind) {
    each_lock(kind, |holder, next, scratch, (what, lock)| {
        let files = open_all(&scratch.folder());
        let had = files.iter().filter(|file| lock(file)).count();
        for _ in 0..2 {
            assert_eq!(next.ask("lock 0"), "LF_BUSY", "{what}");
            assert_eq!(next.must("reap 0").number(), 0, "{what}");
        }
        drop(files);
        assert_eq!(next.ask("lock 0"), "LF_BUSY", "{what}");
        holder.must("holds 0");
        holder.must("unlock 0");
        had.max(1)
    });
}

/// At each system call of a first lock in turn, the reader locks the files that are there. The lock is granted all the same.
#[test]
fn a_reader_keeps_nobody_from_making_a_claim() {
    let tracer = Tracer::new();
    each_filesystem(|scratch| {
        let folder = scratch.folder();
        let calls = tracer.calls(&folder, &["hold"]);
        for call in calls.iter().filter(|call| call.step == "lock") {
            for (what, lock) in LOCKS {
                let _ = fs::remove_dir_all(folder.join(".lockfolder"));
                let mut claimant = tracer.run_holder_up_to(&folder, call.number);
                let files = open_all(&folder);
                let had = files.iter().filter(|file| lock(file)).count();
                if let At::Stopped(_) = claimant.at {
                    claimant.go_on_until_it_has_locked();
                }
                let first = claimant.story.outcomes.iter().find(|outcome| outcome.step == "lock").unwrap().clone();
                let when = format!("{what}, had {had} times, at {} {}", call.number, call.name);
                assert_eq!(first.status, "LF_OK", "{when}: {}", claimant.story.text);
                drop(files);
                claimant.go_on();
            }
        }
    });
}
