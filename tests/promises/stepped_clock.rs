//! Somebody set the clock. The machine's clock is left alone: some processes see another boot time in `/proc/stat`.
//! That boot time moves with the clock, and CREATED is computed from it.

use crate::support::containers::{each_filesystem, is_respected_until_it_dies};
use crate::support::{boot_time, both, Bid, Kind, Puppet, Scratch};

both!(
    a_stepped_clock_changes_no_verdict_on_a_bid_of_ours,
    a_python_peer_seems_another_process_after_a_step_of_the_clock,
);

/// A puppet that sees the machine booted this many seconds later, as after the clock was set forward. Only this puppet
/// sees it.
fn with_boot_time_moved(step: i64, kind: Kind, scratch: &Scratch) -> Puppet {
    let fake = scratch.join(format!("stat{step}"));
    let truth = std::fs::read_to_string("/proc/stat").unwrap();
    let (before, moved) = (boot_time() as i64, boot_time() as i64 + step);
    std::fs::write(&fake, truth.replace(&format!("btime {before}"), &format!("btime {moved}"))).unwrap();
    let mount =
        ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /proc/stat && exec \"$@\"", fake.to_str().unwrap()];
    let mut puppet = Puppet::behind(&mount, kind);
    let seen = std::fs::read_to_string(format!("/proc/{}/root/proc/stat", puppet.pid())).unwrap();
    assert!(seen.contains(&format!("btime {moved}\n")), "the puppet sees the true boot time");
    puppet.open(0, &scratch.folder());
    puppet
}

fn a_stepped_clock_changes_no_verdict_on_a_bid_of_ours(kind: Kind) {
    each_filesystem("a boot time that was moved", |scratch| {
        for step in [3600, -3600] {
            let mut outside = Puppet::at(kind, &scratch.folder());
            let mut inside = with_boot_time_moved(step, kind, scratch);
            // The bid of each puppet says when the puppet started, by the clock that the puppet knows.
            for (who, step) in [(&mut outside, 0), (&mut inside, step)] {
                who.must("lock 0");
                let created = Bid::of(who.pid()).number("CREATED") + step;
                assert_eq!(who.bids(0)[0].created, created);
                who.must("unlock 0");
            }
            let bid = Bid::of(outside.pid());
            let (created, start) = (bid.number("CREATED"), bid.number("START"));
            for (bid, status) in [
                (bid.clone(), "LF_BUSY"),
                (bid.clone().with("CREATED", created + step), "LF_BUSY"),
                (bid.clone().without("CREATED"), "LF_BUSY"),
                (bid.clone().with("START", start + 1), "LF_OK"),
                (bid.clone().with("START", start + 1).with("CREATED", created + step), "LF_OK"),
            ] {
                for who in [&mut inside, &mut outside] {
                    is_answered(who, &bid, scratch, status);
                }
            }
            is_respected_until_it_dies(outside, &mut inside);
            is_respected_until_it_dies(inside, &mut Puppet::at(kind, &scratch.folder()));
        }
    });
}

/// The bid has no start time but CREATED, so it is judged by CREATED, as every Python peer judges it.
fn a_python_peer_seems_another_process_after_a_step_of_the_clock(kind: Kind) {
    each_filesystem("a boot time that was moved", |scratch| {
        for step in [3600, 2, -2, -3600] {
            let mut outside = Puppet::at(kind, &scratch.folder());
            let mut inside = with_boot_time_moved(step, kind, scratch);
            let before = Bid::of_python(outside.pid());
            let after = before.clone().with("CREATED", before.number("CREATED") + step);
            let other = if step.abs() > 2 { "LF_OK" } else { "LF_BUSY" };
            is_answered(&mut outside, &before, scratch, "LF_BUSY");
            is_answered(&mut inside, &after, scratch, "LF_BUSY");
            is_answered(&mut outside, &after, scratch, other);
            is_answered(&mut inside, &before, scratch, other);
        }
    });
}

/// A claimant that finds this bid gets this answer. If it gets the lock, the bid is gone.
#[track_caller]
fn is_answered(who: &mut Puppet, bid: &Bid, scratch: &Scratch, status: &str) {
    let path = bid.post(&scratch.folder());
    assert_eq!(who.ask("lock 0"), status, "{:?}", bid.0);
    assert_eq!(path.exists(), status != "LF_OK");
    match status {
        "LF_OK" => drop(who.must("unlock 0")),
        _ => std::fs::remove_file(&path).unwrap(),
    }
}
