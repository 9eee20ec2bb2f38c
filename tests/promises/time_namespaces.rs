//! Time namespaces: the clocks of a process and the starts that it sees are shifted there. That changes no verdict.

use crate::support::containers::{
    answers, begun_after, dead, is_respected_until_it_dies, judges_by_start, own_bid, seen_by,
};
use crate::support::{
    bid_name, both, start_in, start_of, time_namespaces_or_skip, vouch_for, Bid, Kind, Puppet, Scratch,
};

both!(
    a_shifted_boot_clock_changes_no_verdict,
    a_boot_clock_that_begins_after_a_process_robs_nobody,
    a_process_that_is_older_than_its_boot_clock_is_not_robbed,
    a_time_namespace_that_is_entered_changes_no_verdict,
    a_time_namespace_of_the_children_changes_no_verdict,
    a_shift_that_can_not_be_read_robs_nobody,
    a_start_that_is_hidden_keeps_no_dead_bid_alive,
);

fn shifted(seconds: &str) -> [&str; 5] {
    ["unshare", "--time", "--boottime", seconds, "--fork"]
}

fn a_shifted_boot_clock_changes_no_verdict(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    // A clock can't be set before the boot.
    for seconds in ["86400", "-30"] {
        let scratch = Scratch::new();
        let (mut outside, mut inside) = (Puppet::at(kind, &scratch.folder()), Puppet::behind(&shifted(seconds), kind));
        let uptime = |of: &Puppet| {
            let uptime = String::from_utf8(seen_by(of, "/proc/uptime")).unwrap();
            uptime.split('.').next().unwrap().parse::<i64>().unwrap()
        };
        let (here, there, later) = (uptime(&outside), uptime(&inside), uptime(&outside));
        let shift = there - seconds.parse::<i64>().unwrap();
        assert!((here - 1..=later + 1).contains(&shift), "the clock is not shifted: {there}, here {here} to {later}");
        inside.open(0, &scratch.folder());
        is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);

        // A bid with our own start time counts as ours. A bid with another start time does not.
        let bid = Bid::of(outside.pid());
        let start = bid.number("START");
        for (bid, status) in [
            (bid.clone(), "LF_BUSY"),
            (bid.clone().with("START", start + 1), "LF_OK"),
            (bid.clone().with("START", start + 8_640_000), "LF_OK"),
            (bid.clone().with("START", start - 3_000), "LF_OK"),
            (Bid::of_python(outside.pid()), "LF_BUSY"),
        ] {
            for who in [&mut inside, &mut outside] {
                let path = bid.post(&scratch.folder());
                assert_eq!(who.ask("lock 0"), status, "{seconds} s, {:?}", bid.0);
                assert_eq!(who.ask("unlock 0") == "LF_OK", status == "LF_OK");
                let _ = std::fs::remove_file(&path);
            }
        }
        // A cut-off bid may be a Python peer's. It is not older than this boot only because the shifted clock says so.
        let path = scratch.folder().join(bid_name("half"));
        std::fs::write(&path, "{").unwrap();
        let before =
            std::time::SystemTime::now() - std::time::Duration::from_secs(std::cmp::min(here as u64 - 5, 3600));
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        assert_eq!(outside.ask("lock 0"), "LF_BUSY");
        assert_eq!(inside.ask("lock 0"), "LF_BUSY", "boot clock shifted by {seconds} s");
        std::fs::remove_file(&path).unwrap();
        is_respected_until_it_dies(inside, &mut outside);
    }
}

/// A process there sees a negative start of each older process, and the kernel shows it as a huge number.
fn a_boot_clock_that_begins_after_a_process_robs_nobody(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    let scratch = Scratch::new();
    let mut outside = Puppet::at(kind, &scratch.folder());
    let mut inside = begun_after(&outside, kind);
    inside.open(0, &scratch.folder());
    older_is_judged_right(&mut inside, &outside, &scratch);
    answers(&mut inside, &own_bid(&mut outside, &scratch), &scratch, "LF_BUSY");
    judges_by_start(&mut outside, &inside, &scratch);
    is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);
    // This holder has no descriptor that proves its life. What `/proc` shows must do.
    outside.must("lock 0");
    outside.must("close_from 3");
    assert_eq!(inside.ask("lock 0"), "LF_BUSY");
    assert_eq!(inside.must("reap 0").number(), 0);
    outside.kill();
    is_respected_until_it_dies(inside, &mut Puppet::at(kind, &scratch.folder()));
}

/// Two ticks can be the start, because the kernel adds 2^64 ns, which is no whole number of ticks.
fn older_is_judged_right(reader: &mut Puppet, owner: &Puppet, scratch: &Scratch) {
    let (bid, python) = (Bid::of(owner.pid()), Bid::of_python(owner.pid()));
    answers(reader, &bid, scratch, "LF_BUSY");
    answers(reader, &python, scratch, "LF_BUSY");
    let created = python.number("CREATED");
    for moved in [-1000, -3, 3, 1000, 184_467_440_737_095] {
        answers(reader, &bid.clone().with("START", bid.number("START") + moved), scratch, "LF_OK");
        answers(reader, &python.clone().with("CREATED", created + moved), scratch, "LF_OK");
    }
}

fn a_process_that_is_older_than_its_boot_clock_is_not_robbed(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    for opened_before in [true, false] {
        let scratch = Scratch::new();
        let mut entered = Puppet::new(kind);
        if opened_before {
            entered.open(0, &scratch.folder());
            own_bid(&mut entered, &scratch);
        }
        let mut outside = Puppet::at(kind, &scratch.folder());
        let mut inside = begun_after(&outside, kind);
        inside.open(0, &scratch.folder());
        entered.must(&format!("enter /proc/{}/ns/time", inside.pid()));
        entered.open(0, &scratch.folder());
        let bid = own_bid(&mut entered, &scratch);
        let truth = Bid::of(entered.pid());
        assert!((bid.number("CREATED") - truth.number("CREATED")).abs() <= 1, "{:?}, {:?}", bid.0, truth.0);
        for reader in [&mut outside, &mut inside] {
            answers(reader, &bid, &scratch, "LF_BUSY");
            answers(reader, &bid.clone().with("CREATED", 1).without("START"), &scratch, "LF_OK");
        }
        older_is_judged_right(&mut entered, &outside, &scratch);
        // A Python peer that entered takes the huge number as it stands.
        let stat = String::from_utf8(seen_by(&inside, "/proc/stat")).unwrap();
        let boot: i64 = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse().unwrap();
        let start = start_in(&seen_by(&inside, &format!("/proc/{}/stat", entered.pid())));
        let huge = Bid::of_python(entered.pid()).with("CREATED", boot + (start / 100) as i64);
        answers(&mut inside, &huge, &scratch, "LF_BUSY");
        answers(&mut entered, &huge, &scratch, "LF_BUSY");
        is_respected_until_it_dies(entered, &mut inside);
        is_respected_until_it_dies(inside, &mut outside);
    }
}

/// The boot clock in this namespace is a day ahead.
const SHIFTED: [&str; 5] = ["unshare", "--time", "--boottime", "86400", "--fork"];

fn a_time_namespace_that_is_entered_changes_no_verdict(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    for scratch in [Scratch::new(), Scratch::shm()] {
        let there = Puppet::behind(&SHIFTED, kind);
        let (mut outside, mut inside) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
        let before = own_bid(&mut inside, &scratch);
        inside.must(&format!("enter /proc/{}/ns/time", there.pid()));
        judges_by_start(&mut inside, &outside, &scratch);
        assert_eq!(own_bid(&mut inside, &scratch).0, before.0, "the process is still the same");
        judges_by_start(&mut outside, &inside, &scratch);
        is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);
        // And back.
        inside.must(&format!("enter /proc/{}/ns/time", std::process::id()));
        judges_by_start(&mut inside, &outside, &scratch);
        is_respected_until_it_dies(inside, &mut outside);
    }
}

fn a_time_namespace_of_the_children_changes_no_verdict(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    for opened_before in [true, false] {
        let scratch = Scratch::new();
        let (mut outside, mut parent) = (Puppet::at(kind, &scratch.folder()), Puppet::new(kind));
        if opened_before {
            parent.open(0, &scratch.folder());
            own_bid(&mut parent, &scratch);
        }
        parent.must("shift_children 86400 0");
        parent.open(0, &scratch.folder());
        judges_by_start(&mut parent, &outside, &scratch);
        assert_eq!(own_bid(&mut parent, &scratch).number("START") as u64, start_of(parent.pid()));
        let mut child = parent.fork();
        child.open(0, &scratch.folder());
        judges_by_start(&mut child, &outside, &scratch);
        assert_eq!(own_bid(&mut child, &scratch).number("START") as u64, start_of(child.pid()));
        is_respected_until_it_dies(child, &mut parent);
        is_respected_until_it_dies(parent, &mut outside);
    }
}

/// The puppet is in a time namespace of its own, and has another one for its children. No file then tells the shift of
/// its own namespace.
fn a_shift_that_can_not_be_read_robs_nobody(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    let scratch = Scratch::new();
    let (mut outside, mut inside) = (Puppet::at(kind, &scratch.folder()), Puppet::behind(&SHIFTED, kind));
    inside.must("shift_children 100 0");
    inside.open(0, &scratch.folder());
    answers(&mut inside, &Bid::of(outside.pid()), &scratch, "LF_BUSY");
    answers(&mut inside, &dead(), &scratch, "LF_OK");
    assert!(
        !own_bid(&mut inside, &scratch).0.contains_key("START"),
        "no other process could find this process by its START"
    );
    is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);
    is_respected_until_it_dies(inside, &mut outside);
}

/// A PID that is used again, where the shift is no whole number of ticks, or can't be read.
fn a_start_that_is_hidden_keeps_no_dead_bid_alive(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    for nanos in [1, 999_999_999] {
        for can_be_read in [true, false] {
            let scratch = Scratch::new();
            let (mut outside, mut parent) = (Puppet::at(kind, &scratch.folder()), Puppet::new(kind));
            parent.must(&format!("shift_children 86400 {nanos}"));
            let mut inside = parent.fork();
            if !can_be_read {
                inside.must("shift_children 100 0");
            }
            inside.open(0, &scratch.folder());
            let bid = Bid::of(outside.pid());
            answers(&mut inside, &bid, &scratch, "LF_BUSY");
            let (start, created) = (bid.number("START"), bid.number("CREATED"));
            for ticks in [-1000, -2, 2, 1000] {
                let moved = bid.clone().with("START", start + ticks);
                // By CREATED alone, the process may be the owner.
                answers(&mut inside, &moved, &scratch, if can_be_read { "LF_OK" } else { "LF_BUSY" });
                let moved = moved.with("CREATED", created + ticks.signum() * 1000);
                answers(&mut inside, &moved, &scratch, "LF_OK");
            }
            // After the clock was set, the CREATED of a live owner looks the same. Then the kernel's lock is held.
            let path = bid.with("START", start + 1000).with("CREATED", created + 1000).post(&scratch.folder());
            let proof = vouch_for(&path);
            assert_eq!(inside.ask("lock 0"), "LF_BUSY");
            drop(proof);
            inside.must("lock 0");
            inside.must("unlock 0");
            is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);
            is_respected_until_it_dies(inside, &mut outside);
        }
    }
}

/// The main thread ended. What `/proc/self` shows of our namespaces ended with it.
#[test]
fn without_a_main_thread_a_shifted_clock_robs_nobody() {
    if !time_namespaces_or_skip() {
        return;
    }
    let scratch = Scratch::new();
    let (mut outside, mut inside) = (Puppet::at(Kind::C, &scratch.folder()), Puppet::behind(&SHIFTED, Kind::C));
    inside.must("end_main");
    crate::support::wait_until(|| crate::support::state_of(inside.pid()) == Some('Z'));
    inside.open(0, &scratch.folder());
    answers(&mut inside, &Bid::of(outside.pid()), &scratch, "LF_BUSY");
    answers(&mut outside, &own_bid(&mut inside, &scratch), &scratch, "LF_BUSY");
    is_respected_until_it_dies(Puppet::at(Kind::C, &scratch.folder()), &mut inside);
}
