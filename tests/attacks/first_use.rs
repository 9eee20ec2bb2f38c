//! The first users make the sub-folder and what is in it. The next users can use all of it, whichever user made it, and at whatever
//! point that user died. No claimant changes what was there before and belongs to others.

use std::fs;
use std::os::unix::fs::{chown, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::c::trace::{At, Fate, Tracer};
use crate::support::users::{each_stage, owner_and_mode, Stage, User};
use crate::support::{both, listing, root_or_skip, set_mode, wait_until, Bid, Kind, Puppet, Scratch, NOBODY};

both!(
    a_folder_that_was_moved_in_is_changed_by_nobody,
    two_users_who_come_first_at_the_same_moment_both_can_lock,
    root_without_some_of_its_rights_can_lock_and_wait,
    whatever_the_umask_who_comes_first_can_lock_and_wait,
    a_folder_that_its_owner_may_not_use_is_an_error_that_says_so,
);

/// A folder of another user, which the attacker moves to the place where the library keeps its own.
struct Prey {
    owner: u32,
    mode: u32,
    has_content: bool,
}

fn preys(neighbour: User) -> impl Iterator<Item = Prey> {
    let owners = [0, neighbour.id, 47_130];
    owners.into_iter().flat_map(|owner| {
        let modes = [0o700, 0o707, 0o1777, 0o757, 0o2755];
        modes.into_iter().flat_map(move |mode| [true, false].map(|has_content| Prey { owner, mode, has_content }))
    })
}

/// Everything that a claimant may do. The test does not ask for the results.
fn everything(puppet: &mut Puppet, folder: &Path) {
    if puppet.try_open(0, 0, folder) != "LF_OK" {
        return;
    }
    for call in
        ["in_use 0", "bids 0", "reap 0", "lock 0", "fence 0", "holds 0", "bids 0", "unlock 0", "wait 0 10", "unlock 0"]
    {
        puppet.ask(call);
    }
    let busy = Bid::of(std::process::id()).post(folder);
    puppet.ask("wait 0 40");
    let _ = fs::remove_file(busy);
    for call in ["lock 0", "unlock 0", "reap 0", "close 0"] {
        puppet.ask(call);
    }
}

fn a_folder_that_was_moved_in_is_changed_by_nobody(kind: Kind) {
    let moved = [AtomicUsize::new(0), AtomicUsize::new(0)];
    each_stage(|stage| {
        let folder = stage.folder();
        let mut claimants = [Puppet::new(kind), stage.neighbour.puppet(kind)];
        for (place, where_to) in [stage.hidden(), stage.hidden().join("queue")].into_iter().enumerate() {
            for prey in preys(stage.neighbour) {
                stage.renew();
                let from = folder.join("work");
                fs::create_dir(&from).unwrap();
                if prey.has_content {
                    fs::write(from.join("precious"), "precious").unwrap();
                }
                chown(&from, Some(prey.owner), Some(prey.owner)).unwrap();
                set_mode(&from, prey.mode);
                let before = owner_and_mode(&from);
                // While this is open, no other folder has its inode number.
                let open = fs::File::open(&from).unwrap();
                let inode = open.metadata().unwrap().ino();
                let attack = || {
                    if place == 1 {
                        fs::create_dir(stage.hidden())?;
                        fs::set_permissions(stage.hidden(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
                    }
                    fs::rename(&from, &where_to)
                };
                if stage.attacker.acts(attack).is_err() {
                    continue; // the mode of the folder forbids it
                }
                moved[place].fetch_add(1, Ordering::Relaxed);
                let what = format!("{}, {where_to:?}, of user {}, mode {:o}", stage.name, prey.owner, prey.mode);
                for claimant in [0, 1, 0] {
                    everything(&mut claimants[claimant], &folder);
                    match fs::metadata(&where_to).is_ok_and(|now| now.ino() == inode) {
                        true => assert_eq!(owner_and_mode(&where_to), before, "{what}"),
                        // A claimant that may not open the folder deletes it if it is empty, and makes another one. And the last
                        // waiter that leaves a line deletes the folder of the line, if that folder is empty.
                        false => assert!(!prey.has_content, "{what}: it is gone, with its content"),
                    }
                    if prey.has_content {
                        assert_eq!(fs::read(where_to.join("precious")).unwrap(), b"precious", "{what}");
                    }
                }
            }
        }
    });
    println!("moved in: {moved:?}");
    assert!(!rustix::process::geteuid().is_root() || moved.iter().all(|moved| moved.load(Ordering::Relaxed) > 0));
}

/// Neither user sees the sub-folder while the other has only half made it.
fn two_users_who_come_first_at_the_same_moment_both_can_lock(kind: Kind) {
    const ROUNDS: usize = 60;
    each_stage(|stage| {
        let mut users = [stage.attacker, stage.neighbour].map(|user| user.puppet(kind));
        for round in 0..ROUNDS {
            stage.renew();
            users.iter_mut().for_each(|user| {
                user.must("umask 077");
                user.open(0, &stage.folder());
            });
            let call = ["lock 0", "wait 0 -1"][round % 2];
            users.iter_mut().for_each(|user| user.tell(call));
            if call == "lock 0" {
                for user in &mut users {
                    let got = user.hear();
                    let why = user.why(0);
                    assert!(got == "LF_OK" || got == "LF_BUSY", "{}, round {round}: {got:?}: {why}", stage.name);
                }
            } else {
                crate::support::wait_until(|| users.iter().any(|user| user.has_answered()));
                let first = users.iter().position(|user| user.has_answered()).unwrap();
                for user in [first, 1 - first] {
                    let got = users[user].hear();
                    let why = users[user].why(0);
                    assert!(got == "LF_OK", "{}, round {round}: {got:?}: {why}", stage.name);
                    users[user].must("unlock 0");
                }
            }
            users.iter_mut().for_each(|user| drop(user.must("close 0")));
        }
    });
}

/// Everything that another user does works, standing in line included.
#[track_caller]
fn can_lock_and_wait(stage: &Stage, users: &mut [Puppet; 2], when: &str) {
    let [one, other] = users;
    one.open(0, &stage.folder());
    other.open(0, &stage.folder());
    for call in ["lock 0", "fence 0"] {
        let got = one.ask(call);
        // In a sticky folder the sub-folder may belong to the attacker, which could delete tokens there.
        let is_warned = call == "fence 0" && got == "LF_ERR_UNSAFE" && one.why(0).contains("sticky");
        assert!(got == "LF_OK" || is_warned, "{when}: {call}: {got:?}: {}", one.why(0));
    }
    other.start_to_wait(0, -1);
    one.must("unlock 0");
    let got = other.ask("join 1");
    assert!(got == "LF_OK", "{when}: wait: {got:?}: {}", other.why(0));
    for user in [other, one] {
        user.must("close 0");
    }
}

/// A first lock without rivals, and a first wait while a hand-made bid keeps the claimant out.
const SCENARIOS: [&[&str]; 2] = [&["hold"], &["contended", "20"]];

fn prepare(stage: &Stage, scenario: &[&str]) -> Option<std::path::PathBuf> {
    stage.renew();
    (scenario[0] == "contended").then(|| Bid::of(std::process::id()).post(&stage.folder()))
}

#[test]
fn a_user_who_is_killed_at_any_system_call_of_its_first_lock_keeps_nobody_out() {
    each_stage(|stage| {
        let tracer = Tracer::of_user(stage.attacker.id, stage.attacker.group);
        let mut users = [stage.neighbour.puppet(Kind::C), Puppet::new(Kind::C)];
        // Filesystems differ in how the sub-folder is made. Each scenario makes it, so one is enough on a disk.
        let scenarios = if stage.name.starts_with("in memory") { &SCENARIOS[..] } else { &SCENARIOS[..1] };
        for scenario in scenarios {
            for number in 1.. {
                let busy = prepare(stage, scenario);
                let story = tracer.run(&stage.folder(), scenario, &number.to_string(), Fate::Kill);
                busy.into_iter().for_each(|busy| fs::remove_file(busy).unwrap());
                let when = format!("{}, {scenario:?}, killed at call {number}", stage.name);
                can_lock_and_wait(stage, &mut users, &when);
                if story.ended_well() {
                    assert!(number > 20, "{when}: {}", story.text);
                    break;
                }
            }
        }
    });
}

/// The same, except that the user is only slow, and goes on later.
#[test]
fn a_user_who_stops_at_any_system_call_of_its_first_lock_keeps_nobody_out() {
    each_stage(|stage| {
        let tracer = Tracer::of_user(stage.attacker.id, stage.attacker.group);
        let mut other = stage.neighbour.puppet(Kind::C);
        for number in 1.. {
            stage.renew();
            other.open(0, &stage.folder());
            let stopped = tracer.run_up_to(&stage.folder(), &["alone", "20"], number, Duration::MAX);
            let At::Stopped(step) = stopped.at.clone() else { break };
            if !["open", "lock"].contains(&step.as_str()) {
                break;
            }
            let when = format!("{}, stopped at call {number}", stage.name);
            let got = other.ask("lock 0");
            assert!(got == "LF_OK" || got == "LF_BUSY", "{when}: {got:?}: {}", other.why(0));
            other.ask("unlock 0");
            other.must("close 0");
            let story = stopped.go_on();
            let lock = story.outcomes.iter().find(|outcome| outcome.step == "lock").unwrap();
            assert_eq!(lock.status, "LF_OK", "{when}: {}", story.text);
        }
        other.ask("close 0");
    });
}

/// A service that runs as root and lacks some capabilities (capabilities(7)): it works in another user's folder, and leaves nothing
/// there.
fn root_without_some_of_its_rights_can_lock_and_wait(kind: Kind) {
    each_stage(|stage| {
        for lost in ["fowner", "chown", "chown,-fowner", "fowner,-fsetid", "fowner,-dac_override"] {
            stage.renew();
            let folder = stage.folder();
            if folder.metadata().unwrap().permissions().mode() & 0o002 == 0 && lost.contains("dac") {
                continue; // the service may not write there
            }
            chown(&folder, Some(stage.neighbour.id), None).unwrap();
            let lost = format!("-{lost}");
            let mut service = Puppet::behind(&["setpriv", "--bounding-set", &lost, "--inh-caps", &lost], kind);
            let mut owner = stage.neighbour.puppet(kind);
            service.open(0, &folder);
            owner.open(0, &folder);
            service.must("lock 0");
            service.must("unlock 0");
            owner.must("lock 0");
            service.tell("wait 0 -1");
            let queue = || fs::read_dir(stage.hidden()).map_or(0, Iterator::count);
            wait_until(|| queue() > 2);
            owner.must("unlock 0");
            assert_eq!(service.hear(), "LF_OK", "{}, {lost}", stage.name);
            service.must("unlock 0");
            service.must("close 0");
            owner.must("close 0");
            let left = [listing(&folder), listing(&stage.hidden())].concat();
            assert_eq!(left, [".lockfolder"], "{}, {lost}", stage.name);
        }
    });
}

/// `LF_OPEN_PRIVATE`
const PRIVATE: u32 = 2;

/// An umask can take the owner's own rights too. The owner of what the library makes can use it all the same. Group and others get no
/// right that the umask takes, except that every user may read a bid.
fn whatever_the_umask_who_comes_first_can_lock_and_wait(kind: Kind) {
    if !root_or_skip("a user whom modes keep out") {
        return;
    }
    const UMASKS: [u32; 10] = [0, 0o022, 0o077, 0o177, 0o300, 0o400, 0o277, 0o500, 0o700, 0o777];
    for (umask, flags) in UMASKS.into_iter().flat_map(|umask| [(umask, 0), (umask, PRIVATE)]) {
        let scratch = Scratch::shm();
        chown(&*scratch, Some(NOBODY), Some(NOBODY)).unwrap();
        let (folder, when) = (scratch.folder(), format!("umask {umask:o}, flags {flags}"));
        let mut line: Vec<_> = (0..4)
            .map(|_| {
                let mut puppet = crate::support::nobody(kind);
                puppet.must(&format!("umask {umask:o}"));
                let opened = puppet.try_open(0, flags, &folder);
                assert_eq!(opened, "LF_OK", "{when}: {}", puppet.why_not_opened());
                puppet
            })
            .collect();
        let said = |puppet: &mut Puppet, call: &str| {
            let got = puppet.ask(call);
            assert!(got != "LF_ERR_IO" && got != "LF_ERR_UNSAFE", "{when}: {call}: {}", puppet.why(0));
            got
        };
        assert_eq!(said(&mut line[0], "lock 0"), "LF_OK", "{when}");
        said(&mut line[0], "fence 0");
        for before in 0..3 {
            line[before + 1].tell("wait 0 -1");
            let tickets = || fs::read_dir(folder.join(".lockfolder/queue")).map_or(0, Iterator::count);
            crate::support::wait_until(|| tickets() == before + 1 || line[before + 1].has_answered());
            assert_eq!(tickets(), before + 1, "{when}: the waiter stands in line");
        }
        let is_taken = umask & 0o077;
        let given = if flags == PRIVATE { 0 } else { 0o077 & !is_taken };
        let mut found = [0; 3];
        for path in everything_in(&folder) {
            let about = fs::symlink_metadata(&path).unwrap();
            let mode = about.mode() & 0o7777;
            let (which, expected) = match about.file_type() {
                it if it.is_dir() => (0, 0o700 | given),
                it if it.is_fifo() => {
                    // A user that may write to the folder may do both, and no other user may do either.
                    let both = |shift: u32| if given >> shift & 0o2 != 0 { 0o6 << shift } else { 0 };
                    (1, 0o600 | both(3) | both(0))
                }
                _ if path.extension().is_some_and(|extension| extension == "json") => (2, 0o644),
                _ => (2, 0o644 & !umask), // a token: no process opens it
            };
            found[which] += 1;
            assert_eq!(mode, expected, "{when}: {}: {mode:o}, not {expected:o}", path.display());
        }
        assert!(found.iter().all(|&found| found > 2), "{found:?}");
        for (turn, holder) in line.iter_mut().enumerate() {
            if turn > 0 {
                let got = holder.hear();
                assert!(got == "LF_OK", "{when}: {got:?}: {}", holder.why(0));
            }
            said(holder, "unlock 0");
        }
        line[0].must("reap 0");
    }
}

fn everything_in(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(everything_in(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// A program with such an umask makes such a folder. The mode may be intended, so the library leaves it.
fn a_folder_that_its_owner_may_not_use_is_an_error_that_says_so(kind: Kind) {
    if !root_or_skip("a user whom modes keep out") {
        return;
    }
    for mode in [0o477, 0o500, 0o377, 0] {
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(mode);
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut puppet = crate::support::nobody(kind);
        let mut got = puppet.try_open(0, 0, &folder);
        let mut why = puppet.why_not_opened();
        if got == "LF_OK" {
            got = puppet.ask("lock 0");
            why = puppet.why(0);
        }
        assert_eq!(got, "LF_ERR_IO", "{mode:o}");
        assert!(why.contains("umask") && why.contains("chmod u+rwx"), "{mode:o}: {why}");
        assert_eq!(owner_and_mode(&folder).2 & 0o7777, mode);
    }
}
