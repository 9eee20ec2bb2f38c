//! Unit tests of the line: what a claimant sees of it, and which tickets are removed from it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::folder::Folder;
use crate::protocol::{Leaving, Line as _, Session, Standing};
use crate::scratch::Scratch;

/// The removals are limited: half as many in a row as the number of tries.
#[test]
fn a_queue_that_is_removed_meanwhile_is_made_again() {
    let path = Scratch::new();
    let hidden = Hidden::from(Dir::open(&path).unwrap());
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
            hidden.open_shared(QUEUE).err()
        });
        is_over.store(true, Ordering::Relaxed);
        failed
    });
    assert!(failed.is_none(), "{failed:?}");
}

/// A lock folder that another claimant holds. The claimants of the scene stand in line there.
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

/// A ticket whose claim does not exist.
fn forged(arrival: u64) -> Ticket {
    Ticket { arrival, claim: ClaimId(7) }
}

fn ticket(claimant: &Session<Folder>) -> Ticket {
    claimant.place.queue.as_ref().unwrap().spot.as_ref().unwrap().ticket
}

#[test]
fn a_view_shows_the_tickets_before_and_behind_us_and_their_number() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let seen = |claimant: &mut Session<Folder>| {
        let view = claimant.place.view().unwrap();
        (view.first, view.predecessor, view.successor, view.ahead, view.length)
    };
    assert_eq!(seen(&mut claimant), (None, None, None, 0, 1));
    // The order of the listing does not matter. These tickets are made neither in the order of arrival nor against it.
    let (before, after) = (|n| forged(1 + n), |n| forged(u64::MAX - n));
    for n in (0..20).map(|n| (n * 7 + 10) % 20) {
        for ticket in [before(n), after(n)] {
            std::fs::write(scene.file(ticket), "").unwrap();
        }
    }
    std::fs::write(scene.queue().join("0-no-ticket"), "").unwrap();
    let behind = Some(after(19));
    assert_eq!(seen(&mut claimant), (Some(before(0)), Some(before(19)), behind, 20, 41));
    // Tickets that can't be deleted are passed over.
    claimant.place.queue.as_mut().unwrap().ghosts.extend([before(19), before(0)]);
    assert_eq!(seen(&mut claimant), (Some(before(1)), Some(before(18)), behind, 18, 41));
}

/// Anybody can write to the tail, and a claimant that joins at the same moment may have put its ticket there before us.
#[cfg(target_os = "linux")] // the other systems have no tail
#[test]
fn the_tail_is_trusted_only_if_it_holds_a_ticket_before_ours() {
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
        // The tail keeps its content while it is open.
        let tail = first.place.claim.as_ref().unwrap().hidden().make_tail(TAIL).unwrap();
        tail.leave(&hint);
        let mut second = scene.path.claimant();
        let Ok(Standing::Joined(told)) = second.place.stand() else { panic!() };
        assert_eq!(told, believed);
        assert_eq!(
            tail.take(Ticket::LENGTH, Ticket::parse),
            Some(ticket(&second)),
            "the tail holds the ticket of the last claimant"
        );
    }
}

/// The owner of the other ticket read the clock later and joined earlier.
#[cfg(target_os = "linux")] // the other systems have no tail
#[test]
fn a_newcomer_before_the_last_ticket_leaves_that_ticket_in_the_tail() {
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

/// The holder keeps the lock. It loses only its ticket, because the waiters behind that ticket believe that they are
/// next.
#[cfg(unix)]
#[test]
fn only_a_holder_that_came_later_loses_its_ticket() {
    let mut scene = Scene::new();
    let (mut a, mut b, c) = (scene.claimant(), scene.claimant(), scene.claimant());
    let rival = |claimant: &mut Session<Folder>| {
        assert!(claimant.lock().is_err());
        claimant.place.last_rivals().pop().unwrap()
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

/// The claimant gave the lock back (or was refused) and has joined the line since.
#[cfg(unix)]
#[test]
fn a_claimant_that_withdrew_before_it_joined_keeps_its_ticket() {
    let mut scene = Scene::new();
    let mut first = scene.claimant();
    scene._holder.unlock().unwrap();
    let mut other = scene.path.claimant();
    other.lock().unwrap();
    assert!(first.lock().is_err());
    let holder = first.place.last_rivals().pop().unwrap();
    other.unlock().unwrap();
    assert!(matches!(other.place.stand(), Ok(Standing::Joined(_))));
    first.place.restore_order(&holder).unwrap();
    assert!(scene.has(ticket(&other)));
}

#[cfg(target_os = "linux")]
#[test]
fn only_the_last_claimant_in_a_long_line_makes_a_tail() {
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
fn a_place_in_line_is_kept_until_it_is_left_or_removed() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    assert!(claimant.place.has_ticket() && claimant.place.first_in_line().is_some());
    let first = ticket(&claimant);
    assert!(matches!(claimant.place.stand(), Ok(Standing::Stood)));
    assert_eq!(ticket(&claimant), first);
    std::fs::remove_file(scene.file(first)).unwrap();
    assert!(claimant.place.has_ticket(), "no look has shown that the ticket is gone");
    assert!(matches!(claimant.place.stand(), Ok(Standing::Lost)));
    assert!(!claimant.place.has_ticket());
    std::fs::remove_dir(scene.queue()).unwrap(); // as the last claimant does when it leaves
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    assert!(ticket(&claimant) > first, "the new place is at the end of the line");
    claimant.place.leave(Leaving::GivesUp);
    assert!(!claimant.place.has_ticket() && claimant.place.first_in_line().is_none());
    claimant.place.leave(Leaving::GivesUp); // to leave twice does no harm
}

/// Somebody else may have put the link there, and its target is none of our business.
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

/// Without FIFOs or links, for example. (Here a folder has the name of each beacon.) The failed attempt must not look
/// like a line.
#[cfg(target_os = "linux")] // the other systems watch no beacon
#[test]
fn a_failed_attempt_to_join_leaves_no_line_behind() {
    let scene = Scene::new();
    let mut claimant = scene.path.claimant();
    claimant.place.renew_claim().unwrap();
    for beacon in claimant.place.claim.as_ref().unwrap().id().beacons() {
        std::fs::create_dir(scene.path.join(".lockfolder").join(beacon.to_str().unwrap())).unwrap();
    }
    assert!(matches!(claimant.place.stand(), Ok(Standing::Nowhere)));
    assert!(!claimant.place.has_ticket() && claimant.place.first_in_line().is_none());
}

#[cfg(target_os = "linux")] // the other systems watch no beacon
#[test]
fn a_predecessor_is_watched_while_it_is_there_and_lives() {
    let scene = Scene::new();
    let (mut a, mut b) = (scene.claimant(), scene.claimant());
    let first = ticket(&a);
    assert_eq!(b.place.view().unwrap().predecessor, Some(first));
    let watched = b.place.watch_predecessor(first, None).unwrap().expect("the predecessor is there");
    assert!(watched.is_told() && watched.is_there());
    // A predecessor that we watch already is not judged again, so its owner is the same object.
    let owner = Arc::clone(&watched.owner);
    let watched = b.place.watch_predecessor(first, Some(watched)).unwrap().expect("the predecessor is there");
    assert!(Arc::ptr_eq(&watched.owner, &owner));
    // Nor do we judge an owner that we know from before.
    let again = b.place.watch_predecessor(first, None).unwrap().expect("the predecessor is there");
    assert!(Arc::ptr_eq(&again.owner, &owner));
    // The predecessor leaves.
    a.place.leave(Leaving::GivesUp);
    assert!(!watched.is_there());
    assert!(b.place.watch_predecessor(first, Some(watched)).unwrap().is_none());
    // The next predecessor is another claimant, with another claim.
    let (c, d) = (scene.claimant(), scene.claimant());
    let watched = b.place.watch_predecessor(ticket(&c), Some(again)).unwrap().expect("the predecessor is there");
    assert_eq!(watched.ticket, ticket(&c));
    assert!(!Arc::ptr_eq(&watched.owner, &owner));
    let watched = b.place.watch_predecessor(ticket(&d), Some(watched)).unwrap().expect("the predecessor is there");
    assert_eq!(watched.ticket, ticket(&d), "the earlier predecessor is still there, but is not ours any more");
}

/// The owner is about to delete its ticket, but may be stopped before it does.
#[cfg(target_os = "linux")] // the other systems watch no beacon
#[test]
fn a_ticket_whose_beacon_is_out_is_removed_from_the_line() {
    let scene = Scene::new();
    let (a, mut b) = (scene.claimant(), scene.claimant());
    let first = ticket(&a);
    a.place.queue.as_ref().unwrap().spot.as_ref().unwrap().beacon.put_out(News::Left);
    assert!(scene.has(first));
    assert!(b.place.watch_predecessor(first, None).unwrap().is_none());
    assert!(!scene.has(first));
}

/// The owner lives, but it has left the line, and could not delete its ticket.
#[cfg(target_os = "linux")] // the other systems watch no beacon
#[test]
fn a_ticket_whose_beacon_nobody_has_open_is_no_place_in_line() {
    let scene = Scene::new();
    let (mut a, mut b, mut c) = (scene.claimant(), scene.claimant(), scene.claimant());
    let first = ticket(&a);
    let spot = a.place.queue.as_mut().unwrap().spot.take().unwrap();
    let watched = b.place.watch_predecessor(first, None).unwrap().expect("the owner has it open");
    drop(spot);
    assert!(!watched.is_there() && scene.has(first));
    assert!(b.place.watch_predecessor(first, Some(watched)).unwrap().is_none());
    assert!(!scene.has(first));
    // The owner comes again.
    assert!(matches!(a.place.stand(), Ok(Standing::Joined(_))));
    assert!(c.place.watch_predecessor(ticket(&a), None).unwrap().is_some_and(|watched| watched.is_told()));
}

/// A ticket that is not (yet) a link of a beacon. Its owner is judged, and there is nothing more to watch.
#[test]
fn a_ticket_that_cannot_be_watched_is_judged_by_its_claim() {
    let scene = Scene::new();
    let (a, mut b) = (scene.claimant(), scene.claimant());
    let live = Ticket { arrival: 1, claim: a.place.claim.as_ref().unwrap().id() };
    let dead = forged(2); // no claimant has this claim
    for ticket in [live, dead] {
        std::fs::write(scene.file(ticket), "").unwrap();
    }
    let watched = b.place.watch_predecessor(live, None).unwrap().expect("the owner is alive");
    assert!(!watched.is_told() && !watched.is_there());
    assert!(b.place.watch_predecessor(dead, None).unwrap().is_none());
    assert_eq!((scene.has(live), scene.has(dead)), (true, false));
    assert!(b.place.watch_predecessor(dead, None).unwrap().is_none(), "the ticket is gone");
}

/// No honest claimant makes a ticket before its claim is complete.
#[test]
fn a_ticket_whose_claim_is_no_bid_is_passed_over() {
    let scene = Scene::new();
    let mut waiter = scene.claimant();
    let ticket = forged(1);
    for content in ["[]", ""] {
        std::fs::write(scene.path.join(".lockfolder").join(ticket.claim.file().to_str().unwrap()), content).unwrap();
        std::fs::write(scene.file(ticket), "").unwrap();
        assert!(waiter.place.watch_predecessor(ticket, None).unwrap().is_none());
        assert_eq!(waiter.place.view().unwrap().ahead, 0);
    }
}

#[test]
fn a_claimant_that_closes_leaves_the_line_and_no_files() {
    let scene = Scene::new();
    let hidden = || std::fs::read_dir(scene.path.join(".lockfolder")).unwrap().count();
    let before = hidden();
    let claimant = scene.claimant();
    assert_ne!(hidden(), before);
    drop(claimant);
    assert_eq!(hidden(), before);
}

/// The last claimant in line died while it removed the line.
#[test]
fn a_sweep_removes_only_the_tail_of_a_line_that_is_gone() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let hidden = Arc::clone(claimant.place.claim.as_ref().unwrap().hidden());
    let tail = scene.path.join(".lockfolder/tail");
    std::fs::write(&tail, "").unwrap();
    sweep(&hidden, hidden.broom(), 99, |_| false);
    assert!(tail.exists(), "there is a line");
    claimant.place.leave(Leaving::GivesUp);
    std::fs::write(&tail, "").unwrap();
    sweep(&hidden, hidden.broom(), 99, |_| false);
    assert!(!tail.exists());
}

#[test]
fn a_sweep_removes_the_tickets_of_dead_claimants() {
    let scene = Scene::new();
    let claimant = scene.claimant();
    let hidden = Arc::clone(claimant.place.claim.as_ref().unwrap().hidden());
    let (dead, ours) = (forged(1), ticket(&claimant));
    for path in [scene.file(dead), scene.queue().join("no-ticket")] {
        std::fs::write(path, "").unwrap();
    }
    sweep(&hidden, hidden.broom(), 99, |ticket| ticket.claim == ClaimId(7));
    assert_eq!((scene.has(dead), scene.has(ours), scene.queue().join("no-ticket").exists()), (false, true, true));
    assert!(claimant.place.first_in_line().is_some());
    std::fs::remove_file(scene.queue().join("no-ticket")).unwrap();
    sweep(&hidden, hidden.broom(), 99, |_| true);
    assert!(claimant.place.first_in_line().is_none());
}

/// A stopped claimant at the head of the line keeps a free lock from the waiters behind it, until they pass it over.
#[test]
fn a_wait_that_ends_while_nobody_holds_names_the_first_in_line() {
    let mut scene = Scene::new();
    let [_first, mut second] = [scene.claimant(), scene.claimant()];
    scene._holder.unlock().unwrap();
    let error = second.place.why_not_yet().to_string();
    let said = format!("1 claimant is in line before us; the first of them, PID {} (", std::process::id());
    assert!(error.contains(&said) && error.ends_with("has not come forward"), "{error}");
}

#[test]
fn text_from_a_foreign_claim_is_escaped_in_messages() {
    let mut scene = Scene::new();
    let [first, mut second] = [scene.claimant(), scene.claimant()];
    scene._holder.unlock().unwrap();
    let claim = first.place.claim.as_ref().unwrap().id().file();
    let content = format!("{{\"PID\": {}, \"COMMAND\": \"\\u001b[2J\", \"HOST\": \"\\u0007\"}}", std::process::id());
    std::fs::write(scene.path.join(".lockfolder").join(claim.to_str().unwrap()), content).unwrap();
    let error = second.place.why_not_yet().to_string();
    assert!(error.contains("PID") && !error.contains(char::is_control), "{error:?}");
}

/// Makes entries with a ticket's name that are no files, for a dead claimant and for a live one.
#[cfg(unix)]
fn no_tickets(scene: &Scene, alive: ClaimId) -> Vec<PathBuf> {
    let mut made = Vec::new();
    for (arrival, claim) in [(1, ClaimId(7)), (2, alive)] {
        let at = |n: u64| scene.file(Ticket { arrival: arrival << 8 | n, claim });
        std::fs::create_dir(at(1)).unwrap();
        std::os::unix::fs::symlink("nowhere", at(2)).unwrap();
        std::os::unix::fs::symlink("../tail", at(3)).unwrap();
        std::fs::write(scene.path.join(".lockfolder/tail"), "").unwrap();
        drop(std::os::unix::net::UnixListener::bind(at(4)).unwrap());
        made.extend([1, 2, 3, 4].map(at));
    }
    made
}

#[cfg(unix)]
#[test]
fn an_entry_that_is_no_file_is_no_ticket() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let hidden = Arc::clone(claimant.place.claim.as_ref().unwrap().hidden());
    let others = no_tickets(&scene, claimant.place.claim.as_ref().unwrap().id());
    assert_eq!(first(&hidden, None), Some(ticket(&claimant)));
    let view = claimant.place.view().unwrap();
    assert_eq!((view.length, view.ahead, view.predecessor, view.successor), (1, 0, None, None));
    sweep(&hidden, hidden.broom(), 99, |_| true);
    assert_eq!(first(&hidden, None), None);
    assert!(others.iter().all(|other| other.symlink_metadata().is_ok()), "these entries are not ours to delete");
}

/// Other claimants would not see a folder in the place of our ticket. It is therefore no place in line for us either.
#[cfg(unix)]
#[test]
fn a_folder_in_the_place_of_a_ticket_is_a_lost_place() {
    let scene = Scene::new();
    let mut claimant = scene.claimant();
    let first = ticket(&claimant);
    std::fs::remove_file(scene.file(first)).unwrap();
    std::fs::create_dir(scene.file(first)).unwrap();
    assert!(matches!(claimant.place.stand(), Ok(Standing::Lost)));
    assert!(matches!(claimant.place.stand(), Ok(Standing::Joined(_))));
    assert!(ticket(&claimant) > first);
    // Nor do we watch the folder, if somebody says that it is our predecessor.
    assert!(claimant.place.watch_predecessor(first, None).unwrap().is_none());
}
