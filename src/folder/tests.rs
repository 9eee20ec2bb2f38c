//! Unit tests of one claimant: bids that could not be deleted, tickets, and random numbers.

use std::collections::BTreeSet;

use super::bidding::{Found, Withdrawn};
use super::*;
use crate::api::OpenOptions;
use crate::error::BidState;
use crate::protocol::{Line as _, Session, Standing};
use crate::scratch::Scratch;
use crate::sys::{Filesystem, Shared};

const GLUSTERFS: Filesystem = Filesystem::Shared(Shared::GlusterFs);

fn has(scene: &Scratch, bid: &BidName) -> bool {
    join(scene, bid.as_c_str()).exists()
}

#[test]
fn a_bid_that_could_not_be_deleted_is_deleted_by_the_next_call_or_the_close() {
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

/// If the caller vouches for the filesystem, the names of one file may have different numbers; the content then
/// decides.
#[cfg(unix)] // on other systems, no file can replace a bid that its owner has open
#[test]
fn our_bid_is_recognised_by_its_number_or_its_content() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let bid = claimant.place.publish().unwrap();
    let path = join(&scene, bid.as_c_str());
    let put = |content: &[u8]| {
        std::fs::write(scene.join("another"), content).unwrap();
        std::fs::rename(scene.join("another"), &path).unwrap();
    };
    let find = |claimant: &mut Session<Folder>| {
        [Filesystem::Local, GLUSTERFS, Filesystem::Trusted].map(|on| {
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

/// The stray is no rival of its owner, which would otherwise give way to it. Nor does it block the waiters.
#[cfg(target_os = "linux")]
#[test]
fn a_stray_bid_is_deleted_before_we_look_at_the_line() {
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

/// Somebody moves the claim away and puts another file in its place just before it is published.
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

/// The stray stays ours when the claim is renewed, for example after the clock was set.
#[test]
fn a_stray_bid_stays_ours_when_the_claim_is_replaced() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let stray = claimant.place.publish().unwrap();
    claimant.place.claim = None;
    let states: Vec<_> = claimant.bids().unwrap().into_iter().map(|bid| bid.state).collect();
    assert_eq!(states, [BidState::Own]);
    claimant.lock().unwrap();
    assert!(!has(&scene, &stray));
}

/// Waiters on other hosts could not be notified.
#[test]
fn there_is_no_line_where_other_hosts_write() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    for (on, stands) in [(GLUSTERFS, false), (Filesystem::Trusted, false), (Filesystem::Local, true)] {
        claimant.place.location.on = on;
        assert_eq!(!matches!(claimant.place.stand(), Ok(Standing::Nowhere)), stands, "{on:?}");
    }
}

/// As after a step of the clock: the new claim must say who we are, and nobody loses its place.
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
fn a_reap_removes_the_tickets_of_dead_claimants_and_no_others() {
    let scene = Scratch::new();
    let (mut claimant, mut another) = (scene.claimant(), scene.claimant());
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    let queue = scene.join(".lockfolder/queue");
    let live = std::fs::read_dir(&queue).unwrap().next().unwrap().unwrap().file_name();
    // Two tickets of dead claimants: the claim of one says so, and the other has no claim any more.
    std::fs::write(scene.join(".lockfolder/00000000000000ab.json"), r#"{"PID": 2147483647}"#).unwrap();
    for id in ["ab", "cd"] {
        std::fs::write(queue.join(format!("{id:0>32}")), "").unwrap();
    }
    let hidden = Hidden::open(another.place.dir()).unwrap();
    let own = claimant.place.claim.as_ref().unwrap().id();
    let gone = [ClaimId(0xab), ClaimId(0xcd), own].map(|claim| another.place.is_gone(&hidden, claim));
    assert_eq!(gone, [true, true, false]);
    another.reap_stale().unwrap();
    let left: Vec<_> = std::fs::read_dir(&queue).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [live]);
}

/// The sweep waits until after the unlock or the refusal, because a holder must not spend time on it.
#[cfg(unix)]
#[test]
fn the_claim_behind_a_reaped_bid_is_deleted_after_the_lock() {
    let scene = Scratch::new();
    let (mut claimant, mut rival) = (scene.claimant(), scene.claimant());
    claimant.lock().unwrap();
    claimant.unlock().unwrap(); // otherwise a new claim would also sweep the claims of others
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
fn a_claim_is_made_again_only_if_it_is_missing() {
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let bid = claimant.place.publish().unwrap();
    let id = |claimant: &Session<Folder>| claimant.place.claim.as_ref().unwrap().id();
    let first = id(&claimant);
    std::fs::remove_file(join(&scene.join(".lockfolder"), &first.file())).unwrap();
    let another = claimant.place.publish().unwrap();
    let second = id(&claimant);
    assert!(first != second && has(&scene, &another));
    assert!(!has(&scene, &bid), "the bid belonged to the missing claim");
    assert!(matches!(claimant.place.delete_own(&another).unwrap(), Withdrawn::Deleted));
    claimant.place.location.dir = Arc::new(Dir::open(Path::new("/dev")).unwrap()); // no link leads to another filesystem
    let exdev = 18;
    assert_eq!(claimant.place.publish().map_err(|e| e.raw_os_error()), Err(Some(exdev)));
    assert_eq!(id(&claimant), second);
}

/// An error while we look at the folder does not mean that the folder is gone.
#[cfg(unix)]
#[test]
fn a_lock_is_lost_only_if_its_folder_is_gone() {
    let scene = Scratch::new();
    let (parent, aside) = (scene.join("parent"), scene.join("aside"));
    std::fs::create_dir(&parent).unwrap();
    let mut claimant = Session::new(Folder::open(&parent.join("lock"), OpenOptions::new().of_folder).unwrap());
    claimant.lock().unwrap();
    let holds = |claimant: &mut Session<Folder>| claimant.holds().map_err(|e| e.kind());
    assert_eq!(holds(&mut claimant), Ok(()));
    std::fs::rename(&parent, &aside).unwrap();
    assert_eq!(holds(&mut claimant), Err(ErrorKind::Lost));
    std::fs::write(&parent, "").unwrap();
    assert_eq!(holds(&mut claimant), Err(ErrorKind::Io)); // ENOTDIR
    std::fs::remove_file(&parent).unwrap();
    std::fs::rename(&aside, &parent).unwrap();
    assert_eq!(holds(&mut claimant), Ok(()));
}

#[test]
fn random_numbers_differ_and_chances_are_from_0_to_1() {
    let mut random = Randomness::default();
    let numbers: BTreeSet<_> = (0..100).map(|_| random.number().unwrap()).collect();
    assert_eq!(numbers.len(), 100);
    let scene = Scratch::new();
    let mut claimant = scene.claimant();
    let chances: Vec<_> = (0..100).map(|_| claimant.place.chance()).collect();
    assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
    // Chance puts all numbers on one side once in 2^99 runs.
    assert!(chances.iter().any(|chance| *chance < 0.5) && chances.iter().any(|chance| *chance > 0.5), "{chances:?}");
}

/// A panic between the bid and the lock, which the C interface catches, leaves no bid behind.
#[test]
fn the_bid_of_an_interrupted_attempt_is_deleted_by_the_next_call() {
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

/// The result is not an ordinary outcome, because our bid keeps every other claimant out. The bid can't be deleted
/// because a folder has its name, and unlink(2) deletes no folder.
#[cfg(unix)]
#[test]
fn a_claimant_that_can_not_take_its_bid_back_gets_an_error() {
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

/// Under another name the bid would be live as long as this process lives.
#[cfg(target_os = "linux")]
#[test]
fn a_renamed_bid_is_deleted_when_it_is_missed() {
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
