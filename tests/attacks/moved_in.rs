//! A folder of root's stands in a lock folder, and a user of the lock folder gives it the name of ours. The files in it may have any
//! names, also those of our files. They are not ours, so root's calls leave them all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{chown, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{mknodat, FileType, Mode, CWD};

use crate::c::trace::{At, Tracer};
use crate::support::users::{each_stage_or_own_folder, owner_and_mode, Stage, User};
use crate::support::{
    listing, namespaces_or_skip, root_or_skip, set_mode, set_time, wait_until, Bid, Kind, Puppet, Scratch, NOBODY,
};

/// The bid of a process that does not exist: no PID of Linux is so large.
fn dead() -> Bid {
    Bid::of(std::process::id()).with("PID", 1 << 22)
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// The name of a bid that states a lease, and that is dead.
const LEASED: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// All names that the library deletes in its sub-folder. The claim `dd` is that of a dead process, the claim `ee` is missing.
const NAMES: [&str; 14] = [
    "tail",
    "00000000000000dd.json",
    "00000000000000dd.beacon-1",
    "00000000000000dd.beacon-2",
    "00000000000000ee.beacon-1",
    "00000000000000ff.json",
    "queue/000000000000000100000000000000dd",
    "queue/000000000000000200000000000000ee",
    "leases/01890a5d-ac96-774b-bcce-b302099a8057-1",
    "leases/01890a5d-ac96-774b-bcce-b302099a8058-7",
    "fence-1",
    "fence-7",
    "queue-0123456789abcdef/fifo",
    "shared",
];

/// What has these names.
type Make = fn(&Path);
const MAKES: [(&str, Make); 4] = [
    ("empty files", |path| drop(File::create(path).unwrap())),
    ("files with text", |path| fs::write(path, "precious").unwrap()),
    ("bids of a dead process", |path| dead().with("LEASE", 5000).write(path)),
    ("FIFOs", fifo),
];

/// The folder of root's. `mode` is its own mode; the folders in it are root's alone.
fn furnish(folder: &Path, make: Make, mode: u32, has_queue: bool) {
    fs::create_dir(folder).unwrap();
    for name in NAMES {
        let path = folder.join(name);
        let inner = path.parent().unwrap();
        if inner != folder && (has_queue || !name.starts_with("queue/")) {
            let _ = fs::create_dir(inner);
            set_mode(inner, 0o700);
        }
        if inner.exists() {
            make(&path);
        }
    }
    fs::remove_file(folder.join("00000000000000dd.json")).unwrap();
    dead().write(&folder.join("00000000000000dd.json"));
    fs::create_dir(folder.join("queue-0123456789abcde0")).unwrap();
    if !has_queue {
        fs::create_dir(folder.join("queue")).unwrap(); // empty
    }
    set_mode(folder, mode);
}

/// Each path below the folder, with its owner, its mode, the number of its file, and its content.
fn everything_in(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if about.is_dir() {
            found.extend(everything_in(&path));
        }
        found.insert(path, (about.uid(), about.mode(), about.ino(), content));
    }
    found
}

/// All calls that delete, also with a line of two, and the death of a waiter.
fn root_uses_it(roots: &mut [Puppet; 2], folder: &Path) {
    dead().with("LEASE", 5000).write(&folder.join(format!("{LEASED}.json")));
    let [root, other] = roots;
    root.ask("lock 0");
    root.ask("fence 0");
    root.ask("unlock 0");
    let busy = Bid::of(std::process::id()).post(folder);
    root.tell("wait 0 100");
    other.tell("wait 0 100");
    let queue = folder.join(".lockfolder/queue");
    let began = std::time::Instant::now();
    let enough = std::time::Duration::from_millis(200);
    wait_until(|| fs::read_dir(&queue).map_or(0, Iterator::count) >= 4 || began.elapsed() > enough);
    fs::remove_file(busy).unwrap();
    for root in [root, other] {
        root.hear();
        root.ask("fence 0");
        root.ask("unlock 0");
        root.ask("reap 0");
        root.ask("lock 0");
        root.ask("unlock 0");
    }
}

fn attack(stage: &Stage, what: &str, make: Make, mode: u32, has_queue: bool) -> bool {
    let (folder, hidden, precious) = (stage.folder(), stage.hidden(), stage.folder().join("precious"));
    let when = format!("{}, {what}, mode {mode:o}, a full queue: {has_queue}", stage.name);
    stage.renew();
    furnish(&precious, make, mode, has_queue);
    // This one looks like a folder in which a maker died.
    let (other, staged) = (folder.join("other"), folder.join(".lockfolder-0123456789abcdef"));
    fs::create_dir(&other).unwrap();
    set_mode(&other, 0o700);
    make(&other.join("fifo"));
    let moves = || fs::rename(&precious, &hidden).is_ok() && fs::rename(&other, &staged).is_ok();
    if !stage.attacker.acts(moves) {
        assert!(stage.name.ends_with("1777") || stage.name.ends_with("3777"), "{when}"); // sticky
        return false;
    }
    let tail = hidden.join("tail");
    let is_fifo = what == "FIFOs";
    let mut held = is_fifo.then(|| File::options().read(true).write(true).open(tail).unwrap());
    held.iter_mut().for_each(|tail| tail.write_all(b"HELLO").unwrap());
    let before = [everything_in(&hidden), everything_in(&staged)];
    let mut roots = [Puppet::at(Kind::C, &folder), Puppet::at(Kind::Rust, &folder)];
    root_uses_it(&mut roots, &folder);
    roots.iter_mut().for_each(|root| drop(root.ask("close 0")));
    for (before, folder) in before.iter().zip([&hidden, &staged]) {
        let after = everything_in(folder);
        for (path, about) in before {
            assert_eq!(after.get(path), Some(about), "{when}: {}", path.display());
        }
    }
    if let Some(tail) = &mut held {
        let mut content = [0; 100];
        let length = tail.read(&mut content).unwrap();
        assert_eq!(&content[..length], b"HELLO", "{when}");
    }
    true
}

#[test]
fn a_folder_of_roots_that_gets_the_name_of_ours_loses_nothing() {
    let moved = AtomicUsize::new(0);
    each_stage_or_own_folder(|stage| {
        for (what, make) in MAKES {
            // In a folder that others may write to and not search, they can delete nothing.
            let modes = [(0o755, true), (0o766, true), (0o700, false), (0o1755, true)];
            for &(mode, has_queue) in &modes[..if what == "FIFOs" { 4 } else { 2 }] {
                moved.fetch_add(usize::from(attack(stage, what, make, mode, has_queue)), Ordering::Relaxed);
            }
        }
    });
    assert!(!rustix::process::geteuid().is_root() || moved.load(Ordering::Relaxed) > 40);
}

/// All users may rename in root's folder, and not in the private folder below it, which gets the name of a folder in which a maker died.
#[test]
fn a_private_folder_of_roots_that_gets_the_name_of_a_stage_keeps_its_mode_and_its_files() {
    if !root_or_skip("another user") {
        return;
    }
    for mode in [0o700, 0o500, 0] {
        let scratch = Scratch::public();
        let folder = scratch.folder_with_mode(0o777);
        let (project, hidden) = (folder.join("project"), folder.join(".lockfolder"));
        fs::create_dir_all(project.join("private")).unwrap();
        fifo(&project.join("private/fifo"));
        fs::write(project.join("private/precious"), "precious").unwrap();
        set_mode(&project.join("private"), mode);
        set_mode(&project, 0o777);
        let staged = hidden.join("queue-0123456789abcdef");
        let moves = || {
            fs::rename(project.join("private"), project.join("queue-0123456789abcdef")).is_ok()
                && fs::rename(&project, &hidden).is_ok()
        };
        assert!(User { id: NOBODY, group: NOBODY }.acts(moves));
        let before = (owner_and_mode(&staged), everything_in(&staged));
        let mut roots = [Puppet::at(Kind::C, &folder), Puppet::at(Kind::Rust, &folder)];
        root_uses_it(&mut roots, &folder);
        assert_eq!((owner_and_mode(&staged), everything_in(&staged)), before, "{mode:o}");
    }
}

/// Root makes the sub-folder under a hidden name, and gives it the owner and the mode of the lock folder. An old, empty folder of root's
/// that gets the hidden name meanwhile keeps its own. On ramfs nothing tells when a folder was made.
#[test]
fn an_old_folder_of_roots_that_gets_the_hidden_name_is_not_given_away() {
    if !namespaces_or_skip("another user") {
        return;
    }
    let tracer = Tracer::new();
    for kind in ["tmpfs", "ramfs"] {
        let scratch = Scratch::shm();
        let swapped = AtomicUsize::new(0);
        let attack = || {
            // SAFETY: a plain call, which gives only this thread and what it starts other mounts.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            let at = scratch.to_str().unwrap();
            for arguments in [vec!["--make-rprivate", "/"], vec!["-t", kind, "-o", "mode=755", kind, at]] {
                assert!(std::process::Command::new("mount").args(arguments).status().unwrap().success());
            }
            for number in 1.. {
                if !swap_at(&tracer, number, &scratch, &swapped) {
                    break;
                }
            }
        };
        std::thread::scope(|scope| scope.spawn(attack).join().unwrap());
        assert!(swapped.load(Ordering::Relaxed) > 2, "{kind}");
    }
}

/// False: at this call, root has made the sub-folder.
fn swap_at(tracer: &Tracer, number: usize, scratch: &Scratch, swapped: &AtomicUsize) -> bool {
    let (folder, old) = (scratch.folder_with_mode(0o777), scratch.folder().join("old"));
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::create_dir(&old).unwrap();
    set_mode(&old, 0o700);
    set_time(&old, 1_700_000_000);
    let (open, before) = (File::open(&old).unwrap(), owner_and_mode(&old));
    let victim = tracer.run_up_to(&folder, &["alone", "20"], number, Duration::MAX);
    assert!(matches!(victim.at, At::Stopped(_)));
    let is_made = folder.join(".lockfolder").exists();
    let swap = |name: &str| {
        User { id: NOBODY, group: NOBODY }.acts(|| {
            fs::rename(folder.join(name), folder.join("aside")).unwrap();
            fs::rename(&old, folder.join(name)).unwrap();
        });
    };
    let hidden = listing(&folder).into_iter().find(|name| name.starts_with(".lockfolder-"));
    if let Some(hidden) = hidden.filter(|name| folder.join(name).is_dir()) {
        swap(&hidden);
        swapped.fetch_add(1, Ordering::Relaxed);
        let story = victim.go_on();
        let now = open.metadata().unwrap();
        assert_eq!((now.uid(), now.gid(), now.mode()), before, "at call {number}: {}", story.text);
    }
    fs::remove_dir_all(&folder).unwrap();
    !is_made
}
