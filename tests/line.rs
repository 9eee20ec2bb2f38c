//! The line of those who wait: first come, first served, one wake-up per hand-over, and nobody who dies, leaves or is stopped
//! holds the others up. See `docs/waiting.md`.

#[path = "line/places.rs"]
mod places;
mod support;
#[path = "line/turns.rs"]
mod turns;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use places::{holder_and_waiters, joined, line};
use support::{bids_in, both, listing, root_or_skip, wait_until, Kind, Puppet, Scratch};
use turns::{are_served, are_served_in_order, is_served, unless_somebody_dozes, NO_SHOW};

both!(
    by crate::turns::unless_somebody_dozes;
    who_comes_first_is_served_first,
    a_newcomer_that_waits_does_not_overtake,
    whoever_dies_in_line_is_passed_over_and_leaves_nothing,
    whoever_leaves_the_line_is_passed_over_and_leaves_nothing,
    the_death_of_a_holder_with_a_ticket_serves_the_next,
    however_many_died_in_line_a_wait_ends_in_time,
    a_stopped_first_in_line_holds_nobody_up_for_ever_and_goes_to_the_end,
    a_holder_whose_ticket_is_deleted_still_hands_over,
    the_tail_of_a_long_line_is_only_a_hint_and_goes_with_it,
    whoever_is_told_of_a_wrong_predecessor_is_served_all_the_same,
    a_deleted_folder_ends_all_waits,
    waiters_go_on_in_the_folder_that_is_at_the_path_now,
    without_inotify_instances_the_first_in_line_still_sees_the_unlock,
    a_forked_child_that_keeps_everything_open_keeps_nobody_waiting,
);

fn who_comes_first_is_served_first(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let folder = scratch.folder();
        let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 6);
        let freed = Instant::now();
        holder.must("unlock 0");
        are_served_in_order(&mut waiters, &folder, freed);
    }
}

fn a_newcomer_that_waits_does_not_overtake(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 1);
    waiters[0].stop();
    let freed = Instant::now();
    holder.must("unlock 0"); // now the lock is free, but it isn't the newcomer's turn
    let mut newcomer = Puppet::at(kind, &folder);
    assert_eq!(newcomer.ask("wait 0 1"), "LF_TIMEOUT");
    assert!(newcomer.why(0).contains("in line before us"), "{}", newcomer.why(0));
    waiters[0].go_on();
    are_served_in_order(&mut waiters, &folder, freed);
}

fn whoever_dies_in_line_is_passed_over_and_leaves_nothing(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 6);
    // The first, one in the middle, two in a row.
    for dead in [4, 3, 1, 0] {
        waiters.remove(dead).kill_and_reap();
    }
    let freed = Instant::now();
    holder.must("unlock 0");
    are_served_in_order(&mut waiters, &folder, freed);
    holder.must("reap 0");
    assert_eq!(claims(&folder), 3, "those of the living: {:?}", listing(&folder.join(".lockfolder")));
}

fn claims(folder: &Path) -> usize {
    bids_in(&folder.join(".lockfolder")).len() // they are named alike
}

fn whoever_leaves_the_line_is_passed_over_and_leaves_nothing(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 2);
    let (mut cancelled, mut late) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    cancelled.start_to_wait(0, -1);
    wait_until(|| line(&folder).len() == 3);
    waiters.push(joined(Puppet::at(kind, &folder), &folder));
    assert_eq!(late.ask("wait 0 30"), "LF_TIMEOUT");
    cancelled.must("cancel 0");
    assert_eq!(cancelled.ask("join 1"), "LF_CANCELLED");
    assert_eq!(line(&folder).len(), 3);
    let freed = Instant::now();
    holder.must("unlock 0");
    are_served_in_order(&mut waiters, &folder, freed);
}

fn the_death_of_a_holder_with_a_ticket_serves_the_next(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 4);
    let mut freed = Instant::now();
    holder.must("unlock 0");
    for _ in 0..3 {
        is_served(&mut waiters, 0, freed);
        freed = Instant::now();
        waiters[0].kill(); // it is a zombie then
        waiters.remove(0);
    }
    are_served_in_order(&mut waiters, &folder, freed);
}

/// To see that 2,000 are dead takes far more than a millisecond: so if the wait ended in time, it has not looked at them all.
fn however_many_died_in_line_a_wait_ends_in_time(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    holder.must("lock 0");
    let queue = folder.join(".lockfolder/queue");
    fs::create_dir(&queue).unwrap();
    for dead in 0..2_000 {
        fs::write(queue.join(format!("{dead:032x}")), "").unwrap();
    }
    assert_eq!(waiter.ask("wait 0 1"), "LF_TIMEOUT");
    assert_ne!(line(&folder).len(), 0);
}

fn a_stopped_first_in_line_holds_nobody_up_for_ever_and_goes_to_the_end(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 4);
    waiters[0].stop();
    waiters[1].stop();
    let freed = Instant::now();
    holder.must("unlock 0");
    is_served(&mut waiters, 2, freed + NO_SHOW * 2); // one for each who is stopped
    for back in [1, 0] {
        waiters[back].go_on();
        wait_until(|| line(&folder).len() == 4 - back);
    }
    let freed = Instant::now();
    waiters.remove(2).must("unlock 0");
    waiters.reverse();
    are_served_in_order(&mut waiters, &folder, freed);
}

fn a_holder_whose_ticket_is_deleted_still_hands_over(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 3);
    let freed = Instant::now();
    holder.must("unlock 0");
    is_served(&mut waiters, 0, freed);
    fs::remove_file(folder.join(".lockfolder/queue").join(&line(&folder)[0])).unwrap();
    let freed = Instant::now();
    waiters.remove(0).must("unlock 0");
    are_served_in_order(&mut waiters, &folder, freed);
}

fn the_tail_of_a_long_line_is_only_a_hint_and_goes_with_it(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let tail = folder.join(".lockfolder/tail");
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 6);
    assert!(!tail.exists());
    waiters.extend((0..6).map(|_| joined(Puppet::at(kind, &folder), &folder)));
    assert!(tail.exists());
    let mut leave = |hint: &str| {
        fs::OpenOptions::new().write(true).open(&tail).unwrap().write_all(hint.as_bytes()).unwrap();
        waiters.push(joined(Puppet::at(kind, &folder), &folder));
    };
    ["0".repeat(32), "f".repeat(32), "no ticket".repeat(20), String::new()].iter().for_each(|hint| leave(hint));
    // The last name that was left is a dead one's.
    let before = line(&folder);
    waiters.pop().unwrap().kill_and_reap();
    let mut newcomer = Puppet::at(kind, &folder);
    newcomer.tell("wait 0 -1");
    wait_until(|| line(&folder).last() > before.last());
    waiters.push(newcomer);
    let freed = Instant::now();
    holder.must("unlock 0");
    are_served_in_order(&mut waiters, &folder, freed);
    assert!(!tail.exists());
}

/// It tries too soon, and may get in, for once.
fn whoever_is_told_of_a_wrong_predecessor_is_served_all_the_same(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 10);
    let first = line(&folder).remove(0);
    for _ in 0..3 {
        fs::write(folder.join(".lockfolder/tail"), &first).unwrap();
        waiters.push(joined(Puppet::at(kind, &folder), &folder));
    }
    holder.must("unlock 0");
    while !waiters.is_empty() {
        let mut served = None;
        wait_until(|| {
            served = waiters.iter().position(Puppet::has_answered);
            served.is_some()
        });
        let mut served = waiters.remove(served.unwrap());
        assert_eq!(served.hear(), "LF_OK");
        assert!(waiters.iter().all(|waiter| !waiter.has_answered()), "somebody else was served too");
        served.must("unlock 0");
    }
    assert_eq!(line(&folder), [""; 0]);
}

fn a_deleted_folder_ends_all_waits(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (_holder, mut waiters) = holder_and_waiters(kind, &folder, 4);
    // In one step. While it is emptied file by file, a waiter may rightly find the holder's bid deleted, and get the lock.
    fs::rename(&folder, scratch.join("gone")).unwrap();
    for waiter in &mut waiters {
        assert_eq!(waiter.hear(), "LF_ERR_IO");
        assert_eq!(waiter.code(0), 2, "ENOENT: {}", waiter.why(0));
    }
}

fn waiters_go_on_in_the_folder_that_is_at_the_path_now(kind: Kind) {
    let scratch = Scratch::new();
    let (folder, aside) = (scratch.folder(), scratch.join("aside"));
    let (_holder, mut waiters) = holder_and_waiters(kind, &folder, 3);
    let fresh = scratch.join("fresh");
    fs::create_dir(&fresh).unwrap();
    // In one step, so that nobody sees none.
    use rustix::fs::{renameat_with, RenameFlags, CWD};
    renameat_with(CWD, &fresh, CWD, &folder, RenameFlags::EXCHANGE).unwrap();
    fs::rename(&fresh, &aside).unwrap();
    let mut served = 0;
    while !waiters.is_empty() {
        wait_until(|| waiters.iter().any(Puppet::has_answered));
        let turn = waiters.iter().position(Puppet::has_answered).unwrap();
        let mut now = waiters.remove(turn);
        assert_eq!(now.hear(), "LF_OK");
        assert!(!waiters.iter().any(Puppet::has_answered));
        now.must("holds 0");
        now.must("unlock 0");
        served += 1;
    }
    assert_eq!(served, 3);
}

fn without_inotify_instances_the_first_in_line_still_sees_the_unlock(kind: Kind) {
    if !root_or_skip("a user namespace without inotify instances") {
        return;
    }
    // Not /proc/sys/fs/inotify: that is the whole machine's, whatever namespace it is written in, and stays.
    let none = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$@\"";
    let before = ["unshare", "--user", "--map-root-user", "sh", "-c", none, "sh"];
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let mut holder = Puppet::at(kind, &folder);
    holder.must("lock 0");
    let mut waiter = Puppet::behind(&before, kind);
    waiter.open(0, &folder);
    let mut waiters = [joined(waiter, &folder)];
    let freed = Instant::now();
    holder.must("unlock 0");
    are_served_in_order(&mut waiters, &folder, freed);
}

fn a_forked_child_that_keeps_everything_open_keeps_nobody_waiting(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 3);
    let freed = Instant::now();
    holder.must("unlock 0");
    is_served(&mut waiters, 0, freed);
    let _child = waiters[0].fork(); // with the claim, the beacon, and whatever else
    let freed = Instant::now();
    waiters.remove(0).kill_and_reap();
    is_served(&mut waiters, 0, freed);
    let _another = waiters[0].fork();
    let freed = Instant::now();
    waiters.remove(0).must("unlock 0"); // closing the beacon tells nobody now
    are_served_in_order(&mut waiters, &folder, freed);
}

/// Root may delete any ticket, and the owner of a folder any in it; others may not where the folder is sticky.
#[test]
fn a_ticket_of_the_dead_that_may_not_be_deleted_is_passed_over() {
    unless_somebody_dozes(|| {
        if !root_or_skip("other users") {
            return;
        }
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(0o1777);
        let user = |id: u32| {
            let id = id.to_string();
            let mut puppet = Puppet::behind(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"], Kind::C);
            puppet.open(0, &folder);
            puppet
        };
        let mut holder = user(65_001);
        holder.must("lock 0");
        let dead = joined(user(65_002), &folder);
        let mut waiters = [joined(user(65_003), &folder)];
        dead.kill_and_reap();
        let freed = Instant::now();
        holder.must("unlock 0");
        is_served(&mut waiters, 0, freed);
        assert_eq!(line(&folder).len(), 2, "the other's ticket can't be deleted");
        waiters[0].must("unlock 0");
    });
}

#[test]
fn containers_stand_in_one_line_and_their_deaths_are_seen() {
    unless_somebody_dozes(|| {
        if !root_or_skip("PID namespaces") {
            return;
        }
        let scratch = Scratch::new();
        let folder = scratch.folder();
        let container = || {
            let mut puppet = Puppet::behind(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], Kind::C);
            puppet.open(0, &folder);
            puppet
        };
        let mut holder = container();
        holder.must("lock 0");
        let mut waiters: Vec<_> = (0..6)
            .map(|n| joined(if n % 2 == 0 { container() } else { Puppet::at(Kind::C, &folder) }, &folder))
            .collect();
        let freed = Instant::now();
        holder.kill_and_reap(); // no ticket, and another namespace: the first in line has to look
        is_served(&mut waiters, 0, freed);
        let freed = Instant::now();
        waiters.remove(0).kill_and_reap();
        is_served(&mut waiters, 0, freed);
        waiters.remove(1).kill_and_reap();
        let freed = Instant::now();
        waiters.remove(0).must("unlock 0");
        are_served_in_order(&mut waiters, &folder, freed);
    });
}

/// Those who are not next sleep through a hand-over, but for their look every two seconds or so.
#[test]
fn a_hand_over_wakes_one() {
    unless_somebody_dozes(|| {
        let scratch = Scratch::new();
        let folder = scratch.folder();
        let (mut holder, mut waiters) = holder_and_waiters(Kind::C, &folder, 40);
        wait_until(|| waiters.iter().all(|waiter| support::state_of(waiter.pid()) == Some('S')));
        let began = std::time::Instant::now();
        let before: Vec<_> = waiters[21..].iter().map(Puppet::sleeps).collect();
        let freed = Instant::now();
        holder.must("unlock 0");
        are_served(&mut waiters[..20], freed);
        let after = waiters[21..].iter().zip(before).map(|(waiter, before)| waiter.sleeps() - before).max().unwrap();
        // A look may block more than once, on a folder that somebody changes at that moment.
        let looks = 4 * (1 + began.elapsed().as_secs() * 2);
        assert!(after <= looks, "woken {after} times by 20 hand-overs, and {looks} are explained");
        waiters.drain(..20);
        are_served_in_order(&mut waiters, &folder, freed);
    });
}

/// A thousand waiters, in threads: nobody is lost, no two are in.
#[test]
fn a_thousand_waiters_are_all_served() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let enough =
        rustix::process::Rlimit { current: limit.maximum.map(|most| most.min(20_000)), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, enough).unwrap();

    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let open = || lockfolder::LockFolder::open(&folder).unwrap();
    let first = open().try_lock().unwrap();
    let (inside, served) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..1000 {
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn_scoped(scope, || {
                    let guard = open().lock().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are in");
                    served.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    guard.unlock().unwrap();
                })
                .unwrap();
        }
        wait_until(|| line(&folder).len() == 1000);
        first.unlock().unwrap();
    });
    assert_eq!(served.into_inner(), 1000);
    assert!(line(&folder).is_empty());
}
