//! Rounds of waiting, one by one, in one thread: whoever is to be told is told, and nobody else.

use std::path::PathBuf;

use super::*;
use crate::error::ErrorKind;
use crate::folder::Folder;
use crate::protocol::Leaving;
use crate::scratch::Scratch;
use crate::sys::Source;

/// A lock folder, and who waits there.
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

    /// Each has come, found that it can't have the lock, and would sleep.
    fn waiters<const N: usize>(&self) -> [Waiting; N] {
        std::array::from_fn(|_| {
            let mut waiter = self.newcomer();
            assert!(waiter.sleeps());
            waiter
        })
    }

    fn newcomer(&self) -> Waiting {
        let mut claimant = self.path.claimant();
        Waiting { wait: Wait::new(&mut claimant.place), claimant }
    }

    /// Others come, of whom nobody is told.
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
    /// One round, after a sleep that ended by what is ready. No look is due, however slow this machine is.
    fn advance(&mut self) -> Step {
        self.advance_at(Instant::now() + Duration::from_secs(3600))
    }

    fn advance_at(&mut self, next_look: Instant) -> Step {
        self.wait.next_look = next_look;
        let woken = is_ready([Folder::sources(&self.wait)[0], None]);
        self.wait.step(&mut self.claimant, Instant::now(), woken).unwrap()
    }

    /// One step in which a look at what no event tells is due.
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
        is_ready(Folder::sources(&self.wait))
    }
}

fn is_ready(sources: [Option<Source<'_>>; 2]) -> bool {
    use rustix::event::{poll, PollFd, PollFlags, Timespec};
    let mut fds: Vec<_> = sources.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn each_hand_over_wakes_the_next_and_nobody_else() {
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
    // The common hand-over, without a look at the line.
    let length = b.wait.view.length;
    scene.lengthen_the_line(5);
    assert!(b.advance() == Step::Acquired);
    assert_eq!(b.wait.view.length, length);
    b.claimant.unlock().unwrap();
    assert!(c.is_woken() && c.advance() == Step::Acquired);
}

/// So it costs what a lock costs.
#[test]
fn who_finds_the_lock_free_and_no_line_stands_in_none() {
    let scene = Scene::new();
    let mut claimant = scene.path.claimant();
    assert!(claimant.lock_unless_line().unwrap());
    assert!(claimant.held().is_some() && !scene.queue().exists());
    claimant.unlock().unwrap();
    // A folder that nobody could remove is no line yet, and what else is in it is no ticket.
    std::fs::create_dir(scene.queue()).unwrap();
    std::fs::write(scene.queue().join("note"), "").unwrap();
    assert!(claimant.lock_unless_line().unwrap() && claimant.held().is_some());
    claimant.unlock().unwrap();
    scene.lengthen_the_line(1);
    assert!(!claimant.lock_unless_line().unwrap() && claimant.held().is_none());
}

/// Nobody waits for what no unlock can mend.
#[test]
fn an_error_is_not_taken_for_a_holder() {
    let scene = Scene::new();
    let (_holder, mut claimant) = (scene.holder(), scene.path.claimant());
    assert!(!claimant.lock_if_free().unwrap());
    std::fs::remove_dir_all(&*scene.path).unwrap();
    assert_eq!(claimant.lock_if_free().unwrap_err().kind(), ErrorKind::Io);
}

/// By what the one before it says. Who only left the line may have had another before it.
#[test]
fn it_is_our_turn_when_the_one_before_us_has_had_the_lock() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b, mut c, mut d] = scene.waiters();
    let is_our_turn = |waiter: &mut Waiting| {
        let woken = waiter.is_woken();
        waiter.wait.is_our_turn(woken)
    };
    assert!(a.wait.is_first() && ![&b, &c, &d].iter().any(|waiter| waiter.wait.is_first()));
    assert!(![&mut a, &mut b, &mut c, &mut d].into_iter().any(is_our_turn));
    c.claimant.place.leave(Leaving::GivesUp);
    assert!(!is_our_turn(&mut d));
    holder.unlock().unwrap();
    assert!(!is_our_turn(&mut a) && a.advance() == Step::Acquired, "there was nobody to tell it");
    a.claimant.unlock().unwrap();
    assert!(is_our_turn(&mut b));
    assert!(!b.wait.is_our_turn(false), "something else woke it");
    assert!(!scene.newcomer().wait.is_first(), "not in line");
}

/// Whoever joins a long line does not read it: what comes before the last is none of its business, and may be anything.
#[test]
fn the_tail_of_a_long_line_tells_who_is_before() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let mut waiters: [Waiting; 10] = scene.waiters();
    let views = waiters.each_ref().map(|waiter| waiter.wait.view.length);
    assert_eq!(views, [1, 2, 3, 4, 5, 6, 7, 8, 2, 2], "the last two have read nothing");
    assert!(!waiters[1..].iter().any(|waiter| waiter.wait.is_first()), "but they know of one before them");
    let mut another = scene.newcomer();
    assert!(another.looks_and_sleeps());
    assert_eq!(another.wait.view.length, 11, "a look that is due is at the whole line");
    drop(another);
    holder.unlock().unwrap();
    for waiter in &mut waiters {
        assert!(waiter.is_woken() && waiter.advance() == Step::Acquired);
        waiter.claimant.unlock().unwrap();
    }
    assert!(!scene.path.join(".lockfolder/tail").exists());
}

/// Then it is somebody else's turn, and to try is to find that out.
#[test]
fn who_was_told_too_soon_takes_its_place_again() {
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

/// It need not read the line each time; but once in a while it does.
#[test]
fn whoever_is_first_reads_the_line_only_when_a_look_is_due() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    scene.lengthen_the_line(5);
    assert!(waiter.sleeps() && waiter.wait.view.length == 1);
    assert!(waiter.looks_and_sleeps() && waiter.wait.view.length == 6);
}

/// The others look at the line once, if the tail told them of one before them, and from then on only if the lock is free.
#[test]
fn a_look_that_finds_the_lock_taken_reads_the_line_only_to_know_it() {
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
        assert!(told.wait.next_look >= before + out_of_step(LOOK, 0.0), "the next one is later");
    }
    holder.unlock().unwrap();
    assert!(read.looks_and_sleeps() && lengths(read, told) == [14, 14] && read.wait.no_show.is_some());
    // And if its place was taken, it stands in the line anew, whoever holds.
    holder.lock().unwrap();
    std::fs::remove_dir_all(scene.queue()).unwrap();
    assert!(read.looks_and_sleeps() && !read.wait.knows_line());
    assert!(read.looks_and_sleeps() && scene.tickets() == 1);
}

/// To give it up takes longer than the lock.
#[test]
fn what_watches_the_folder_is_kept_until_we_leave_the_line() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut waiter] = scene.waiters();
    holder.unlock().unwrap();
    assert!(waiter.advance() == Step::Acquired);
    let is_kept =
        |claimant: &Session<Folder>| claimant.place.queue.as_ref().is_some_and(|queue| queue.folder_watch.is_some());
    assert!(is_kept(&waiter.claimant));
    waiter.claimant.unlock().unwrap();
    assert!(!is_kept(&waiter.claimant));
}

/// A ticket of the dead is taken out of the line, and the next look is at once.
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
fn a_first_in_line_that_is_seen_twice_not_to_come_forward_loses_its_place() {
    let scene = Scene::new();
    let mut holder = scene.holder();
    let [mut a, mut b, mut c] = scene.waiters();
    assert!(c.looks_and_sleeps() && c.wait.no_show.is_none(), "somebody holds");
    holder.unlock().unwrap();
    assert!(c.sleeps() && c.wait.no_show.is_none(), "no look is due");
    let now = Instant::now();
    assert!(c.looks_and_sleeps() && c.wait.no_show.is_some());
    assert!(c.wait.next_look >= now + SECOND_LOOK && c.wait.next_look <= Instant::now() + SECOND_LOOK);
    // Somebody holds in between: it starts anew.
    holder.lock().unwrap();
    assert!(c.looks_and_sleeps() && c.wait.no_show.is_none());
    holder.unlock().unwrap();
    assert!(c.looks_and_sleeps());
    // Another is the first now: it starts anew, too.
    a.claimant.place.leave(Leaving::GivesUp);
    assert!(c.looks_and_sleeps() && scene.tickets() == 2);
    assert!(c.look() == Step::Again && scene.tickets() == 1);
    assert!(c.advance() == Step::Acquired);
    assert!(
        b.looks_and_sleeps() && b.wait.wakes_at(Instant::now(), 0.0) < Instant::now() + SECOND_LOOK,
        "it lost its place, and joins anew"
    );
    assert!(b.looks_and_sleeps() && scene.tickets() == 2);
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
fn a_waiter_that_polls_sleeps_ever_longer_also_when_a_look_is_overdue() {
    let scene = Scene::new();
    let (mut wait, now) = (scene.newcomer().wait, Instant::now());
    wait.next_look = now;
    let full = [1000, 2000, 4000, 8000, 16000, 32000, 50000, 50000].map(Duration::from_micros);
    assert_eq!(full.map(|_| wait.wakes_at(now, 0.0)), full.map(|pause| now + pause / 2));
    wait.polled = SHORTEST_PAUSE;
    assert_eq!(full.map(|_| wait.wakes_at(now, 1.0)), full.map(|pause| now + pause));
}

#[test]
fn whoever_is_told_sleeps_until_the_next_look() {
    let scene = Scene::new();
    let _holder = scene.holder();
    let [mut waiter] = scene.waiters();
    waiter.wait.polled = LONGEST_PAUSE;
    waiter.wait.next_look = Instant::now() + Duration::from_secs(3600);
    assert_eq!(waiter.wait.wakes_at(Instant::now(), 0.0), waiter.wait.next_look);
    assert_eq!(waiter.wait.polled, SHORTEST_PAUSE);
    waiter.wait.holder = None;
    assert!(!waiter.wait.is_told(), "its death would go unnoticed");
    waiter.wait.holder = waiter.claimant.place.last_rival();
    assert!(waiter.wait.is_told());
    waiter.wait.watch = None;
    assert!(!waiter.wait.is_told(), "an unlock would go unnoticed");
}

/// So that all looks together, of which each reads the line, cost the same however many wait.
#[test]
fn looks_are_further_apart_in_a_longer_line_and_out_of_step() {
    assert_eq!([0.0, 0.5, 1.0].map(|chance| out_of_step(LOOK * 4, chance)), [6, 8, 10].map(Duration::from_secs));
    for (length, millis) in [(0, 2000), (1000, 12_000)] {
        let (mut wait, now) = (Scene::new().newcomer().wait, Instant::now());
        wait.view.length = length;
        wait.look_later(now, 0.5);
        assert_eq!(wait.next_look, now + Duration::from_millis(millis));
    }
}
