//! Somebody cleans up too much: `.lockfolder`, or something in it, is deleted while claimants hold and wait. That costs
//! time and the order of the line. Every waiter still gets the lock, one at a time.

use std::fs;
use std::path::Path;

use crate::support::{both, listing, wait_until, Kind, Puppet, Scratch};

both!(
    deletions_in_the_sub_folder_during_a_wait_starve_no_waiter,
    deletions_in_the_sub_folder_at_each_hand_over_starve_no_waiter,
    a_sub_folder_that_is_deleted_again_and_again_is_made_again,
    what_dead_makers_of_the_sub_folders_left_is_removed,
);

/// A maker first makes an empty file on some filesystems, and then a folder. All else that has such a name belongs to somebody else.
fn what_dead_makers_of_the_sub_folders_left_is_removed(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    puppet.must("unlock 0");
    for (parent, name) in [(folder.clone(), ".lockfolder"), (folder.join(".lockfolder"), "queue")] {
        let staged = |number: u32| parent.join(format!("{name}-{number:016x}"));
        fs::write(staged(1), "").unwrap();
        fs::create_dir(staged(2)).unwrap();
        fs::write(staged(3), "precious").unwrap();
        fs::create_dir(staged(4)).unwrap();
        fs::write(staged(4).join("precious"), "").unwrap();
        fs::write(parent.join(format!("{name}-1")), "").unwrap();
        puppet.must("reap 0");
        assert_eq!([1, 2, 3, 4].map(|number| staged(number).exists()), [false, false, true, true], "{name}");
        assert!(parent.join(format!("{name}-1")).exists());
    }
}

/// Deletes this, as somebody with `rm -rf` would.
const DELETED: [&str; 6] = ["all", "queue", "claims", "beacons", "files", "tail"];

fn delete(folder: &Path, what: &str) {
    let hidden = folder.join(".lockfolder");
    let files = |suffix: &[&str]| {
        let names = fs::read_dir(&hidden).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        for name in names.map(|name| name.into_string().unwrap()).filter(|name| suffix.iter().any(|s| name.contains(s)))
        {
            let _ = fs::remove_file(hidden.join(name));
        }
    };
    // Entries that come and go meanwhile can make this fail, as they make `rm -rf` fail.
    match what {
        "all" => drop(fs::remove_dir_all(&hidden)),
        "queue" => drop(fs::remove_dir_all(hidden.join("queue"))),
        "claims" => files(&[".json"]),
        "beacons" => files(&[".beacon-"]),
        "files" => files(&[".json", ".beacon-", "tail"]),
        _ => files(&["tail"]),
    }
}

/// Each waiter gets the lock in turn, in any order.
fn are_served(mut waiters: Vec<Puppet>, what: &str, mut between: impl FnMut(&mut Puppet)) {
    while !waiters.is_empty() {
        wait_until(|| waiters.iter().any(Puppet::has_answered));
        let next = waiters.iter().position(Puppet::has_answered).unwrap();
        let mut waiter = waiters.remove(next);
        let served = waiter.hear();
        assert_eq!(served, "LF_OK", "{what}: {}", waiter.why(0));
        waiter.must("holds 0");
        between(&mut waiter);
        assert!(!waiters.iter().any(Puppet::has_answered), "{what}: two waiters hold the lock");
        waiter.must("unlock 0");
    }
}

fn waiting(kind: Kind, folder: &Path, count: usize) -> (Puppet, Vec<Puppet>) {
    let mut holder = Puppet::at(kind, folder);
    holder.must("lock 0");
    let wait = |before: usize| {
        let mut waiter = Puppet::at(kind, folder);
        waiter.tell("wait 0 -1");
        wait_until(|| fs::read_dir(folder.join(".lockfolder/queue")).is_ok_and(|queue| queue.count() > before));
        waiter
    };
    (holder, (0..count).map(wait).collect())
}

fn deletions_in_the_sub_folder_during_a_wait_starve_no_waiter(kind: Kind) {
    for what in DELETED {
        for count in [1, 2, 3, 9] {
            let scratch = Scratch::new();
            let folder = scratch.folder();
            let (mut holder, waiters) = waiting(kind, &folder, count);
            delete(&folder, what);
            holder.must("holds 0");
            holder.must("unlock 0");
            are_served(waiters, what, |_| ());
            assert_eq!(listing(&folder), [".lockfolder"], "{what}");
        }
    }
}

fn deletions_in_the_sub_folder_at_each_hand_over_starve_no_waiter(kind: Kind) {
    for what in DELETED {
        for count in [1, 2, 3] {
            let scratch = Scratch::new();
            let folder = scratch.folder();
            let (mut holder, waiters) = waiting(kind, &folder, count);
            holder.must("unlock 0");
            // At this moment a claimant with a ticket holds the lock.
            are_served(waiters, what, |_| delete(&folder, what));
            delete(&folder, what);
            holder.must("wait 0 -1");
            holder.must("unlock 0");
        }
    }
}

/// Deletes all the time while four claimants lock and unlock, which covers every moment.
fn a_sub_folder_that_is_deleted_again_and_again_is_made_again(kind: Kind) {
    use std::sync::atomic::{AtomicBool, Ordering};
    const ROUNDS: usize = 60;
    for what in ["all", "queue", "claims"] {
        let scratch = Scratch::shm();
        let folder = scratch.folder();
        let mut puppets: Vec<_> = (0..4).map(|_| Puppet::at(kind, &folder)).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    delete(&folder, what);
                    std::thread::sleep(std::time::Duration::from_micros(500));
                }
            });
            let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..ROUNDS {
                    puppets.iter_mut().for_each(|puppet| puppet.tell("wait 0 -1"));
                    let mut waiting: Vec<_> = puppets.iter_mut().collect();
                    while !waiting.is_empty() {
                        wait_until(|| waiting.iter().any(|puppet| puppet.has_answered()));
                        let next = waiting.iter().position(|puppet| puppet.has_answered()).unwrap();
                        let puppet = waiting.remove(next);
                        assert_eq!(puppet.hear(), "LF_OK", "{what}: {}", puppet.why(0));
                        puppet.must("holds 0");
                        puppet.must("unlock 0");
                    }
                }
            }));
            is_over.store(true, Ordering::Relaxed);
            served.unwrap();
        });
    }
}
