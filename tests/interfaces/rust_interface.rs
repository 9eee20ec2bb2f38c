//! The Rust interface: a guard is bound to its bid, and an error is plain data. (Tests by promise, with puppets in both languages,
//! cover what both interfaces do.)

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::support::{bids_in, Scratch};
use lockfolder::{BidState, Error, ErrorKind, Guard, LockFolder, Slots};
use rustix::fs::{ioctl_getflags, ioctl_setflags, IFlags};

mod libc {
    extern "C" {
        pub fn fork() -> i32;
        pub fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
        pub fn _exit(status: i32) -> !;
    }
}

fn open(scratch: &Scratch) -> LockFolder {
    LockFolder::open(scratch.folder()).unwrap()
}

/// The one bid in the folder.
fn bid(scratch: &Scratch) -> PathBuf {
    let bids = bids_in(&scratch.folder());
    assert_eq!(bids.len(), 1, "{bids:?}");
    bids[0].clone()
}

/// Makes every unlock fail while `body` runs: nothing in the folder can be changed (chattr(1)).
fn while_no_unlock_works<T>(scratch: &Scratch, body: impl FnOnce() -> T) -> T {
    let folder = fs::File::open(scratch.folder()).unwrap();
    let flags = ioctl_getflags(&folder).unwrap();
    ioctl_setflags(&folder, flags | IFlags::IMMUTABLE).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    ioctl_setflags(&folder, flags).unwrap();
    result.unwrap()
}

// ---- guards ----

#[test]
fn a_guard_unlocks_by_hand_or_when_it_is_dropped() {
    let scratch = Scratch::new();
    let path = scratch.folder();
    let folder = open(&scratch);
    let seen: Vec<_> = (0..4)
        .map(|round| {
            let guard = if round % 2 == 0 { folder.try_lock() } else { folder.lock() }.unwrap();
            let held = guard.folder().holds().map_err(|e| e.kind());
            if round < 2 {
                drop(guard);
                return (held, Ok(()), folder.holds().map_err(|e| e.kind()));
            }
            // The bid is deleted, as another process could do.
            fs::remove_dir_all(&path).unwrap();
            let unlocked = guard.unlock().map_err(|e| e.error().kind());
            fs::create_dir(&path).unwrap();
            (held, unlocked, folder.holds().map_err(|e| e.kind()))
        })
        .collect();
    let free = Err(ErrorKind::NotHeld);
    let lost = Err(ErrorKind::Lost);
    assert_eq!(seen, [(Ok(()), Ok(()), free), (Ok(()), Ok(()), free), (Ok(()), lost, free), (Ok(()), lost, free)]);
}

/// A guard is old after its lock was lost. Whatever a program does with it, the later lock stays.
#[test]
fn an_old_guard_never_unlocks_a_later_lock() {
    let scratch = Scratch::new();
    let folder = open(&scratch);
    let lost = || {
        let guard = folder.try_lock().unwrap();
        fs::remove_file(bid(&scratch)).unwrap();
        let failed = guard.unlock().unwrap_err();
        assert_eq!(failed.error().kind(), ErrorKind::Lost);
        failed
    };
    let (dropped, unlocked, forgotten) = (lost().into_guard(), lost().into_guard(), lost());
    let later = folder.try_lock().unwrap();
    drop(dropped);
    later.holds().unwrap();
    assert_eq!(unlocked.holds().unwrap_err().kind(), ErrorKind::NotHeld);
    assert_eq!(unlocked.fence().unwrap_err().kind(), ErrorKind::NotHeld);
    let refused = unlocked.unlock().unwrap_err();
    assert_eq!(refused.error().kind(), ErrorKind::NotHeld);
    drop(refused);
    later.holds().unwrap();
    assert_eq!(Error::from(forgotten).kind(), ErrorKind::Lost);
    later.holds().unwrap();
    assert!(bid(&scratch).exists());
    later.unlock().unwrap();
}

#[test]
fn an_unlock_that_failed_gives_the_guard_back() {
    let scratch = Scratch::new();
    let (folder, other) = (open(&scratch), open(&scratch));
    let guard = folder.try_lock().unwrap();
    let failed = while_no_unlock_works(&scratch, || guard.unlock().unwrap_err());
    assert_eq!(failed.error().kind(), ErrorKind::Io);
    assert!(failed.to_string().starts_with("cannot delete the bid "), "{failed}");
    assert!(failed.source().unwrap().is::<io::Error>());
    let guard = failed.into_guard();
    guard.holds().unwrap();
    assert_eq!(other.try_lock().unwrap_err().kind(), ErrorKind::Busy);
    guard.unlock().unwrap();

    // An error that is dropped tries the unlock again.
    let guard = other.try_lock().unwrap();
    drop(while_no_unlock_works(&scratch, || guard.unlock().unwrap_err()));
    folder.try_lock().unwrap().unlock().unwrap();

    // With `?` it is an error like any other.
    fn through(guard: Guard) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        guard.unlock()?;
        Ok(())
    }
    let guard = folder.try_lock().unwrap();
    let error = while_no_unlock_works(&scratch, || through(guard).unwrap_err());
    assert!(error.to_string().starts_with("cannot delete the bid "), "{error}");
    drop(error);
    other.try_lock().unwrap().unlock().unwrap();
}

/// A task may move from thread to thread, and outlive the scope that started it.
#[test]
fn a_guard_goes_to_other_threads_and_outlives_its_handle() {
    let scratch = Scratch::new();
    let rival = open(&scratch);
    let guard = open(&scratch).lock_timeout(Duration::from_secs(60)).unwrap();
    let kept = Mutex::new(Some(guard));
    thread::scope(|scope| {
        let other = scope.spawn(|| kept.lock().unwrap().take().unwrap());
        let guard = other.join().unwrap();
        assert_eq!(guard.folder().path(), scratch.folder());
        guard.holds().unwrap();
        assert_eq!(rival.try_lock().unwrap_err().kind(), ErrorKind::Busy);
        thread::spawn(move || guard.unlock().unwrap()).join().unwrap();
    });
    rival.try_lock().unwrap().unlock().unwrap();
}

#[test]
fn a_guard_that_is_forgotten_keeps_the_lock() {
    let scratch = Scratch::new();
    let folder = open(&scratch);
    std::mem::forget(folder.lock().unwrap());
    assert_eq!(folder.lock().unwrap_err().kind(), ErrorKind::AlreadyHeld);
    drop(folder);
    assert_eq!(open(&scratch).try_lock().unwrap_err().kind(), ErrorKind::Busy);
    fs::remove_file(bid(&scratch)).unwrap();
}

/// The child may leave the scope in any way: by its end, by `?`, or by a panic.
#[test]
fn a_forked_child_may_leave_the_scope_of_its_parents_guard() {
    let scratch = Scratch::new();
    let folder = open(&scratch);
    for way in 0..3 {
        let guard = folder.try_lock().unwrap();
        // SAFETY: the child calls the library and ends; it touches nothing of the other threads.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match way {
                0 => drop(guard),
                1 => {
                    let failed = guard.unlock().unwrap_err();
                    assert_eq!(failed.error().kind(), ErrorKind::Forked);
                    assert_eq!(failed.into_guard().holds().unwrap_err().kind(), ErrorKind::Forked);
                }
                _ => {
                    let _guard = guard;
                    std::panic::resume_unwind(Box::new(7)); // a second panic, in the guard's drop, would abort
                }
            }));
            // SAFETY: the child needs nothing of this process any more.
            unsafe { libc::_exit(if left.is_err() == (way == 2) { 7 } else { 8 }) };
        }
        let mut status = 0;
        // SAFETY: room for a status.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(ended, child);
        assert_eq!(status, 7 << 8);
        guard.holds().unwrap();
        guard.unlock().unwrap();
    }
}

/// The next lock of the handle deletes what that drop could not delete.
#[test]
fn a_guard_that_is_dropped_while_no_unlock_works_leaves_a_handle_that_works() {
    let scratch = Scratch::new();
    let (folder, other) = (open(&scratch), open(&scratch));
    let guard = folder.try_lock().unwrap();
    while_no_unlock_works(&scratch, || drop(guard));
    folder.try_lock().unwrap().unlock().unwrap();
    other.try_lock().unwrap().unlock().unwrap();
}

#[test]
fn what_can_be_kept_can_be_shown() {
    let scratch = Scratch::new();
    let folder = open(&scratch);
    assert_eq!(format!("{folder:?}"), format!("LockFolder {{ path: {:?}, .. }}", scratch.folder()));
    let guard = folder.lock().unwrap();
    let name = bid(&scratch).file_name().unwrap().to_owned();
    assert_eq!(format!("{guard:?}"), format!("Guard {{ folder: {folder:?}, bid: {name:?} }}"));
    let failed = while_no_unlock_works(&scratch, || guard.unlock().unwrap_err());
    assert!(format!("{failed:?}").contains("kind: Io"), "{failed:?}");
    assert!(!format!("{:?} {:?}", LockFolder::options(), folder.bids().unwrap()).is_empty());
}

// ---- errors ----

/// Everything that this process has open.
fn descriptors() -> Vec<PathBuf> {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let mut open: Vec<PathBuf> = open.collect();
    open.sort();
    open
}

/// This runs alone in a process, so that no other test opens or closes a descriptor.
#[test]
fn a_kept_error_keeps_no_descriptor_open() {
    if std::env::var_os("LOCKFOLDER_ALONE").is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "rust_interface::a_kept_error_keeps_no_descriptor_open", "--test-threads=1"]);
        let output = alone.env("LOCKFOLDER_ALONE", "yes").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let scratch = Scratch::new();
    let refusals = || {
        let (holder, refused) = (open(&scratch), open(&scratch));
        let guard = holder.try_lock().unwrap();
        let errors = [refused.try_lock().unwrap_err(), refused.lock_timeout(Duration::from_millis(1)).unwrap_err()];
        let meanwhile = descriptors();
        drop((holder, refused, guard));
        (errors, meanwhile)
    };
    drop(refusals()); // this opens what the process keeps until its end
    let before = descriptors();
    let (errors, meanwhile) = refusals();
    assert!(meanwhile.len() > before.len(), "the handles have some, or this proves nothing");
    assert_eq!(descriptors(), before);
    for error in errors {
        assert!(error.to_string().contains(&format!("held by PID {}", std::process::id())), "{error}");
    }
}

#[test]
fn an_error_says_who_holds() {
    let scratch = Scratch::new();
    let (holder, refused) = (open(&scratch), open(&scratch));
    let guard = holder.try_lock().unwrap();
    let ours = holder.bids().unwrap().remove(0);
    let name = bid(&scratch).file_name().unwrap().to_owned();
    let busy = refused.try_lock().unwrap_err();
    let timeout = refused.lock_timeout(Duration::ZERO).unwrap_err();
    assert_eq!((busy.kind(), timeout.kind()), (ErrorKind::Busy, ErrorKind::Timeout));
    for error in [&busy, &timeout] {
        let who = error.holder().unwrap();
        assert_eq!((who.pid, &who.name, who.state), (Some(std::process::id()), &name, BidState::Live));
        assert_eq!((&who.command, &who.host), (&ours.command, &ours.host));
        assert!(who.command.is_some() && who.host.is_some());
        let said = format!(
            "held by PID {} ({}) on host {}",
            std::process::id(),
            who.command.as_deref().unwrap(),
            who.host.as_deref().unwrap()
        );
        assert!(error.to_string().contains(&said), "{error}");
        assert!(error.source().is_none() && error.raw_os_error().is_none());
    }
    assert_eq!(refused.holds().unwrap_err().holder(), None);
    guard.unlock().unwrap();

    let odd = scratch.folder().join(crate::support::bid_name("odd"));
    fs::write(&odd, "{").unwrap();
    let error = refused.try_lock().unwrap_err();
    let who = error.holder().unwrap();
    assert_eq!((who.pid, who.state), (None, BidState::Malformed));
    assert!(who.to_string().contains("it breaks off"), "{who}");
}

#[test]
fn an_error_of_the_system_is_its_source() {
    let error = LockFolder::options().create(false).open("/there/is/no/such/folder").unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Io, Some(2)));
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains(&source.to_string()), "{error}");
    let kept = error.clone();
    drop(error);
    assert_eq!(kept.source().unwrap().to_string(), io::Error::from_raw_os_error(2).to_string());
    assert!(LockFolder::open("").unwrap_err().source().is_none());
}

/// The number 0 means any number in C and in a bid. A program that counts its slots down to none must not get that.
#[test]
fn at_most_none_is_an_error_and_changes_nothing() {
    let scratch = Scratch::new();
    let ours = open(&scratch);
    for (slots, tolerates_others) in [(Slots::One, false), (Slots::AtMost(1), false), (Slots::AtMost(2), true)] {
        ours.set_slots(slots).unwrap();
        let error = ours.set_slots(Slots::AtMost(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let _held = ours.lock().unwrap();
        let other = open(&scratch);
        other.set_slots(Slots::AtMost(2)).unwrap();
        assert_eq!(other.try_lock().is_ok(), tolerates_others, "{slots:?}");
    }
}

// ---- the library as a dependency ----

/// The symbols of the archive that Rust links, of a program that asks for these features.
fn symbols(features: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["rustc", "--locked", "--lib", "--crate-type=rlib", "--message-format=json-render-diagnostics"]);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("as-a-dependency");
    let output = cargo.args(features).env("CARGO_TARGET_DIR", target).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let archive = messages.split('"').rfind(|word| word.ends_with(".rlib") && word.contains("liblockfolder"));
    let output = Command::new("nm").args(["--defined-only", "-P"]).arg(archive.unwrap()).output().unwrap();
    let symbols = String::from_utf8_lossy(&output.stdout).into_owned();
    symbols.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_rust_program_exports_no_c_function_unless_it_asks() {
    let of_c = |symbols: BTreeSet<String>| symbols.into_iter().filter(|name| name.starts_with("lf_")).count();
    let bare = symbols(&["--no-default-features"]);
    assert!(bare.iter().any(|name| name.contains("LockFolder")), "not understood: {bare:?}");
    assert_eq!(of_c(bare), 0);
    assert!(of_c(symbols(&["--features=capi"])) >= 19);
}
