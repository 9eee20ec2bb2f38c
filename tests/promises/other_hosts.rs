//! A filesystem that other hosts may write to, and that the caller trusts. A process of this host can't prove there
//! what it could prove on a local disk. The filesystem is FUSE, which shows another folder of this machine; no process
//! can tell that there is no other host.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::{bid_name, boot_time, both, namespaces_or_skip, skip, Bid, Kind, Puppet, Scratch};

both!(
    without_trust_the_filesystem_is_refused_with_the_reason,
    a_python_peer_with_a_pid_unknown_here_may_be_on_another_host,
    another_boot_may_be_that_of_another_host,
    a_half_written_bid_older_than_this_boot_may_be_another_hosts,
    a_bid_of_this_host_is_judged_here,
    the_end_of_a_process_here_deletes_no_bid_of_another_host,
);

const TRUST: u32 = 4;

/// The puppet sees the folder at `there`, and we see it at `here`. The puppet is PID 1, and its mounts end with it.
fn on_fuse(kind: Kind, test: impl FnOnce(Puppet, &Path, &Path)) {
    if !namespaces_or_skip("a filesystem that others can write to") || !crate::c::need("bindfs", &[]) {
        return;
    }
    if !Path::new("/dev/fuse").exists() {
        return skip("a filesystem that others can write to: no /dev/fuse");
    }
    let scratch = Scratch::new();
    let (here, there) = (scratch.join("here"), scratch.join("there"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    let mount = "bindfs -o attr_timeout=0,entry_timeout=0,negative_timeout=0 \"$0\" \"$1\" && shift && exec \"$@\"";
    let contained = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", mount];
    let folders = [here.to_str().unwrap(), there.to_str().unwrap()];
    test(Puppet::behind(&[&contained[..], &folders].concat(), kind), &here, &there);
}

/// Posts a bid, and asserts this verdict by every call that judges it.
#[track_caller]
fn is_judged(puppet: &mut Puppet, bid: &Bid, here: &Path, state: &str) {
    let path = bid.post(here);
    counts_as(puppet, &path, state);
    if path.exists() {
        fs::remove_file(&path).unwrap();
    }
}

#[track_caller]
fn counts_as(puppet: &mut Puppet, path: &Path, state: &str) {
    assert_eq!(puppet.bids(0).iter().map(|bid| bid.state).collect::<Vec<_>>(), [state]);
    let stale = state == "STALE";
    assert_eq!(puppet.must("in_use 0").number(), u64::from(!stale));
    assert_eq!(puppet.ask("lock 0"), if stale { "LF_OK" } else { "LF_BUSY" });
    if state == "UNKNOWN" {
        let why = puppet.why(0);
        assert!(why.contains("can't be judged from here"), "{why}");
    }
    assert_eq!(puppet.must("reap 0").number(), 0);
    assert_eq!(path.exists(), !stale);
    if stale {
        puppet.must("unlock 0");
    }
}

fn without_trust_the_filesystem_is_refused_with_the_reason(kind: Kind) {
    on_fuse(kind, |mut puppet, _, there| {
        assert_eq!(puppet.try_open(0, 0, there), "LF_ERR_UNSUPPORTED");
        let why = puppet.why_not_opened();
        let parts = [there.to_str().unwrap(), "(fuse", "not known to work", "LF_OPEN_TRUST_FILESYSTEM"];
        parts.iter().for_each(|part| assert!(why.contains(part), "{part:?} is not in {why:?}"));
    });
}

/// Here is no process with this PID, but it may be alive on another host.
const NOT_HERE: u32 = 1 << 22;

fn a_python_peer_with_a_pid_unknown_here_may_be_on_another_host(kind: Kind) {
    on_fuse(kind, |mut puppet, here, there| {
        assert_eq!(puppet.try_open(0, TRUST, there), "LF_OK");
        let peer = Bid(Default::default()).with("CREATED", 1_700_000_000);
        is_judged(&mut puppet, &peer.clone().with("PID", NOT_HERE), here, "UNKNOWN");
        is_judged(&mut puppet, &peer.with("PID", 1), here, "UNKNOWN"); // here another process has that PID
        let own = Bid(Default::default()).with("PID", 1);
        is_judged(&mut puppet, &own, here, "LIVE");
    });
}

fn another_boot_may_be_that_of_another_host(kind: Kind) {
    on_fuse(kind, |mut puppet, here, there| {
        assert_eq!(puppet.try_open(0, TRUST, there), "LF_OK");
        for pid in [1, NOT_HERE] {
            let bid = Bid::of(std::process::id()).with("PID", pid).with("BOOT", "another");
            is_judged(&mut puppet, &bid, here, "UNKNOWN");
            is_judged(&mut puppet, &bid.without("PIDNS"), here, "UNKNOWN");
        }
    });
}

fn a_half_written_bid_older_than_this_boot_may_be_another_hosts(kind: Kind) {
    on_fuse(kind, |mut puppet, here, there| {
        assert_eq!(puppet.try_open(0, TRUST, there), "LF_OK");
        let path = here.join(bid_name("half"));
        fs::write(&path, "{").unwrap();
        let before = SystemTime::UNIX_EPOCH + Duration::from_secs(boot_time() - 86_400);
        File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        counts_as(&mut puppet, &path, "MALFORMED");
    });
}

fn a_bid_of_this_host_is_judged_here(kind: Kind) {
    on_fuse(kind, |mut puppet, here, there| {
        assert_eq!(puppet.try_open(0, TRUST, there), "LF_OK");
        // The content comes from the puppet's own bid, because the process that we would take for the puppet is the
        // FUSE mount.
        puppet.must("lock 0");
        let name = puppet.bids(0)[0].name.clone();
        let text = fs::read_to_string(here.join(name)).unwrap();
        puppet.must("unlock 0");
        let own = Bid(serde_json::from_str(&text).unwrap());
        assert_eq!(own.number("PID"), 1);
        is_judged(&mut puppet, &own, here, "LIVE");
        let start = own.number("START");
        is_judged(&mut puppet, &own.clone().with("START", start - 1), here, "STALE");
        is_judged(&mut puppet, &own.with("PID", NOT_HERE), here, "STALE");
    });
}

/// That process has the PID by chance. While it lived, the bid counted as its own.
fn the_end_of_a_process_here_deletes_no_bid_of_another_host(kind: Kind) {
    on_fuse(kind, |mut puppet, here, there| {
        assert_eq!(puppet.try_open(0, TRUST, there), "LF_OK");
        let pid = puppet.must("spawn posix_spawn").number();
        let path = Bid(Default::default()).with("PID", pid).post(here);
        for _ in 0..2 {
            assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
            assert_eq!(puppet.bids(0)[0].state, "LIVE");
        }
        let target = puppet.pid().to_string();
        let inside = ["--pid", "--target", &target, "sh", "-c", "kill -9 $0", &pid.to_string()];
        assert!(Command::new("nsenter").args(inside).status().unwrap().success());
        crate::support::wait_until(|| puppet.bids(0)[0].state == "UNKNOWN");
        assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
        assert!(path.exists());
    });
}
