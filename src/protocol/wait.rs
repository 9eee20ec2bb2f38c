//! Waiting for the lock: first come, first served, and asleep until there is something to do. `docs/waiting.md` tells the
//! states of a claimant, and why no wake-up can be lost.
//!
//! Nothing here sleeps. Each step does all that can be done without a sleep, and says until when to sleep then. What is to wake us is
//! always set up *before* the look that finds nothing to do, so nothing that happens in between is missed.

use std::time::{Duration, Instant};

use super::{Line, Session, Standing, View};
use crate::error::Result;

/// Where the kernel doesn't tell, a waiter looks again after a random, growing pause between these.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Where it does tell, a waiter looks all the same, this often; for what no event tells: that the first in line doesn't come
/// forward although the lock is free (it is stopped, say), or that the folder was moved.
const LOOK: Duration = Duration::from_secs(2);
/// That it doesn't come forward must be seen twice, this long apart: on a machine that has too much to do, it may need a while.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// How many of the dead a waiter passes over before it looks whether its time is over.
const PASSED_OVER: usize = 1000;
/// For each pair of waiters, so that all their looks together (each reads the line, if the lock is free) keep below a few
/// percent of one CPU.
const LOOK_PER_PAIR: Duration = Duration::from_micros(10);

/// What a step of waiting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// We hold the lock.
    Acquired,
    /// There is more to do at once. (A line of many dead takes many steps, and the time or the wait may be over before.)
    Again,
    /// All is set up for whatever comes next: sleep until then, or until what [`Wait::waits_for`] says tells something.
    SleepUntil(Instant),
}

/// What a waiter is to be woken by.
pub(crate) enum WaitsFor<'a, P: Line> {
    Predecessor(&'a P::Predecessor),
    /// As the first in line: a change of the place, and the death of the holder.
    Holder(Option<&'a P::Watch>, Option<&'a P::Rival>),
}

/// One wait: what it is to be woken by, and what it remembers from one step to the next.
pub(crate) struct Wait<P: Line> {
    /// The place, once we were the first in line and the lock wasn't free.
    pub(super) watch: Option<P::Watch>,
    /// The rival that we wait for as the first in line.
    pub(super) holder: Option<P::Rival>,
    /// The claimant that we wait for otherwise.
    pub(super) ahead: Option<P::Predecessor>,
    /// What we saw of the line.
    pub(super) view: View<P::Ticket>,
    pub(super) next_look: Instant,
    /// The first in line at the last look, if the lock was free.
    pub(super) no_show: Option<P::Ticket>,
    polled: Duration,
}

impl<P: Line> Wait<P> {
    pub fn new(place: &mut P) -> Wait<P> {
        Wait {
            watch: None,
            holder: None,
            ahead: None,
            view: View::default(),
            next_look: place.now() + out_of_step(LOOK, place.chance()),
            no_show: None,
            polled: SHORTEST_PAUSE,
        }
    }

    /// One step. `woken`: the sleep before it was ended by the predecessor, or by a change of the place.
    pub fn step(&mut self, session: &mut Session<P>, now: Instant, woken: bool) -> Result<Step> {
        Ok(match self.advance(session, now, woken)? {
            Round::Acquired => {
                self.watch.take().into_iter().for_each(|watch| session.place.put_by(watch));
                Step::Acquired
            }
            Round::Again => Step::Again,
            Round::Sleep => Step::SleepUntil(self.wakes_at(session.place.now(), session.place.chance())),
        })
    }

    pub fn waits_for(&self) -> WaitsFor<'_, P> {
        match &self.ahead {
            Some(ahead) => WaitsFor::Predecessor(ahead),
            None => WaitsFor::Holder(self.watch.as_ref(), self.holder.as_ref()),
        }
    }

    /// Nobody was before us when we read the line.
    fn is_first(&self) -> bool {
        self.view.length > 0 && self.view.predecessor.is_none()
    }

    /// We have read the line, not only been told who is before us, and watch that one.
    fn knows_line(&self) -> bool {
        self.view.first.is_some() && self.ahead.is_some()
    }

    /// The one before us had the lock, and gave it back.
    fn is_our_turn(&self, woken: bool) -> bool {
        woken && self.ahead.as_ref().is_some_and(P::has_handed_over)
    }

    /// Whether the kernel tells all that matters: that the one we wait for lets go, and that it dies.
    pub(super) fn is_told(&self) -> bool {
        match self.waits_for() {
            WaitsFor::Predecessor(ahead) => P::tells(ahead),
            WaitsFor::Holder(watch, holder) => watch.is_some() && holder.is_some_and(P::tells_death),
        }
    }

    /// When to look again. `chance` is from 0 to 1.
    fn wakes_at(&mut self, now: Instant, chance: f64) -> Instant {
        if self.is_told() {
            self.polled = SHORTEST_PAUSE;
            return self.next_look;
        }
        let pause = self.polled;
        self.polled = (pause * 2).min(LONGEST_PAUSE);
        // Not cut short by a look that is due: where there is no line nobody looks, and the pause would be none at all.
        now + pause.mul_f64(0.5 + 0.5 * chance)
    }

    /// Our place in line is gone.
    fn start_anew_later(&mut self) -> Round {
        (self.ahead, self.holder, self.watch) = (None, None, None);
        (self.view, self.polled) = (View::default(), LONGEST_PAUSE);
        Round::Sleep
    }

    fn look_later(&mut self, now: Instant, chance: f64) {
        let pairs = u32::try_from(self.view.length.saturating_mul(self.view.length)).unwrap_or(u32::MAX);
        self.next_look = now + out_of_step(LOOK + LOOK_PER_PAIR.saturating_mul(pairs), chance);
    }

    fn advance(&mut self, session: &mut Session<P>, now: Instant, woken: bool) -> Result<Round> {
        session.place.clear()?;
        let is_due = now >= self.next_look;
        if is_due {
            self.look_later(now, session.place.chance());
        }
        // The common hand-over. No need to read the line again.
        if !is_due && self.is_our_turn(woken) && session.lock_if_free()? {
            return Ok(Round::Acquired);
        }
        if !is_due && self.is_first() {
            if self.lock_as_first(session)? {
                return Ok(Round::Acquired);
            }
            if session.place.has_ticket() {
                return Ok(Round::Sleep);
            } // else the place is another one now, and so is the line
        }
        session.place.refresh()?;
        match session.place.stand()? {
            // As a rule that is all that a look finds. The holder will tell, by way of those before us.
            Standing::Stood if is_due && self.knows_line() && self.is_taken(session)? => return Ok(Round::Sleep),
            Standing::Nowhere => {
                (self.ahead, self.holder, self.watch) = (None, None, None);
                self.view = View::default();
                return session.lock_if_free().map(Round::of); // without a line it's anybody's
            }
            // We didn't come forward, or somebody is deleting the whole folder, and shall get to its end. Then we join anew.
            Standing::Lost => return Ok(self.start_anew_later()),
            Standing::Joined(Some(ticket)) if !is_due => self.view = View::of_predecessor(ticket),
            Standing::Stood | Standing::Joined(_) => self.view = session.place.view()?,
        }
        if self.view.length == 0 {
            return Ok(self.start_anew_later()); // the same, a moment later
        }
        if is_due {
            self.look_later(now, session.place.chance()); // now we know how long the line is
        }
        let Some(predecessor) = self.view.predecessor else {
            return self.lock_as_first(session).map(Round::of);
        };
        let known = self.ahead.take();
        self.ahead = session.place.watch_predecessor(predecessor, known)?;
        // A line of many dead is passed over without reading it for each; but the time, or the wait, may be over meanwhile.
        for _ in 0..PASSED_OVER {
            if self.ahead.is_some() {
                break;
            }
            let Some(predecessor) = self.view.step_back() else {
                self.view = View::default(); // we may have been told of one alone, so that nobody is left does not make us the first
                break;
            };
            self.ahead = session.place.watch_predecessor(predecessor, None)?;
        }
        if self.ahead.is_none() || is_due && self.forfeit_no_show(session, now)? {
            return Ok(Round::Again); // it is gone: who is before us now?
        }
        Ok(Round::Sleep)
    }

    /// Bids by the ordinary protocol. False: there is a holder, and we are about to be told of what it does.
    fn lock_as_first(&mut self, session: &mut Session<P>) -> Result<bool> {
        (self.view.predecessor, self.ahead) = (None, None);
        if session.lock_if_free()? {
            return Ok(true);
        }
        // Only now: a claimant that comes to an unlocked folder, as by a hand-over, needs no watch on it, or no other news.
        self.watch = session.place.watch(self.watch.take());
        if self.watch.is_some() && session.lock_if_free()? {
            return Ok(true);
        }
        self.holder = session.place.last_rival();
        if let Some(holder) = &self.holder {
            session.place.restore_order(holder)?;
        }
        Ok(false)
    }

    /// A rival holds the lock, or bids for it; so the first in line has not failed to come forward.
    fn is_taken(&mut self, session: &mut Session<P>) -> Result<bool> {
        let is_taken = session.place.rival()?.is_some();
        if is_taken {
            self.no_show = None;
        }
        Ok(is_taken)
    }

    /// Nobody waits for ever for a claimant that can't or won't use its turn. True: the first in line lost its place; if it
    /// comes back, it goes to the end.
    fn forfeit_no_show(&mut self, session: &mut Session<P>, now: Instant) -> Result<bool> {
        if self.is_taken(session)? {
            return Ok(false);
        }
        if self.no_show.is_some() && self.no_show == self.view.first {
            self.no_show.take().into_iter().for_each(|first| session.place.discard(first));
            return Ok(true);
        }
        self.no_show = self.view.first;
        self.next_look = now + SECOND_LOOK;
        Ok(false)
    }
}

/// What a step does in the end.
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

/// Waiters that came at once shall not march in step.
fn out_of_step(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.75 + 0.5 * chance)
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(loom)))]
mod tests;
