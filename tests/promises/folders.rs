//! The folder itself: lost bids; folders that are deleted, moved or made again; sub-folders that were replaced.

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::process::Command;

use crate::support::{
    bid_name, bids_in, both, fails, listing, nobody, root_or_skip, set_mode, wait_until, Bid, Kind, Puppet, Scratch,
    NOBODY,
};
use rustix::io::Errno;

both!(
    a_bid_deleted_while_held_is_a_lost_lock,
    a_bid_that_was_renamed_while_held_is_a_lost_lock_and_blocks_nobody,
    a_folder_in_the_place_of_a_bid_is_a_lost_lock,
    a_folder_deleted_while_idle_is_an_error_until_it_is_made_again,
    a_folder_moved_while_idle_is_left_alone,
    a_folder_deleted_while_held_is_a_lost_lock,
    a_folder_moved_while_held_is_a_lost_lock,
    a_hidden_sub_folder_that_was_deleted_is_made_again,
    a_hidden_sub_folder_that_replaced_ours_is_used_from_then_on,
    a_file_in_the_place_of_the_hidden_sub_folder_is_an_error,
    a_hidden_sub_folder_that_is_a_link_leads_nowhere,
    the_hidden_sub_folder_is_open_to_every_user_that_may_lock,
    an_empty_hidden_sub_folder_that_its_maker_left_closed_is_made_again,
    a_folder_whose_first_claimant_was_root_stays_usable_for_its_owner,
    an_empty_queue_that_nobody_may_remove_is_no_line,
);

const HIDDEN_ALONE: [&str; 1] = [".lockfolder"];

/// The process lives, so under the new name its bid would be live. A file that is not our bid is left alone.
fn a_bid_that_was_renamed_while_held_is_a_lost_lock_and_blocks_nobody(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let folder = scratch.folder();
        let (mut puppet, mut other) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
        for end in ["unlock 0", "close 0"] {
            puppet.must("lock 0");
            let bid = bids_in(&folder).remove(0);
            fs::rename(&bid, folder.join(bid_name("other"))).unwrap();
            fs::write(folder.join("note.json"), "{}").unwrap();
            assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
            assert_eq!(other.ask("lock 0"), "LF_BUSY");
            assert_eq!(puppet.ask(end), if end == "unlock 0" { "LF_ERR_LOST" } else { "LF_OK" });
            assert!(folder.join("note.json").exists());
            other.must("lock 0");
            other.must("unlock 0");
        }
    }
}

fn a_bid_deleted_while_held_is_a_lost_lock(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for _ in 0..2 {
        puppet.must("lock 0");
        let bid = bids_in(&scratch.folder()).remove(0);
        fs::remove_file(&bid).unwrap();
        assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
        assert!(puppet.why(0).contains(bid.to_str().unwrap()), "{}", puppet.why(0));
        assert_eq!(puppet.ask("lock 0"), "LF_ERR_ALREADY_HELD");
        assert_eq!(puppet.ask("unlock 0"), "LF_ERR_LOST");
        assert_eq!(puppet.ask("unlock 0"), "LF_ERR_NOT_HELD");
        puppet.must("lock 0");
        puppet.must("holds 0");
        puppet.must("unlock 0");
    }
    // Another file in the bid's place is not our bid.
    puppet.must("lock 0");
    let bid = bids_in(&scratch.folder()).remove(0);
    fs::write(scratch.join("copy"), fs::read(&bid).unwrap()).unwrap();
    fs::rename(scratch.join("copy"), &bid).unwrap();
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
}

/// The lock is lost, and the handle can lock again.
fn a_folder_in_the_place_of_a_bid_is_a_lost_lock(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    puppet.must("lock 0");
    let bid = bids_in(&scratch.folder()).remove(0);
    fs::remove_file(&bid).unwrap();
    fs::create_dir(&bid).unwrap();
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_LOST");
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_NOT_HELD");
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY", "an entry with a bid's name is no bid");
    fs::remove_dir(&bid).unwrap();
    puppet.must("lock 0");
}

fn a_folder_deleted_while_idle_is_an_error_until_it_is_made_again(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let mut puppet = Puppet::at(kind, &folder);
    for used in [false, true, true] {
        if used {
            puppet.must("lock 0");
            puppet.must("unlock 0");
        }
        fs::remove_dir_all(&folder).unwrap();
        for command in ["lock 0", "wait 0 0", "wait 0 -1", "in_use 0", "reap 0", "bids 0"] {
            fails(&mut puppet, command, Errno::NOENT, &folder);
        }
        assert!(!folder.exists(), "a lock does not make the folder again");
        let mut other = Puppet::at(kind, &folder); // an open makes the folder
        puppet.must("lock 0");
        assert_eq!(bids_in(&folder).len(), 1);
        assert_eq!(other.ask("lock 0"), "LF_BUSY");
        puppet.must("unlock 0");
        other.must("lock 0");
        assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
        other.must("close 0");
    }
}

fn a_folder_moved_while_idle_is_left_alone(kind: Kind) {
    let scratch = Scratch::new();
    let (folder, moved) = (scratch.folder(), scratch.join("moved"));
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    puppet.must("unlock 0");
    fs::rename(&folder, &moved).unwrap();
    fails(&mut puppet, "lock 0", Errno::NOENT, &folder);
    let mut other = Puppet::at(kind, &folder);
    other.must("lock 0");
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY", "the folder at the path counts");
    other.must("unlock 0");
    puppet.must("lock 0");
    assert_eq!(bids_in(&moved).len(), 0);
    puppet.must("unlock 0");
    // The reverse: the first folder is at the path again.
    fs::rename(&folder, scratch.join("second")).unwrap();
    fs::rename(&moved, &folder).unwrap();
    puppet.must("lock 0");
    assert_eq!((bids_in(&folder).len(), bids_in(&scratch.join("second")).len()), (1, 0));
}

fn a_folder_deleted_while_held_is_a_lost_lock(kind: Kind) {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
    assert_eq!(puppet.ask("fence 0"), "LF_ERR_LOST");
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_LOST");
    fails(&mut puppet, "lock 0", Errno::NOENT, &folder);
    fs::create_dir(&folder).unwrap();
    puppet.must("lock 0");
    puppet.must("fence 0");
    puppet.must("unlock 0");
}

fn a_folder_moved_while_held_is_a_lost_lock(kind: Kind) {
    let scratch = Scratch::new();
    let (folder, moved) = (scratch.folder(), scratch.join("moved"));
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    fs::rename(&folder, &moved).unwrap();
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
    let mut other = Puppet::at(kind, &folder);
    other.must("lock 0"); // another folder, another lock
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_LOST");
    puppet.ask("unlock 0");
    assert_eq!(bids_in(&moved).len(), 0, "our bid must not stay in the moved folder");
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_NOT_HELD");
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
}

fn a_hidden_sub_folder_that_was_deleted_is_made_again(kind: Kind) {
    let scratch = Scratch::new();
    let hidden = scratch.folder().join(".lockfolder");
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for _ in 0..2 {
        puppet.must("lock 0");
        fs::remove_dir_all(&hidden).unwrap();
        puppet.must("holds 0");
        puppet.must("unlock 0");
        puppet.must("lock 0");
        assert!(hidden.exists());
        puppet.must("unlock 0");
        fs::remove_dir_all(&hidden).unwrap();
        // Only our own claim is there.
        puppet.must("lock 0");
        puppet.must("unlock 0");
        bids_in(&hidden).iter().for_each(|claim| fs::remove_file(claim).unwrap());
    }
    puppet.must("lock 0");
    puppet.must("fence 0");
}

/// As after a restore. Tokens still grow for all claimants, and all stand in one line.
fn a_hidden_sub_folder_that_replaced_ours_is_used_from_then_on(kind: Kind) {
    let scratch = Scratch::new();
    let (folder, hidden) = (scratch.folder(), scratch.folder().join(".lockfolder"));
    let (mut early, mut late) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    early.must("lock 0");
    let mut last = early.must("fence 0").number();
    early.must("unlock 0");
    fs::rename(&hidden, scratch.join("aside")).unwrap();
    assert!(Command::new("cp").arg("-a").arg(scratch.join("aside")).arg(&hidden).status().unwrap().success());
    for _ in 0..3 {
        for puppet in [&mut late, &mut early] {
            puppet.must("lock 0");
            let token = puppet.must("fence 0").number();
            assert!(token > last, "{token} after {last}");
            last = token;
            puppet.must("unlock 0");
        }
    }
    late.must("lock 0");
    early.tell("wait 0 -1");
    wait_until(|| hidden.join("queue").exists());
    late.must("unlock 0");
    assert_eq!(early.hear(), "LF_OK");
}

fn a_file_in_the_place_of_the_hidden_sub_folder_is_an_error(kind: Kind) {
    let scratch = Scratch::new();
    let hidden = scratch.folder().join(".lockfolder");
    let mut puppet = Puppet::at(kind, &scratch.folder());
    fs::write(&hidden, "precious").unwrap();
    fails(&mut puppet, "lock 0", Errno::NOTDIR, &hidden);
    assert_eq!(puppet.must("in_use 0").number(), 0);
    assert_eq!(puppet.must("reap 0").number(), 0);
    assert_eq!(fs::read(&hidden).unwrap(), b"precious");
    assert_eq!(listing(&scratch.folder()), HIDDEN_ALONE);
    fs::remove_file(&hidden).unwrap();
    puppet.must("lock 0");
}

fn a_hidden_sub_folder_that_is_a_link_leads_nowhere(kind: Kind) {
    let scratch = Scratch::new();
    let (hidden, elsewhere) = (scratch.folder().join(".lockfolder"), scratch.join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    set_mode(&elsewhere, 0o710);
    let stale = Bid::of(std::process::id()).with("START", 1);
    stale.write(&elsewhere.join(bid_name("stale")));
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for used in [false, true] {
        if used {
            puppet.must("lock 0");
            puppet.must("unlock 0");
            fs::remove_dir_all(&hidden).unwrap();
        }
        symlink(&elsewhere, &hidden).unwrap();
        assert_eq!(puppet.ask("lock 0"), "LF_ERR_IO");
        stale.post(&scratch.folder());
        assert_eq!(puppet.must("reap 0").number(), 1);
        assert_eq!(listing(&elsewhere), [bid_name("stale")], "something outside was written or deleted");
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o7777, 0o710);
        assert_eq!(bids_in(&scratch.folder()).len(), 0);
        fs::remove_file(&hidden).unwrap();
    }
    puppet.must("lock 0");
}

fn the_hidden_sub_folder_is_open_to_every_user_that_may_lock(kind: Kind) {
    for (bits, umask) in [(0o777, "077"), (0o1777, "022"), (0o2770, "077"), (0o700, "000"), (0o755, "077")] {
        let scratch = Scratch::new();
        let folder = scratch.folder_with_mode(bits);
        let mut puppet = Puppet::new(kind);
        puppet.must(&format!("umask {umask}"));
        puppet.open(0, &folder);
        puppet.must("lock 0");
        let (above, hidden) = (fs::metadata(&folder).unwrap(), fs::metadata(folder.join(".lockfolder")).unwrap());
        assert_eq!(hidden.mode() & 0o7777, bits, "{:o}", hidden.mode());
        assert_eq!((hidden.uid(), hidden.gid()), (above.uid(), above.gid()));
        for bid in [bids_in(&folder), bids_in(&folder.join(".lockfolder"))].concat() {
            assert_eq!(fs::metadata(bid).unwrap().mode() & 0o7777, 0o644);
        }
    }
}

/// The maker of the sub-folder had a strict umask, and died before it could open the folder to others.
fn an_empty_hidden_sub_folder_that_its_maker_left_closed_is_made_again(kind: Kind) {
    if !root_or_skip("folders of other users") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o777);
    let hidden = folder.join(".lockfolder");
    let shut = || {
        fs::create_dir(&hidden).unwrap();
        set_mode(&hidden, 0o700);
    };
    shut();
    let mut nobody = nobody(kind);
    nobody.open(0, &folder);
    nobody.must("lock 0");
    nobody.must("unlock 0");
    fs::remove_dir_all(&hidden).unwrap();
    shut();
    fs::write(hidden.join("precious"), "").unwrap();
    fails(&mut nobody, "lock 0", Errno::ACCESS, &folder);
    assert_eq!(listing(&hidden), ["precious"]);
}

fn a_folder_whose_first_claimant_was_root_stays_usable_for_its_owner(kind: Kind) {
    if !root_or_skip("folders of other users") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o755);
    std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut root = Puppet::at(kind, &folder);
    root.must("lock 0");
    root.must("fence 0");
    let mut owner = nobody(kind);
    owner.open(0, &folder);
    assert_eq!(owner.ask("lock 0"), "LF_BUSY");
    root.must("unlock 0");
    owner.must("lock 0");
    assert_eq!(owner.must("fence 0").number(), 2);
}

/// In a sticky folder the last claimant in line may not remove the queue if another user made it. Later claimants must
/// not take the empty queue for a line.
fn an_empty_queue_that_nobody_may_remove_is_no_line(kind: Kind) {
    if !root_or_skip("other users") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(0o1777);
    let queue = folder.join(".lockfolder/queue");
    let user = |id: u32| {
        let mut puppet = Puppet::new(kind);
        puppet.must(&format!("become {id} {id}"));
        puppet.open(0, &folder);
        puppet
    };
    let mut users = [65_001, 65_002, 65_003, 65_004].map(user);
    users[0].must("lock 0");
    for (waiter, in_line) in [(1, 1), (2, 2)] {
        users[waiter].tell("wait 0 -1");
        wait_until(|| fs::read_dir(&queue).is_ok_and(|queue| queue.count() == in_line));
    }
    users[0].must("unlock 0");
    for waiter in [1, 2] {
        assert_eq!(users[waiter].hear(), "LF_OK");
        users[waiter].must("unlock 0");
    }
    assert_eq!(
        fs::metadata(&queue).unwrap().uid(),
        65_001 + 1,
        "the maker left earlier, and the last claimant may not remove the queue"
    );
    assert!(listing(&queue).is_empty());
    let changed = || fs::metadata(&queue).unwrap().modified().unwrap();
    let before = changed();
    for user in &mut users[2..] {
        user.must("wait 0 -1");
        user.must("unlock 0");
        assert_eq!(changed(), before, "a claimant stood in line");
    }
}
