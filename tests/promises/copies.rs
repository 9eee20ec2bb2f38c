//! Bids that are not what they claim to be: copies of a folder, and bids from the other side of an export or an
//! overlay.

use std::path::Path;
use std::process::Command;

use crate::support::{bids_in, both, namespaces_or_skip, Bid, Kind, Puppet, Scratch};

both!(
    a_copy_of_a_held_folder_is_free,
    a_backup_that_takes_the_place_of_a_held_folder_is_free,
    a_bid_behind_an_overlay_is_never_robbed_from_the_other_side,
    a_hard_link_copy_of_a_held_folder_is_held_with_it,
    a_bid_of_another_machine_is_never_deleted_by_the_server,
);

fn copy(how: &str, from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(how).arg(from).arg(to).status().unwrap().success());
}

/// A backup or a restore makes such a copy. The process that held the original lives, and may still hold it.
fn a_copy_of_a_held_folder_is_free(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let (folder, copied) = (scratch.folder(), scratch.join("copied"));
        let mut holder = Puppet::at(kind, &folder);
        holder.must("lock 0");
        copy("-a", &folder, &copied);
        assert_eq!(bids_in(&copied).len(), 1);
        let mut other = Puppet::at(kind, &copied);
        assert_eq!(other.must("in_use 0").number(), 0);
        other.must("lock 0");
        holder.must("holds 0");
        holder.must("unlock 0");
        other.must("unlock 0");
        // The holder itself can also use the copy.
        holder.must("lock 0");
        std::fs::remove_dir_all(&copied).unwrap();
        copy("-a", &folder, &copied);
        holder.open(1, &copied);
        holder.must("lock 1");
        holder.must("holds 0");
    }
}

/// The original was deleted meanwhile, so the copy of the bid may get exactly the number that the bid names.
fn a_backup_that_takes_the_place_of_a_held_folder_is_free(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let (folder, backup) = (scratch.folder(), scratch.join("backup"));
        for _ in 0..3 {
            let mut holder = Puppet::at(kind, &folder);
            holder.must("lock 0");
            copy("-a", &folder, &backup);
            holder.must("close 0");
            std::fs::remove_dir_all(&folder).unwrap();
            copy("-a", &backup, &folder);
            std::fs::remove_dir_all(&backup).unwrap();
            assert_eq!(bids_in(&folder).len(), 1);
            Puppet::at(kind, &folder).must("lock 0");
            holder.must("pid"); // the holder is alive
        }
    }
}

/// A container on an overlay. Its host looks into the folder in which the overlay keeps written files.
fn a_bid_behind_an_overlay_is_never_robbed_from_the_other_side(kind: Kind) {
    if !namespaces_or_skip("an overlay") {
        return;
    }
    // Not in the folder of the build, because that may be on an overlay itself.
    let scratch = Scratch::shm();
    for part in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(scratch.join(part)).unwrap();
    }
    let script = "cd \"$1\" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && shift && exec \"$@\"";
    let before =
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", scratch.to_str().unwrap()];
    let mut inside = Puppet::behind(&before, kind);
    inside.open(0, &scratch.join("merged/lock"));
    inside.must("lock 0");
    let mut host = Puppet::at(kind, &scratch.join("upper/lock"));
    assert_eq!(host.ask("lock 0"), "LF_BUSY");
    assert_eq!(host.bids(0)[0].state, "UNKNOWN");
    assert_eq!(host.must("reap 0").number(), 0);
    inside.must("holds 0");
    // The reverse: the host holds the lock below, and a process sees it through the overlay.
    let mut below = Puppet::at(kind, &scratch.join("lower/below"));
    below.must("lock 0");
    inside.open(1, &scratch.join("merged/below"));
    assert_eq!(inside.ask("lock 1"), "LF_BUSY");
    assert_eq!(inside.bids(1)[0].state, "UNKNOWN");
    // On one side of the overlay, everything works as usual.
    inside.must("unlock 0");
    inside.must("lock 0");
}

/// The copy is the same file, so nothing can tell it from the original.
fn a_hard_link_copy_of_a_held_folder_is_held_with_it(kind: Kind) {
    let scratch = Scratch::shm();
    let (folder, copied) = (scratch.folder(), scratch.join("copied"));
    let mut holder = Puppet::at(kind, &folder);
    holder.must("lock 0");
    std::fs::create_dir(&copied).unwrap();
    copy("-l", &bids_in(&folder)[0], &copied);
    let mut other = Puppet::at(kind, &copied);
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    holder.must("close 0");
    assert_eq!(other.ask("lock 0"), "LF_BUSY", "its process lives");
    holder.kill_and_reap();
    other.must("lock 0");
}

/// The server of an export sees a folder on its own disk, a foreign boot, and a free lock.
fn a_bid_of_another_machine_is_never_deleted_by_the_server(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let client = Bid::of(std::process::id()).with("BOOT", "another machine's").with("SHARED", true);
    let bid = client.post(&folder);
    let mut server = Puppet::at(kind, &folder);
    assert_eq!(server.ask("lock 0"), "LF_BUSY");
    let why = server.why(0);
    assert!(why.contains("can't be judged from here"), "{why}");
    assert_eq!(server.must("reap 0").number(), 0);
    assert!(bid.exists());
    // The bid of this boot of this machine can be judged here.
    std::fs::remove_file(&bid).unwrap();
    let own = Bid::of(std::process::id()).with("SHARED", true);
    let bid = own.clone().with("PID", i32::MAX).post(&folder);
    server.must("lock 0");
    server.must("unlock 0");
    assert!(!bid.exists());
    own.post(&folder);
    assert_eq!(server.ask("lock 0"), "LF_BUSY");
}
