//! Waiting: every way in which it can end, and that nothing else ends it.

mod support;

use support::{both, wait_until, Kind, Puppet, Scratch};

both!(
    a_free_folder_is_had_at_once_whatever_the_timeout,
    a_timeout_ends_a_wait_and_the_message_says_who_held,
    a_wait_ends_when_the_holder_unlocks,
    a_wait_ends_when_the_holder_is_killed,
    a_wait_ends_when_the_bid_is_deleted,
    a_wait_ends_when_the_folder_is_deleted,
    cancel_ends_a_wait,
    cancel_without_a_wait_affects_no_later_one,
    a_wait_leaves_the_handle_usable_for_questions,
    a_second_wait_on_the_same_handle_is_refused,
    many_waiters_all_get_their_turn,
    a_waiter_that_is_killed_is_in_nobodys_way,
    a_few_folder_watches_are_kept_for_the_next_wait,
    a_forked_child_makes_folder_watches_of_its_own,
);

fn a_free_folder_is_had_at_once_whatever_the_timeout(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for timeout in ["0", "1", "-1", "9223372036854775807", "-9223372036854775808"] {
        puppet.must(&format!("wait 0 {timeout}"));
        assert_eq!(puppet.ask(&format!("wait 0 {timeout}")), "LF_ERR_ALREADY_HELD");
        puppet.must("unlock 0");
    }
}

fn a_timeout_ends_a_wait_and_the_message_says_who_held(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    for timeout in [0, 1, 60] {
        assert_eq!(waiter.ask(&format!("wait 0 {timeout}")), "LF_TIMEOUT");
        let why = waiter.why(0);
        assert!(why.contains(&holder.pid().to_string()) && why.contains("puppet"), "{why}");
        assert_eq!(waiter.bids(0).len(), 1, "a wait leaves no bid behind");
    }
    holder.must("unlock 0");
    waiter.must("wait 0 0");
}

/// Somebody holds, somebody waits, and something happens that ends the wait.
fn a_wait_ends(kind: Kind, timeout_ms: i64, happens: impl Fn(&Scratch, &mut Puppet, &mut Puppet), status: &str) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
        holder.must("lock 0");
        waiter.start_to_wait(0, timeout_ms);
        happens(&scratch, &mut holder, &mut waiter);
        assert_eq!(waiter.ask("join 1"), status, "{}", waiter.why(0));
        assert_eq!(waiter.ask("holds 0") == "LF_OK", status == "LF_OK");
    }
}

const AN_HOUR: i64 = 3_600_000;

fn a_wait_ends_when_the_holder_unlocks(kind: Kind) {
    for timeout in [-1, AN_HOUR, i64::MAX] {
        a_wait_ends(kind, timeout, |_, holder, _| drop(holder.must("unlock 0")), "LF_OK");
    }
    a_wait_ends(kind, -1, |_, holder, _| drop(holder.must("close 0")), "LF_OK");
}

fn a_wait_ends_when_the_holder_is_killed(kind: Kind) {
    for timeout in [-1, AN_HOUR] {
        a_wait_ends(kind, timeout, |_, holder, _| holder.kill(), "LF_OK");
    }
    // A stopped one is waited for.
    let happens = |_: &Scratch, holder: &mut Puppet, waiter: &mut Puppet| {
        holder.stop();
        assert_eq!(waiter.ask("lock 0"), "LF_BUSY");
        holder.kill();
    };
    a_wait_ends(kind, -1, happens, "LF_OK");
}

fn a_wait_ends_when_the_bid_is_deleted(kind: Kind) {
    let happens = |scratch: &Scratch, holder: &mut Puppet, _: &mut Puppet| {
        let bid = holder.bids(0).remove(0).name;
        std::fs::remove_file(scratch.folder().join(bid)).unwrap();
    };
    a_wait_ends(kind, -1, happens, "LF_OK");
}

fn a_wait_ends_when_the_folder_is_deleted(kind: Kind) {
    let happens = |scratch: &Scratch, _: &mut Puppet, _: &mut Puppet| {
        // In one step, so that the waiter finds no half of it.
        std::fs::rename(scratch.folder(), scratch.join("gone")).unwrap();
    };
    a_wait_ends(kind, -1, happens, "LF_ERR_IO");
}

/// Cancels a wait that is under way, not one that is about to begin: other threads' lock calls are refused a moment before
/// there is something to cancel. Whoever stands in line waits.
#[track_caller]
fn cancel(scratch: &Scratch, waiter: &mut Puppet) {
    wait_until(|| scratch.folder().join(".lockfolder/queue").exists());
    waiter.must("cancel 0");
}

fn cancel_ends_a_wait(kind: Kind) {
    for timeout in [-1, AN_HOUR] {
        a_wait_ends(kind, timeout, |scratch, _, waiter| cancel(scratch, waiter), "LF_CANCELLED");
    }
    // Again and again: no cancel is lost, and none is left over.
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    for _ in 0..50 {
        waiter.start_to_wait(0, -1);
        cancel(&scratch, &mut waiter);
        assert_eq!(waiter.ask("join 1"), "LF_CANCELLED");
        assert_eq!(waiter.ask("wait 0 0"), "LF_TIMEOUT");
    }
    holder.must("unlock 0");
    waiter.must("wait 0 -1");
}

fn cancel_without_a_wait_affects_no_later_one(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    for _ in 0..5 {
        waiter.must("cancel 0");
        assert_eq!(waiter.ask("wait 0 5"), "LF_TIMEOUT");
        waiter.must("cancel 0");
        waiter.must("cancel 0");
        assert_eq!(waiter.ask("wait 0 0"), "LF_TIMEOUT");
    }
    holder.must("cancel 0");
    holder.must("holds 0");
    holder.must("unlock 0");
    waiter.must("cancel 0");
    waiter.must("wait 0 -1");
    waiter.must("cancel 0");
    waiter.must("holds 0");
}

fn a_wait_leaves_the_handle_usable_for_questions(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    for _ in 0..20 {
        assert_eq!(waiter.must("in_use 0").number(), 1);
        assert_eq!(waiter.ask("holds 0"), "LF_ERR_NOT_HELD");
        assert_eq!(waiter.ask("unlock 0"), "LF_ERR_NOT_HELD");
        assert_eq!(waiter.ask("fence 0"), "LF_ERR_NOT_HELD");
        assert!(waiter.bids(0).iter().any(|bid| bid.pid == i64::from(holder.pid())));
        waiter.must("reap 0");
        waiter.must("grace 0 0");
    }
    holder.must("unlock 0");
    waiter.must("join 1");
    waiter.must("holds 0");
}

fn a_second_wait_on_the_same_handle_is_refused(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    for call in ["lock 0", "wait 0 -1", "wait 0 100"] {
        assert_eq!(waiter.ask(call), "LF_BUSY", "{call}");
        assert!(waiter.why(0).contains("thread"), "{}", waiter.why(0));
    }
    holder.must("unlock 0");
    waiter.must("join 1");
}

fn many_waiters_all_get_their_turn(kind: Kind) {
    let scratch = Scratch::new();
    let mut holder = Puppet::at(kind, &scratch.folder());
    holder.must("lock 0");
    let mut waiters: Vec<Puppet> = (0..6).map(|_| Puppet::at(kind, &scratch.folder())).collect();
    waiters.iter_mut().for_each(|waiter| waiter.tell("wait 0 -1"));
    holder.must("unlock 0");
    // Nobody unlocks before it has been heard, so who is heard first is the one that holds.
    for _ in 0..6 {
        let mut winner = usize::MAX;
        support::wait_until(|| {
            winner = waiters.iter().position(Puppet::has_answered).unwrap_or(usize::MAX);
            winner != usize::MAX
        });
        let mut waiter = waiters.remove(winner);
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("holds 0");
        assert!(!waiters.iter().any(Puppet::has_answered), "two hold at once");
        waiter.must("unlock 0");
    }
}

fn a_waiter_that_is_killed_is_in_nobodys_way(kind: Kind) {
    let scratch = Scratch::new();
    let mut holder = Puppet::at(kind, &scratch.folder());
    holder.must("lock 0");
    let mut waiters: Vec<Puppet> = (0..3).map(|_| Puppet::at(kind, &scratch.folder())).collect();
    waiters.iter_mut().for_each(|waiter| waiter.start_to_wait(0, -1));
    waiters[0].kill();
    waiters[1].stop();
    waiters[1].kill();
    holder.must("unlock 0");
    waiters[2].must("join 1");
    waiters[2].must("holds 0");
}

/// To close one takes the kernel milliseconds.
fn a_few_folder_watches_are_kept_for_the_next_wait(kind: Kind) {
    let (scratch, [mut holder, mut waiter]) = (Scratch::new(), [(); 2].map(|()| Puppet::new(kind)));
    waits_at_once(&scratch, &mut holder, &mut waiter, 0..6, 6);
    assert_eq!(inotify(waiter.pid()).len(), 4);
    waits_at_once(&scratch, &mut holder, &mut waiter, 6..8, 4);
    assert_eq!(inotify(waiter.pid()).len(), 4);
}

/// What one of the two reads from an instance, the other misses.
fn a_forked_child_makes_folder_watches_of_its_own(kind: Kind) {
    let (scratch, [mut holder, mut waiter]) = (Scratch::new(), [(); 2].map(|()| Puppet::new(kind)));
    waits_at_once(&scratch, &mut holder, &mut waiter, 0..2, 2);
    waits_at_once(&scratch, &mut holder, &mut waiter.fork(), 2..3, 1);
}

/// Some waits that each watch a folder, at the same time; so many instances are open meanwhile.
fn waits_at_once(
    scratch: &Scratch,
    holder: &mut Puppet,
    waiter: &mut Puppet,
    handles: std::ops::Range<u32>,
    instances: usize,
) {
    for handle in handles.clone() {
        let folder = scratch.join(handle.to_string());
        holder.open(handle, &folder);
        holder.must(&format!("lock {handle}"));
        waiter.open(handle, &folder);
        waiter.must(&format!("start {handle} wait {handle} -1"));
    }
    let watches = || inotify(waiter.pid()).iter().filter(|info| info.contains("inotify wd:")).count();
    wait_until(|| watches() == handles.len());
    assert_eq!(inotify(waiter.pid()).len(), instances);
    for handle in handles {
        holder.must(&format!("unlock {handle}"));
        waiter.must(&format!("join {handle}"));
        waiter.must(&format!("unlock {handle}"));
    }
}

/// What the kernel says of the inotify instances that a process has open.
fn inotify(pid: u32) -> Vec<String> {
    let folder = |name| std::path::PathBuf::from(format!("/proc/{pid}/{name}"));
    let open = std::fs::read_dir(folder("fd")).unwrap().map(|fd| fd.unwrap());
    let open = open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file.ends_with("anon_inode:inotify")));
    open.filter_map(|fd| std::fs::read_to_string(folder("fdinfo").join(fd.file_name())).ok()).collect()
}

#[test]
fn a_signal_handler_can_cancel() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(Kind::C, &scratch.folder()), Puppet::at(Kind::C, &scratch.folder()));
    holder.must("lock 0");
    // On the waiting thread itself, for there is no other. Again and again, since the first may come before the wait does.
    waiter.must("alarm 0 30 30");
    for _ in 0..20 {
        assert_eq!(waiter.ask("wait 0 -1"), "LF_CANCELLED");
    }
    waiter.must("alarm - 0 0");
    assert_eq!(waiter.ask("wait 0 1"), "LF_TIMEOUT");
    holder.must("unlock 0");
    waiter.must("wait 0 -1");
}

#[test]
fn signals_never_surface() {
    let scratch = Scratch::new();
    let (mut holder, mut puppet) = (Puppet::at(Kind::C, &scratch.folder()), Puppet::at(Kind::C, &scratch.folder()));
    puppet.must("alarm - 1 1"); // a thousand a second, none restarts a system call
    for _ in 0..100 {
        puppet.must("lock 0");
        puppet.must("fence 0");
        puppet.must("holds 0");
        puppet.must("unlock 0");
        puppet.must("reap 0");
        puppet.must("close 0");
        puppet.open(0, &scratch.folder());
    }
    holder.must("lock 0");
    assert_eq!(puppet.ask("wait 0 100"), "LF_TIMEOUT");
    puppet.tell("wait 0 -1");
    holder.must("unlock 0");
    assert_eq!(puppet.hear(), "LF_OK");
}
