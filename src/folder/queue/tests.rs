//! The line from within: what is seen of it, and who is taken out of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::folder::Folder;
use crate::protocol::{Leaving, Line as _, Session, Standing};
use crate::scratch::Scratch;

/// Not for ever: half as often in a row as we would try.
#[test]
fn a_queue_that_is_removed_meanwhile_is_made_again() {
    let path = Scratch::new();
    let hidden = Dir::open(&path).unwrap();
    let (is_over, left) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if left.load(Ordering::Relaxed) > 0 && hidden.remove_dir(QUEUE).is_ok() {
                    left.fetch_sub(1, Ordering::Relaxed);
                }
            }
        });
        let failed = (0..50_000).find_map(|_| {
            left.store(TRIES / 2, Ordering::Relaxed);
            open_shared(&hidden, QUEUE).err()
        });
        is_over.store(true, Ordering::Relaxed);
        failed
    });
    assert!(failed.is_none(), "{failed:?}");
}

/// A lock folder that somebody else holds, and claimants in line there.
struct Scene {
    _holder: Session<Folder>,
    path: Scratch,
}

impl Scene {
    fn new() -> Scene {
        let path = Scratch::new();
        let mut holder = path.claimant();
        holder.lock().unwrap();
        Scene { path, _holder: holder }
    }

    fn claimant(&self) -> Session<Folder> {
        let mut claimant = self.path.claimant();
        assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
        claimant
    }

    fn queue(&self) -> PathBuf {
        self.path.join(".lockfolder/queue")
    }

    fn file(&self, ticket: Ticket) -> PathBuf {
        self.queue().join(ticket.file().to_str().unwrap())
    }

    fn has(&self, ticket: Ticket) -> bool {
        self.file(ticket).exists()
    }
}

/// A ticket of somebody's who is not there.
fn forged(arrival: u64) -> Ticket {
    Ticket { arrival, claim: ClaimId(7) }
}

fn ticket(claimant: &Session<Folder>) -> Ticket {
    claimant.place.queue.as_ref().unwrap().spot.as_ref().unwrap().ticket
}

#[test]
fn a_view_tells_who_is_before_and_behind_us_and_how_many_there_are() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let seen = |claimant: &mut Session<Folder>| {
        let view = claimant.place.view().unwrap();
        (view.first, view.predecessor, view.successor, view.ahead, view.length)
    };
    assert_eq!(seen(&mut claimant), (None, None, None, 0, 1));
    // In whatever order they are listed: neither by arrival nor against it.
    let (before, after) = (|n| forged(1 + n), |n| forged(u64::MAX - n));
    for n in (0..20).map(|n| (n * 7 + 10) % 20) {
        for ticket in [before(n), after(n)] {
            std::fs::write(scene.file(ticket), "").unwrap();
        }
    }
    std::fs::write(scene.queue().join("0-no-ticket"), "").unwrap();
    let behind = Some(after(19));
    assert_eq!(seen(&mut claimant), (Some(before(0)), Some(before(19)), behind, 20, 41));
    // Those that can't be deleted are passed over.
    claimant.place.queue.as_mut().unwrap().ghosts.extend([before(19), before(0)]);
    assert_eq!(seen(&mut claimant), (Some(before(1)), Some(before(18)), behind, 18, 41));
}

/// Anybody can write there, and who joins at the same moment may have left its name before us.
#[cfg(target_os = "linux")] // others have no tail
#[test]
fn what_the_tail_says_is_believed_if_it_is_a_ticket_before_ours() {
    let (before, after) = (forged(1), forged(u64::MAX));
    let hints = [
        (before.file(), Some(before)),
        (after.file(), None),
        (c"0000000000000000000000000000000g".to_owned(), None),
        (c"../../../../sec/0123456789abcdef".to_owned(), None),
        (c"+0000000000000000000000000000001".to_owned(), None),
    ];
    for (hint, believed) in hints {
        let scene = Scene::new();
        let first = scene.claimant();
        let tail = first.place.claim.as_ref().unwrap().hidden().make_tail(TAIL).unwrap(); // as long as it is open it keeps what is in it
        tail.leave(&hint);
        let mut second = scene.path.claimant();
        let Ok(Standing::Joined(told)) = second.place.stand() else { panic!() };
        assert_eq!(told, believed);
        assert_eq!(tail.take(Ticket::LENGTH, Ticket::parse), Some(ticket(&second)), "the last is the last");
    }
}

/// Its owner took the time later, and was faster.
#[cfg(target_os = "linux")] // others have no tail
#[test]
fn who_joins_before_the_last_leaves_the_last_ones_name() {
    let scene = Scene::new();
    let first = scene.claimant();
    let tail = first.place.claim.as_ref().unwrap().hidden().make_tail(TAIL).unwrap();
    let later = forged(u64::MAX);
    std::fs::write(scene.file(later), "").unwrap();
    [later, ticket(&first)].into_iter().for_each(|ticket| tail.leave(&ticket.file()));
    let mut second = scene.path.claimant();
    assert!(matches!(second.place.stand(), Ok(Standing::Joined(None))));
    assert_eq!(tail.take(Ticket::LENGTH, Ticket::parse), Some(later));
}

/// It keeps the lock: what it loses is that those behind it believe to be next.
#[cfg(unix)]
#[test]
fn a_holder_that_came_later_loses_its_ticket_and_no_other_does() {
    let mut scene = Scene::new();
    let (mut a, mut b, c) = (scene.claimant(), scene.claimant(), scene.claimant());
    let rival = |claimant: &mut Session<Folder>| {
        assert!(claimant.lock().is_err());
        claimant.place.last_rival().unwrap()
    };
    let holder = rival(&mut a);
    a.place.restore_order(&holder).unwrap();
    assert!([&a, &b, &c].into_iter().all(|waiter| scene.has(ticket(waiter))));
    scene._holder.unlock().unwrap();
    b.lock().unwrap();
    let holder = rival(&mut a);
    a.place.restore_order(&holder).unwrap();
    assert_eq!([&a, &b, &c].map(|waiter| scene.has(ticket(waiter))), [true, false, true]);
    b.holds().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn the_last_in_a_long_line_and_nobody_else_begins_a_tail() {
    let scene = Scene::new();
    let tail = scene.path.join(".lockfolder/tail");
    let (mut first, mut last) = (scene.claimant(), scene.claimant());
    for arrival in 0..LONG as u64 - 3 {
        std::fs::write(scene.file(forged(arrival)), "").unwrap();
    }
    assert_eq!(last.place.view().unwrap().length, LONG - 1);
    assert!(!tail.exists());
    std::fs::write(scene.file(forged(LONG as u64)), "").unwrap();
    assert_eq!(first.place.view().unwrap().length, LONG);
    assert!(!tail.exists());
    assert_eq!(last.place.view().unwrap().length, LONG);
    assert!(tail.exists());
}

#[test]
fn a_place_in_line_is_kept_until_it_is_left_or_taken() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    assert!(claimant.place.has_ticket() && claimant.place.first_in_line().is_some());
    let first = ticket(&claimant);
    assert!(matches!(claimant.place.stand(), Ok(Standing::Stood)));
    assert_eq!(ticket(&claimant), first);
    std::fs::remove_file(scene.file(first)).unwrap();
    assert!(claimant.place.has_ticket(), "as far as we know");
    assert!(matches!(claimant.place.stand(), Ok(Standing::Lost)));
    assert!(!claimant.place.has_ticket());
    std::fs::remove_dir(scene.queue()).unwrap(); // as the last who leaves would
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    assert!(ticket(&claimant) > first, "at the end of the line");
    claimant.place.leave(Leaving::GivesUp);
    assert!(!claimant.place.has_ticket() && claimant.place.first_in_line().is_none());
    claimant.place.leave(Leaving::GivesUp); // once is enough
}

/// Somebody else may have put it there, and what it leads to is none of our business.
#[cfg(unix)]
#[test]
fn no_line_is_seen_through_a_link() {
    let (elsewhere, path) = (Scratch::new(), Scratch::new());
    let claimant = path.claimant();
    assert!(claimant.place.first_in_line().is_none());
    std::fs::create_dir_all(elsewhere.join("queue")).unwrap();
    std::os::unix::fs::symlink(&*elsewhere, path.join(".lockfolder")).unwrap();
    assert!(path.join(".lockfolder/queue").exists());
    assert!(claimant.place.first_in_line().is_none());
}

/// Without FIFOs or links, say. (Here: what should be a beacon is a folder.) And nobody must think that there was a line.
#[cfg(target_os = "linux")] // others watch no beacon
#[test]
fn where_there_is_no_line_to_be_had_none_is_left_behind() {
    let scene = Scene::new();
    let mut claimant = scene.path.claimant();
    claimant.place.renew_claim().unwrap();
    for beacon in claimant.place.claim.as_ref().unwrap().id().beacons() {
        std::fs::create_dir(scene.path.join(".lockfolder").join(beacon.to_str().unwrap())).unwrap();
    }
    assert!(matches!(claimant.place.stand(), Ok(Standing::Nowhere)));
    assert!(!claimant.place.has_ticket() && claimant.place.first_in_line().is_none());
}

#[cfg(target_os = "linux")] // others watch no beacon
#[test]
fn a_predecessor_is_watched_while_it_is_there_and_lives() {
    let scene = Scene::new();
    let (mut a, mut b) = (scene.claimant(), scene.claimant());
    let first = ticket(&a);
    assert_eq!(b.place.view().unwrap().predecessor, Some(first));
    let watched = b.place.watch_predecessor(first, None).unwrap().expect("it is there");
    assert!(watched.is_told() && watched.is_there());
    // Whom we watch already is not looked at again: its owner stays the same one.
    let owner = Arc::clone(&watched.owner);
    let watched = b.place.watch_predecessor(first, Some(watched)).unwrap().expect("it is there");
    assert!(Arc::ptr_eq(&watched.owner, &owner));
    // Nor is an owner that we know from before.
    let again = b.place.watch_predecessor(first, None).unwrap().expect("it is there");
    assert!(Arc::ptr_eq(&again.owner, &owner));
    // It leaves.
    a.place.leave(Leaving::GivesUp);
    assert!(!watched.is_there());
    assert!(b.place.watch_predecessor(first, Some(watched)).unwrap().is_none());
    // Another claimant, with another claim.
    let (c, d) = (scene.claimant(), scene.claimant());
    let watched = b.place.watch_predecessor(ticket(&c), Some(again)).unwrap().expect("it is there");
    assert_eq!(watched.ticket, ticket(&c));
    assert!(!Arc::ptr_eq(&watched.owner, &owner));
    let watched = b.place.watch_predecessor(ticket(&d), Some(watched)).unwrap().expect("it is there");
    assert_eq!(watched.ticket, ticket(&d), "although the one from before is still there");
}

/// Its owner is about to delete its ticket; but may be stopped before it does.
#[cfg(target_os = "linux")] // others watch no beacon
#[test]
fn a_ticket_whose_light_is_out_is_taken_out_of_the_line() {
    let scene = Scene::new();
    let (a, mut b) = (scene.claimant(), scene.claimant());
    let first = ticket(&a);
    a.place.queue.as_ref().unwrap().spot.as_ref().unwrap().beacon.put_out(News::Left);
    assert!(scene.has(first));
    assert!(b.place.watch_predecessor(first, None).unwrap().is_none());
    assert!(!scene.has(first));
}

/// A ticket that is no beacon (yet): its owner is judged, and that is all there is to watch.
#[test]
fn a_ticket_that_cannot_be_watched_is_judged_by_its_claim() {
    let scene = Scene::new();
    let (a, mut b) = (scene.claimant(), scene.claimant());
    let live = Ticket { arrival: 1, claim: a.place.claim.as_ref().unwrap().id() };
    let dead = forged(2); // nobody has this claim
    for ticket in [live, dead] {
        std::fs::write(scene.file(ticket), "").unwrap();
    }
    let watched = b.place.watch_predecessor(live, None).unwrap().expect("its owner lives");
    assert!(!watched.is_told() && !watched.is_there());
    assert!(b.place.watch_predecessor(dead, None).unwrap().is_none());
    assert_eq!((scene.has(live), scene.has(dead)), (true, false));
    assert!(b.place.watch_predecessor(dead, None).unwrap().is_none(), "it is not there");
}

#[test]
fn whoever_closes_leaves_the_line_and_nothing_else() {
    let scene = Scene::new();
    let hidden = || std::fs::read_dir(scene.path.join(".lockfolder")).unwrap().count();
    let before = hidden();
    let claimant = scene.claimant();
    assert_ne!(hidden(), before);
    drop(claimant);
    assert_eq!(hidden(), before);
}

/// Its files are the parent's.
#[cfg(unix)]
#[test]
fn a_forked_child_forgets_the_line_and_leaves_it_as_it_is() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let ticket = ticket(&claimant);
    claimant.place.queue.take().unwrap().abandon();
    assert!(scene.has(ticket));
}

/// The last of a line died in the midst of removing it.
#[test]
fn a_sweep_takes_the_tail_that_a_line_left_behind_and_no_other() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let hidden = Arc::clone(claimant.place.claim.as_ref().unwrap().hidden());
    let tail = scene.path.join(".lockfolder/tail");
    std::fs::write(&tail, "").unwrap();
    sweep(&hidden, |_| false);
    assert!(tail.exists(), "there is a line");
    claimant.place.leave(Leaving::GivesUp);
    std::fs::write(&tail, "").unwrap();
    sweep(&hidden, |_| false);
    assert!(!tail.exists());
}

#[test]
fn a_sweep_takes_the_tickets_of_those_who_are_gone() {
    let scene = Scene::new();
    let claimant = scene.claimant();
    let hidden = Arc::clone(claimant.place.claim.as_ref().unwrap().hidden());
    let (dead, ours) = (forged(1), ticket(&claimant));
    for path in [scene.file(dead), scene.queue().join("no-ticket")] {
        std::fs::write(path, "").unwrap();
    }
    sweep(&hidden, |claim| claim == ClaimId(7));
    assert_eq!((scene.has(dead), scene.has(ours), scene.queue().join("no-ticket").exists()), (false, true, true));
    assert!(claimant.place.first_in_line().is_some());
    std::fs::remove_file(scene.queue().join("no-ticket")).unwrap();
    sweep(&hidden, |_| true);
    assert!(claimant.place.first_in_line().is_none());
}

/// A claimant that is stopped at the head of the line keeps a free lock from those behind it, until they pass it over.
#[test]
fn a_wait_that_ends_while_nobody_holds_names_the_first_in_line() {
    let mut scene = Scene::new();
    let [_first, mut second] = [scene.claimant(), scene.claimant()];
    scene._holder.unlock().unwrap();
    let error = second.place.why_not_yet().to_string();
    let said = format!("1 claimants are in line before us; the first of them, PID {} (", std::process::id());
    assert!(error.contains(&said) && error.ends_with("has not come forward"), "{error}");
}

#[test]
fn what_others_wrote_into_a_claim_reaches_no_terminal_unescaped() {
    let mut scene = Scene::new();
    let [first, mut second] = [scene.claimant(), scene.claimant()];
    scene._holder.unlock().unwrap();
    let claim = first.place.claim.as_ref().unwrap().id().file();
    let content = format!("{{\"PID\": {}, \"COMMAND\": \"\\u001b[2J\", \"HOST\": \"\\u0007\"}}", std::process::id());
    std::fs::write(scene.path.join(".lockfolder").join(claim.to_str().unwrap()), content).unwrap();
    let error = second.place.why_not_yet().to_string();
    assert!(error.contains("PID") && !error.contains(char::is_control), "{error:?}");
}
