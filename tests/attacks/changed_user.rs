//! What a process may do to a folder changes between two calls, because the process changes its user (setuid(2)) or another user
//! closes the folder. Its handles work, or an error says why they do not.

use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

use crate::c::trace::{At, Tracer};
use crate::support::{bids_in, both, fails, nobody, root_or_skip, set_mode, wait_until, Kind, Puppet, Scratch, NOBODY};
use rustix::io::Errno;

both!(
    a_handle_works_after_its_process_changed_its_user,
    who_changed_its_user_stands_in_line_like_others,
    a_ticket_that_its_owner_may_not_delete_any_more_is_no_place_in_line,
    a_stray_bid_in_a_folder_that_was_moved_keeps_nobody_from_the_next,
    a_lock_held_across_a_change_of_user_is_given_back_where_the_folder_lets_us,
    a_lock_that_can_not_be_given_back_is_free_when_its_process_ends,
    a_bid_that_outlives_its_handle_is_deleted_by_the_next_lock,
);

/// In a sticky folder, the claim that the process made as its previous user can't be used any more.
fn a_handle_works_after_its_process_changed_its_user(kind: Kind) {
    if !root_or_skip("a change of user") {
        return;
    }
    for bits in [0o1777, 0o777] {
        for scratch in [Scratch::shm(), Scratch::new()] {
            let folder = scratch.folder_with_mode(bits);
            let mut puppet = Puppet::at(kind, &folder);
            puppet.must("lock 0");
            puppet.must("unlock 0");
            puppet.must(&format!("become {NOBODY}"));
            for take in ["lock 0", "wait 0 -1", "lock 0"] {
                puppet.must(take);
                puppet.must("holds 0");
                assert_eq!(Puppet::at(kind, &folder).ask("lock 0"), "LF_BUSY");
                puppet.must("unlock 0");
            }
            Puppet::at(kind, &folder).must("lock 0");
        }
    }
}

fn a_lock_held_across_a_change_of_user_is_given_back_where_the_folder_lets_us(kind: Kind) {
    if !root_or_skip("a change of user") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o777);
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    puppet.must(&format!("become {NOBODY}"));
    puppet.must("holds 0");
    puppet.must("unlock 0");
    Puppet::at(kind, &folder).must("lock 0");
}

/// The bid belongs to the previous user, and the folder is sticky.
fn a_lock_that_can_not_be_given_back_is_free_when_its_process_ends(kind: Kind) {
    if !root_or_skip("a change of user") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o1777);
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    let bid = bids_in(&folder).remove(0);
    puppet.must(&format!("become {NOBODY}"));
    puppet.must("holds 0");
    fails(&mut puppet, "unlock 0", Errno::PERM, &folder);
    let why = puppet.why(0);
    assert!(why.contains(bid.to_str().unwrap()) && why.contains("belongs to another user"), "{why}");
    puppet.must("holds 0");
    let mut other = Puppet::at(kind, &folder);
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    puppet.kill_and_reap();
    other.must("lock 0");
    assert_eq!(bids_in(&folder).len(), 1);
}

/// Neither the unlock nor the close can delete the bid, and its process goes on.
fn a_bid_that_outlives_its_handle_is_deleted_by_the_next_lock(kind: Kind) {
    if !root_or_skip("a folder that is closed to another user") {
        return;
    }
    for by in ["lock 1", "reap 1", "wait 1 -1"] {
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(0o777);
        let mut puppet = nobody(kind);
        puppet.open(0, &folder);
        puppet.must("lock 0");
        set_mode(&folder, 0o555);
        fails(&mut puppet, "unlock 0", Errno::ACCESS, &folder);
        puppet.must("close 0");
        set_mode(&folder, 0o777);
        assert_eq!(bids_in(&folder).len(), 1);
        let mut other = Puppet::at(kind, &folder);
        assert_eq!(other.ask("lock 0"), "LF_BUSY", "the process of the bid lives");
        puppet.open(1, &folder);
        puppet.must(by);
        puppet.must("close 1");
        assert_eq!(bids_in(&folder).len(), 0);
        other.must("lock 0");
    }
}

/// The beacons of the process then belong to another user, and the process may not link them.
fn who_changed_its_user_stands_in_line_like_others(kind: Kind) {
    if !root_or_skip("a change of user") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o1777);
    let (mut holder, mut puppet) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    let queue = folder.join(".lockfolder/queue");
    let tickets = || std::fs::read_dir(&queue).map_or(0, Iterator::count);
    holder.must("lock 0");
    assert_eq!(puppet.ask("wait 0 1"), "LF_TIMEOUT");
    puppet.must(&format!("become {NOBODY}"));
    puppet.tell("wait 0 -1");
    wait_until(|| tickets() == 1);
    holder.must("unlock 0");
    assert_eq!(puppet.hear(), "LF_OK");
}

/// The path now leads to another folder.
/// A server of root's leaves the line as another user, in a sticky folder. Its ticket stays, and the others may not delete it either. They
/// do not wait for the server to come forward.
fn a_ticket_that_its_owner_may_not_delete_any_more_is_no_place_in_line(kind: Kind) {
    if !root_or_skip("a change of user") {
        return;
    }
    for scratch in [Scratch::new(), Scratch::shm()] {
        let folder = scratch.folder_with_mode(0o1777);
        let (mut holder, mut server, mut other) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder), nobody(kind));
        other.open(0, &folder);
        holder.must("lock 0");
        let begin = |waiter: &mut Puppet| {
            waiter.ask("begin 0 -1"); // in Rust it answers LF_OK
            assert_eq!(waiter.ask("step 0"), "LF_PENDING");
        };
        begin(&mut server);
        server.must(&format!("become {NOBODY}"));
        server.must("end 0");
        assert_eq!(std::fs::read_dir(folder.join(".lockfolder/queue")).unwrap().count(), 1);
        begin(&mut other);
        holder.must("unlock 0");
        // It is the first in line, so the unlock has woken it. Otherwise only a look that is due later would help.
        other.must("step 0");
        other.must("unlock 0");
        server.must("lock 0");
    }
}

fn a_stray_bid_in_a_folder_that_was_moved_keeps_nobody_from_the_next(kind: Kind) {
    if !root_or_skip("a folder that is closed to another user") {
        return;
    }
    let scratch = Scratch::shm();
    set_mode(&scratch, 0o777);
    let folder = scratch.folder_with_mode(0o777);
    let mut puppet = nobody(kind);
    puppet.open(0, &folder);
    puppet.must("lock 0");
    set_mode(&folder, 0o555);
    fails(&mut puppet, "unlock 0", Errno::ACCESS, &folder);
    puppet.must("close 0");
    std::fs::rename(&folder, scratch.join("old")).unwrap();
    puppet.open(0, &folder);
    puppet.must("lock 0");
    puppet.must("unlock 0");
}

/// An administrator changes the owner of all that is in the folder (`chown -R`), at any moment of a user's lock. A user may link only its
/// own files (proc(5), `protected_hardlinks`), so a claim that is another user's by then is made anew.
#[test]
fn an_owner_that_is_changed_at_any_system_call_fails_no_lock() {
    if !root_or_skip("a change of owner") {
        return;
    }
    let tracer = Tracer::of_user(NOBODY, NOBODY);
    let mut changed = 0;
    for number in 1.. {
        let scratch = Scratch::shm();
        let folder = scratch.folder_with_mode(0o777);
        let victim = tracer.run_up_to(&folder, &["alone", "20"], number, Duration::MAX);
        let At::Stopped(step) = victim.at.clone() else { break };
        if !["open", "lock"].contains(&step.as_str()) {
            break;
        }
        let hidden = folder.join(".lockfolder");
        let claims = fs::read_dir(&hidden).into_iter().flatten().map(|claim| claim.unwrap().path());
        for claim in claims.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            chown(claim, Some(1), Some(1)).unwrap();
            changed += 1;
        }
        let story = victim.go_on();
        let lock = story.outcomes.iter().find(|outcome| outcome.step == "lock").unwrap();
        assert_eq!(lock.status, "LF_OK", "at call {number}: {}", story.text);
    }
    assert!(changed > 3, "{changed}");
}
