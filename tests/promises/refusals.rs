//! Refusals of the system: a permission is missing, or the disk is full, read-only, or does not release a file. Each is
//! an error with the system's number. It leaves no bid, and a held lock stays held until it can be unlocked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    bids_in, both, fails, listing, namespaces_or_skip, nobody, root_or_skip, set_mode, Kind, Puppet, Scratch,
};
use rustix::io::Errno;

both!(
    a_missing_permission_is_an_error_with_its_number,
    a_full_disk_is_an_error_and_leaves_no_bid,
    a_bid_that_cannot_be_deleted_stays_held_until_it_can_be_deleted,
    an_attribute_that_is_in_the_way_is_named,
    a_read_only_filesystem_is_an_error_only_for_a_lock,
);

fn a_missing_permission_is_an_error_with_its_number(kind: Kind) {
    if !root_or_skip("missing permissions") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o700);
    let mut nobody = nobody(kind);
    assert_eq!(nobody.try_open(0, 0, &folder), "LF_ERR_IO");
    assert_eq!(nobody.ask("code -").number(), Errno::ACCESS.raw_os_error() as u64);
    assert!(nobody.why_not_opened().contains(folder.to_str().unwrap()));
    // With read access alone, a puppet can look but not lock.
    set_mode(&folder, 0o755);
    nobody.open(0, &folder);
    assert_eq!(nobody.must("in_use 0").number(), 0);
    fails(&mut nobody, "lock 0", Errno::ACCESS, &folder);
    let mut root = Puppet::at(kind, &folder);
    root.must("lock 0");
    assert_eq!(nobody.must("in_use 0").number(), 1);
    assert_eq!(nobody.ask("lock 0"), "LF_BUSY");
    root.must("unlock 0");
    // The folder is writable, its sub-folder is not.
    set_mode(&folder, 0o777);
    fails(&mut nobody, "lock 0", Errno::ACCESS, &folder);
    assert_eq!(bids_in(&folder).len(), 0);
    set_mode(&folder.join(".lockfolder"), 0o777);
    nobody.must("lock 0");
    nobody.must("unlock 0");
    // A wait fails at once if it can't succeed, even if its claim and sub-folder were made earlier.
    set_mode(&folder, 0o555);
    fails(&mut nobody, "wait 0 -1", Errno::ACCESS, &folder);
    // A folder that may be written but not listed can't be locked.
    set_mode(&folder, 0o733);
    assert_eq!(nobody.try_open(1, 0, &folder), "LF_ERR_IO");
}

/// A puppet in a mount namespace of its own with a small tmpfs at `there`, and the path by which we see that tmpfs from
/// outside.
fn on_small_disk(kind: Kind, there: &Path, options: &str) -> (Puppet, PathBuf) {
    fs::create_dir(there).unwrap();
    let mount = format!("mount -t tmpfs -o {options} tmpfs {} && exec \"$@\"", there.display());
    let puppet = Puppet::behind(&["unshare", "--mount", "sh", "-c", &mount, "sh"], kind);
    let outside = PathBuf::from(format!("/proc/{}/root{}", puppet.pid(), there.display()));
    (puppet, outside)
}

fn a_full_disk_is_an_error_and_leaves_no_bid(kind: Kind) {
    if !namespaces_or_skip("a full disk") {
        return;
    }
    // The disk has no room; no file left for the claim; no file left for the bid, because tmpfs counts a link as a
    // file.
    for (options, files) in [("size=64k", 1), ("size=1m,nr_inodes=20", 18), ("size=1m,nr_inodes=20", 17)] {
        let scratch = Scratch::shm();
        let there = scratch.join("disk");
        let (mut puppet, outside) = on_small_disk(kind, &there, options);
        let fill = |number: usize| outside.join(format!("fill{number}"));
        puppet.open(0, &there);
        (0..files).for_each(|n| drop(fs::File::create(fill(n)).unwrap()));
        if files == 1 {
            assert!(fs::write(fill(0), vec![1; 1 << 20]).is_err());
        }
        for _ in 0..2 {
            fails(&mut puppet, "lock 0", Errno::NOSPC, &there);
            assert_eq!(bids_in(&outside), Vec::<PathBuf>::new());
            // If there was room for a claim but not for a link, the claim is kept for the next lock.
            let claims =
                if outside.join(".lockfolder").exists() { listing(&outside.join(".lockfolder")).len() } else { 0 };
            assert!(claims <= usize::from(files > 1), "{claims}");
        }
        (0..files).for_each(|n| fs::remove_file(fill(n)).unwrap());
        puppet.must("lock 0");
        puppet.must("unlock 0");
        // Once the claim is there, a bid needs no more room.
        if files == 1 {
            assert!(fs::write(fill(0), vec![1; 1 << 20]).is_err());
            puppet.must("lock 0");
            puppet.must("unlock 0");
        }
    }
}

/// The immutable attribute keeps even root from deleting, like a disk that became read-only.
fn a_bid_that_cannot_be_deleted_stays_held_until_it_can_be_deleted(kind: Kind) {
    if !root_or_skip("the immutable attribute") {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let (mut puppet, mut other) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    let change = |how: &str| Command::new("chattr").args([how, folder.to_str().unwrap()]).status().unwrap().success();
    puppet.must("lock 0");
    if !change("+i") {
        return crate::support::skip("the immutable attribute: this filesystem has none");
    }
    let unlocked = puppet.ask("unlock 0");
    let (code, why, holds) = (puppet.code(0), puppet.why(0), puppet.ask("holds 0"));
    let others = other.ask("lock 0");
    assert!(change("-i"));
    assert_eq!(unlocked, "LF_ERR_IO");
    assert_eq!(code, Errno::PERM.raw_os_error());
    assert!(why.contains(bids_in(&folder)[0].to_str().unwrap()), "the message must name the file: {why}");
    assert_eq!(holds, "LF_OK");
    assert_eq!(others, "LF_BUSY");
    puppet.must("unlock 0");
    other.must("lock 0");
}

/// The message names the attribute, for the lock folder and for the bid.
fn an_attribute_that_is_in_the_way_is_named(kind: Kind) {
    if !root_or_skip("attributes of files") {
        return;
    }
    for (attribute, of_bid) in [("i", false), ("a", false), ("i", true), ("a", true)] {
        let scratch = Scratch::new();
        let folder = scratch.folder();
        let mut puppet = Puppet::at(kind, &folder);
        puppet.must("lock 0");
        let target = if of_bid { bids_in(&folder)[0].clone() } else { folder.clone() };
        let change =
            |sign: &str| Command::new("chattr").arg(format!("{sign}{attribute}")).arg(&target).status().unwrap();
        if !change("+").success() {
            return crate::support::skip("attributes of files: this filesystem has none");
        }
        let unlocked = puppet.ask("unlock 0");
        let why = puppet.why(0);
        assert!(change("-").success());
        assert_eq!(unlocked, "LF_ERR_IO", "{attribute}, of the bid: {of_bid}");
        let what = if of_bid { "the bid is" } else { "the lock folder is" };
        assert!(why.contains(what) && why.contains("append-only or immutable") && why.contains("chattr"), "{why}");
        puppet.must("unlock 0");
        if !of_bid && attribute == "i" {
            assert!(change("+").success());
            let got = puppet.ask("lock 0");
            let why = puppet.why(0);
            assert!(change("-").success());
            assert_eq!(got, "LF_ERR_IO");
            assert!(why.contains("the lock folder is append-only or immutable"), "{why}");
        }
    }
}

fn a_read_only_filesystem_is_an_error_only_for_a_lock(kind: Kind) {
    if !namespaces_or_skip("a read-only filesystem") {
        return;
    }
    let scratch = Scratch::shm();
    let there = scratch.join("disk");
    let (mut puppet, outside) = on_small_disk(kind, &there, "size=64k");
    let remount = |puppet: &Puppet, how: &str| {
        let enter = ["--mount", "--target", &puppet.pid().to_string(), "mount", "-o", how, there.to_str().unwrap()];
        assert!(Command::new("nsenter").args(enter).status().unwrap().success());
    };
    remount(&puppet, "remount,ro");
    puppet.open(0, &there);
    assert_eq!(puppet.must("in_use 0").number(), 0);
    fails(&mut puppet, "lock 0", Errno::ROFS, &there);
    assert_eq!(listing(&outside), Vec::<String>::new());
    remount(&puppet, "remount,rw");
    puppet.must("lock 0");
    puppet.must("unlock 0");
}
