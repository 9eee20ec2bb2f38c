//! Rounds of waiting, one by one in one thread. Each event notifies the waiters that it concerns, and no others.

use std::path::PathBuf;

use super::*;
use crate::error::ErrorKind;
use crate::folder::Folder;
use crate::protocol::Leaving;
use crate::scratch::Scratch;
use crate::slots::Slots;
use crate::sys::Source;

/// A lock folder and its waiters.
struct Scene {
    path: Scratch,
}

impl Scene {
    fn new() -> Scene {
        Scene { path: Scratch::new() }
    }

    fn holder(&self) -> Session<Folder> {
        let mut holder = self.path.claimant();
        holder.lock().unwrap();
        holder
    }

    /// Waiters that have come, have found the lock taken, and would now sleep.
    fn waiters<const N: usize>(&self) -> [Waiting; N] {
        std::array::from_fn(|_| {
            let mut waiter = self.newcomer();
            assert!(waiter.sleeps());
            waiter
        })
    }

    fn newcomer(&self) -> Waiting {
        self.waiting(self.path.claimant())
    }

    fn waiting(&self, mut claimant: Session<Folder>) -> Waiting {
        Waiting { wait: Wait::new(&mut claimant.place), claimant }
    }

    /// A claimant that tolerates others of its kind.
    fn sharing(&self, slots: Slots) -> Session<Folder> {
        let mut claimant = self.path.claimant();
        claimant.place.set_slots(slots).unwrap();
        claimant
    }

    /// More claimants join the line. Nobody is notified of them.
    fn lengthen_the_line(&self, by: usize) {
        (0..by).for_each(|n| std::fs::write(self.queue().join(format!("f{n:031}")), "").unwrap());
    }

    fn queue(&self) -> PathBuf {
        self.path.join(".lockfolder/queue")
    }

    fn tickets(&self) -> usize {
        std::fs::read_dir(self.queue()).map_or(0, Iterator::count)
    }
}

struct Waiting {
    claimant: Session<Folder>,
    wait: Wait<Folder>,
}

impl Waiting {
    /// One round after a sleep, which counts as woken if the first source is ready. No look is due, however slow this
    /// machine is.
    fn advance(&mut self) -> Step {
        self.advance_at(Instant::now() + Duration::from_secs(3600))
    }

    fn advance_at(&mut self, next_look: Instant) -> Step {
        self.wait.next_look = next_look;
        let woken = is_ready(&Folder::sources(self.wait.waits_for())[..1]);
        self.wait.step(&mut self.claimant, Instant::now(), woken).unwrap()
    }

    /// One step in which the regular look is due.
    fn look(&mut self) -> Step {
        self.advance_at(Instant::now())
    }

    fn sleeps(&mut self) -> bool {
        matches!(self.advance(), Step::SleepUntil(_))
    }

    fn looks_and_sleeps(&mut self) -> bool {
        matches!(self.look(), Step::SleepUntil(_))
    }

    fn is_woken(&self) -> bool {
        is_ready(&Folder::sources(self.wait.waits_for()))
    }
}

fn is_ready(sources: &[Option<Source<'_>>]) -> bool {
    use rustix::event::{poll, PollFd, PollFlags, Timespec};
    let mut fds: Vec<_> = sources.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn each_hand_over_wakes_the_successor_and_nobody_else() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b, mut c] = scene.waiters();
    assert!([&a, &b, &c].iter().all(|waiter| waiter.wait.is_told() && !waiter.is_woken()));
    holder.unlock().unwrap();
    assert_eq!([&a, &b, &c].map(Waiting::is_woken), [true, false, false]);
    assert!(b.sleeps() && c.sleeps(), "the lock is free, but it is not their turn");
    assert!(a.advance() == Step::Acquired);
    a.claimant.unlock().unwrap();
    assert_eq!([&b, &c].map(Waiting::is_woken), [true, false]);
    // The common hand-over works without a look at the line.
    let length = b.wait.view.length;
    scene.lengthen_the_line(5);
    assert!(b.advance() == Step::Acquired);
    assert_eq!(b.wait.view.length, length);
    b.claimant.unlock().unwrap();
    assert!(c.is_woken() && c.advance() == Step::Acquired);
}

/// The lock then costs no more than an ordinary lock.
#[test]
fn a_claimant_that_finds_the_lock_free_and_no_line_makes_no_line() {
    let scene = Scene::new();
    let mut claimant = scene.path.claimant();
    assert!(claimant.lock_unless_line().unwrap());
    assert!(claimant.held().is_some() && !scene.queue().exists());
    claimant.unlock().unwrap();
    // An empty queue folder that nobody could remove is no line, and another file in it is no ticket.
    std::fs::create_dir(scene.queue()).unwrap();
    std::fs::write(scene.queue().join("note"), "").unwrap();
    assert!(claimant.lock_unless_line().unwrap() && claimant.held().is_some());
    claimant.unlock().unwrap();
    scene.lengthen_the_line(1);
    assert!(!claimant.lock_unless_line().unwrap() && claimant.held().is_none());
}

/// Such an error ends a wait, because no unlock can mend it.
#[test]
fn an_error_is_not_taken_for_a_holder() {
    let scene = Scene::new();
    let (_holder, mut claimant) = (scene.holder(), scene.path.claimant());
    assert!(!claimant.lock_if_free().unwrap());
    std::fs::remove_dir_all(&*scene.path).unwrap();
    assert_eq!(claimant.lock_if_free().unwrap_err().kind(), ErrorKind::Io);
}

/// The beacon of the predecessor says so. A predecessor that only left the line may have had another claimant before
/// it.
#[test]
fn it_is_our_turn_when_our_predecessor_has_had_the_lock() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b, mut c, mut d] = scene.waiters();
    let is_our_turn = |waiter: &mut Waiting| {
        let woken = waiter.is_woken();
        waiter.wait.told(woken).is_some()
    };
    assert!(a.wait.is_first() && ![&b, &c, &d].iter().any(|waiter| waiter.wait.is_first()));
    assert!(![&mut a, &mut b, &mut c, &mut d].into_iter().any(is_our_turn));
    c.claimant.place.leave(Leaving::GivesUp);
    assert!(!is_our_turn(&mut d));
    holder.unlock().unwrap();
    assert!(
        !is_our_turn(&mut a) && a.advance() == Step::Acquired,
        "it is the first, so it has no predecessor that notifies it"
    );
    a.claimant.unlock().unwrap();
    assert!(is_our_turn(&mut b));
    assert!(b.wait.told(false).is_none(), "something else woke the waiter");
    assert!(!scene.newcomer().wait.is_first(), "a newcomer is not in line");
}

/// A claimant that joins a long line does not read it. What is before the last ticket does not concern it, and may be
/// anything.
#[test]
fn the_tail_of_a_long_line_tells_a_newcomer_its_predecessor() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let mut waiters: [Waiting; 10] = scene.waiters();
    let views = waiters.each_ref().map(|waiter| waiter.wait.view.length);
    assert_eq!(views, [1, 2, 3, 4, 5, 6, 7, 8, 2, 2], "the last two have not read the line");
    assert!(!waiters[1..].iter().any(|waiter| waiter.wait.is_first()), "each of the others knows of a predecessor");
    let mut another = scene.newcomer();
    assert!(another.looks_and_sleeps());
    assert_eq!(another.wait.view.length, 11, "a look that is due reads the whole line");
    drop(another);
    holder.unlock().unwrap();
    for waiter in &mut waiters {
        assert!(waiter.is_woken() && waiter.advance() == Step::Acquired);
        waiter.claimant.unlock().unwrap();
    }
    assert!(!scene.path.join(".lockfolder/tail").exists());
}

/// A rival took the lock after the hand-over. The waiter can only find this out by trying.
#[test]
fn a_waiter_that_was_woken_too_soon_keeps_its_place() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b] = scene.waiters();
    holder.unlock().unwrap();
    assert!(a.advance() == Step::Acquired);
    a.claimant.unlock().unwrap();
    holder.lock().unwrap();
    assert!(b.sleeps() && b.wait.is_first() && b.wait.is_told());
    holder.unlock().unwrap();
    assert!(b.is_woken() && b.advance() == Step::Acquired);
}

/// The first in line need not read the line in each round, but does so once in a while.
#[test]
fn the_first_in_line_reads_the_line_only_when_a_look_is_due() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    scene.lengthen_the_line(5);
    assert!(waiter.sleeps() && waiter.wait.view.length == 1);
    assert!(waiter.looks_and_sleeps() && waiter.wait.view.length == 6);
}

/// A waiter that learned its predecessor from the tail reads the line once. After that it reads the line only if the
/// lock is free.
#[test]
fn a_look_that_finds_the_lock_taken_reads_the_line_only_once() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let mut waiters: [Waiting; 9] = scene.waiters();
    let [.., read, told] = &mut waiters;
    let lengths = |read: &Waiting, told: &Waiting| [read, told].map(|waiter| waiter.wait.view.length);
    assert_eq!(lengths(read, told), [8, 2]);
    scene.lengthen_the_line(5);
    for _ in 0..2 {
        let before = Instant::now();
        assert!(read.looks_and_sleeps() && told.looks_and_sleeps());
        assert_eq!(lengths(read, told), [8, 14]);
        assert!(told.wait.next_look >= before + jittered(LOOK, 0.0), "the next look is later");
    }
    holder.unlock().unwrap();
    assert!(read.looks_and_sleeps() && lengths(read, told) == [14, 14] && read.wait.no_show.is_some());
    // A waiter whose ticket was removed joins anew, even if a claimant holds the lock.
    holder.lock().unwrap();
    std::fs::remove_dir_all(scene.queue()).unwrap();
    assert!(read.looks_and_sleeps() && !read.wait.knows_line());
    assert!(read.looks_and_sleeps() && scene.tickets() == 1);
}

/// Closing takes time, and the watch on the folder takes longer than a lock.
#[test]
fn what_woke_us_is_kept_until_we_leave_the_line() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut first, mut second] = scene.waiters();
    let kept = |claimant: &Session<Folder>| {
        let spot = claimant.place.queue.as_ref().and_then(|queue| queue.spot.as_ref());
        spot.map(|spot| (spot.put_by.0.is_some(), spot.put_by.1.is_some()))
    };
    holder.unlock().unwrap();
    assert!(first.advance() == Step::Acquired);
    assert_eq!(kept(&first.claimant), Some((true, false)));
    first.claimant.unlock().unwrap();
    assert_eq!(kept(&first.claimant), None);
    assert!(second.advance() == Step::Acquired);
    assert_eq!(kept(&second.claimant), Some((false, true)));
    second.claimant.unlock().unwrap();
    assert_eq!(kept(&second.claimant), None);
}

/// A holder that has told its successor, and can't delete its bid or is stopped, still has the lock.
#[test]
fn a_waiter_that_was_told_does_not_come_in_before_the_holder_has_gone() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut first, mut second] = scene.waiters();
    holder.unlock().unwrap();
    assert!(first.advance() == Step::Acquired);
    first.claimant.place.tell();
    assert!(
        second.advance() == Step::Again && second.sleeps() && second.wait.is_first(),
        "it has looked again, and waits for the holder"
    );
    first.claimant.unlock().unwrap();
    assert!(second.advance() == Step::Acquired);
}

/// The ticket of a dead claimant is removed from the line, and the next look follows at once.
#[test]
fn a_dead_predecessor_is_passed_over_without_a_sleep() {
    let scene = Scene::new();
    let _holder = scene.holder();
    std::fs::create_dir(scene.queue()).unwrap();
    std::fs::write(scene.queue().join("0".repeat(32)), "").unwrap();
    let mut waiter = scene.newcomer();
    assert!(waiter.advance() == Step::Again);
    assert_eq!(scene.tickets(), 1);
    assert!(waiter.sleeps() && waiter.wait.is_first());
}

#[test]
fn a_first_in_line_loses_its_place_after_two_no_shows() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b, mut c] = scene.waiters();
    assert!(c.looks_and_sleeps() && c.wait.no_show.is_none(), "the lock is taken");
    holder.unlock().unwrap();
    assert!(c.sleeps() && c.wait.no_show.is_none(), "no look is due");
    let now = Instant::now();
    assert!(c.looks_and_sleeps() && c.wait.no_show.is_some());
    assert!(c.wait.next_look >= now + SECOND_LOOK && c.wait.next_look <= Instant::now() + SECOND_LOOK);
    // Another claimant is the first now, so the count starts again.
    a.claimant.place.leave(Leaving::GivesUp);
    assert!(c.looks_and_sleeps() && scene.tickets() == 2);
    // Those that do not wait do not make the count start again. Otherwise many of them could keep the others out for ever.
    holder.lock().unwrap();
    assert!(c.looks_and_sleeps() && c.wait.no_show.is_some());
    holder.unlock().unwrap();
    assert!(c.look() == Step::Again && scene.tickets() == 1);
    assert!(c.advance() == Step::Acquired);
    assert!(
        b.looks_and_sleeps() && b.wait.wakes_at(Instant::now(), 0.0) < Instant::now() + SECOND_LOOK,
        "it lost its place, and joins anew"
    );
    assert!(b.looks_and_sleeps() && scene.tickets() == 2);
}

/// Claimants that do not wait hold the lock at each look. It was free in between, and the first in line did not take it.
#[test]
fn a_first_in_line_loses_its_place_though_each_look_finds_the_lock_taken() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b] = scene.waiters();
    let mut pass_on = || {
        holder.unlock().unwrap();
        holder.lock().unwrap();
    };
    assert!(b.looks_and_sleeps() && b.looks_and_sleeps() && b.wait.no_show.is_none(), "the same bid both times");
    for signs in 1..SIGNS {
        pass_on();
        assert!(b.looks_and_sleeps() && b.wait.signs == signs && scene.tickets() == 2);
        assert!(b.looks_and_sleeps() && b.wait.signs == signs, "the bid of the look before");
    }
    pass_on();
    assert!(b.look() == Step::Again && scene.tickets() == 1, "`a` has lost its place");
    assert!(b.sleeps() && b.wait.is_first());
    assert!(a.looks_and_sleeps() && a.looks_and_sleeps() && scene.tickets() == 2, "`a` joins anew");
    assert!(a.wait.knows_line() && !a.wait.is_first());
}

/// The readers inside leave one after the other, and each look finds another one of them. The lock was never free.
#[test]
fn a_writer_keeps_its_place_while_readers_leave_one_by_one() {
    let scene = Scene::new();
    let mut readers: Vec<_> = (0..8).map(|_| scene.sharing(Slots::Any)).collect();
    readers.iter_mut().for_each(|reader| reader.lock().unwrap());
    let [mut writer] = scene.waiters();
    let mut later = scene.waiting(scene.sharing(Slots::Any));
    assert!(later.sleeps() && later.looks_and_sleeps() && later.looks_and_sleeps());
    for reader in &mut readers {
        assert!(writer.sleeps() && later.looks_and_sleeps());
        assert!(later.wait.no_show.is_none() && later.wait.signs == 0 && scene.tickets() == 2);
        reader.unlock().unwrap();
    }
    assert!(writer.advance() == Step::Acquired);
    assert!(later.looks_and_sleeps() && later.wait.no_show.is_none());
}

/// Readers that do not wait come and go, and some of them are inside at each look. They gave way to the writer, and it did not come.
#[test]
fn a_writer_loses_its_place_though_each_look_finds_readers() {
    let scene = Scene::new();
    let mut readers = [(); 2].map(|()| scene.sharing(Slots::Any));
    readers[0].lock().unwrap();
    let [mut writer] = scene.waiters();
    let mut later = scene.waiting(scene.sharing(Slots::Any));
    assert!(later.sleeps() && later.looks_and_sleeps() && later.looks_and_sleeps());
    for signs in 1..=SIGNS {
        readers[1].lock().unwrap();
        readers[0].unlock().unwrap();
        readers.reverse();
        match signs {
            SIGNS => assert!(later.look() == Step::Again && scene.tickets() == 1, "the writer has lost its place"),
            _ => assert!(later.looks_and_sleeps() && later.wait.signs == signs && scene.tickets() == 2),
        }
    }
    assert!(later.advance() == Step::Acquired && writer.looks_and_sleeps());
}

/// Where n places are taken, a bid that is new took a place that was free, and the first in line did not take it.
#[test]
fn a_first_in_line_loses_its_place_though_each_look_finds_all_places_taken() {
    let scene = Scene::new();
    let mut holders = [(); 2].map(|()| scene.sharing(Slots::AtMost(2)));
    holders.iter_mut().for_each(|holder| holder.lock().unwrap());
    let [mut a, mut b] = [(); 2].map(|()| {
        let mut waiter = scene.waiting(scene.sharing(Slots::AtMost(2)));
        assert!(waiter.sleeps());
        waiter
    });
    assert!(b.looks_and_sleeps() && b.looks_and_sleeps() && b.wait.no_show.is_none());
    for signs in 1..=SIGNS {
        let [holder, _] = &mut holders;
        holder.unlock().unwrap();
        holder.lock().unwrap();
        holders.reverse();
        match signs {
            SIGNS => assert!(b.look() == Step::Again && scene.tickets() == 1, "`a` has lost its place"),
            _ => assert!(b.looks_and_sleeps() && b.wait.signs == signs && scene.tickets() == 2),
        }
    }
    assert!(b.sleeps() && b.wait.is_first() && a.looks_and_sleeps());
}

/// The first in line has the lock now, so it is no no-show, though another bid was there before.
#[test]
fn a_first_in_line_that_holds_the_lock_keeps_its_place() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b] = scene.waiters();
    assert!(b.looks_and_sleeps());
    holder.unlock().unwrap();
    assert!(a.advance() == Step::Acquired);
    assert!(b.looks_and_sleeps() && b.wait.no_show.is_none() && b.wait.signs == 0);
}

/// The lock is free when the no-show loses its place. That moment therefore counts as the first sighting of the next
/// no-show.
#[test]
fn the_claimant_behind_a_no_show_has_until_the_next_look() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [_a, _b, mut c, mut d, mut e] = scene.waiters();
    holder.unlock().unwrap();
    assert!(e.looks_and_sleeps());
    let is_seen_by = |e: &Waiting, now: Instant| {
        let a_second = now + SECOND_LOOK..=Instant::now() + SECOND_LOOK;
        e.wait.no_show.is_some() && a_second.contains(&e.wait.next_look)
    };
    for left in [4, 3] {
        let now = Instant::now();
        assert!(e.look() == Step::Again && scene.tickets() == left);
        assert!(is_seen_by(&e, now));
        assert!(e.sleeps() && scene.tickets() == left, "no other look is due yet");
    }
    // This claimant does come.
    assert!(c.is_woken() && c.advance() == Step::Acquired);
    assert!(e.looks_and_sleeps() && scene.tickets() == 3);
    c.claimant.unlock().unwrap();
    assert!(e.looks_and_sleeps() && scene.tickets() == 2, "`c` had the lock, so `d` is no no-show yet");
    assert!(e.look() == Step::Again && e.wait.no_show.is_none(), "no claimant is left before `e`");
    assert!(e.advance() == Step::Acquired);
    assert!(d.sleeps());
}

#[test]
fn a_waiter_goes_on_in_the_folder_that_is_at_the_path_now() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    let aside = Scratch::new();
    std::fs::rename(&*scene.path, aside.join("moved")).unwrap();
    std::fs::create_dir(&*scene.path).unwrap();
    let mut another = scene.holder();
    assert!(waiter.sleeps());
    assert!(waiter.sleeps());
    assert!(waiter.wait.watch.as_ref().is_some_and(|(id, _)| *id == another.place.folder_id()));
    another.unlock().unwrap();
    assert!(waiter.is_woken() && waiter.advance() == Step::Acquired);
}

#[test]
fn a_polling_waiter_sleeps_longer_each_time_even_if_a_look_is_overdue() {
    let scene = Scene::new();
    let (mut wait, now) = (scene.newcomer().wait, Instant::now());
    wait.next_look = now;
    let full = [1000, 2000, 4000, 8000, 16000, 32000, 50000, 50000].map(Duration::from_micros);
    assert_eq!(full.map(|_| wait.wakes_at(now, 0.0)), full.map(|pause| now + pause / 2));
    wait.polled = SHORTEST_PAUSE;
    assert_eq!(full.map(|_| wait.wakes_at(now, 1.0)), full.map(|pause| now + pause));
    for (cost, longest) in [(5, 50), (20, 200), (500, 1000)].map(|pair| (pair.0, Duration::from_millis(pair.1))) {
        (wait.cost, wait.polled) = (Duration::from_millis(cost), SHORTEST_PAUSE);
        let last = (0..20).map(|_| wait.wakes_at(now, 1.0)).last();
        assert_eq!(last, Some(now + longest), "a look takes {cost} ms");
    }
}

#[test]
fn a_notified_waiter_sleeps_until_the_next_look() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    waiter.wait.polled = LONGEST_PAUSE;
    waiter.wait.next_look = Instant::now() + Duration::from_secs(3600);
    assert_eq!(waiter.wait.wakes_at(Instant::now(), 0.0), waiter.wait.next_look);
    assert_eq!(waiter.wait.polled, SHORTEST_PAUSE);
    waiter.wait.holders.clear();
    assert!(!waiter.wait.is_told(), "its death would go unnoticed");
    waiter.wait.holders = waiter.claimant.place.last_rivals();
    assert!(waiter.wait.is_told());
    waiter.wait.watch = None;
    assert!(!waiter.wait.is_told(), "an unlock would go unnoticed");
}

/// A user can post and delete bids without an end. Where a look takes long, the pauses between looks grow.
#[test]
fn changes_that_do_not_free_the_lock_make_the_looks_rarer() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    let (end, cost) = (Instant::now(), Duration::from_millis(20));
    let mut quiet = |cost, woken| {
        waiter.wait.cost = cost;
        waiter.wait.keep_quiet(end, woken);
        waiter.wait.quiet_until().map(|until| (until - end).as_millis())
    };
    assert_eq!(quiet(cost, false), None, "the first look after a quiet time comes at once");
    assert_eq!([(); 5].map(|()| quiet(cost, true)), [20, 40, 80, 160, 200].map(Some));
    assert_eq!(quiet(cost, false), None);
    assert_eq!([(); 2].map(|()| quiet(cost, true)), [20, 40].map(Some));
    assert_eq!(quiet(QUICK_LOOK, true), None);
    assert_eq!([(); 2].map(|()| quiet(Duration::from_secs(5), true)), [1000; 2].map(Some));
}

/// With this, all looks together (each may read the line) cost the same however many claimants wait.
#[test]
fn looks_have_jitter_and_are_further_apart_in_a_longer_line() {
    assert_eq!([0.0, 0.5, 1.0].map(|chance| jittered(LOOK * 4, chance)), [6, 8, 10].map(Duration::from_secs));
    for (length, millis) in [(0, 2000), (1000, 12_000)] {
        let (mut wait, now) = (Scene::new().newcomer().wait, Instant::now());
        wait.view.length = length;
        wait.look_later(now, 0.5);
        assert_eq!(wait.next_look, now + Duration::from_millis(millis));
    }
}

/// A step that finds more to do at once, again and again. The bound holds whatever the reason is.
#[test]
fn a_waiter_that_always_has_more_to_do_sleeps_in_between() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    assert!((0..AT_ONCE).all(|_| matches!(waiter.wait.bounded(Round::Again), Round::Again)));
    for _ in 0..3 {
        assert!(matches!(waiter.wait.bounded(Round::Again), Round::Sleep));
        assert!(
            Folder::sources(waiter.wait.waits_for()).iter().all(Option::is_none),
            "nothing but the time ends the sleep"
        );
        assert!(!waiter.wait.is_told(), "the sleep is short");
    }
    assert!(matches!(waiter.wait.bounded(Round::Sleep), Round::Sleep));
    assert!(matches!(waiter.wait.bounded(Round::Again), Round::Again));
}
