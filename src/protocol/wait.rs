//! Waiting for the lock. Waiters take turns in the order of their arrival, and sleep until there is something to do.
//! `docs/waiting.md` describes the states of a claimant, and why no wake-up can be lost.
//!
//! Nothing here sleeps. Each step does everything that can be done without a sleep, and then returns the time until
//! which the caller should sleep. A step always sets up the wake-up *before* it looks and finds nothing to do. An event
//! between the look and the sleep is therefore never missed.

use std::time::{Duration, Instant};

use super::{after_jump, Line, Session, Standing, View};
use crate::error::Result;

/// Without a notification from the kernel, a waiter looks again after a random, growing pause between these two limits.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Where a look takes long, as in a folder with many other files, the pauses grow to this many times that long, but not beyond the
/// longest one. With the jitter, looks that take up to 100 ms then cost about an eighth of one CPU.
const PAUSE_PER_COST: u32 = 10;
const LONGEST_COSTLY_PAUSE: Duration = Duration::from_secs(1);
/// A look that takes no longer may follow on every change of the place.
const QUICK_LOOK: Duration = Duration::from_micros(500);

/// With notifications, a waiter still looks this often, because two things cause no event: the first in line does not
/// come forward although the lock is free (it may be stopped), or the folder was moved.
const LOOK: Duration = Duration::from_secs(2);
/// Signs of a no-show must be seen this far apart, because a claimant on an overloaded machine may need a while.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// So many signs make the first in line a no-show: a lock that is free counts as two, a lock that others have passed on as one. The
/// first in line may have lost a race with those others.
const SIGNS: u8 = 4;
/// How many dead claimants a waiter passes over before it checks whether its time is over.
const PASSED_OVER: usize = 1000;
/// How many steps in a row may ask for another one at once. What makes a waiter go on without an end, whatever it is, then
/// costs a look for each pause, and not a whole processor.
const AT_ONCE: u32 = 100;
/// The time between looks grows by this much for each pair of waiters. Each look reads the line if the lock is free;
/// with this growth all looks together stay below a few percent of one CPU.
const LOOK_PER_PAIR: Duration = Duration::from_micros(10);

/// The result of one step of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// We hold the lock.
    Acquired,
    /// There is more to do at once. (A line of many dead claimants takes many steps. The caller can check its deadline
    /// and cancellation between them.)
    Again,
    /// The wake-ups are set up. Sleep until this time, or until a source of [`Wait::waits_for`] is ready.
    SleepUntil(Instant),
}

/// What should wake a waiter.
pub(crate) enum WaitsFor<'a, P: Line> {
    Predecessor(&'a P::Predecessor),
    /// For the first in line: a change of the place, or the death of a holder.
    Holders(Option<&'a P::Watch>, &'a [P::Rival]),
}

/// One wait: what should wake it, and what it remembers from one step to the next.
pub(crate) struct Wait<P: Line> {
    /// The watch on the place. We set it up when we were the first in line and the lock was not free.
    pub(super) watch: Option<P::Watch>,
    /// If we are the first in line: the rivals that we wait for. One of them must go.
    pub(super) holders: Vec<P::Rival>,
    /// If we are not the first in line: the claimant that we wait for.
    pub(super) ahead: Option<P::Predecessor>,
    /// The line as we last saw it.
    pub(super) view: View<P::Ticket>,
    pub(super) next_look: Instant,
    /// The rival that the last look found.
    pub(super) seen: Option<P::Rival>,
    /// The claimant that may be a no-show: it was the first in line when a look found a sign of that. And how many signs there were.
    pub(super) no_show: Option<P::Ticket>,
    pub(super) signs: u8,
    polled: Duration,
    /// How long the last step took.
    cost: Duration,
    /// For how long the next sleep ignores changes of the place, and until when.
    quiet: Duration,
    quiet_until: Option<Instant>,
    /// How many steps in a row asked for another one at once.
    at_once: u32,
}

impl<P: Line> Wait<P> {
    pub fn new(place: &mut P) -> Wait<P> {
        Wait {
            watch: None,
            holders: Vec::new(),
            ahead: None,
            view: View::default(),
            next_look: place.now() + jittered(LOOK, place.chance()),
            seen: None,
            no_show: None,
            signs: 0,
            polled: SHORTEST_PAUSE,
            cost: Duration::ZERO,
            quiet: Duration::ZERO,
            quiet_until: None,
            at_once: 0,
        }
    }

    /// One step. `woken`: the predecessor, or a change of the place, ended the sleep before this step.
    pub fn step(&mut self, session: &mut Session<P>, now: Instant, woken: bool) -> Result<Step> {
        let round = self.advance(session, now, woken)?;
        Ok(match self.bounded(round) {
            Round::Acquired => {
                session.place.pass_on();
                session.place.put_by(self.watch.take(), self.ahead.take());
                Step::Acquired
            }
            Round::Again => Step::Again,
            Round::Sleep => {
                let end = session.place.now();
                self.cost = end.saturating_duration_since(now);
                self.keep_quiet(end, woken);
                Step::SleepUntil(self.wakes_at(end, session.place.chance()))
            }
        })
    }

    /// Each change of the place wakes the first in line, and a user can make as many as it likes. After changes that did not give us
    /// the lock, we look no more often than a waiter that polls. The first look after a quiet time always comes at once.
    fn keep_quiet(&mut self, end: Instant, woken: bool) {
        let is_too_much = woken && self.ahead.is_none() && self.cost > QUICK_LOOK;
        let longest = (self.cost * PAUSE_PER_COST).min(LONGEST_COSTLY_PAUSE);
        self.quiet = if is_too_much { (self.quiet * 2).clamp(self.cost.min(longest), longest) } else { Duration::ZERO };
        self.quiet_until = is_too_much.then(|| end + self.quiet);
    }

    /// Until this time, a sleep need not end because of a change of the place. Changes are still there afterwards.
    pub fn quiet_until(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// The clock of our moments jumped by so many nanoseconds since the last step.
    pub fn follow_jump(&mut self, nanos: i64) {
        self.next_look = after_jump(self.next_look, nanos);
        self.quiet_until = self.quiet_until.map(|until| after_jump(until, nanos));
    }

    /// Never lets a waiter go on without a sleep for ever.
    fn bounded(&mut self, round: Round) -> Round {
        match round {
            Round::Again if self.at_once == AT_ONCE => self.start_anew_later(),
            Round::Again => {
                self.at_once += 1;
                Round::Again
            }
            done => {
                self.at_once = 0;
                done
            }
        }
    }

    pub fn waits_for(&self) -> WaitsFor<'_, P> {
        match &self.ahead {
            Some(ahead) => WaitsFor::Predecessor(ahead),
            None => WaitsFor::Holders(self.watch.as_ref(), &self.holders),
        }
    }

    /// When we read the line, no ticket was before ours.
    fn is_first(&self) -> bool {
        self.view.length > 0 && self.view.predecessor.is_none()
    }

    /// We have read the line (a newcomer may only know the ticket before its own), and we watch our predecessor.
    fn knows_line(&self) -> bool {
        self.view.first.is_some() && self.ahead.is_some()
    }

    /// Our predecessor, if it has told us that it gives the lock back.
    fn told(&self, woken: bool) -> Option<&P::Predecessor> {
        self.ahead.as_ref().filter(|ahead| woken && P::has_handed_over(ahead))
    }

    /// Whether the kernel notifies us of all that matters: the claimant that we wait for lets go, or it dies.
    pub(super) fn is_told(&self) -> bool {
        match self.waits_for() {
            WaitsFor::Predecessor(ahead) => P::tells(ahead),
            WaitsFor::Holders(watch, holders) => {
                watch.is_some() && !holders.is_empty() && holders.iter().all(P::tells_death)
            }
        }
    }

    /// When to look again. `chance` is from 0 to 1.
    fn wakes_at(&mut self, now: Instant, chance: f64) -> Instant {
        if self.is_told() {
            self.polled = SHORTEST_PAUSE;
            return self.next_look;
        }
        let pause = self.polled;
        let longest = (self.cost * PAUSE_PER_COST).clamp(LONGEST_PAUSE, LONGEST_COSTLY_PAUSE);
        self.polled = (pause * 2).min(longest);
        // A look that is due does not shorten the pause. Otherwise an overdue look would make it zero.
        now + pause.mul_f64(0.5 + 0.5 * chance)
    }

    /// Forgets what we saw, and looks at everything anew after a pause.
    fn start_anew_later(&mut self) -> Round {
        (self.ahead, self.holders, self.watch) = (None, Vec::new(), None);
        (self.view, self.polled) = (View::default(), LONGEST_PAUSE);
        Round::Sleep
    }

    fn look_later(&mut self, now: Instant, chance: f64) {
        let pairs = u32::try_from(self.view.length.saturating_mul(self.view.length)).unwrap_or(u32::MAX);
        self.next_look = now + jittered(LOOK + LOOK_PER_PAIR.saturating_mul(pairs), chance);
    }

    fn advance(&mut self, session: &mut Session<P>, now: Instant, woken: bool) -> Result<Round> {
        session.place.clear()?;
        let is_due = now >= self.next_look;
        if is_due {
            self.look_later(now, session.place.chance());
        }
        // The common hand-over: we need not read the line again.
        let told = if is_due { None } else { self.told(woken) };
        if let Some(predecessor) = told {
            if session.lock_after(predecessor)? {
                return Ok(Round::Acquired);
            }
        }
        if !is_due && self.is_first() {
            if self.lock_as_first(session)? {
                return Ok(Round::Acquired);
            }
            if session.place.has_ticket() {
                return Ok(Round::Sleep);
            } // otherwise this is another place now, with another line
        }
        session.place.refresh()?;
        let mut lock = None;
        match session.place.stand()? {
            Standing::Stood if is_due && self.knows_line() => {
                let seen = self.look(session)?;
                // In most cases a look finds only this. The hand-over will reach us through the claimants before us.
                if seen == Lock::Taken {
                    return Ok(Round::Sleep);
                }
                lock = Some(seen);
                self.view = session.place.view()?;
            }
            Standing::Nowhere => {
                (self.ahead, self.holders, self.watch) = (None, Vec::new(), None);
                self.view = View::default();
                return session.lock_if_free().map(Round::of); // without a line any claimant may take the lock
            }
            // We were a no-show, or somebody is deleting the whole folder and must be able to finish. We join anew
            // later.
            Standing::Lost => return Ok(self.start_anew_later()),
            Standing::Joined(Some(ticket)) if !is_due => self.view = View::of_predecessor(ticket),
            Standing::Stood | Standing::Joined(_) => self.view = session.place.view()?,
        }
        if self.view.length == 0 {
            return Ok(self.start_anew_later()); // our ticket was removed after `stand` saw it
        }
        if is_due {
            self.look_later(now, session.place.chance()); // now we know how long the line is
        }
        let Some(predecessor) = self.view.predecessor else {
            return self.lock_as_first(session).map(Round::of);
        };
        let known = self.ahead.take();
        self.ahead = session.place.watch_predecessor(predecessor, known)?;
        // We pass over many dead claimants without reading the line for each. The bound lets the caller check its
        // deadline.
        for _ in 0..PASSED_OVER {
            if self.ahead.is_some() {
                break;
            }
            let Some(predecessor) = self.view.step_back() else {
                // We may have known only one predecessor. Its end does not make us the first in line.
                self.view = View::default();
                break;
            };
            self.ahead = session.place.watch_predecessor(predecessor, None)?;
        }
        if self.ahead.is_none() || is_due && self.forfeit_no_show(session, now, lock)? {
            return Ok(Round::Again); // the predecessor is gone, so find the new one
        }
        Ok(Round::Sleep)
    }

    /// Bids by check-bid-check. False: there is a holder, and the watches that will tell us what it does are set up.
    fn lock_as_first(&mut self, session: &mut Session<P>) -> Result<bool> {
        (self.view.predecessor, self.ahead, self.seen) = (None, None, None);
        if session.lock_if_free()? {
            return Ok(true);
        }
        // Only now, because a claimant that finds the lock free, as after a hand-over, needs no watch. A watch that we
        // keep is reset here: it then reports only later changes.
        self.watch = session.place.watch(self.watch.take());
        if self.watch.is_some() && session.lock_if_free()? {
            return Ok(true);
        }
        self.holders = session.place.last_rivals();
        if let Some(holder) = self.holders.last() {
            session.place.restore_order(holder)?;
        }
        Ok(false)
    }

    /// Looks at the lock. The claimant that was the first in line when we read the line did not use its turn if the lock is free, and
    /// if the lock was free since the last look, because another rival has it now.
    fn look(&mut self, session: &mut Session<P>) -> Result<Lock> {
        let now = session.place.rival(self.view.first)?;
        let before = std::mem::replace(&mut self.seen, now.clone());
        let Some(now) = now else { return Ok(Lock::Free) };
        let before = before.filter(|before| !P::is_same_bid(before, &now));
        let is_passed_on =
            before.zip(self.view.first).is_some_and(|(before, first)| session.place.is_overtaken(first, &before, &now));
        Ok(if is_passed_on { Lock::PassedOn } else { Lock::Taken })
    }

    /// Limits how long a claimant that can't or won't use its turn delays the line. True: the first in line lost its
    /// place; if it comes back, it goes to the end.
    ///
    /// Others may hold the lock between two looks that find it free. They did not wait, and the first in line could have
    /// been there before them, too. `lock` is what this step saw before it read the line.
    fn forfeit_no_show(&mut self, session: &mut Session<P>, now: Instant, lock: Option<Lock>) -> Result<bool> {
        let lock = match lock {
            Some(Lock::PassedOn) => Lock::PassedOn, // a second look would show the same bid, and no sign
            // If the lock was free, the first in line may have taken it while we read the line.
            Some(Lock::Free | Lock::Taken) | None => self.look(session)?,
        };
        let signs = lock.signs();
        if signs == 0 {
            return Ok(false);
        }
        // Each claimant watches only the one right before it. If that watcher is stopped, nobody notices the death of the one it watches.
        if self.view.first.is_some_and(|first| session.place.bury(first)) {
            self.next_look = now; // the first of those that are left may be a no-show
            return Ok(true);
        }
        let is_known = self.no_show.is_some() && self.no_show == self.view.first;
        self.signs = signs + if is_known { self.signs } else { 0 };
        let forfeits = self.no_show.filter(|_| is_known && self.signs >= SIGNS);
        forfeits.into_iter().for_each(|first| session.place.discard(first));
        // When a no-show loses its place, its successor is notified. This look therefore counts as the first sign that
        // the successor is missing. Of several stopped claimants in a row, each costs one second if the lock is free, not two looks.
        (self.no_show, self.signs) = match forfeits {
            Some(_) => (self.view.second(), signs),
            None => (self.view.first, self.signs),
        };
        if self.no_show.is_some() {
            self.next_look = now + SECOND_LOOK;
        }
        Ok(forfeits.is_some())
    }
}

/// The lock, as a look shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Free,
    /// It was free since the last look, and the first in line did not take it.
    PassedOn,
    Taken,
}

impl Lock {
    /// How many signs this is that the first in line is a no-show.
    fn signs(self) -> u8 {
        match self {
            Lock::Free => 2,
            Lock::PassedOn => 1,
            Lock::Taken => 0,
        }
    }
}

/// The outcome of one round.
enum Round {
    Acquired,
    Again,
    Sleep,
}

impl Round {
    fn of(acquired: bool) -> Round {
        match acquired {
            true => Round::Acquired,
            false => Round::Sleep,
        }
    }
}

/// Adds jitter, because waiters that came together must not look at the same moment.
fn jittered(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.75 + 0.5 * chance)
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(loom)))]
mod tests;
