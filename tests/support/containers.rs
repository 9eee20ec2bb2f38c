//! What the tests of containers share.

use std::process::Command;

use super::{bids_in, namespaces_or_skip, start_in, start_of, wait_until, Bid, Kind, Puppet, Scratch};

/// A container's PID namespace, with a `/proc` of its own: the puppet is its PID 1.
pub const CONTAINER: &[&str] = &["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// On the disk and in memory, because the kernel's proof of life exists on both. And on a disk that other hosts use too: a lease
/// changes nothing between the processes of one kernel.
pub fn each_filesystem(what: &str, mut test: impl FnMut(&Scratch)) {
    if namespaces_or_skip(what) {
        test(&Scratch::new());
        test(&Scratch::shm());
        test(&Scratch::marked());
    }
}

pub fn contained(kind: Kind, scratch: &Scratch) -> Puppet {
    let mut puppet = Puppet::behind(CONTAINER, kind);
    assert_eq!(puppet.must("pid").number(), 1);
    assert_ne!(puppet.pid(), 1);
    puppet.open(0, &scratch.folder());
    puppet
}

/// The holder holds. The reader respects that as long as the holder lives, stopped or not, and no
/// longer.
pub fn is_respected_until_it_dies(mut holder: Puppet, reader: &mut Puppet) {
    holder.must("lock 0");
    for _ in 0..2 {
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        assert_eq!(reader.must("reap 0").number(), 0);
        assert_eq!(reader.bids(0)[0].state, "LIVE");
        assert_eq!(reader.must("in_use 0").number(), 1);
    }
    holder.stop();
    assert_eq!(reader.ask("wait 0 30"), "LF_TIMEOUT");
    holder.go_on();
    holder.must("holds 0");
    holder.must("unlock 0");
    reader.must("lock 0");
    assert_eq!(holder.ask("lock 0"), "LF_BUSY");
    reader.must("unlock 0");
    holder.must("lock 0");
    assert_eq!(reader.ask("lock 0"), "LF_BUSY");
    holder.kill();
    assert_eq!(reader.bids(0)[0].state, "STALE");
    reader.must("lock 0");
    reader.must("unlock 0");
}

/// Bids of a live process, with true and with false content, and the answers that a claimant must give. None of these
/// bids has a lock.
#[track_caller]
pub fn judges_by_start(reader: &mut Puppet, owner: &Puppet, scratch: &Scratch) {
    let bid = Bid::of(owner.pid());
    let start = bid.number("START");
    for (bid, status) in [
        (bid.clone(), "LF_BUSY"),
        (bid.clone().with("START", start + 1), "LF_OK"),
        (bid.clone().with("START", start + 8_640_000), "LF_OK"),
        (Bid::of_python(owner.pid()), "LF_BUSY"),
    ] {
        answers(reader, &bid, scratch, status);
    }
}

#[track_caller]
pub fn answers(reader: &mut Puppet, bid: &Bid, scratch: &Scratch, status: &str) {
    let path = bid.post(&scratch.folder());
    assert_eq!(reader.ask("lock 0"), status, "{:?}", bid.0);
    assert_eq!(path.exists(), status == "LF_BUSY", "{:?}", bid.0);
    assert_eq!(reader.ask("unlock 0") == "LF_OK", status == "LF_OK");
    let _ = std::fs::remove_file(&path);
}

/// The bid of a process that does not exist, because Linux never gives a PID this large.
pub fn dead() -> Bid {
    Bid::of(std::process::id()).with("PID", 1 << 22)
}

/// The content of the bid of a holder, which holds the lock only for this question.
pub fn own_bid(holder: &mut Puppet, scratch: &Scratch) -> Bid {
    holder.must("lock 0");
    let paths = bids_in(&scratch.folder());
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    holder.must("unlock 0");
    assert_eq!(paths.len(), 1);
    // The caller writes this content to other files, so it must not name a file.
    Bid(serde_json::from_str(&text).unwrap()).without("INODE").without("BORN")
}

/// A process in a time namespace whose boot clock begins after the process `elder` started. The start of `elder` is negative there.
pub fn begun_after(elder: &Puppet, kind: Kind) -> Puppet {
    let uptime = || std::fs::read_to_string("/proc/uptime").unwrap().split('.').next().unwrap().parse::<u64>().unwrap();
    wait_until(|| uptime() * 100 > start_of(elder.pid()));
    let shift = format!("-{}", uptime());
    let there = Puppet::behind(&["unshare", "--time", "--boottime", &shift, "--fork", "--kill-child"], kind);
    let shown = start_in(&seen_by(&there, &format!("/proc/{}/stat", elder.pid())));
    assert!(shown > u64::MAX / 20_000_000, "the start is not negative there: {shown}");
    there
}

/// What a file of `/proc` contains in the time namespace of a process.
pub fn seen_by(puppet: &Puppet, file: &str) -> Vec<u8> {
    let there = ["--time", "--target", &puppet.pid().to_string(), "cat", file];
    let output = Command::new("nsenter").args(there).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}
