//! The waits of an event loop: the program polls one descriptor, and takes a step when it is readable. (waiting.rs and line.rs run
//! with such waits too.)

use std::fs;
use std::time::{Duration, Instant};

use crate::support::containers::begun_after;
use crate::support::{both, listing, time_namespaces_or_skip, wait_until, Kind, Puppet, Scratch};

both!(
    a_wait_in_steps_ends_with_the_lock,
    a_wait_that_is_given_up_leaves_nothing,
    one_wait_at_a_time,
    a_timeout_makes_a_step_due,
    cancel_makes_a_step_due,
    other_files_end_no_wait,
    a_handle_that_is_closed_during_a_wait_leaves_nothing,
    a_forked_child_has_no_part_in_the_wait,
    a_wait_ends_in_time_in_another_time_namespace,
    a_wait_sees_a_no_show_in_another_time_namespace,
);

/// A holder, and a waiter that has begun to wait.
fn holder_and_waiter(kind: Kind, scratch: &Scratch, timeout: i32) -> (Puppet, Puppet) {
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    begin_behind(&mut holder, &mut waiter, kind, timeout);
    (holder, waiter)
}

fn begin_behind(holder: &mut Puppet, waiter: &mut Puppet, kind: Kind, timeout: i32) {
    holder.must("lock 0");
    let begun = waiter.ask(&format!("begin 0 {timeout}"));
    assert!(begun == "LF_PENDING" || kind == Kind::Rust && begun == "LF_OK", "{begun:?}");
}

fn is_due(waiter: &mut Puppet) -> bool {
    waiter.must("is_due 0").number() > 0
}

/// Steps, each when it is due, until the wait is over.
fn outcome(waiter: &mut Puppet) -> String {
    loop {
        wait_until(|| is_due(waiter));
        let stepped = waiter.ask("step 0");
        if stepped != "LF_PENDING" {
            return stepped.status().to_owned();
        }
    }
}

fn nobody_is_in_line(scratch: &Scratch) -> bool {
    !scratch.folder().join(".lockfolder/queue").exists()
}

fn a_wait_in_steps_ends_with_the_lock(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    assert_eq!(waiter.ask("step 0"), "LF_PENDING", "a step too many does no harm");
    holder.must("unlock 0");
    assert_eq!(outcome(&mut waiter), "LF_OK");
    waiter.must("holds 0");
    assert_eq!(holder.ask("lock 0"), "LF_BUSY");
    waiter.must("end 0");
    waiter.must("holds 0");
    assert_eq!(waiter.ask("step 0"), "LF_ERR_INVALID");
    waiter.must("unlock 0");
    assert!(nobody_is_in_line(&scratch));
    // The holder dies.
    holder.must("lock 0");
    waiter.ask("begin 0 -1");
    holder.kill();
    assert_eq!(outcome(&mut waiter), "LF_OK");
}

fn a_wait_that_is_given_up_leaves_nothing(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    let mut next = Puppet::at(kind, &scratch.folder());
    next.tell("wait 0 -1");
    wait_until(|| listing(&scratch.folder().join(".lockfolder/queue")).len() == 2);
    for _ in 0..2 {
        waiter.must("end 0");
    }
    assert_eq!(waiter.ask("holds 0"), "LF_ERR_NOT_HELD");
    holder.must("unlock 0");
    assert_eq!(next.hear(), "LF_OK");
    next.must("unlock 0");
    assert!(nobody_is_in_line(&scratch));
    waiter.must("lock 0");
}

fn one_wait_at_a_time(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    for call in ["begin 0 -1", "wait 0 10", "lock 0"] {
        assert_eq!(waiter.ask(call), "LF_BUSY", "{call}");
    }
    assert_eq!(waiter.must("in_use 0").number(), 1);
    holder.must("unlock 0");
    assert_eq!(outcome(&mut waiter), "LF_OK");
    assert_eq!(waiter.ask("begin 0 -1"), "LF_ERR_ALREADY_HELD");
    waiter.must("unlock 0");
    // Nothing to wait for.
    let begun = waiter.ask("begin 0 0");
    assert_eq!(begun, "LF_OK");
}

fn a_timeout_makes_a_step_due(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, 50);
    assert_eq!(outcome(&mut waiter), "LF_TIMEOUT");
    assert!(waiter.why(0).contains(&holder.pid().to_string()));
    assert!(nobody_is_in_line(&scratch));
    assert_eq!(waiter.ask("begin 0 0"), "LF_TIMEOUT");
    holder.must("unlock 0");
    waiter.must("lock 0");
}

fn cancel_makes_a_step_due(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    waiter.must("cancel 0");
    assert!(is_due(&mut waiter));
    assert_eq!(outcome(&mut waiter), "LF_CANCELLED");
    assert!(nobody_is_in_line(&scratch));
    waiter.must("cancel 0"); // ends no later wait
                             // A wait that is given up after a cancel leaves nothing readable.
    waiter.ask("begin 0 -1");
    waiter.must("cancel 0");
    waiter.must("end 0");
    assert!(kind == Kind::Rust || !is_due(&mut waiter)); // in Rust only a wait has the descriptor
    waiter.ask("begin 0 -1");
    assert_eq!(waiter.ask("step 0"), "LF_PENDING");
    holder.must("unlock 0");
    assert_eq!(outcome(&mut waiter), "LF_OK");
}

fn other_files_end_no_wait(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    for n in 0..50 {
        fs::write(scratch.folder().join(format!("file-{n}")), "").unwrap();
        assert_eq!(waiter.ask("step 0"), "LF_PENDING");
    }
    holder.must("unlock 0");
    assert_eq!(outcome(&mut waiter), "LF_OK");
}

fn a_handle_that_is_closed_during_a_wait_leaves_nothing(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    assert!(!nobody_is_in_line(&scratch));
    waiter.must("close 0");
    assert!(nobody_is_in_line(&scratch));
    holder.must("unlock 0");
    holder.must("close 0");
    assert_eq!(listing(&scratch.folder().join(".lockfolder")), Vec::<String>::new());
}

fn a_forked_child_has_no_part_in_the_wait(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = holder_and_waiter(kind, &scratch, -1);
    let mut child = waiter.fork();
    assert_eq!(child.ask("step 0"), "LF_ERR_FORKED");
    child.must("close 0");
    assert!(!nobody_is_in_line(&scratch));
    holder.must("unlock 0");
    assert_eq!(outcome(&mut waiter), "LF_OK");
}

/// One thread of one process waits on many folders. (Not more, because other tests use inotify instances too, and a user has 128 of
/// them by default. Without one, a waiter looks every 50 ms.)
#[test]
fn a_crowd_of_waits_in_one_thread() {
    let scratch = Scratch::new();
    let answer = Puppet::new(Kind::Rust).must(&format!("crowd {} 48", scratch.join("crowd").display()));
    let steps: Vec<u64> = answer.data().iter().map(|word| word.parse().unwrap()).collect();
    let [in_vain, seconds] = steps[..] else { panic!("{steps:?}") };
    // Each looks about every 2 s.
    assert!(in_vain <= 48 * seconds, "{in_vain} steps in {seconds} s in which nothing happened");
}

/// Processes in time namespaces of their own, whose clocks are shifted forward or back: CLOCK_MONOTONIC alone, or CLOCK_BOOTTIME too.
fn shifted(kind: Kind) -> Vec<Puppet> {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let earlier = uptime.split('.').next().unwrap().parse::<i64>().unwrap() / 2; // no clock can show less than zero
    let shifts = [(1_000_000, 1_000_000), (-earlier, -earlier), (1_000_000, 0), (-earlier, 5)];
    let behind = |(monotonic, boot): (i64, i64)| {
        let (monotonic, boot) = (monotonic.to_string(), boot.to_string());
        let shift = ["unshare", "--time", "--monotonic", &monotonic, "--boottime", &boot, "--fork", "--kill-child"];
        Puppet::behind(&shift, kind)
    };
    shifts.map(behind).into()
}

fn enter(waiter: &mut Puppet, there: u32) {
    waiter.must(&format!("enter /proc/{there}/ns/time"));
}

fn a_wait_ends_in_time_in_another_time_namespace(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    let mut shifted = shifted(kind);
    loop {
        let scratch = Scratch::new();
        let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
        let (there, is_last) = match shifted.pop() {
            Some(there) => (there, false),
            None => (begun_after(&waiter, kind), true),
        };
        let began = Instant::now();
        begin_behind(&mut holder, &mut waiter, kind, 2000);
        enter(&mut waiter, there.pid());
        let stepped = waiter.ask("step 0");
        // A machine can be so busy that the time is over.
        if began.elapsed() < Duration::from_secs(1) {
            assert_eq!(stepped, "LF_PENDING");
        }
        // Back and forth.
        enter(&mut waiter, std::process::id());
        enter(&mut waiter, there.pid());
        if stepped == "LF_PENDING" {
            assert_eq!(outcome(&mut waiter), "LF_TIMEOUT");
        }
        assert!(began.elapsed() > Duration::from_secs(1), "it was over too early");
        assert!(nobody_is_in_line(&scratch));
        if is_last {
            return;
        }
    }
}

fn a_wait_sees_a_no_show_in_another_time_namespace(kind: Kind) {
    if !time_namespaces_or_skip() {
        return;
    }
    for there in shifted(kind).into_iter().take(2) {
        let scratch = Scratch::new();
        let (mut holder, mut first) = holder_and_waiter(kind, &scratch, -1);
        let mut waiter = Puppet::at(kind, &scratch.folder());
        waiter.ask("begin 0 -1");
        enter(&mut waiter, there.pid());
        // The first in line takes no step.
        holder.must("unlock 0");
        assert_eq!(outcome(&mut waiter), "LF_OK");
        first.must("end 0");
        waiter.must("unlock 0");
    }
}
