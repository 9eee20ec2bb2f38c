//! Waiting: every way in which a wait can end, and that nothing else ends it.

use std::ops::Range;

use crate::support::{all_waits, wait_until, Kind, Puppet, Scratch};

all_waits!(
    a_free_lock_is_taken_at_once_with_any_timeout,
    a_timeout_ends_a_wait_and_the_message_names_the_holder,
    a_wait_ends_when_the_holder_unlocks,
    a_wait_ends_when_the_holder_is_killed,
    a_wait_ends_when_the_bid_is_deleted,
    a_wait_ends_when_the_folder_is_deleted,
    cancel_ends_a_wait,
    cancel_without_a_wait_affects_no_later_one,
    questions_are_answered_during_a_wait,
    a_second_wait_on_the_same_handle_is_refused,
    many_waiters_all_get_their_turn,
    a_killed_waiter_blocks_nobody,
    a_few_folder_watches_are_kept_for_the_next_wait,
    no_more_folder_watches_are_kept_than_handles_are_open,
    a_forked_child_that_closes_its_handles_takes_no_folder_watch_from_its_parent,
    a_forked_child_makes_its_own_folder_watches,
);

fn a_free_lock_is_taken_at_once_with_any_timeout(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for timeout in ["0", "1", "-1", "9223372036854775807", "-9223372036854775808"] {
        puppet.must(&format!("wait 0 {timeout}"));
        assert_eq!(puppet.ask(&format!("wait 0 {timeout}")), "LF_ERR_ALREADY_HELD");
        puppet.must("unlock 0");
    }
}

fn a_timeout_ends_a_wait_and_the_message_names_the_holder(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    for timeout in [0, 1, 60] {
        assert_eq!(waiter.ask(&format!("wait 0 {timeout}")), "LF_TIMEOUT");
        let why = waiter.why(0);
        let said = format!(
            "timed out waiting for the lock folder {}: held by PID {} (",
            scratch.folder().display(),
            holder.pid()
        );
        assert!(why.starts_with(&said) && why.contains("puppet"), "{why}");
        assert_eq!(waiter.bids(0).len(), 1, "a wait leaves no bid behind");
    }
    holder.must("unlock 0");
    waiter.must("wait 0 0");
}

/// One puppet holds, another waits, and something happens that ends the wait.
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
    // A waiter keeps waiting for a stopped holder.
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
        // Deleted in one step, so that the waiter never finds half of the folder.
        std::fs::rename(scratch.folder(), scratch.join("gone")).unwrap();
    };
    a_wait_ends(kind, -1, happens, "LF_ERR_IO");
}

/// Cancels a wait that is in progress, not a wait that is about to begin. Lock calls of other threads are refused a
/// moment before there is a wait to cancel, so they can't show that the wait has begun. The queue folder can.
#[track_caller]
fn cancel(scratch: &Scratch, waiter: &mut Puppet) {
    wait_until(|| scratch.folder().join(".lockfolder/queue").exists());
    waiter.must("cancel 0");
}

fn cancel_ends_a_wait(kind: Kind) {
    for timeout in [-1, AN_HOUR] {
        a_wait_ends(kind, timeout, |scratch, _, waiter| cancel(scratch, waiter), "LF_CANCELLED");
    }
    // Repeated, because no cancel may be lost, and none may affect a later wait.
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

fn questions_are_answered_during_a_wait(kind: Kind) {
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
    // No holder unlocks before its answer has been heard. The first puppet that is heard is therefore the holder.
    for _ in 0..6 {
        let mut winner = usize::MAX;
        crate::support::wait_until(|| {
            winner = waiters.iter().position(Puppet::has_answered).unwrap_or(usize::MAX);
            winner != usize::MAX
        });
        let mut waiter = waiters.remove(winner);
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("holds 0");
        assert!(!waiters.iter().any(Puppet::has_answered), "two claimants hold the lock at once");
        waiter.must("unlock 0");
    }
}

fn a_killed_waiter_blocks_nobody(kind: Kind) {
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

/// To close a watch takes the kernel milliseconds.
fn a_few_folder_watches_are_kept_for_the_next_wait(kind: Kind) {
    let (scratch, [mut holder, mut waiter]) = (Scratch::new(), [(); 2].map(|()| Puppet::new(kind)));
    open_all(&scratch, &mut holder, &mut waiter, 0..6);
    for _ in 0..3 {
        wait_at_once(&mut holder, &mut waiter, 0..6, 6);
        assert_eq!(inotify(waiter.pid()).len(), 4);
    }
}

/// The kernel limits the number of instances of a user.
fn no_more_folder_watches_are_kept_than_handles_are_open(kind: Kind) {
    let (scratch, [mut holder, mut waiter]) = (Scratch::new(), [(); 2].map(|()| Puppet::new(kind)));
    open_all(&scratch, &mut holder, &mut waiter, 0..6);
    wait_at_once(&mut holder, &mut waiter, 0..6, 6);
    for closed in 0..6 {
        waiter.must(&format!("close {closed}"));
        let kept = inotify(waiter.pid()).len();
        assert!(kept <= 5 - closed, "{kept} are kept, {closed} and all before it are closed");
    }
    open_all(&scratch, &mut holder, &mut waiter, 6..7);
    wait_at_once(&mut holder, &mut waiter, 6..7, 1);
    assert_eq!(inotify(waiter.pid()).len(), 1);
}

/// The child or the parent has fewer handles than before. The other one keeps its watches.
fn a_forked_child_that_closes_its_handles_takes_no_folder_watch_from_its_parent(kind: Kind) {
    let (scratch, [mut holder, mut waiter]) = (Scratch::new(), [(); 2].map(|()| Puppet::new(kind)));
    open_all(&scratch, &mut holder, &mut waiter, 0..2);
    wait_at_once(&mut holder, &mut waiter, 0..2, 2);
    let mut child = waiter.fork();
    child.must("close 0");
    child.must("close 1");
    assert_eq!(inotify(child.pid()).len(), 0);
    assert_eq!(inotify(waiter.pid()).len(), 2);
    wait_at_once(&mut holder, &mut waiter, 0..2, 2);
}

/// A process would miss the events that the other process reads from a shared instance.
fn a_forked_child_makes_its_own_folder_watches(kind: Kind) {
    let (scratch, [mut holder, mut waiter]) = (Scratch::new(), [(); 2].map(|()| Puppet::new(kind)));
    open_all(&scratch, &mut holder, &mut waiter, 0..2);
    wait_at_once(&mut holder, &mut waiter, 0..2, 2);
    let mut child = waiter.fork();
    open_all(&scratch, &mut holder, &mut child, 2..3);
    wait_at_once(&mut holder, &mut child, 2..3, 3); // it has inherited two
}

/// A folder for each handle.
fn open_all(scratch: &Scratch, holder: &mut Puppet, waiter: &mut Puppet, handles: Range<u32>) {
    for handle in handles {
        let folder = scratch.join(handle.to_string());
        holder.open(handle, &folder);
        waiter.open(handle, &folder);
    }
}

/// Some waits that each watch a folder, at the same time; so many instances are open meanwhile.
fn wait_at_once(holder: &mut Puppet, waiter: &mut Puppet, handles: Range<u32>, instances: usize) {
    for handle in handles.clone() {
        holder.must(&format!("lock {handle}"));
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

/// The inotify instances that a process has open, as the kernel shows them.
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
    // The handler runs on the waiting thread, which is the only thread. The alarm repeats, because the first one may
    // come before the wait begins.
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
fn signals_never_make_a_call_fail() {
    let scratch = Scratch::new();
    let (mut holder, mut puppet) = (Puppet::at(Kind::C, &scratch.folder()), Puppet::at(Kind::C, &scratch.folder()));
    puppet.must("alarm - 1 1"); // 1000 signals a second, and none restarts a system call
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
