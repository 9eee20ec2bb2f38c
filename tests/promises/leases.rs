//! Leases: where other hosts use the lock folder too, a holder that is stopped for too long has lost the lock. Here the folder is on a
//! local disk, and the mark in its sub-folder says that other hosts use it, as on the server of an export. tests/hosts has real hosts.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::containers::begun_after;
use crate::support::{both, listing, namespaces_or_skip, root_or_skip, wait_until, Bid, Kind, Puppet, Scratch, NOBODY};

both!(
    a_bid_states_its_lease_where_the_mark_is,
    a_holder_that_renews_keeps_the_lock,
    a_holder_that_was_stopped_for_too_long_has_lost_the_lock,
    without_a_thread_the_program_renews,
    a_bid_of_another_host_is_taken_over_when_its_lease_is_over,
    a_killed_process_of_this_host_is_judged_at_once,
    a_claimant_that_meets_a_lease_takes_part,
    nobody_gets_a_lease_in_a_sticky_folder,
    a_claimant_that_is_there_before_the_mark_notices_it,
    a_holder_whose_numbers_were_deleted_is_told_so,
    a_call_takes_over_few_leases_at_once,
    another_time_namespace_makes_no_lease_longer_or_shorter,
    another_spelling_of_a_bids_name_has_no_lease,
    a_lock_after_a_pause_of_any_length_is_renewed,
    a_lease_has_limits_and_stays_while_the_lock_is_held,
);

const SHORTEST: u64 = 5_000;
const NO_THREAD: u32 = 8;

/// A claimant with the shortest lease.
fn claimant(kind: Kind, flags: u32, folder: &Path) -> Puppet {
    let mut puppet = Puppet::new(kind);
    assert_eq!(puppet.try_open(0, flags, folder), "LF_OK");
    puppet.must(&format!("set_lease 0 {SHORTEST}"));
    puppet
}

fn threads(puppet: &Puppet) -> usize {
    listing(Path::new(&format!("/proc/{}/task", puppet.pid()))).len()
}

fn numbers(folder: &Path) -> Vec<String> {
    let leases = folder.join(".lockfolder/leases");
    if leases.exists() {
        listing(&leases)
    } else {
        Vec::new()
    }
}

fn own_bid(puppet: &mut Puppet, folder: &Path) -> serde_json::Value {
    let name = puppet.bids(0)[0].name.clone();
    serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

fn a_bid_states_its_lease_where_the_mark_is(kind: Kind) {
    let (here, there) = (Scratch::new(), Scratch::marked());
    for (scratch, lease, renewing) in [(&here, None, 0), (&there, Some(SHORTEST), 1)] {
        let folder = scratch.folder();
        let mut puppet = claimant(kind, 0, &folder);
        let before = threads(&puppet);
        puppet.must("lock 0");
        assert_eq!(own_bid(&mut puppet, &folder).get("LEASE").and_then(|it| it.as_u64()), lease);
        assert_eq!(threads(&puppet), before + renewing, "a thread renews a lease, and without a lease there is none");
        let left = puppet.must("valid_for 0").data()[0].parse::<i64>().unwrap();
        match lease {
            Some(lease) => assert!((0..=lease as i64 * 2 / 3).contains(&left), "{left}"),
            None => assert_eq!(left, -1),
        }
        assert_eq!(puppet.must("is_lost 0").number(), 0);
        puppet.must("holds 0");
        puppet.must("renew 0");
        assert_eq!(numbers(&folder).len(), renewing, "a number, if the lease was renewed");
        puppet.must("unlock 0");
        assert_eq!(numbers(&folder), Vec::<String>::new(), "an unlock removes the numbers");
        assert_eq!(puppet.ask("valid_for 0"), "LF_ERR_NOT_HELD");
        assert_eq!(puppet.ask("renew 0"), "LF_ERR_NOT_HELD");
        puppet.must("close 0");
        wait_until(|| threads(&puppet) == before);
    }
}

fn a_holder_that_renews_keeps_the_lock(kind: Kind) {
    let scratch = Scratch::marked();
    let mut holder = claimant(kind, 0, &scratch.folder());
    let mut rival = claimant(kind, 0, &scratch.folder());
    holder.must("lock 0");
    assert_eq!(rival.ask("wait 0 12000"), "LF_TIMEOUT");
    holder.must("holds 0");
    assert!(numbers(&scratch.folder()).len() > 2);
    holder.must("unlock 0");
    rival.must("lock 0");
}

fn a_holder_that_was_stopped_for_too_long_has_lost_the_lock(kind: Kind) {
    let scratch = Scratch::marked();
    let mut holder = claimant(kind, 0, &scratch.folder());
    let mut rival = claimant(kind, 0, &scratch.folder());
    holder.must("lock 0");
    assert_eq!(holder.must("is_lost 0").number(), 0);
    let token = holder.must("fence 0").number();
    holder.stop();
    assert_eq!(
        rival.ask(&format!("wait 0 {}", SHORTEST + 2000)),
        "LF_TIMEOUT",
        "this kernel shows the holder, and it lives"
    );
    holder.go_on();
    assert_eq!(holder.must("is_lost 0").number(), 1);
    for call in ["holds 0", "renew 0", "valid_for 0", "fence 0", "unlock 0"] {
        assert_eq!(holder.ask(call), "LF_ERR_LOST", "{call}");
        let why = holder.why(0);
        assert!(why.contains("lease") && why.contains(scratch.folder().to_str().unwrap()), "{why}");
    }
    rival.must("lock 0");
    assert!(rival.must("fence 0").number() > token);
    assert_eq!(holder.ask("lock 0"), "LF_BUSY");
    rival.must("unlock 0");
    holder.must("lock 0");
    assert_eq!(holder.must("is_lost 0").number(), 0, "the next lock is another one");
    holder.must("unlock 0");
    assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
    assert_eq!(numbers(&scratch.folder()), Vec::<String>::new());
}

fn without_a_thread_the_program_renews(kind: Kind) {
    let scratch = Scratch::marked();
    let mut holder = claimant(kind, NO_THREAD, &scratch.folder());
    let before = threads(&holder);
    holder.must("lock 0");
    assert_eq!(threads(&holder), before);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(SHORTEST) {
        // A machine that is too busy for this loses the lock, and rightly so: the next holder then gets it.
        if holder.ask("renew 0") != "LF_OK" {
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    holder.must("holds 0");
    wait_until(|| holder.ask("holds 0") == "LF_ERR_LOST");
    assert_eq!(holder.ask("unlock 0"), "LF_ERR_LOST");
    holder.must("lock 0");
}

/// Its boot and its namespace are not ours.
fn foreign_bid(folder: &Path) -> std::path::PathBuf {
    Bid::of(std::process::id()).with("BOOT", "another").with("SHARED", true).with("LEASE", SHORTEST as i64).post(folder)
}

fn a_bid_of_another_host_is_taken_over_when_its_lease_is_over(kind: Kind) {
    let scratch = Scratch::marked();
    let mut first = claimant(kind, 0, &scratch.folder());
    let mut second = claimant(kind, 0, &scratch.folder());
    let path = foreign_bid(&scratch.folder());
    assert_eq!(first.ask("lock 0"), "LF_BUSY");
    assert_eq!(first.bids(0)[0].state, "UNKNOWN");
    assert!(path.exists());
    // Both wait. It does not matter which of them joined the line first.
    let mut waiters = [&mut first, &mut second];
    waiters.iter_mut().for_each(|waiter| waiter.tell("wait 0 -1"));
    wait_until(|| waiters.iter_mut().any(|waiter| waiter.has_answered()));
    wait_until(|| !path.exists()); // a thread deletes it
    waiters.sort_by_key(|waiter| !waiter.has_answered());
    for waiter in waiters {
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("unlock 0");
    }
    assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
    // To reap takes as long.
    let path = foreign_bid(&scratch.folder());
    assert_eq!(first.must("reap 0").number(), 0);
    wait_until(|| first.must("reap 0").number() == 1);
    wait_until(|| !path.exists()); // a thread deletes it
    wait_until(|| numbers(&scratch.folder()).is_empty());
}

fn a_killed_process_of_this_host_is_judged_at_once(kind: Kind) {
    let scratch = Scratch::marked();
    let mut holder = claimant(kind, 0, &scratch.folder());
    let mut rival = Puppet::at(kind, &scratch.folder()); // with a lease of 30 s
    holder.must("lock 0");
    assert_eq!(rival.ask("lock 0"), "LF_BUSY");
    holder.kill_and_reap();
    rival.must("lock 0");
}

/// The server of an export has prepared its claim before the first other host came.
fn a_claimant_that_meets_a_lease_takes_part(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = claimant(kind, 0, &scratch.folder());
    puppet.must("lock 0");
    assert_eq!(own_bid(&mut puppet, &scratch.folder()).get("LEASE"), None);
    puppet.must("unlock 0");
    let path = foreign_bid(&scratch.folder());
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
    fs::remove_file(path).unwrap();
    puppet.must("lock 0");
    assert_eq!(own_bid(&mut puppet, &scratch.folder())["LEASE"], SHORTEST);
}

fn a_lease_has_limits_and_stays_while_the_lock_is_held(kind: Kind) {
    let scratch = Scratch::marked();
    let mut puppet = claimant(kind, 0, &scratch.folder());
    for wrong in [0, SHORTEST - 1, 3_600_001] {
        assert_eq!(puppet.ask(&format!("set_lease 0 {wrong}")), "LF_ERR_INVALID", "{wrong}");
    }
    for right in [3_600_000, SHORTEST] {
        puppet.must(&format!("set_lease 0 {right}"));
        puppet.must("lock 0");
        assert_eq!(own_bid(&mut puppet, &scratch.folder())["LEASE"], right);
        assert_eq!(puppet.ask(&format!("set_lease 0 {SHORTEST}")), "LF_ERR_ALREADY_HELD");
        puppet.must("unlock 0");
    }
}

/// By a lease that only waits for its end, a user could make root lose the lock.
fn nobody_gets_a_lease_in_a_sticky_folder(kind: Kind) {
    if !root_or_skip("another user's mark") {
        return;
    }
    let scratch = Scratch::public();
    let folder = scratch.folder_with_mode(0o1777);
    let mut root = claimant(kind, 0, &folder);
    root.must("lock 0");
    root.must("unlock 0");
    let mark = folder.join(".lockfolder/shared");
    let path = foreign_bid(&folder);
    fs::write(&mark, "").unwrap();
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(root.ask("lock 0"), "LF_BUSY");
    fs::remove_file(path).unwrap();
    for owner in [NOBODY, 0] {
        std::os::unix::fs::chown(&mark, Some(owner), Some(owner)).unwrap();
        let mut other = claimant(kind, 0, &folder);
        for root in [&mut root, &mut other] {
            root.must("lock 0");
            assert_eq!(own_bid(root, &folder).get("LEASE"), None);
            root.must("unlock 0");
        }
    }
}

fn a_claimant_that_is_there_before_the_mark_notices_it(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = claimant(kind, 0, &scratch.folder());
    puppet.must("lock 0");
    puppet.must("unlock 0");
    fs::write(scratch.folder().join(".lockfolder/shared"), "").unwrap();
    wait_until(|| {
        puppet.must("lock 0");
        let lease = own_bid(&mut puppet, &scratch.folder()).get("LEASE").and_then(|it| it.as_u64());
        puppet.must("unlock 0");
        lease == Some(SHORTEST)
    });
}

fn a_holder_whose_numbers_were_deleted_is_told_so(kind: Kind) {
    let scratch = Scratch::marked();
    let mut holder = claimant(kind, 0, &scratch.folder());
    // Before the first renewal there is nothing to miss. The sub-folder is made again.
    holder.must("lock 0");
    fs::remove_dir_all(scratch.folder().join(".lockfolder")).unwrap();
    wait_until(|| !numbers(&scratch.folder()).is_empty());
    holder.must("holds 0");
    wait_until(|| numbers(&scratch.folder()).len() > 1);
    fs::remove_dir_all(scratch.folder().join(".lockfolder")).unwrap();
    wait_until(|| holder.ask("holds 0") == "LF_ERR_LOST");
    let why = holder.why(0);
    assert!(why.contains(".lockfolder/leases") && why.contains("deleted"), "{why}");
}

/// A call must not take over thousands of leases before it looks at its time-out.
fn a_call_takes_over_few_leases_at_once(kind: Kind) {
    let scratch = Scratch::marked();
    let mut puppet = claimant(kind, 0, &scratch.folder());
    let bids: Vec<_> = (0..100).map(|_| foreign_bid(&scratch.folder())).collect();
    let mut reaped = Vec::new();
    wait_until(|| {
        reaped.push(puppet.must("reap 0").number());
        bids.iter().all(|path| !path.exists())
    });
    assert!(reaped.iter().all(|count| *count <= 32), "{reaped:?}");
    wait_until(|| numbers(&scratch.folder()).is_empty());
}

/// The boot clock shows another time there.
fn another_time_namespace_makes_no_lease_longer_or_shorter(kind: Kind) {
    if !namespaces_or_skip("another time namespace") {
        return;
    }
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let earlier = uptime.split('.').next().unwrap().parse::<i64>().unwrap() / 2; // no clock can show less than zero
    for shift in [Some(-earlier), Some(1_000_000), None] {
        let scratch = Scratch::marked();
        let mut holder = claimant(kind, NO_THREAD, &scratch.folder());
        let mut observer = claimant(kind, NO_THREAD, &scratch.folder());
        let there = match shift.map(|shift| shift.to_string()) {
            Some(shift) => Puppet::behind(&["unshare", "--time", "--boottime", &shift, "--fork", "--kill-child"], kind),
            None => begun_after(&observer, kind),
        };
        let namespace = format!("/proc/{}/ns/time", there.pid());
        let locked = Instant::now();
        holder.must("lock 0");
        holder.must("is_lost 0");
        holder.must(&format!("enter {namespace}"));
        let left = holder.ask("valid_for 0");
        // A machine that is too busy for this loses the lock, and rightly so.
        if locked.elapsed() < Duration::from_millis(SHORTEST / 2) {
            let left = left.data()[0].parse::<u64>().expect("it was not lost");
            assert!(left <= SHORTEST * 2 / 3, "{left}");
        }
        wait_until(|| holder.must("is_lost 0").number() == 1);
        // The timer runs by the clock of the kernel. The library knows the shift of a namespace to a tick of 10 ms.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(holder.ask("unlock 0"), "LF_ERR_LOST");
        // The same for an observer.
        let path = foreign_bid(&scratch.folder());
        assert_eq!(observer.must("reap 0").number(), 0);
        let began = Instant::now();
        observer.must(&format!("enter {namespace}"));
        wait_until(|| observer.must("reap 0").number() == 1);
        assert!(began.elapsed() >= Duration::from_millis(SHORTEST - 1000), "{:?}", began.elapsed());
        wait_until(|| !path.exists());
    }
}

/// A lease is known by the UUID. Another file with the same UUID must not end it.
fn another_spelling_of_a_bids_name_has_no_lease(kind: Kind) {
    let scratch = Scratch::marked();
    let mut puppet = claimant(kind, 0, &scratch.folder());
    let path = foreign_bid(&scratch.folder());
    let name = path.file_name().unwrap().to_str().unwrap().replace('-', "");
    let twin = path.with_file_name(name);
    fs::rename(&path, &twin).unwrap();
    assert_eq!(puppet.ask(&format!("wait 0 {}", SHORTEST + 3000)), "LF_TIMEOUT");
    assert!(twin.exists());
}

/// The thread ends a while after the unlock. A lock at that very moment is renewed all the same.
fn a_lock_after_a_pause_of_any_length_is_renewed(kind: Kind) {
    let scratch = Scratch::marked();
    let mut puppets: Vec<_> = (0..6).map(|_| claimant(kind, 0, &scratch.folder())).collect();
    for pause in [900, 990, 1000, 1010, 1100] {
        for puppet in &mut puppets {
            puppet.must("wait 0 -1");
            puppet.must("unlock 0");
        }
        std::thread::sleep(Duration::from_millis(pause));
    }
    let holder = &mut puppets[0];
    holder.must("lock 0");
    std::thread::sleep(Duration::from_millis(SHORTEST));
    holder.must("holds 0");
}
