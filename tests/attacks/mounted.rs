//! A user mounts a filesystem inside of a lock folder, and the server of that filesystem does not answer. The
//! mount blocks no claimant.

#[allow(dead_code)] // containers
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::stage::Stage;
use crate::support::{bid_name, bids_in, both, listing, set_mode, wait_until, Kind, Puppet, NOBODY};

both!(
    a_mount_at_the_name_of_a_bid_stops_nobody,
    a_mount_at_the_sub_folder_is_an_error_and_stops_nobody,
    a_mount_at_the_queue_stops_nobody,
    a_mount_at_the_bid_of_the_holder_stops_nobody,
    a_mount_at_a_forged_ticket_stops_nobody,
    a_mount_at_a_folder_with_a_stray_bid_stops_no_lock_of_other_folders,
);

/// A folder in a mount namespace of its own, and two claimants. None: this machine can't run the test.
fn scene(kind: Kind) -> Option<(Stage, PathBuf, [Puppet; 2])> {
    if !crate::support::namespaces_or_skip("mounts") || !Path::new("/dev/fuse").exists() {
        return None;
    }
    let stage = Stage::new();
    stage.run("mkdir $T/lock");
    let folder = stage.join("lock");
    let mut puppets = [stage.puppet(kind), stage.puppet(kind)];
    puppets.iter_mut().for_each(|puppet| puppet.open(0, &folder));
    Some((stage, folder, puppets))
}

fn mount(stage: &Stage, at: &Path) {
    mount_as(stage, at, "");
}

/// The server lives as long as the stage. `user`: only this user may look into the mount.
fn mount_as(stage: &Stage, at: &Path, user: &str) {
    static MOUNTER: OnceLock<PathBuf> = OnceLock::new();
    let mounter =
        MOUNTER.get_or_init(|| crate::c::compile("mounter.c", &["gcc", "-std=c11", "-O1"], crate::c::Link::Alone));
    let (mounter, at) = (mounter.display(), at.display());
    stage.run(&format!("{mounter} {at} {user} >$T/said & until grep -q mounted $T/said; do sleep 0.02; done"));
}

fn a_mount_at_the_name_of_a_bid_stops_nobody(kind: Kind) {
    for is_folder in [false, true] {
        let Some((stage, folder, [mut puppet, mut waiter])) = scene(kind) else { return };
        puppet.must("lock 0"); // the claim is there now, and a line can form
        puppet.must("unlock 0");
        let bid = folder.join(bid_name("a"));
        match is_folder {
            true => fs::create_dir(&bid).unwrap(),
            false => fs::write(&bid, r#"{"PID": 4194304}"#).unwrap(), // the PID of no process, so the bid is stale
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

/// The user that made the sub-folder can mount something there.
fn a_mount_at_the_sub_folder_is_an_error_and_stops_nobody(kind: Kind) {
    let Some((stage, folder, [mut puppet, mut fresh])) = scene(kind) else { return };
    puppet.must("lock 0");
    puppet.must("unlock 0");
    mount(&stage, &folder.join(".lockfolder"));
    assert_eq!(fresh.ask("lock 0"), "LF_ERR_IO");
    let why = fresh.why(0);
    assert!(why.contains(".lockfolder") && why.contains("mounted"), "{why}");
    puppet.must("reap 0");
    // This claimant has the folder below the mount open.
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

/// A name at which something is mounted can't be deleted. So the lock stays held, and the message says why.
fn a_mount_at_the_bid_of_the_holder_stops_nobody(kind: Kind) {
    let Some((stage, folder, [mut puppet, mut other])) = scene(kind) else { return };
    puppet.must("lock 0");
    let bid = crate::support::bids_in(&folder).remove(0);
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

/// The owner of a forged ticket mounts something there, as fusermount(1) lets each user do. Then nobody can look at the
/// ticket, and nobody can delete it. Each waiter passes over it, those in line and those that come later. (The ticket
/// names a live claimant, so nobody deletes it before the mount.)
fn a_mount_at_a_forged_ticket_stops_nobody(kind: Kind) {
    let Some((stage, folder, [mut holder, mut waiter])) = scene(kind) else { return };
    holder.must("lock 0");
    let claim =
        listing(&folder.join(".lockfolder")).into_iter().find_map(|name| Some(name.strip_suffix(".json")?.to_owned()));
    waiter.start_to_wait(0, -1);
    let ticket = folder.join(".lockfolder/queue").join(format!("{:016}{}", 0, claim.unwrap()));
    wait_until(|| ticket.parent().unwrap().exists());
    fs::write(&ticket, "").unwrap();
    chown(&ticket, Some(NOBODY), Some(NOBODY)).unwrap();
    mount_as(&stage, &ticket, &NOBODY.to_string());
    assert!(stage.try_run(&format!("stat {}", ticket.display())).is_err(), "root can look at it");
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK");
    waiter.must("unlock 0");
    holder.must("wait 0 -1");
    holder.must("unlock 0");
}

/// A bid could not be deleted, and its process remembers it. Then a filesystem is mounted at its folder.
fn a_mount_at_a_folder_with_a_stray_bid_stops_no_lock_of_other_folders(kind: Kind) {
    let Some((stage, folder, [mut puppet, _])) = scene(kind) else { return };
    let other = stage.join("other");
    stage.run("mkdir -m 777 $T/other; chmod 755 $T; chmod 777 $T/lock");
    puppet.must(&format!("become {NOBODY}"));
    puppet.must("lock 0");
    set_mode(&folder, 0o555);
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_IO");
    puppet.must("close 0");
    mount(&stage, &folder);
    puppet.open(1, &other);
    for call in ["lock 1", "unlock 1", "wait 1 -1", "unlock 1", "reap 1"] {
        puppet.must(call);
    }
    stage.run(&format!("umount -l {}", folder.display()));
    set_mode(&folder, 0o777);
    puppet.open(0, &folder);
    puppet.must("lock 0");
    assert_eq!(bids_in(&folder).len(), 1, "the lock of this folder deletes the stray");
}
