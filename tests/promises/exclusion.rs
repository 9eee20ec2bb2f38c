//! Of all claimants, one has the lock. A caller that misuses the interface gets an error.

use std::collections::BTreeSet;

use crate::support::{both, listing, Kind, Puppet, Scratch};

both!(
    one_process_holds_and_others_are_refused,
    two_handles_in_one_process_exclude_each_other,
    no_two_of_many_racing_processes_win,
    processes_that_hammer_a_folder_never_hold_together,
    two_hundred_handles_on_one_folder_exclude_each_other,
    handles_on_two_hundred_folders_are_independent,
    misuse_has_a_status_of_its_own,
    closing_a_handle_that_holds_unlocks,
    an_unlocked_folder_holds_nothing_but_the_hidden_sub_folder,
    a_bid_describes_its_holder,
    fencing_tokens_grow_across_handles_processes_and_kills,
    fencing_tokens_grow_when_old_ones_are_deleted,
    a_fencing_token_needs_the_lock,
    a_fencing_token_is_given_where_the_folder_above_may_not_be_read,
    a_fencing_token_is_given_where_the_folder_above_is_on_a_filesystem_without_fsync,
);

fn one_process_holds_and_others_are_refused(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let folder = scratch.folder();
        let (mut a, mut b) = (Puppet::at(kind, &folder), Puppet::at(Kind::C, &folder));
        a.must("lock 0");
        a.must("holds 0");
        assert_eq!(b.ask("lock 0"), "LF_BUSY");
        assert_eq!(b.ask("wait 0 0"), "LF_TIMEOUT");
        assert_eq!(b.ask("wait 0 20"), "LF_TIMEOUT");
        assert_eq!(b.must("in_use 0").number(), 1);
        assert_eq!(a.must("in_use 0").number(), 0);
        a.must("unlock 0");
        assert_eq!(b.must("in_use 0").number(), 0);
        b.must("lock 0");
        assert_eq!(a.ask("lock 0"), "LF_BUSY");
        b.must("close 0");
        a.must("lock 0");
    }
}

fn two_handles_in_one_process_exclude_each_other(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    puppet.open(1, &scratch.folder());
    puppet.must("lock 0");
    assert_eq!(puppet.ask("lock 1"), "LF_BUSY");
    assert_eq!(puppet.ask("unlock 1"), "LF_ERR_NOT_HELD");
    puppet.must("holds 0");
    puppet.must("close 1");
    puppet.must("holds 0");
    puppet.must("unlock 0");
}

fn no_two_of_many_racing_processes_win(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let mut puppets: Vec<Puppet> = (0..6).map(|_| Puppet::at(kind, &scratch.folder())).collect();
        let mut won = 0;
        for round in 0..100 {
            puppets.iter_mut().for_each(|puppet| puppet.tell("lock 0"));
            let answers: Vec<_> = puppets.iter_mut().map(Puppet::hear).collect();
            let winners: Vec<usize> = (0..6).filter(|&i| answers[i] == "LF_OK").collect();
            assert!(winners.len() <= 1, "round {round}: {answers:?}");
            assert!(answers.iter().all(|answer| answer == "LF_OK" || answer == "LF_BUSY"), "{answers:?}");
            // That one claimant wins is certain only if no claimant lacks the processor for longer than a tie-break
            // lasts.
            for winner in winners {
                puppets[winner].must("holds 0");
                puppets[winner].must("unlock 0");
                won += 1;
            }
        }
        assert!(won > 0);
    }
}

fn processes_that_hammer_a_folder_never_hold_together(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        // Both kinds of puppets, and one more that is started again and again.
        let mut puppets: Vec<Puppet> =
            [kind, Kind::C, Kind::Rust, kind].iter().map(|&kind| Puppet::at(kind, &scratch.folder())).collect();
        let witness = crate::support::encode(scratch.join("witness"));
        puppets.iter_mut().for_each(|puppet| puppet.tell(&format!("spin 0 2000 {witness}")));
        let mut had = 0;
        for _ in 0..30 {
            let mut visitor = Puppet::at(kind, &scratch.folder());
            had += visitor.must(&format!("spin 0 20 {witness}")).number();
        }
        had += puppets.iter_mut().map(|puppet| puppet.hear().number()).sum::<u64>();
        assert!(had > 0);
        assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
    }
}

fn two_hundred_handles_on_one_folder_exclude_each_other(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    (0..200).for_each(|handle| puppet.open(handle, &scratch.folder()));
    // Each handle has had the lock before, so each has all of its descriptors.
    for handle in 0..200 {
        puppet.must(&format!("lock {handle}"));
        puppet.must(&format!("unlock {handle}"));
    }
    puppet.must("lock 77");
    for handle in (0..200).filter(|&handle| handle != 77) {
        assert_eq!(puppet.ask(&format!("lock {handle}")), "LF_BUSY");
    }
    puppet.must("holds 77");
    puppet.must("unlock 77");
    (0..200).for_each(|handle| drop(puppet.must(&format!("close {handle}"))));
    assert_eq!(listing(&scratch.folder().join(".lockfolder")), Vec::<String>::new());
}

fn handles_on_two_hundred_folders_are_independent(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    for handle in 0..200 {
        puppet.open(handle, &scratch.join(handle.to_string()));
        puppet.must(&format!("lock {handle}"));
    }
    for handle in 0..200 {
        puppet.must(&format!("holds {handle}"));
        puppet.must(&format!("unlock {handle}"));
    }
}

fn misuse_has_a_status_of_its_own(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_NOT_HELD");
    assert_eq!(puppet.ask("holds 0"), "LF_ERR_NOT_HELD");
    puppet.must("cancel 0");
    puppet.must("lock 0");
    assert_eq!(puppet.ask("lock 0"), "LF_ERR_ALREADY_HELD");
    assert_eq!(puppet.ask("wait 0 -1"), "LF_ERR_ALREADY_HELD");
    puppet.must("holds 0");
    puppet.must("unlock 0");
    assert_eq!(puppet.ask("unlock 0"), "LF_ERR_NOT_HELD");
    assert_eq!(puppet.try_open(1, 0, "".as_ref()), "LF_ERR_INVALID");
}

#[test]
fn null_is_checked_for_everywhere() {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(Kind::C, &scratch.folder());
    let answer = puppet.must("nulls");
    assert_eq!(answer.data(), vec!["LF_ERR_INVALID"; 22]);
    puppet.must("lock 0");
    let answer = puppet.must("out_nulls 0");
    assert_eq!(answer.data(), ["LF_ERR_INVALID", "LF_ERR_INVALID", "LF_ERR_INVALID", "LF_OK"]);
    puppet.must("holds 0");
    assert_eq!(listing(&scratch.folder().join(".lockfolder")).len(), 1, "a NULL call made a token");
}

#[test]
fn an_unknown_flag_is_refused() {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(Kind::C);
    for flags in [16, 32, 0x8000_0000, 0xffff_ffff] {
        assert_eq!(puppet.try_open(0, flags, &scratch.folder()), "LF_ERR_INVALID", "{flags}");
        assert!(puppet.why_not_opened().contains("flags"), "{}", puppet.why_not_opened());
    }
    assert!(!scratch.folder().exists());
}

fn closing_a_handle_that_holds_unlocks(kind: Kind) {
    let scratch = Scratch::new();
    let (mut a, mut b) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    a.must("lock 0");
    a.must("close 0");
    b.must("lock 0");
}

fn an_unlocked_folder_holds_nothing_but_the_hidden_sub_folder(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    assert_eq!(listing(&scratch.folder()), Vec::<String>::new());
    puppet.must("lock 0");
    puppet.must("unlock 0");
    assert_eq!(listing(&scratch.folder()), [".lockfolder"]);
    puppet.must("close 0");
    assert_eq!(listing(&scratch.folder().join(".lockfolder")), Vec::<String>::new());
}

fn a_bid_describes_its_holder(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    puppet.must("umask 077");
    std::fs::create_dir(scratch.folder()).unwrap();
    puppet.open(0, &scratch.folder());
    puppet.must("lock 0");

    let bids: Vec<_> = listing(&scratch.folder()).into_iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(bids.len(), 1);
    let path = scratch.folder().join(&bids[0]);
    let said: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let truth = crate::support::Bid::of(puppet.pid()).0;
    for (key, value) in &truth {
        assert_eq!(&said[key], value, "{key}");
    }
    assert_eq!(said["COMMAND"], "puppet");
    let host = rustix::system::uname();
    assert_eq!(said["HOST"].as_str(), host.nodename().to_str().ok());
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o644, "{mode:o}, whatever the umask");
    let guid = uuid::Uuid::try_parse(bids[0].trim_end_matches(".json")).unwrap();
    assert_eq!(guid.get_version_num(), 7);

    // `lf_bids` says the same.
    let mut other = Puppet::at(kind, &scratch.folder());
    let (own, seen) = (puppet.bids(0), other.bids(0));
    assert_eq!((own.len(), own[0].state), (1, "OWN"));
    assert_eq!((seen.len(), seen[0].state), (1, "LIVE"));
    assert_eq!(seen[0].name, *bids[0]);
    assert_eq!((seen[0].pid, seen[0].created), (i64::from(puppet.pid()), said["CREATED"].as_i64().unwrap()));
    assert_eq!(seen[0].command.as_deref(), Some("puppet"));
    assert_eq!(seen[0].host.as_deref(), said["HOST"].as_str());
    assert!(seen[0].age_ms >= 0);

    // The name is new for each attempt.
    puppet.must("unlock 0");
    puppet.must("lock 0");
    assert!(!listing(&scratch.folder()).contains(&bids[0]));
}

#[test]
fn the_message_of_a_refusal_names_folder_bid_pid_command_and_host() {
    let scratch = Scratch::new();
    let (mut a, mut b) = (Puppet::at(Kind::C, &scratch.folder()), Puppet::at(Kind::C, &scratch.folder()));
    a.must("lock 0");
    assert_eq!(b.ask("lock 0"), "LF_BUSY");
    let why = b.why(0);
    let bid = a.bids(0).remove(0);
    let parts = [
        scratch.folder().display().to_string(),
        bid.name.into_string().unwrap(),
        bid.pid.to_string(),
        bid.command.unwrap(),
        bid.host.unwrap(),
    ];
    for part in &parts {
        assert!(why.contains(part.as_str()), "{part:?} is not in {why:?}");
    }
    assert_eq!(b.code(0), 0);

    // As with snprintf: as much as fits, always terminated, and the result is the length of the whole.
    let whole = why.len();
    for size in [0, 1, 2, whole - 1, whole, whole + 1, whole + 50] {
        let answer = b.must(&format!("message 0 {size}"));
        let data = answer.data();
        assert_eq!(data[0], whole.to_string(), "size {size}");
        assert_eq!(data[1], "1", "a byte past the buffer of size {size} was written");
        if size > 0 {
            assert_eq!(answer.text_at(2), why[..(size - 1).min(whole)], "size {size}");
        }
    }
    // A later success leaves the message of the last failure.
    a.must("unlock 0");
    b.must("lock 0");
    assert_eq!(b.why(0), why);
}

fn fencing_tokens_grow_across_handles_processes_and_kills(kind: Kind) {
    let scratch = Scratch::new();
    let (mut tokens, mut last) = (BTreeSet::new(), 0);
    for round in 0..5 {
        let mut puppet = Puppet::at(kind, &scratch.folder());
        puppet.open(1, &scratch.folder());
        for handle in [0, 1] {
            puppet.must(&format!("lock {handle}"));
            for _ in 0..2 {
                let token = puppet.must(&format!("fence {handle}")).number();
                assert!(token > last && tokens.insert(token), "round {round}: {token} after {last}");
                last = token;
            }
            if handle == 0 {
                puppet.must("unlock 0");
            }
        }
        puppet.kill_and_reap();
    }
    assert_eq!(tokens.len(), 20);
    let left = listing(&scratch.folder().join(".lockfolder"));
    let left = left.iter().filter(|name| name.starts_with("fence")).count();
    assert_eq!(left, 1, "old tokens must be deleted");
}

fn fencing_tokens_grow_when_old_ones_are_deleted(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    puppet.must("lock 0");
    let hidden = scratch.folder().join(".lockfolder");
    std::fs::write(hidden.join("fence-41"), "").unwrap();
    std::fs::write(hidden.join("fence-7"), "").unwrap();
    std::fs::write(hidden.join("fence-not-a-number"), "").unwrap();
    assert_eq!(puppet.must("fence 0").number(), 42);
    std::fs::write(hidden.join(format!("fence-{}", u64::MAX)), "").unwrap();
    assert_eq!(puppet.ask("fence 0"), "LF_ERR_IO", "there is no larger token, and none is given twice");
    puppet.must("holds 0");
}

fn a_fencing_token_needs_the_lock(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    assert_eq!(puppet.ask("fence 0"), "LF_ERR_NOT_HELD");
    puppet.must("lock 0");
    puppet.must("fence 0");
    let bid = listing(&scratch.folder()).pop().unwrap();
    std::fs::remove_file(scratch.folder().join(bid)).unwrap();
    assert_eq!(puppet.ask("fence 0"), "LF_ERR_LOST");
}

fn a_fencing_token_is_given_where_the_folder_above_may_not_be_read(kind: Kind) {
    use std::os::unix::fs::PermissionsExt;
    if !crate::support::root_or_skip("folders of other users") {
        return;
    }
    let scratch = Scratch::shm();
    std::fs::create_dir(scratch.folder()).unwrap();
    std::fs::set_permissions(scratch.folder(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(&*scratch, std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut nobody = Puppet::new(kind);
    nobody.must(&format!("become {}", crate::support::NOBODY));
    nobody.open(0, &scratch.folder());
    nobody.must("lock 0");
    assert_eq!(nobody.must("fence 0").number(), 1);
}

/// The folder above a mount has no entry of the lock folder that could be lost.
fn a_fencing_token_is_given_where_the_folder_above_is_on_a_filesystem_without_fsync(kind: Kind) {
    if !crate::support::namespaces_or_skip("mounts") {
        return;
    }
    let stage = crate::support::stage::Stage::new();
    stage.run("mkdir $T/at && mount -t sysfs sysfs $T/at && ! sync $T/at && mount -t tmpfs tmpfs $T/at/fs");
    let mut puppet = stage.puppet(kind);
    puppet.open(0, &stage.join("at/fs"));
    puppet.must("lock 0");
    assert_eq!(puppet.must("fence 0").number(), 1);
}
