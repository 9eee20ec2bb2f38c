//! A claimant from within: what it does with bids that could not be deleted, with tickets, and with its random numbers.

use std::collections::HashSet;

use super::bidding::{Found, Withdrawn};
use super::*;
use crate::api::OpenOptions;
use crate::error::BidState;
use crate::protocol::{Line as _, Session, Standing};
use crate::scratch::Scratch;
use crate::sys::Filesystem;

fn has(scene: &Scratch, bid: &BidName) -> bool {
    join(scene, bid.as_c_str()).exists()
}

#[test]
fn a_bid_that_could_not_be_deleted_is_deleted_by_the_next_call_or_at_the_end() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let stray = claimant.place.publish().unwrap();
    claimant.lock().unwrap();
    assert!(!has(&scene, &stray) && claimant.place.stray.is_none());
    claimant.unlock().unwrap();
    let stray = claimant.place.publish().unwrap();
    drop(claimant);
    assert!(!has(&scene, &stray));
}

/// A file's names may have a number each where the caller vouches for the filesystem; there the content tells.
#[cfg(unix)] // elsewhere a bid that its owner has open is not renamed over
#[test]
fn whether_our_bid_is_there_its_number_tells_or_its_content() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let bid = claimant.place.publish().unwrap();
    let path = join(&scene, bid.as_c_str());
    let put = |content: &[u8]| {
        std::fs::write(scene.join("another"), content).unwrap();
        std::fs::rename(scene.join("another"), &path).unwrap();
    };
    let find = |claimant: &mut Session<Folder>| {
        [Filesystem::Local, Filesystem::Coherent, Filesystem::Trusted].map(|on| {
            claimant.place.location.on = on;
            claimant.place.find_bid(&bid).unwrap()
        })
    };
    use Found::{Another, Nothing, Ours};
    assert_eq!(find(&mut claimant), [Ours, Ours, Ours]);
    let content = std::fs::read(&path).unwrap();
    put(&content);
    assert_eq!(find(&mut claimant), [Another, Another, Ours]);
    put(&[&content[..], b" "].concat());
    assert_eq!(find(&mut claimant), [Another, Another, Another]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(find(&mut claimant), [Nothing, Nothing, Nothing]);
}

/// It is no rival of ours, who would give way to it, nor of those who wait behind it.
#[cfg(target_os = "linux")]
#[test]
fn a_stray_bid_goes_before_we_look_at_the_line() {
    let scene = Scratch::new();
    for wait in [false, true] {
        let (mut claimant, mut waiter) = (scene.claimant(), scene.claimant());
        assert!(matches!(waiter.place.stand(), Ok(Standing::Joined(_))));
        let stray = claimant.place.publish().unwrap();
        let _ = match wait {
            true => claimant.lock_unless_line().map(drop),
            false => claimant.lock_unless_owed(),
        };
        assert!(!has(&scene, &stray), "wait: {wait}");
    }
}

/// Somebody moved the claim away and put their own file in its place just before it was published.
#[cfg(target_os = "linux")]
#[test]
fn a_bid_that_is_another_file_never_wins_and_the_next_try_makes_a_new_claim() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    claimant.place.renew_claim().unwrap();
    let swapped = join(&scene.join(".lockfolder"), &claimant.place.claim.as_ref().unwrap().id().file());
    std::fs::rename(&swapped, scene.join("moved")).unwrap();
    std::fs::write(&swapped, "{\"PID\": 2147483647}").unwrap();
    let refused = claimant.lock().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert!(refused.to_string().contains("another file in the place of our bid"), "{refused}");
    let names = || std::fs::read_dir(&*scene).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names().filter(|name| name.ends_with(".json")).count(), 0);
    claimant.lock().unwrap();
}

/// It stays ours when the claim is renewed, as after the clock was set.
#[test]
fn a_stray_bid_is_ours_whatever_becomes_of_the_claim() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let stray = claimant.place.publish().unwrap();
    claimant.place.claim = None;
    let states: Vec<_> = claimant.bids().unwrap().into_iter().map(|bid| bid.state).collect();
    assert_eq!(states, [BidState::Own]);
    claimant.lock().unwrap();
    assert!(!has(&scene, &stray));
}

/// Those on other hosts could not be told.
#[test]
fn there_is_no_line_where_other_hosts_write() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    for (on, stands) in [(Filesystem::Coherent, false), (Filesystem::Trusted, false), (Filesystem::Local, true)] {
        claimant.place.location.on = on;
        assert_eq!(!matches!(claimant.place.stand(), Ok(Standing::Nowhere)), stands, "{on:?}");
    }
}

/// As after a step of the clock: others must know who we are, and nobody loses its place.
#[cfg(target_os = "linux")]
#[test]
fn a_new_claim_keeps_its_place_in_line() {
    let scene = Scratch::new();
    let (mut claimant, mut behind) = (scene.claimant(), scene.claimant());
    let tickets = || {
        let names = std::fs::read_dir(scene.join(".lockfolder/queue")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    assert!(matches!(behind.place.stand(), Ok(Standing::Joined(_))));
    let before = tickets();
    claimant.place.claim.iter_mut().for_each(Claim::distrust);
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    let after = tickets();
    assert_eq!((before.len(), &before[1], &before[0][..16]), (2, &after[1], &after[0][..16]));
    assert_ne!(before[0], after[0]);
}

#[test]
fn a_reap_takes_the_tickets_of_the_dead_and_no_other() {
    let scene = Scratch::new();
    let (mut claimant, mut another) = (scene.claimant(), scene.claimant());
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    let queue = scene.join(".lockfolder/queue");
    let live = std::fs::read_dir(&queue).unwrap().next().unwrap().unwrap().file_name();
    // Of one whose claim says so, and of one that has no claim any more.
    std::fs::write(scene.join(".lockfolder/00000000000000ab.json"), r#"{"PID": 2147483647}"#).unwrap();
    for id in ["ab", "cd"] {
        std::fs::write(queue.join(format!("{id:0>32}")), "").unwrap();
    }
    let hidden = another.place.dir().open_dir(names::HIDDEN).unwrap();
    let own = claimant.place.claim.as_ref().unwrap().id();
    let gone = [ClaimId(0xab), ClaimId(0xcd), own].map(|claim| another.place.is_gone(&hidden, claim));
    assert_eq!(gone, [true, true, false]);
    another.reap_stale().unwrap();
    let left: Vec<_> = std::fs::read_dir(&queue).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [live]);
}

/// Once the lock is given back, or was not had: who holds has better things to do.
#[cfg(unix)]
#[test]
fn the_claim_behind_a_reaped_bid_goes_after_the_lock() {
    let scene = Scratch::new();
    let (mut claimant, mut rival) = (scene.claimant(), scene.claimant());
    claimant.lock().unwrap();
    claimant.unlock().unwrap(); // a new claim would look at those of others, too
    let claim = scene.join(".lockfolder/00000000000000ab.json");
    let bid = scene.join(crate::scratch::bid_name("0"));
    for is_held in [false, true] {
        std::fs::write(&claim, r#"{"PID": 2147483647}"#).unwrap();
        std::fs::hard_link(&claim, &bid).unwrap();
        if is_held {
            rival.place.publish().unwrap();
            assert!(claimant.lock().is_err());
        } else {
            claimant.lock().unwrap();
            assert!(claim.exists());
            claimant.unlock().unwrap();
        }
        assert!(!claim.exists() && !bid.exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_claim_is_made_again_if_it_is_missing_and_for_no_other_reason() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let bid = claimant.place.publish().unwrap();
    let id = |claimant: &Session<Folder>| claimant.place.claim.as_ref().unwrap().id();
    let first = id(&claimant);
    std::fs::remove_file(join(&scene.join(".lockfolder"), &first.file())).unwrap();
    let another = claimant.place.publish().unwrap();
    let second = id(&claimant);
    assert!(first != second && has(&scene, &another));
    assert!(!has(&scene, &bid), "the claim that was missing had it");
    assert!(matches!(claimant.place.delete_own(&another).unwrap(), Withdrawn::Deleted));
    claimant.place.location.dir = Dir::open(Path::new("/dev")).unwrap(); // no link leads to another filesystem
    let exdev = 18;
    assert_eq!(claimant.place.publish().map_err(|e| e.raw_os_error()), Err(Some(exdev)));
    assert_eq!(id(&claimant), second);
}

/// A folder that can't be looked at now is not a folder that is gone.
#[cfg(unix)]
#[test]
fn a_lock_is_lost_if_its_folder_is_gone_and_only_then() {
    let scene = Scratch::new();
    let (parent, aside) = (scene.join("parent"), scene.join("aside"));
    std::fs::create_dir(&parent).unwrap();
    let mut claimant = Session::new(Folder::open(&parent.join("lock"), OpenOptions::new().of_folder).unwrap());
    claimant.lock().unwrap();
    let holds = |claimant: &Session<Folder>| claimant.holds().map_err(|e| e.kind());
    assert_eq!(holds(&claimant), Ok(()));
    std::fs::rename(&parent, &aside).unwrap();
    assert_eq!(holds(&claimant), Err(ErrorKind::Lost));
    std::fs::write(&parent, "").unwrap();
    assert_eq!(holds(&claimant), Err(ErrorKind::Io)); // ENOTDIR
    std::fs::remove_file(&parent).unwrap();
    std::fs::rename(&aside, &parent).unwrap();
    assert_eq!(holds(&claimant), Ok(()));
}

#[test]
fn random_numbers_differ_and_chances_are_from_0_to_1() {
    let mut random = Randomness::default();
    let numbers: HashSet<_> = (0..100).map(|_| random.number().unwrap()).collect();
    assert_eq!(numbers.len(), 100);
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let chances: Vec<_> = (0..100).map(|_| claimant.place.chance()).collect();
    assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
    // All on one side: once in 2^99.
    assert!(chances.iter().any(|chance| *chance < 0.5) && chances.iter().any(|chance| *chance > 0.5), "{chances:?}");
}

/// A panic between the bid and the lock, which the C interface catches: the bid is in nobody's way.
#[test]
fn a_bid_whose_attempt_ended_in_its_midst_is_deleted_by_the_next_call() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let left = claimant.place.publish().unwrap();
    claimant.lock().unwrap();
    assert!(!has(&scene, &left));
    claimant.unlock().unwrap();
    let left = claimant.place.publish().unwrap();
    drop(claimant);
    assert!(!has(&scene, &left));
}

/// Nobody goes on as after an outcome to expect, while a bid of ours keeps everybody out. A folder at its name can't be unlinked.
#[cfg(unix)]
#[test]
fn who_can_not_take_its_bid_back_is_told() {
    for kind in [ErrorKind::Busy, ErrorKind::Timeout, ErrorKind::Cancelled] {
        let scene = Scratch::new();
        let mut claimant = scene.claimant();
        let bid = claimant.place.publish().unwrap();
        let path = join(&scene, bid.as_c_str());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = claimant.place.withdraw_after(bid, Error::fixed(kind, "somebody holds it"));
        assert_eq!(error.kind(), ErrorKind::Io);
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("tries again to delete it"), "{text}");
        std::fs::remove_dir(&path).unwrap();
        claimant.lock().unwrap();
    }
}

/// By another name it would be live as long as this process lives.
#[cfg(target_os = "linux")]
#[test]
fn a_bid_that_was_renamed_goes_when_it_is_missed() {
    let scene = Scratch::new();
    let renamed = scene.join(crate::scratch::bid_name("other"));
    let mut claimant = scene.claimant();
    let rename = |bid: BidName| std::fs::rename(join(&scene, bid.as_c_str()), &renamed).unwrap();
    claimant.lock().unwrap();
    rename(claimant.held().unwrap());
    assert_eq!(claimant.unlock().map_err(|e| e.kind()), Err(ErrorKind::Lost));
    assert!(!renamed.exists());
    let bid = claimant.place.publish().unwrap();
    rename(bid);
    claimant.place.withdraw_after(bid, Error::fixed(ErrorKind::Busy, ""));
    assert!(!renamed.exists());
    claimant.lock().unwrap();
    rename(claimant.held().unwrap());
    std::fs::write(scene.join("mine"), "x").unwrap();
    drop(claimant);
    assert!(!renamed.exists() && scene.join("mine").exists());
}
