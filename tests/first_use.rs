//! The sub-folder and what is in it are made by those who come first, whoever they are and wherever they die: the next can use it
//! all. What was there before, and is somebody else's, is changed by nobody.

mod c;
mod support;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use c::trace::{At, Fate, Tracer};
use support::users::{each_stage, owner_and_mode, Stage, User};
use support::{both, set_mode, Bid, Kind, Puppet};

both!(a_folder_that_was_moved_in_is_changed_by_nobody, two_users_who_come_first_at_the_same_moment_both_can_lock,);

/// A folder of somebody's, which the attacker moves to where the library keeps its own.
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

/// Everything that a claimant may do. What it comes to is not the question.
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
    let moved = Cell::new([0, 0]);
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
                let attack = || {
                    if place == 1 {
                        fs::create_dir(stage.hidden())?;
                        fs::set_permissions(stage.hidden(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
                    }
                    fs::rename(&from, &where_to)
                };
                if stage.attacker.acts(attack).is_err() {
                    continue; // the folder does not allow it
                }
                let mut count = moved.get();
                count[place] += 1;
                moved.set(count);
                let what = format!("{}, {where_to:?}, of user {}, mode {:o}", stage.name, prey.owner, prey.mode);
                for claimant in [0, 1, 0] {
                    everything(&mut claimants[claimant], &folder);
                    match where_to.exists() {
                        true => assert_eq!(owner_and_mode(&where_to), before, "{what}"),
                        // Who leaves a line deletes the folder of it, if that is empty.
                        false => assert!(!prey.has_content, "{what}: it is gone"),
                    }
                    if prey.has_content {
                        assert_eq!(fs::read(where_to.join("precious")).unwrap(), b"precious", "{what}");
                    }
                }
            }
        }
    });
    println!("moved in: {:?}", moved.get());
    assert!(!rustix::process::geteuid().is_root() || moved.get().iter().all(|&moved| moved > 0));
}

/// Neither sees the sub-folder half made by the other.
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
                support::wait_until(|| users.iter().any(|user| user.has_answered()));
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

/// All that another user does works, in line too.
#[track_caller]
fn can_lock_and_wait(stage: &Stage, users: &mut [Puppet; 2], when: &str) {
    let [one, other] = users;
    one.open(0, &stage.folder());
    other.open(0, &stage.folder());
    for call in ["lock 0", "fence 0"] {
        let got = one.ask(call);
        // In a sticky folder the sub-folder may be the attacker's, who could delete tokens there.
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

/// A lonely first lock, and a first wait while a bid that was made by hand keeps it out.
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
        // What differs by the filesystem is how the sub-folder is made, and that is in both.
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

/// The same, but it is only slow, and goes on later.
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
