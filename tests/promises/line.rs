//! The line of the waiters: first come, first served, with one wake-up for each hand-over. A claimant that dies, leaves
//! or is stopped does not block the others. See `docs/waiting.md`.

pub mod places;
pub mod turns;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::support::{
    all_waits, bids_in, listing, namespaces_or_skip, nobody, root_or_skip, set_mode, wait_until, Kind, Puppet, Scratch,
};
use places::{holder_and_waiters, joined, line};
use turns::{are_served, are_served_in_order, is_served, unless_somebody_dozes, NO_SHOW};

all_waits!(
    by crate::line::turns::unless_somebody_dozes;
    waiters_are_served_in_the_order_of_arrival,
    a_newcomer_that_waits_does_not_overtake,
    a_wait_ends_with_a_lock_that_is_free_though_the_first_in_line_is_stopped,
    a_claimant_that_dies_in_line_is_passed_over_and_leaves_nothing,
    a_claimant_that_leaves_the_line_is_passed_over_and_leaves_nothing,
    the_death_of_a_holder_with_a_ticket_serves_the_next,
    a_wait_ends_in_time_however_many_claimants_died_in_line,
    a_stopped_first_in_line_loses_its_place_and_goes_to_the_end,
    the_dead_before_a_stopped_waiter_cost_no_time,
    a_holder_whose_ticket_is_deleted_still_hands_over,
    the_tail_of_a_long_line_is_only_a_hint_and_is_deleted_with_the_line,
    a_waiter_with_a_wrong_predecessor_is_still_served,
    a_deleted_folder_ends_all_waits,
    waiters_go_on_in_the_folder_that_is_at_the_path_now,
    without_inotify_instances_the_first_in_line_still_sees_the_unlock,
    a_forked_child_that_keeps_everything_open_delays_no_waiter,
);

fn waiters_are_served_in_the_order_of_arrival(kind: Kind) {
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
    holder.must("unlock 0"); // the lock is free now, but it is not the newcomer's turn
    let newcomer = Puppet::at(kind, &folder);
    waiters.push(joined(newcomer, &folder));
    waiters[0].go_on();
    are_served_in_order(&mut waiters, &folder, freed);
}

/// A try that does not wait takes a lock that is free. So a wait must not end without it, however short it is.
fn a_wait_ends_with_a_lock_that_is_free_though_the_first_in_line_is_stopped(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 1);
    waiters[0].stop();
    holder.must("unlock 0");
    for timeout in [1, 10, 100, 1000] {
        let mut newcomer = Puppet::at(kind, &folder);
        assert_eq!(newcomer.ask(&format!("wait 0 {timeout}")), "LF_OK", "within {timeout} ms");
        newcomer.must("unlock 0");
    }
    let freed = Instant::now();
    waiters[0].go_on();
    are_served_in_order(&mut waiters, &folder, freed);
}

fn a_claimant_that_dies_in_line_is_passed_over_and_leaves_nothing(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 6);
    // The first, one in the middle, and two in a row.
    for dead in [4, 3, 1, 0] {
        waiters.remove(dead).kill_and_reap();
    }
    let freed = Instant::now();
    holder.must("unlock 0");
    are_served_in_order(&mut waiters, &folder, freed);
    holder.must("reap 0");
    assert_eq!(
        claims(&folder),
        3,
        "only the claims of live claimants may be left: {:?}",
        listing(&folder.join(".lockfolder"))
    );
}

fn claims(folder: &Path) -> usize {
    bids_in(&folder.join(".lockfolder")).len() // claims have names like bids
}

fn a_claimant_that_leaves_the_line_is_passed_over_and_leaves_nothing(kind: Kind) {
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
        waiters[0].kill(); // the killed waiter is now a zombie
        waiters.remove(0);
    }
    are_served_in_order(&mut waiters, &folder, freed);
}

/// To find that 2,000 claimants are dead takes far more than a millisecond. If the wait ends in time, it has not looked
/// at them all.
fn a_wait_ends_in_time_however_many_claimants_died_in_line(kind: Kind) {
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

fn a_stopped_first_in_line_loses_its_place_and_goes_to_the_end(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 4);
    waiters[0].stop();
    waiters[1].stop();
    let freed = Instant::now();
    holder.must("unlock 0");
    is_served(&mut waiters, 2, freed + NO_SHOW * 2); // one for each stopped waiter
    for back in [1, 0] {
        waiters[back].go_on();
        wait_until(|| line(&folder).len() == 4 - back);
    }
    let freed = Instant::now();
    waiters.remove(2).must("unlock 0");
    waiters.reverse();
    are_served_in_order(&mut waiters, &folder, freed);
}

/// Only the stopped waiter watches the last of them. In a sticky folder the one behind it can't delete their tickets.
fn the_dead_before_a_stopped_waiter_cost_no_time(kind: Kind) {
    const DEAD: usize = 16;
    for sticky in [false, true] {
        if sticky && !root_or_skip("a waiter of another user") {
            return;
        }
        let scratch = Scratch::new();
        let folder = scratch.folder();
        fs::create_dir(&folder).unwrap();
        if sticky {
            set_mode(&folder, 0o1777);
        }
        let (mut holder, dead) = holder_and_waiters(kind, &folder, DEAD);
        let mut behind: Vec<_> = (0..2)
            .map(|_| {
                let mut puppet = if sticky { nobody(kind) } else { Puppet::new(kind) };
                puppet.open(0, &folder);
                joined(puppet, &folder)
            })
            .collect();
        behind[0].stop();
        dead.iter().for_each(Puppet::stop); // so that none of them passes over another one
        dead.into_iter().for_each(Puppet::kill_and_reap);
        assert_eq!(line(&folder).len(), DEAD + 2, "{:?}", line(&folder));
        let freed = Instant::now();
        holder.must("unlock 0");
        is_served(&mut behind, 1, freed + NO_SHOW * 2);
        // A second for each of them would be longer by far than the second for the stopped one.
        assert!(freed.elapsed() < NO_SHOW * DEAD as u32, "{:?}", freed.elapsed());
        assert_eq!(line(&folder).len() > DEAD, sticky);
    }
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

fn the_tail_of_a_long_line_is_only_a_hint_and_is_deleted_with_the_line(kind: Kind) {
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
    // The tail names a dead claimant.
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

/// The waiter tries too soon, and may once get the lock out of turn.
fn a_waiter_with_a_wrong_predecessor_is_still_served(kind: Kind) {
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
        assert!(waiters.iter().all(|waiter| !waiter.has_answered()), "a second waiter holds the lock");
        served.must("unlock 0");
    }
    assert_eq!(line(&folder), [""; 0]);
}

fn a_deleted_folder_ends_all_waits(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (_holder, mut waiters) = holder_and_waiters(kind, &folder, 4);
    // Deleted in one step. If it is emptied file by file, a waiter may rightly find the holder's bid deleted, and get
    // the lock.
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
    // In one step, so that a folder is always at the path.
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
    // Not /proc/sys/fs/inotify, because a write there changes the whole machine and stays, in whatever namespace it is
    // made.
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

fn a_forked_child_that_keeps_everything_open_delays_no_waiter(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 3);
    let freed = Instant::now();
    holder.must("unlock 0");
    is_served(&mut waiters, 0, freed);
    let _child = waiters[0].fork(); // with the claim, the beacon, and everything else
    let freed = Instant::now();
    waiters.remove(0).kill_and_reap();
    is_served(&mut waiters, 0, freed);
    let _another = waiters[0].fork();
    let freed = Instant::now();
    waiters.remove(0).must("unlock 0"); // closing the beacon now notifies nobody
    are_served_in_order(&mut waiters, &folder, freed);
}

/// Root may delete any ticket, and the owner of a folder any ticket in it. In a sticky folder, other users may delete
/// only their own.
#[test]
fn a_dead_claimants_ticket_that_may_not_be_deleted_is_passed_over() {
    unless_somebody_dozes(|| {
        if !root_or_skip("other users") {
            return;
        }
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(0o1777);
        let user = |id: u32| {
            let mut puppet = Puppet::new(Kind::C);
            puppet.must(&format!("become {id} {id}"));
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
        assert_eq!(line(&folder).len(), 2, "the ticket of the other user can't be deleted");
        waiters[0].must("unlock 0");
    });
}

#[test]
fn containers_stand_in_one_line_and_their_deaths_are_seen() {
    unless_somebody_dozes(|| {
        if !namespaces_or_skip("PID namespaces") {
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
        // The holder has no ticket and is in another namespace. Only a look of the first in line can find its death.
        holder.kill_and_reap();
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

/// A waiter that is not the next in line sleeps through a hand-over, except for its look about every two seconds.
#[test]
fn a_hand_over_wakes_one_waiter() {
    unless_somebody_dozes(|| {
        let scratch = Scratch::new();
        let folder = scratch.folder();
        let (mut holder, mut waiters) = holder_and_waiters(Kind::C, &folder, 40);
        wait_until(|| waiters.iter().all(|waiter| crate::support::state_of(waiter.pid()) == Some('S')));
        let began = std::time::Instant::now();
        let before: Vec<_> = waiters[21..].iter().map(Puppet::sleeps).collect();
        let freed = Instant::now();
        holder.must("unlock 0");
        are_served(&mut waiters[..20], freed);
        let after = waiters[21..].iter().zip(before).map(|(waiter, before)| waiter.sleeps() - before).max().unwrap();
        // A look may block more than once, if another process changes the folder at that moment.
        let looks = 4 * (1 + began.elapsed().as_secs() * 2);
        assert!(after <= looks, "woken {after} times by 20 hand-overs; the looks explain only {looks}");
        waiters.drain(..20);
        are_served_in_order(&mut waiters, &folder, freed);
    });
}

/// A thousand waiters, in threads. Each gets the lock, and no two hold it at once.
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
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two claimants hold the lock");
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
