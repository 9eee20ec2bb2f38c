//! A program that locks again and again without waiting gives waiters their turns. A no-show does not delay the other
//! claimants.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{both, wait_until, Kind, Puppet, Scratch};

both!(
    no_lock_gives_way_to_dead_waiters,
    a_waiter_gets_its_turns_beside_one_tight_loop,
    waiters_get_their_turns_beside_three_tight_loops,
    a_wait_without_time_gives_way_like_a_lock,
    a_stopped_first_in_line_does_not_keep_others_from_locking,
    a_stopped_first_in_line_loses_its_place_beside_tight_loops,
);

const TURNS: u64 = 20;
/// How often and how long each loop has the lock: a loop then has it twice between two looks for a line. The waiters
/// have had all their turns long before a loop ends, unless they starve.
const LOCKS: u64 = 600;
const WORK_MICROS: u64 = 10_000;

fn line(folder: &Path) -> usize {
    fs::read_dir(folder.join(".lockfolder/queue")).map_or(0, Iterator::count)
}

/// All puppets run on one processor, where no process is interrupted by another that wakes up (SCHED_BATCH, sched(7)).
/// A loop is therefore always faster than the waiters that its unlock wakes.
fn on_one_processor(kind: Kind, folder: &Path) -> Puppet {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = allowed.trim().split([',', '-']).next().unwrap();
    let mut puppet = Puppet::behind(&["taskset", "-c", first, "chrt", "--batch", "0"], kind);
    puppet.open(0, folder);
    puppet
}

/// Each waiter has its turns before any of the loops ends.
fn have_their_turns(kind: Kind, loops: usize, waiters: usize) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let mut loops: Vec<_> = (0..loops).map(|_| on_one_processor(kind, &folder)).collect();
    let mut waiters: Vec<_> = (0..waiters).map(|_| (on_one_processor(kind, &folder), 0)).collect();
    loops.iter_mut().for_each(|puppet| puppet.tell(&format!("hog 0 {LOCKS} {WORK_MICROS}")));
    // Waits until a loop holds the lock.
    wait_until(|| crate::support::bids_in(&folder).len() == 1);
    waiters.iter_mut().for_each(|(puppet, _)| puppet.tell("wait 0 -1"));
    while waiters.iter().any(|(_, turns)| *turns < TURNS) {
        for (puppet, turns) in waiters.iter_mut().filter(|(_, turns)| *turns < TURNS) {
            if puppet.has_answered() {
                assert_eq!(puppet.hear(), "LF_OK");
                puppet.must("unlock 0");
                *turns += 1;
                if *turns < TURNS {
                    puppet.tell("wait 0 -1");
                }
            }
        }
        if let Some(puppet) = loops.iter_mut().find(|puppet| puppet.has_answered()) {
            let turns: Vec<_> = waiters.iter().map(|(_, turns)| turns).collect();
            panic!("{turns:?} turns beside a loop that had the lock {LOCKS} times: {:?}", puppet.hear());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn a_waiter_gets_its_turns_beside_one_tight_loop(kind: Kind) {
    have_their_turns(kind, 1, 1);
}

fn waiters_get_their_turns_beside_three_tight_loops(kind: Kind) {
    have_their_turns(kind, 3, 1);
    have_their_turns(kind, 3, 3);
}

/// The lock is free, and the first in line is stopped.
fn a_stopped_first_in_line_does_not_keep_others_from_locking(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let (mut holder, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    holder.must("lock 0");
    waiter.tell("wait 0 -1");
    wait_until(|| line(&folder) == 1);
    waiter.stop();
    holder.must("unlock 0");
    for _ in 0..50 {
        holder.must("lock 0");
        holder.must("unlock 0");
        holder.must("wait 0 0");
        holder.must("unlock 0");
        Puppet::at(kind, &folder).must("lock 0");
    }
    assert_eq!(line(&folder), 1);
    waiter.go_on();
    assert_eq!(waiter.hear(), "LF_OK");
    waiter.must("unlock 0");
}

/// The loops take the lock all the time, so nobody sees it free. The wait must end long before the loops end.
fn a_stopped_first_in_line_loses_its_place_beside_tight_loops(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let mut loops: Vec<_> = (0..2).map(|_| Puppet::at(kind, &folder)).collect();
    let (mut holder, mut first, mut second) =
        (Puppet::at(kind, &folder), Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    holder.must("lock 0");
    first.tell("wait 0 -1");
    wait_until(|| line(&folder) == 1);
    first.stop();
    loops.iter_mut().for_each(|puppet| puppet.tell(&format!("hog 0 {} 1000", 100 * LOCKS)));
    holder.must("unlock 0");
    second.tell("wait 0 -1");
    while !second.has_answered() {
        assert!(!loops.iter_mut().any(|puppet| puppet.has_answered()), "it still waits");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(second.hear(), "LF_OK");
    second.must("unlock 0");
    first.go_on();
    assert_eq!(first.hear(), "LF_OK");
    first.must("unlock 0");
}

/// While the first in line is about to come, a lock call answers that the lock is busy. (The first does come, so at
/// some time the call must see its bid.)
fn a_wait_without_time_gives_way_like_a_lock(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let (mut polite, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    let mut gave_way = 0;
    for _ in 0..200 {
        let mut holder = Puppet::at(kind, &folder);
        holder.must("lock 0");
        waiter.tell("wait 0 -1");
        wait_until(|| line(&folder) == 1);
        polite.must("close 0");
        polite.open(0, &folder); // a new handle looks for a line at once
        holder.tell("unlock 0");
        let refused = polite.ask("wait 0 0") == "LF_TIMEOUT";
        assert_eq!(holder.hear(), "LF_OK");
        if !refused {
            polite.must("unlock 0");
        }
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("unlock 0");
        gave_way += u32::from(refused);
        if gave_way == 3 {
            return;
        }
    }
    panic!("the lock call gave way {gave_way} times");
}

/// The waiters died with their holder, as when a container is killed. The next lock call removes their tickets.
fn no_lock_gives_way_to_dead_waiters(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let queue = folder.join(".lockfolder/queue");
    let mut puppets: Vec<_> = (0..4).map(|_| Puppet::at(kind, &folder)).collect();
    puppets[0].must("lock 0");
    for (before, waiter) in puppets[1..].iter_mut().enumerate() {
        waiter.tell("wait 0 -1");
        wait_until(|| fs::read_dir(&queue).is_ok_and(|tickets| tickets.count() == before + 1));
    }
    // The waiters are killed first, because a live waiter could be notified of the holder's death and take the lock.
    puppets.into_iter().rev().for_each(Puppet::kill_and_reap);
    assert_eq!(fs::read_dir(&queue).unwrap().count(), 3);
    let mut next = Puppet::at(kind, &folder);
    next.must("lock 0");
    assert!(!queue.exists());
}
