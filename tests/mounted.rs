//! Filesystems that somebody mounts inside of a lock folder, and whose server does not answer: they stop nobody.

mod c;
#[allow(dead_code)] // containers
#[path = "filesystems/stage.rs"]
mod stage;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use stage::Stage;
use support::{bid_name, both, Kind, Puppet};

both!(
    a_mount_at_the_name_of_a_bid_stops_nobody,
    a_mount_at_the_sub_folder_is_an_error_and_stops_nobody,
    a_mount_at_the_queue_stops_nobody,
    a_mount_at_the_bid_of_the_holder_stops_nobody,
);

/// A folder in a mount namespace of its own, and two claimants. None: not here.
fn scene(kind: Kind) -> Option<(Stage, PathBuf, [Puppet; 2])> {
    if !support::root_or_skip("mounts") || !Path::new("/dev/fuse").exists() {
        return None;
    }
    let stage = Stage::new();
    stage.run("mkdir $T/lock");
    let folder = stage.join("lock");
    let mut puppets = [stage.puppet(kind), stage.puppet(kind)];
    puppets.iter_mut().for_each(|puppet| puppet.open(0, &folder));
    Some((stage, folder, puppets))
}

/// The server lives as long as the stage.
fn mount(stage: &Stage, at: &Path) {
    static MOUNTER: OnceLock<PathBuf> = OnceLock::new();
    let mounter = MOUNTER.get_or_init(|| c::compile("mounter.c", &["gcc", "-std=c11", "-O1"], c::Link::Alone));
    let (mounter, at) = (mounter.display(), at.display());
    stage.run(&format!("{mounter} {at} >$T/said & until grep -q mounted $T/said; do sleep 0.02; done"));
}

fn a_mount_at_the_name_of_a_bid_stops_nobody(kind: Kind) {
    for is_folder in [false, true] {
        let Some((stage, folder, [mut puppet, mut waiter])) = scene(kind) else { return };
        puppet.must("lock 0"); // so the claim is there, and the line may form
        puppet.must("unlock 0");
        let bid = folder.join(bid_name("a"));
        match is_folder {
            true => fs::create_dir(&bid).unwrap(),
            false => fs::write(&bid, r#"{"PID": 4194304}"#).unwrap(), // nobody's: it is stale
        }
        mount(&stage, &bid);
        assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
        let why = puppet.why(0);
        assert!(why.contains(bid.file_name().unwrap().to_str().unwrap()) && why.contains("mounted"), "{why}");
        assert_eq!(puppet.bids(0)[0].state, "MALFORMED");
        assert_eq!(puppet.must("in_use 0").number(), 1);
        assert_eq!(puppet.must("reap 0").number(), 0);
        assert_eq!(waiter.ask("wait 0 30"), "LF_TIMEOUT");
        stage.run(&format!("umount -l {}", bid.display()));
        if is_folder {
            fs::remove_dir(&bid).unwrap();
        }
        puppet.must("lock 0");
    }
}

/// Whoever made the sub-folder can mount something there.
fn a_mount_at_the_sub_folder_is_an_error_and_stops_nobody(kind: Kind) {
    let Some((stage, folder, [mut puppet, mut fresh])) = scene(kind) else { return };
    puppet.must("lock 0");
    puppet.must("unlock 0");
    mount(&stage, &folder.join(".lockfolder"));
    assert_eq!(fresh.ask("lock 0"), "LF_ERR_IO");
    let why = fresh.why(0);
    assert!(why.contains(".lockfolder") && why.contains("mounted"), "{why}");
    puppet.must("reap 0");
    // It has the one below open.
    puppet.must("lock 0");
    puppet.must("unlock 0");
}

fn a_mount_at_the_queue_stops_nobody(kind: Kind) {
    let Some((stage, folder, [mut puppet, mut waiter])) = scene(kind) else { return };
    puppet.must("lock 0");
    fs::create_dir(folder.join(".lockfolder/queue")).unwrap();
    mount(&stage, &folder.join(".lockfolder/queue"));
    assert_eq!(waiter.ask("wait 0 30"), "LF_TIMEOUT");
    puppet.must("reap 0");
    puppet.must("unlock 0");
    waiter.must("wait 0 -1");
    waiter.must("unlock 0");
}

/// Nobody can delete what something is mounted at. So the lock stays held, and the message says why.
fn a_mount_at_the_bid_of_the_holder_stops_nobody(kind: Kind) {
    let Some((stage, folder, [mut puppet, mut other])) = scene(kind) else { return };
    puppet.must("lock 0");
    let bid = support::bids_in(&folder).remove(0);
    let bid = folder.join(bid);
    mount(&stage, &bid);
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_IO");
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_IO");
    assert!(puppet.why(0).contains(bid.to_str().unwrap()));
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    stage.run(&format!("umount -l {}", bid.display()));
    puppet.must("unlock 0");
    other.must("lock 0");
}
