//! Which owners are alive. A bid is deleted only if its owner is provably gone.

use std::process::Command;

use crate::support::{both, namespaces_or_skip, root_or_skip, state_of, Bid, Kind, Puppet, Scratch, NOBODY};

both!(
    a_killed_holder_that_nobody_reaped_frees_the_folder_at_once,
    a_killed_holder_that_was_reaped_frees_the_folder_at_once,
    a_stopped_holder_keeps_the_lock,
    a_bid_of_a_live_process_with_another_start_is_stale,
    a_bid_of_a_live_process_with_its_start_is_live,
    a_bid_of_a_process_that_is_gone_is_stale,
    a_bid_of_another_boot_is_stale,
    a_holder_that_seems_to_be_another_process_is_respected_while_it_has_its_lock,
    a_holder_that_lost_its_descriptors_is_respected,
    a_child_that_outlives_its_holder_keeps_no_lock,
    a_python_bid_is_judged_by_its_start_time_within_two_seconds,
    a_process_of_another_user_is_judged_like_ours,
    a_process_hidden_by_hidepid_is_alive_until_it_dies,
    after_exec_a_bid_judged_by_pid_is_live,
    listing_the_bids_and_asking_for_use_delete_nothing,
    a_live_rival_among_stale_bids_still_excludes,
    a_claim_with_the_number_of_a_deleted_bid_is_not_deleted,
);

fn a_killed_holder_that_nobody_reaped_frees_the_folder_at_once(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let mut other = Puppet::at(kind, &scratch.folder());
        // Once with a rival that has met the holder before, once with one that has not.
        for met in [true, false] {
            let mut holder = Puppet::at(kind, &scratch.folder());
            holder.must("lock 0");
            if met {
                assert_eq!(other.ask("lock 0"), "LF_BUSY");
            }
            holder.kill();
            assert_eq!(state_of(holder.pid()), Some('Z'));
            assert_eq!(other.must("in_use 0").number(), 0);
            other.must("lock 0");
            other.must("unlock 0");
        }
    }
}

fn a_killed_holder_that_was_reaped_frees_the_folder_at_once(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    holder.kill_and_reap();
    other.must("lock 0");
}

fn a_stopped_holder_keeps_the_lock(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    holder.stop();
    for _ in 0..3 {
        assert_eq!(other.ask("lock 0"), "LF_BUSY");
        assert_eq!(other.must("reap 0").number(), 0);
    }
    assert_eq!(other.ask("wait 0 50"), "LF_TIMEOUT");
    holder.go_on();
    holder.must("holds 0");
    holder.stop();
    holder.kill();
    other.must("lock 0");
}

#[test]
fn a_holder_whose_main_thread_ended_keeps_the_lock() {
    let scratch = Scratch::new();
    let (mut holder, mut other) = (Puppet::at(Kind::C, &scratch.folder()), Puppet::at(Kind::C, &scratch.folder()));
    holder.must("lock 0");
    holder.must("end_main");
    crate::support::wait_until(|| state_of(holder.pid()) == Some('Z'));
    holder.must("holds 0");
    for _ in 0..3 {
        assert_eq!(other.ask("lock 0"), "LF_BUSY");
        assert_eq!(other.must("reap 0").number(), 0);
    }
    // The same for a rival that never saw the holder alive.
    assert_eq!(Puppet::at(Kind::C, &scratch.folder()).ask("lock 0"), "LF_BUSY");
    holder.must("unlock 0");
    holder.must("lock 0");
    holder.kill();
    other.must("lock 0");
}

/// Posts a bid, and asserts this verdict by every call that judges it.
#[track_caller]
fn is_judged(kind: Kind, bid: &Bid, state: &str) {
    let scratch = Scratch::new();
    let path = bid.post(&scratch.folder());
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let seen = puppet.bids(0);
    assert_eq!(seen.iter().map(|bid| bid.state).collect::<Vec<_>>(), [state], "{:?}", bid.0);
    let stale = state == "STALE";
    assert_eq!(puppet.must("in_use 0").number(), u64::from(!stale));
    assert_eq!(puppet.must("reap 0").number(), u64::from(stale));
    assert_eq!(path.exists(), !stale);
    bid.write(&path);
    assert_eq!(puppet.ask("lock 0"), if stale { "LF_OK" } else { "LF_BUSY" }, "{:?}", bid.0);
    assert_eq!(path.exists(), !stale);
}

fn a_bid_of_a_live_process_with_another_start_is_stale(kind: Kind) {
    let live = Puppet::new(kind);
    for pid in [live.pid(), std::process::id(), 1] {
        let bid = Bid::of(pid);
        let start = bid.number("START");
        // The first process of a machine may have started in the first tick.
        for another in
            [start + 1, start - 1, 0, i64::MAX].into_iter().filter(|another| *another >= 0 && *another != start)
        {
            is_judged(kind, &bid.clone().with("START", another), "STALE");
        }
        is_judged(kind, &bid.clone().with("START", u64::MAX), "STALE");
    }
}

fn a_bid_of_a_live_process_with_its_start_is_live(kind: Kind) {
    let live = Puppet::new(kind);
    for pid in [live.pid(), std::process::id(), 1] {
        let bid = Bid::of(pid);
        is_judged(kind, &bid, "LIVE");
        is_judged(kind, &bid.clone().with("HOST", "another"), "LIVE");
        // The clock was set meanwhile, so only START decides.
        is_judged(kind, &bid.clone().with("CREATED", bid.number("CREATED") + 3600), "LIVE");
        is_judged(kind, &bid.clone().with("NEW", serde_json::json!({"a": [1, null]})), "LIVE");
        // A bid that says less is judged by what it does say.
        is_judged(kind, &bid.clone().without("CREATED"), "LIVE");
        is_judged(kind, &bid.clone().without("START"), "LIVE");
        is_judged(kind, &bid.clone().without("CREATED").without("START"), "LIVE");
        is_judged(kind, &bid.clone().without("BOOT").without("PIDNS"), "LIVE");
    }
}

/// The bid of a process that is gone.
fn gone(kind: Kind) -> Bid {
    let puppet = Puppet::new(kind);
    let bid = Bid::of(puppet.pid());
    puppet.kill_and_reap();
    bid
}

fn a_bid_of_a_process_that_is_gone_is_stale(kind: Kind) {
    let bid = gone(kind);
    is_judged(kind, &bid, "STALE");
    is_judged(kind, &bid.clone().without("START"), "STALE");
    is_judged(kind, &bid.clone().without("START").without("CREATED"), "STALE");
    is_judged(kind, &bid.clone().without("BOOT").without("PIDNS"), "STALE");
    for pid in [i32::MAX, 1 << 30, 4_194_305] {
        is_judged(kind, &bid.clone().with("PID", pid), "STALE");
        is_judged(kind, &Bid(Default::default()).with("PID", pid), "STALE");
    }
}

fn a_bid_of_another_boot_is_stale(kind: Kind) {
    let other = "11111111-2222-4333-8444-555555555555";
    is_judged(kind, &gone(kind).with("BOOT", other), "STALE");
    is_judged(kind, &Bid::of(std::process::id()).with("BOOT", other), "STALE");
    is_judged(kind, &Bid::of(std::process::id()).with("BOOT", ""), "STALE");
    is_judged(kind, &Bid::of(1).with("BOOT", other).with("PIDNS", 7), "STALE");
}

/// As when the process was restored from a checkpoint, or when the clocks are seen wrongly.
fn a_holder_that_seems_to_be_another_process_is_respected_while_it_has_its_lock(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        for loses in ["its life", "its proof"] {
            let mut holder = Puppet::at(kind, &scratch.folder());
            holder.must("lock 0");
            let path = &crate::support::bids_in(&scratch.folder())[0];
            let bid = Bid::of(holder.pid());
            let start = bid.number("START");
            bid.with("START", start + 1).write(path); // the same file, so the lock on it stays
            let mut met = Puppet::at(kind, &scratch.folder());
            for _ in 0..2 {
                for reader in [&mut met, &mut Puppet::at(kind, &scratch.folder())] {
                    assert_eq!(reader.ask("lock 0"), "LF_BUSY");
                    assert_eq!(reader.must("reap 0").number(), 0);
                    assert_eq!(reader.bids(0)[0].state, "LIVE");
                }
            }
            met.start_to_wait(0, -1);
            match loses {
                "its life" => holder.kill(),
                _ => drop(holder.must("close_from 3")),
            }
            assert_eq!(met.ask("join 1"), "LF_OK");
            met.must("unlock 0");
        }
    }
}

fn a_holder_that_lost_its_descriptors_is_respected(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let (mut holder, mut met) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
        holder.must("lock 0");
        assert_eq!(met.ask("lock 0"), "LF_BUSY");
        holder.must("close_from 3");
        for reader in [&mut met, &mut Puppet::at(kind, &scratch.folder())] {
            assert_eq!(reader.ask("lock 0"), "LF_BUSY");
            assert_eq!(reader.must("reap 0").number(), 0);
            assert_eq!(reader.bids(0)[0].state, "LIVE");
        }
        holder.kill();
        met.must("lock 0");
    }
}

/// The child has the open files of the holder, and thereby the holder's proof of life. But the holder is gone.
fn a_child_that_outlives_its_holder_keeps_no_lock(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        for (met, reaped) in [(true, true), (true, false), (false, true), (false, false)] {
            let (mut holder, mut reader) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
            holder.must("lock 0");
            let mut child = holder.fork();
            if met {
                assert_eq!(reader.ask("lock 0"), "LF_BUSY");
            }
            holder.kill();
            if reaped {
                holder.kill_and_reap();
            }
            reader.must("lock 0");
            assert_eq!(child.ask("holds 0"), "LF_ERR_FORKED");
            reader.must("unlock 0");
        }
    }
}

fn a_python_bid_is_judged_by_its_start_time_within_two_seconds(kind: Kind) {
    let live = Puppet::new(kind);
    let bid = Bid::of_python(live.pid());
    let created = bid.number("CREATED");
    for (off, state) in [(0, "LIVE"), (2, "LIVE"), (-2, "LIVE"), (3, "STALE"), (-3, "STALE"), (86400, "STALE")] {
        is_judged(kind, &bid.clone().with("CREATED", created + off), state);
    }
    for absurd in [i64::MAX, i64::MIN, i64::MIN + 1, 0, -1] {
        is_judged(kind, &bid.clone().with("CREATED", absurd), "STALE");
    }
    live.kill();
    is_judged(kind, &bid, "STALE"); // the process is a zombie
    live.kill_and_reap();
    is_judged(kind, &bid, "STALE");
}

fn a_process_of_another_user_is_judged_like_ours(kind: Kind) {
    if !root_or_skip("processes of other users") {
        return;
    }
    let scratch = Scratch::shm();
    make_for_everybody(&scratch.folder());
    let mut nobody = crate::support::nobody(kind);
    nobody.open(0, &scratch.folder());
    let mut root = Puppet::at(kind, &scratch.folder());

    root.must("lock 0");
    assert_eq!(nobody.ask("lock 0"), "LF_BUSY");
    assert_eq!(nobody.bids(0)[0].state, "LIVE");
    root.must("unlock 0");
    nobody.must("lock 0");
    assert_eq!(root.ask("lock 0"), "LF_BUSY");
    nobody.must("unlock 0");

    root.must("lock 0");
    root.kill();
    assert_eq!(nobody.bids(0)[0].state, "STALE");
    nobody.must("lock 0");
    nobody.kill();
    Puppet::at(kind, &scratch.folder()).must("lock 0");
}

fn a_process_hidden_by_hidepid_is_alive_until_it_dies(kind: Kind) {
    if !namespaces_or_skip("hidepid") {
        return;
    }
    let scratch = Scratch::shm();
    make_for_everybody(&scratch.folder());
    let mut holder = Puppet::at(kind, &scratch.folder());
    let hide = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    let mut reader = Puppet::behind(&["unshare", "--mount", "sh", "-c", hide, "sh"], kind);
    reader.must(&format!("become {NOBODY}"));
    let visible = Command::new("nsenter")
        .args(["--mount", "--target", &reader.pid().to_string(), "--setuid", "65534", "--setgid", "65534"])
        .args(["test", "-e", &format!("/proc/{}", holder.pid())])
        .status();
    assert!(!visible.unwrap().success(), "the process is not hidden, so this test proves nothing");
    reader.open(0, &scratch.folder());

    holder.must("lock 0");
    for _ in 0..3 {
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        assert_eq!(reader.bids(0)[0].state, "LIVE");
        assert_eq!(reader.must("reap 0").number(), 0);
    }
    holder.stop();
    assert_eq!(reader.ask("lock 0"), "LF_BUSY");
    holder.kill();
    assert_eq!(reader.bids(0)[0].state, "STALE", "a zombie has exited, hidden or not");
    reader.must("lock 0");
}

fn after_exec_a_bid_judged_by_pid_is_live(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    holder.tell("exec");
    crate::support::wait_until(|| {
        std::fs::read_to_string(format!("/proc/{}/comm", holder.pid())).unwrap() == "sleep\n"
    });
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    assert_eq!(other.bids(0)[0].state, "LIVE");
    holder.kill();
    other.must("lock 0");
}

fn listing_the_bids_and_asking_for_use_delete_nothing(kind: Kind) {
    let scratch = Scratch::new();
    let path = gone(kind).post(&scratch.folder());
    let mut puppet = Puppet::at(kind, &scratch.folder());
    assert_eq!(puppet.bids(0)[0].state, "STALE");
    assert_eq!(puppet.must("in_use 0").number(), 0);
    assert!(path.exists());
    assert_eq!(puppet.must("reap 0").number(), 1);
    assert!(!path.exists());
}

fn a_live_rival_among_stale_bids_still_excludes(kind: Kind) {
    let scratch = Scratch::new();
    let stale = gone(kind);
    let mut paths = vec![stale.post(&scratch.folder())];
    let live = Bid::of(std::process::id()).post(&scratch.folder());
    paths.extend([stale.post(&scratch.folder()), stale.post(&scratch.folder())]);
    let mut puppet = Puppet::at(kind, &scratch.folder());
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
    assert!(live.exists());
    assert_eq!(puppet.bids(0).iter().filter(|bid| bid.state == "LIVE").count(), 1);
    std::fs::remove_file(&live).unwrap();
    puppet.must("lock 0");
    assert_eq!(paths.iter().filter(|path| path.exists()).count(), 0);
}

/// The number of a deleted file is soon used for another file. Two filesystems make that certain here: a claimant that
/// reaps a Python peer's bid must not take a live claim with the same number for the claim behind the bid.
fn a_claim_with_the_number_of_a_deleted_bid_is_not_deleted(kind: Kind) {
    use std::os::unix::fs::MetadataExt;
    if !namespaces_or_skip("two filesystems in one lock folder") {
        return;
    }
    let scratch = Scratch::shm();
    std::fs::create_dir(scratch.folder()).unwrap();
    let mount = "mount -t tmpfs tmpfs \"$0\" && mkdir \"$0/.lockfolder\" && mount -t tmpfs tmpfs \"$0/.lockfolder\" && exec \"$@\"";
    let folder = scratch.folder();
    let mut puppet = Puppet::behind(&["unshare", "--mount", "sh", "-c", mount, folder.to_str().unwrap()], kind);
    let seen = std::path::PathBuf::from(format!("/proc/{}/root{}", puppet.pid(), folder.display()));
    let number = |path: &std::path::Path| std::fs::metadata(path).unwrap().ino();
    let bid = Bid::of(std::process::id());
    let (mut stale, claim) = (bid.clone().with("START", 1).post(&seen), seen.join(".lockfolder/0123456789abcdef.json"));
    bid.write(&claim);
    for _ in 0..100 {
        match number(&stale).cmp(&number(&claim)) {
            std::cmp::Ordering::Equal => break,
            std::cmp::Ordering::Less => {
                std::fs::remove_file(&stale).unwrap();
                stale = bid.clone().with("START", 1).post(&seen);
            }
            std::cmp::Ordering::Greater => {
                std::fs::remove_file(&claim).unwrap();
                bid.write(&claim);
            }
        }
    }
    assert_eq!(number(&stale), number(&claim));
    puppet.open(0, &folder);
    puppet.ask("lock 0"); // the puppet reaps, and then can't link from one filesystem to the other
    assert!(!stale.exists());
    assert!(claim.exists(), "the claim's owner is alive");
}

fn make_for_everybody(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(folder).unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}
