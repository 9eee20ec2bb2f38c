//! An administrator changes the rights or the owner of everything in a lock folder (`chmod -R`, `chown -R`, `setfacl -R`), while
//! handles are open. A user that gets rights to another's bid by this can still not take that user's lock. And a user that loses its
//! rights can still tell that an owner is dead.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{chown, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::users::{each_stage_with_an_acl, set_acl, User};
use crate::support::{bids_in, both, root_or_skip, set_mode, Kind, Puppet, Scratch};

both!(
    a_user_that_may_write_a_held_bid_can_not_make_its_owner_look_dead,
    a_handle_makes_new_bids_after_others_got_rights_to_its_old_one,
    a_handle_makes_readable_bids_after_others_lost_their_rights,
    a_bid_that_was_given_away_and_forged_is_lost,
    a_default_acl_of_the_sub_folder_hides_no_bid,
    a_user_that_may_not_lock_any_more_gives_nobody_a_lease,
    a_forked_child_keeps_no_dead_holder_alive_where_all_may_delete,
);

const OWNER: User = User { id: 47_151, group: 47_151 };
const ATTACKER: User = User { id: 47_152, group: 47_152 };
const VICTIM: User = User { id: 47_153, group: 47_153 };

/// No process has it: it is larger than any PID that Linux gives.
const NOBODYS_PID: u32 = 1 << 22;

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let status = Command::new(program).args(arguments).arg(folder).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Everything that a bid can say so that its owner looks dead.
fn forgeries(truth: &str) -> Vec<String> {
    let truth: Map<String, Value> = serde_json::from_str(truth).unwrap();
    let with = |changes: &[(&str, Value)]| {
        let mut bid = truth.clone();
        changes.iter().for_each(|(key, value)| drop(bid.insert((*key).to_owned(), value.clone())));
        Value::Object(bid).to_string()
    };
    let dead = || Value::from(NOBODYS_PID);
    vec![
        with(&[("PID", dead())]),
        with(&[("PID", dead()), ("BOOT", "another".into())]),
        with(&[("PID", dead()), ("INODE", 1.into())]),
        with(&[("START", 1.into())]),
        format!("{{\"PID\":{NOBODYS_PID}}}"), // as the Python package would write it
        String::new(),
        "{\"PID\":".to_owned(),
    ]
}

fn a_user_that_may_write_a_held_bid_can_not_make_its_owner_look_dead(kind: Kind) {
    if !root_or_skip("several users") {
        return;
    }
    for (scratch, mode) in [(Scratch::shm(), 0o1777), (Scratch::public(), 0o1777), (Scratch::public(), 0o755)] {
        let folder = scratch.folder_with_mode(mode);
        // In a folder of root's that only root may write to, the attacker may not lock.
        let mut owner = if mode == 0o755 { Puppet::new(kind) } else { OWNER.puppet(kind) };
        owner.open(0, &folder);
        owner.must("lock 0");
        let rights = |added: &str| {
            run("chmod", &["-R", added], &folder);
            [&folder, &folder.join(".lockfolder")].into_iter().for_each(|path| set_mode(path, mode));
        };
        rights("a+w");
        let bid = bids_in(&folder).remove(0);
        let truth = fs::read_to_string(&bid).unwrap();
        let mut other = Puppet::at(kind, &folder);
        other.must("grace 0 1");
        // It may keep the file open until the administrator has taken the right back. So a bid is forged again after that.
        std::thread::sleep(Duration::from_millis(1100)); // a bid that was just made is not yet known to be forged
        let kept = ATTACKER.acts(|| File::options().write(true).open(&bid)).unwrap();
        let forgeries = forgeries(&truth);
        for (at, forged) in forgeries.iter().chain(&forgeries).enumerate() {
            if at == forgeries.len() {
                rights("go-w");
            }
            kept.set_len(0).unwrap();
            (&kept).seek(SeekFrom::Start(0)).unwrap();
            (&kept).write_all(forged.as_bytes()).unwrap();
            for call in ["lock 0", "reap 0", "lock 0"] {
                let got = other.ask(call);
                assert!(!(call == "lock 0" && got == "LF_OK"), "two hold: {forged}");
            }
            assert_eq!(bids_in(&folder), [&*bid], "{forged}");
        }
        assert_eq!(owner.ask("holds 0"), "LF_ERR_LOST", "the last one says nothing of its owner");
        assert_eq!(owner.ask("unlock 0"), "LF_OK");
        owner.must("lock 0");
        owner.must("unlock 0");
        other.must("lock 0");
    }
}

fn a_handle_makes_new_bids_after_others_got_rights_to_its_old_one(kind: Kind) {
    if !root_or_skip("several users") {
        return;
    }
    let grants: [(&str, &[&str]); 4] = [
        ("chmod", &["-R", "a+w"]),
        ("chmod", &["-R", "g+w"]),
        ("chown", &["-R", "47152"]),
        ("setfacl", &["-R", "-m", "user:47152:rwx"]),
    ];
    for mode in [0o1777, 0o3777] {
        for (program, arguments) in grants {
            let scratch = Scratch::public();
            let folder = scratch.folder_with_mode(mode);
            let mut owner = OWNER.puppet(kind);
            owner.open(0, &folder);
            for take in ["lock 0", "wait 0 -1"] {
                owner.must(take);
                owner.must("unlock 0");
                run(program, arguments, &folder);
            }
            for take in ["lock 0", "wait 0 -1"] {
                owner.must(take);
                let bid = bids_in(&folder).remove(0);
                let about = fs::metadata(&bid).unwrap();
                assert_eq!((about.uid(), about.mode() & 0o777), (OWNER.id, 0o644), "{program} {arguments:?}, {mode:o}");
                assert!(ATTACKER.acts(|| fs::write(&bid, "")).is_err(), "{program} {arguments:?}, {mode:o}");
                owner.must("unlock 0");
            }
        }
    }
}

/// The administrator gives them the right to the folder back, and not that to the files in it.
fn a_handle_makes_readable_bids_after_others_lost_their_rights(kind: Kind) {
    if !root_or_skip("several users") {
        return;
    }
    for mode in [0o1777, 0o777] {
        let scratch = Scratch::public();
        let folder = scratch.folder_with_mode(mode);
        let mut owner = OWNER.puppet(kind);
        owner.open(0, &folder);
        owner.must("lock 0");
        owner.must("unlock 0");
        run("chmod", &["-R", "go-rwx"], &folder);
        if mode == 0o777 {
            assert!(matches!(owner.ask("lock 0").status(), "LF_OK" | "LF_ERR_IO"), "it sees the change");
            owner.ask("unlock 0");
        }
        for open in [&folder, &folder.join(".lockfolder"), &folder.join(".lockfolder/queue")] {
            if open.exists() {
                set_mode(open, mode);
            }
        }
        owner.must("lock 0");
        let mut other = VICTIM.puppet(kind);
        other.open(0, &folder);
        assert_eq!(other.ask("lock 0"), "LF_BUSY", "{mode:o}");
        owner.kill_and_reap();
        let got = other.ask("lock 0");
        assert!(got == "LF_OK", "{mode:o}: {got:?}: {}", other.why(0));
    }
}

/// The new owner may delete the bid too, and this is the same.
fn a_bid_that_was_given_away_and_forged_is_lost(kind: Kind) {
    if !root_or_skip("several users") {
        return;
    }
    let scratch = Scratch::public();
    let folder = scratch.folder_with_mode(0o1777);
    let mut owner = OWNER.puppet(kind);
    owner.open(0, &folder);
    owner.must("lock 0");
    let bid = bids_in(&folder).remove(0);
    chown(&bid, Some(ATTACKER.id), None).unwrap();
    owner.must("holds 0");
    ATTACKER.acts(|| fs::write(&bid, format!("{{\"PID\":{NOBODYS_PID}}}"))).unwrap();
    assert_eq!(owner.ask("holds 0"), "LF_ERR_LOST");
}

/// A user makes the sub-folder first, and gives it such a list. Another user must be able to read the bid of a dead owner.
fn a_default_acl_of_the_sub_folder_hides_no_bid(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        for mode in [0o1777, 0o777] {
            stage.renew();
            let (folder, hidden) = (stage.folder(), stage.hidden());
            set_acl(&folder, &["-b"]);
            set_mode(&folder, mode);
            let mut attacker = stage.attacker.puppet(kind);
            attacker.open(0, &folder);
            attacker.must("lock 0");
            attacker.must("unlock 0");
            stage.attacker.acts(|| set_acl(&hidden, &["-d", "-m", &format!("user:{}:---", VICTIM.id)]));
            let mut owner = Puppet::at(kind, &folder);
            owner.must("lock 0");
            let mut victim = VICTIM.puppet(kind);
            victim.open(0, &folder);
            assert_eq!(victim.ask("lock 0"), "LF_BUSY");
            owner.kill_and_reap();
            // In a sticky folder nobody but its owner deletes the dead bid, and the others pass over it.
            let got = victim.ask("lock 0");
            assert!(got == "LF_OK", "{}, {mode:o}: {got:?}: {}", stage.name, victim.why(0));
        }
    });
}

/// On a disk of this host such a user left the mark of other hosts, or still has the sub-folder of the leases. With a lease, that user
/// could take the lock from a live owner.
fn a_user_that_may_not_lock_any_more_gives_nobody_a_lease(kind: Kind) {
    if !root_or_skip("several users") {
        return;
    }
    for owned in ["", "leases"] {
        let scratch = Scratch::public();
        let folder = scratch.folder_with_mode(0o777);
        let hidden = folder.join(".lockfolder");
        let maker = if owned.is_empty() { Some(ATTACKER.puppet(kind)) } else { None };
        let mut first = maker.unwrap_or_else(|| Puppet::new(kind));
        first.open(0, &folder);
        first.must("lock 0");
        first.must("unlock 0");
        ATTACKER.acts(|| fs::write(hidden.join("shared"), "").unwrap());
        if !owned.is_empty() {
            ATTACKER.acts(|| fs::create_dir(hidden.join(owned)).unwrap());
        }
        let states_lease = || fs::read_to_string(bids_in(&folder).remove(0)).unwrap().contains("LEASE");
        let mut open = Puppet::at(kind, &folder);
        open.must("lock 0");
        assert!(states_lease(), "all may write here, so a bid states the lease that the mark asks for");
        open.must("unlock 0");
        set_mode(&folder, 0o755);
        if !owned.is_empty() {
            set_mode(&hidden, 0o755);
        }
        let mut fresh = Puppet::at(kind, &folder);
        fresh.must("lock 0");
        assert!(!states_lease(), "{owned:?}");
        fresh.must("unlock 0");
        std::thread::sleep(Duration::from_millis(5100)); // an open handle looks again after 5 s
        open.must("lock 0");
        assert!(!states_lease(), "{owned:?}");
    }
}

/// There the kernel's lock, which the child keeps, must not decide: nobody gains by a false bid.
fn a_forked_child_keeps_no_dead_holder_alive_where_all_may_delete(kind: Kind) {
    if !root_or_skip("several users") {
        return;
    }
    for mode in [0o777, 0o775] {
        let scratch = Scratch::public();
        let folder = scratch.folder_with_mode(mode);
        let mut holder = Puppet::at(kind, &folder);
        holder.must("lock 0");
        run("chmod", &["-R", if mode == 0o777 { "a+w" } else { "g+w" }], &folder);
        let _child = holder.fork();
        holder.kill();
        holder.wait_for_exit();
        Puppet::at(kind, &folder).must("lock 0");
    }
}
