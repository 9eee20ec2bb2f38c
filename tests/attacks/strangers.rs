//! A user that may write to a lock folder attacks root, which uses the folder too. The attack uses names that lead outside, and other
//! files in the place of root's. It can deny the lock. It lets no second claimant in, and changes nothing outside.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{chown, symlink, FileTypeExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::c::trace::{At, Tracer};
use crate::support::users::{each_stage, owner_and_mode, Stage, User};
use crate::support::{bid_name, bids_in, both, listing, root_or_skip, set_mode, Bid, Kind, Puppet, Scratch, NOBODY};
use rustix::fs::{mknodat, FileType, Mode, CWD};

both!(
    names_that_lead_outside_are_no_names,
    a_fifo_that_was_moved_in_is_not_used,
    no_token_where_a_stranger_could_delete_it,
    no_token_where_somebody_could_delete_it_who_may_not_write_any_more,
    a_private_handle_refuses_a_sub_folder_that_others_can_write,
    a_private_handle_accepts_what_is_its_own_or_roots,
);

/// A hand-made bid of a user keeps all claimants waiting. Root stands in line, and leaves it.
fn root_waits(root: &mut Puppet, folder: &Path) {
    let busy = Bid::of(std::process::id()).post(folder);
    root.ask("wait 0 60");
    let _ = fs::remove_file(busy);
    root.ask("reap 0");
    root.ask("lock 0");
    root.ask("fence 0");
    root.ask("unlock 0");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    set_mode(path, 0o666);
}

/// A tail contains the name of a ticket: 32 digits. These have the same length, and contain a path.
fn names_that_lead_outside_are_no_names(kind: Kind) {
    let written = AtomicUsize::new(0);
    each_stage(|stage| {
        let (folder, hidden, outside) = (stage.folder(), stage.hidden(), stage.outside("sec"));
        fs::create_dir(&outside).unwrap();
        set_mode(&outside, 0o755);
        let mut attacker = stage.attacker.puppet(kind);
        attacker.open(0, &folder);
        attacker.must("lock 0"); // this makes the sub-folder
        attacker.must("unlock 0");
        let live = listing(&hidden).into_iter().find_map(|name| name.strip_suffix(".json").map(str::to_owned)).unwrap();
        let mut root = Puppet::at(kind, &folder);
        // The name of a claim that does not exist, and that of a claim whose owner lives.
        for claim in ["0123456789abcdef", &live] {
            for is_fifo in [false, true] {
                let target = outside.join(claim);
                match is_fifo {
                    false => fs::write(&target, "precious").unwrap(),
                    true => fifo(&target),
                }
                set_mode(&target, 0o600);
                let before = (owner_and_mode(&target), fs::symlink_metadata(&target).unwrap().modified().unwrap());
                let _held = is_fifo.then(|| File::options().read(true).write(true).open(&target).unwrap());
                for way in ["../../../sec////", "../../../sec/./.", "..//..//../sec//"] {
                    let tail = hidden.join("tail");
                    // The name stays in the tail as long as the attacker has the tail open.
                    let open = stage.attacker.acts(|| {
                        let _ = fs::remove_file(&tail);
                        mknodat(CWD, &tail, FileType::Fifo, Mode::from_raw_mode(0o666), 0).ok()?;
                        fs::set_permissions(&tail, std::os::unix::fs::PermissionsExt::from_mode(0o666)).ok()?;
                        File::options().read(true).write(true).open(&tail).ok()
                    });
                    let Some(mut open) = open else { continue };
                    for _ in 0..3 {
                        written.fetch_add(1, Ordering::Relaxed);
                        open.write_all(format!("{way}{claim}").as_bytes()).unwrap();
                        root_waits(&mut root, &folder);
                        let there = fs::symlink_metadata(&target).map(|it| it.file_type().is_fifo());
                        assert_eq!(there.ok(), Some(is_fifo), "{}: {way}{claim} is gone", stage.name);
                    }
                }
                let after = (owner_and_mode(&target), fs::symlink_metadata(&target).unwrap().modified().unwrap());
                assert_eq!(before, after, "{}: {claim}", stage.name);
                assert!(is_fifo || fs::read(&target).unwrap() == b"precious");
                fs::remove_file(&target).unwrap();
            }
        }
    });
    assert!(!rustix::process::geteuid().is_root() || written.load(Ordering::Relaxed) > 0);
}

/// A FIFO of a service. The attacker can't open it and can rename it. It is moved to each place where the library has FIFOs.
fn a_fifo_that_was_moved_in_is_not_used(kind: Kind) {
    if !root_or_skip("a FIFO of another user") {
        return;
    }
    for place in ["a ticket", "a ticket of one who lives", "the tail", "root's own beacon"] {
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(0o777);
        let (hidden, service) = (folder.join(".lockfolder"), scratch.join("service"));
        let mut root = Puppet::at(kind, &folder);
        root.must("lock 0");
        root.must("unlock 0");
        let claim =
            listing(&hidden).into_iter().find_map(|name| name.strip_suffix(".json").map(str::to_owned)).unwrap();
        fs::create_dir(hidden.join("queue")).unwrap();
        set_mode(&hidden.join("queue"), 0o777);
        fifo(&service);
        set_mode(&service, 0o600);
        let mut own = File::options().read(true).write(true).open(&service).unwrap();
        own.write_all(b"HELLO").unwrap();
        let to = match place {
            "a ticket" => {
                dead().write(&hidden.join("00000000000000a1.json"));
                hidden.join("queue/000000000000000100000000000000a1")
            }
            "a ticket of one who lives" => {
                Bid::of(std::process::id()).write(&hidden.join("00000000000000a1.json"));
                hidden.join("queue/000000000000000100000000000000a1")
            }
            "the tail" => hidden.join("tail"),
            _ => hidden.join(format!("{claim}.beacon-1")),
        };
        fs::rename(&service, to).unwrap();
        for _ in 0..2 {
            root_waits(&mut root, &folder);
        }
        let mut content = [0; 100];
        let length = std::io::Read::read(&mut own, &mut content).unwrap();
        assert_eq!(&content[..length], b"HELLO", "{place}");
        let stat = rustix::fs::fstat(&own).unwrap();
        assert_eq!((stat.st_uid, stat.st_mode & 0o7777), (0, 0o600), "{place}");
    }
}

/// The user that comes first owns the sub-folder. In a sticky folder this can harm no other user, except by the counter.
fn no_token_where_a_stranger_could_delete_it(kind: Kind) {
    if !root_or_skip("another user") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o1777);
    let mut stranger = crate::support::nobody(kind);
    stranger.open(0, &folder);
    stranger.must("lock 0");
    stranger.must("unlock 0");
    let mut root = Puppet::at(kind, &folder);
    root.must("lock 0");
    assert_eq!(root.ask("fence 0"), "LF_ERR_UNSAFE");
    assert!(root.why(0).contains("sticky"), "{}", root.why(0));
    root.must("unlock 0");
    root.must("close 0");
    stranger.must("close 0");
    // Root makes the sub-folder. The stranger could still delete the token that it makes itself.
    fs::remove_dir_all(folder.join(".lockfolder")).unwrap();
    for number in [1, 2] {
        let mut root = Puppet::at(kind, &folder);
        root.must("lock 0");
        assert_eq!(root.must("fence 0").number(), number);
        root.must("unlock 0");
        stranger.open(0, &folder);
        stranger.must("lock 0");
        assert_eq!(stranger.ask("fence 0"), "LF_ERR_UNSAFE");
        let why = stranger.why(0);
        assert!(why.contains("sticky") && why.contains("its own token"), "{why}");
        stranger.must("close 0");
    }
    // The owner of the folder may delete all tokens there in any case.
    chown(&folder, Some(NOBODY), None).unwrap();
    chown(folder.join(".lockfolder"), Some(NOBODY), None).unwrap();
    stranger.open(0, &folder);
    stranger.must("lock 0");
    assert_eq!(stranger.must("fence 0").number(), 3);
    stranger.must("unlock 0");
    let mut root = Puppet::at(kind, &folder);
    root.must("lock 0");
    assert_eq!(root.must("fence 0").number(), 4);
}

/// The folder was open to all at first. Then its owner or its mode changes.
fn no_token_where_somebody_could_delete_it_who_may_not_write_any_more(kind: Kind) {
    if !root_or_skip("another user") {
        return;
    }
    for is_made_by_root in [false, true] {
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(0o777);
        let mut first = if is_made_by_root { Puppet::new(kind) } else { crate::support::nobody(kind) };
        first.open(0, &folder);
        first.must("lock 0");
        first.must("fence 0");
        first.must("unlock 0");
        first.must("close 0");
        if !is_made_by_root {
            chown(folder.join(".lockfolder"), Some(65_534), None).unwrap();
            set_mode(&folder.join(".lockfolder"), 0o755);
        }
        set_mode(&folder, 0o755);
        let mut root = Puppet::at(kind, &folder);
        root.must("lock 0");
        assert_eq!(root.ask("fence 0"), "LF_ERR_UNSAFE", "made by root: {is_made_by_root}");
        assert!(root.why(0).contains("may not write"), "{}", root.why(0));
        // The message names this solution.
        chown(folder.join(".lockfolder"), Some(0), Some(0)).unwrap();
        set_mode(&folder.join(".lockfolder"), 0o755);
        assert_eq!(root.must("fence 0").number(), 2);
    }
}

/// What the attacker puts in the place of root's claim.
type Forgery = (&'static str, fn(&Stage, &Path));

const FORGERIES: [Forgery; 6] = [
    ("a file of a dead process", |_, at| dead().write(at)),
    ("a link to one", |stage, at| symlink(stage.outside("dead"), at).unwrap()),
    ("a second name of one", |stage, at| fs::hard_link(stage.outside("dead"), at).unwrap()),
    ("a file that is cut off", |_, at| fs::write(at, "{").unwrap()),
    ("a folder", |_, at| fs::create_dir(at).unwrap()),
    ("a FIFO", |_, at| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
];

/// The bid of a process that does not exist: no PID of Linux is so large.
fn dead() -> Bid {
    Bid::of(std::process::id()).with("PID", 1 << 22)
}

/// Puts forgeries in the place of all claims except those of `but`, as far as the user may. Returns how many.
fn swap_claims(attacker: User, stage: &Stage, forge: fn(&Stage, &Path), but: &[String]) -> usize {
    let hidden = stage.hidden();
    let is_theirs = |name: &String| name.ends_with(".json") && !name.starts_with("aside-") && !but.contains(name);
    let claims: Vec<_> = listing(&hidden).into_iter().filter(is_theirs).collect();
    attacker.acts(|| {
        let swap = |name: &String| {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let aside = hidden.join(format!("aside-{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)));
            let moved = fs::rename(hidden.join(name), aside).is_ok();
            if moved {
                forge(stage, &hidden.join(name));
            }
            moved
        };
        claims.iter().filter(|name| swap(name)).count()
    })
}

/// Root stops at each system call of its lock in turn. Then each claim in the sub-folder, which is the attacker's, is swapped.
#[test]
fn a_claim_that_is_swapped_at_any_system_call_lets_no_second_in() {
    let tracer = Tracer::new();
    let swapped = AtomicUsize::new(0);
    each_stage(|stage| {
        let folder = stage.folder();
        dead().write(&stage.outside("dead"));
        chown(stage.outside("dead"), Some(stage.attacker.id), None).unwrap();
        let precious = owner_and_mode(&stage.outside("dead"));
        // The attacker comes first, so it owns the sub-folder.
        let mut attacker = stage.attacker.puppet(Kind::C);
        attacker.open(0, &folder);
        attacker.must("lock 0");
        attacker.must("unlock 0");
        let hidden = stage.hidden();
        let attackers: Vec<_> = listing(&hidden);
        let (mut neighbour, mut root) = (stage.neighbour.puppet(Kind::C), Puppet::at(Kind::C, &folder));
        neighbour.open(0, &folder);
        let forgeries = if stage.name.starts_with("in memory") { &FORGERIES[..] } else { &FORGERIES[..1] };
        let calls = tracer.calls(&folder, &["hold"]);
        let calls: Vec<_> = calls.iter().filter(|call| call.step == "lock").map(|call| call.number).collect();
        assert!(calls.len() > 10);
        for (what, forge) in forgeries {
            for &number in &calls {
                let when = format!("{}: {what}, at call {number}", stage.name);
                let mut victim = tracer.run_holder_up_to(&folder, number);
                if let At::Stopped(_) = victim.at {
                    swapped.fetch_add(swap_claims(stage.attacker, stage, *forge, &attackers), Ordering::Relaxed);
                    victim.go_on_until_it_has_locked();
                }
                let holds = victim.locked().unwrap().status == "LF_OK";
                // Once more while root holds, with two claimants that come later.
                for third in [&mut neighbour, &mut root] {
                    let got = third.ask("lock 0");
                    assert!(!(holds && got == "LF_OK"), "{when}: both hold\n{}", victim.story.text);
                    third.ask("unlock 0");
                    swap_claims(stage.attacker, stage, *forge, &attackers);
                }
                let story = victim.go_on();
                if holds {
                    let held = story.outcomes.iter().find(|outcome| outcome.step == "holds").unwrap();
                    assert_eq!(held.status, "LF_OK", "{when}: {}", story.text);
                }
                // After the attacker has gone, everything is as before. (Its forgeries are in its own sub-folder.)
                neighbour.ask("close 0");
                root.ask("close 0");
                for name in listing(&hidden).into_iter().filter(|name| !attackers.contains(name)) {
                    let path = hidden.join(name);
                    fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).unwrap();
                }
                neighbour.open(0, &folder);
                root.open(0, &folder);
                root.must("reap 0");
                assert_eq!(bids_in(&folder), Vec::<std::path::PathBuf>::new(), "{when}: a bid stays\n{}", story.text);
                neighbour.must("lock 0");
                neighbour.must("unlock 0");
                assert_eq!(owner_and_mode(&stage.outside("dead")), precious, "{when}");
            }
        }
    });
    println!("{} claims were swapped", swapped.load(Ordering::Relaxed));
    assert!(!rustix::process::geteuid().is_root() || swapped.load(Ordering::Relaxed) > 0);
}

/// `LF_OPEN_PRIVATE`
const PRIVATE: u32 = 2;

const STRANGER: u32 = 47_120;
const OWNER: u32 = 47_121;

/// Makes a sub-folder that was private no longer private.
type Spoil = (&'static str, fn(&Path));

const SPOILT: [Spoil; 10] = [
    ("it is a stranger's", |hidden| give(hidden, STRANGER)),
    ("others can write it", |hidden| set_mode(hidden, 0o757)),
    ("its group can write it", |hidden| set_mode(hidden, 0o775)),
    ("a stranger's claim", |hidden| make(&hidden.join("00000000000000aa.json"), STRANGER, 0o644)),
    ("a claim that others can write", |hidden| make(&hidden.join("00000000000000aa.json"), 0, 0o646)),
    ("a stranger's fence", |hidden| make(&hidden.join("fence-7"), STRANGER, 0o644)),
    ("a stranger's queue", |hidden| queue(hidden, STRANGER, 0o755)),
    ("a queue that others can write", |hidden| queue(hidden, 0, 0o757)),
    ("a queue that its group can write", |hidden| queue(hidden, 0, 0o775)),
    ("a stranger's tail", |hidden| {
        fifo(&hidden.join("tail"));
        give(&hidden.join("tail"), STRANGER);
    }),
];

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
}

fn make(path: &Path, user: u32, mode: u32) {
    fs::write(path, "").unwrap();
    give(path, user);
    set_mode(path, mode);
}

/// The folder is not empty, because the next waiter that leaves a line deletes an empty one.
fn queue(hidden: &Path, user: u32, mode: u32) {
    let path = hidden.join("queue");
    fs::create_dir(&path).unwrap();
    make(&path.join("README"), 0, 0o644);
    give(&path, user);
    set_mode(&path, mode);
}

/// On a disk and in memory, for root and for another user.
fn each_private_folder(kind: Kind, mut test: impl FnMut(&Scratch, u32, &mut dyn FnMut() -> Puppet)) {
    if !root_or_skip("private folders of several users") {
        return;
    }
    for scratch in [Scratch::public(), Scratch::shm()] {
        for owner in [0, OWNER] {
            let path = scratch.folder_with_mode(0o755);
            give(&path, owner);
            let mut open = || {
                let mut puppet = Puppet::new(kind);
                puppet.must(&format!("become {owner}"));
                assert_eq!(puppet.try_open(0, PRIVATE, &path), "LF_OK", "{}", puppet.why_not_opened());
                puppet
            };
            test(&scratch, owner, &mut open);
            fs::remove_dir_all(&path).unwrap();
        }
    }
}

fn a_private_handle_refuses_a_sub_folder_that_others_can_write(kind: Kind) {
    each_private_folder(kind, |scratch, owner, open| {
        let hidden = scratch.folder().join(".lockfolder");
        for (what, spoil) in SPOILT {
            let mut used = open();
            used.must("lock 0");
            used.must("unlock 0");
            spoil(&hidden);
            let what = format!("{what}, of user {owner}");
            for mut puppet in [open(), used] {
                for call in ["lock 0", "wait 0 10", "lock 0"] {
                    assert_eq!(puppet.ask(call), "LF_ERR_UNSAFE", "{what}: {call}");
                    assert!(puppet.why(0).contains(".lockfolder"), "{what}: {}", puppet.why(0));
                }
                assert_eq!(bids_in(&scratch.folder()), Vec::<std::path::PathBuf>::new(), "{what}");
            }
            fs::remove_dir_all(&hidden).unwrap();
            let mut puppet = open();
            puppet.must("lock 0");
            drop(puppet);
            fs::remove_file(&bids_in(&scratch.folder())[0]).unwrap();
            fs::remove_dir_all(&hidden).unwrap();
        }
        // A stranger's file in the lock folder itself would be a bid. That only denies the lock.
        Bid::of(std::process::id()).write(&scratch.folder().join(bid_name("x")));
        assert_eq!(open().ask("lock 0"), "LF_BUSY");
    });
}

fn a_private_handle_accepts_what_is_its_own_or_roots(kind: Kind) {
    each_private_folder(kind, |scratch, owner, open| {
        let hidden = scratch.folder().join(".lockfolder");
        for whose in [owner, 0] {
            let (mut holder, mut waiter) = (open(), open());
            for _ in 0..2 {
                holder.must("lock 0");
                holder.must("fence 0");
                waiter.start_to_wait(0, -1);
                holder.must("unlock 0");
                assert_eq!(waiter.ask("join 1"), "LF_OK");
                waiter.must("unlock 0");
                for name in listing(&hidden).into_iter().filter(|name| name.starts_with("fence-")) {
                    give(&hidden.join(name), whose);
                }
            }
        }
    });
}
