//! Waiting for the lock: first come, first served, and asleep until there is something to do. `docs/waiting.md` tells the
//! states of a claimant, and why no wake-up can be lost.
//!
//! Each round does all that can be done without sleeping, and leaves behind what to be woken by. What is to wake us is
//! always set up *before* the look that finds nothing to do, so nothing that happens in between is missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::claimant::Claimant;
use crate::error::{ErrorKind, Result};
use crate::handle::Handle;
use crate::names::Ticket;
use crate::queue::{Predecessor, Standing, View};
use crate::rival::Rival;
use crate::sys::{Bell, FileId, FolderWatch, Source};

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

/// Waits until the lock is had, the time is over, or somebody cancels. `waiter.rs` has what goes before and after.
pub(crate) fn wait_in_line(handle: &Handle, bell: &Bell, timeout: Option<Duration>) -> Result<()> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if handle.claimant().lock_unless_line()? {
        return Ok(());
    }
    let mut watch = Watch::new(handle.claimant().chance());
    loop {
        let mut claimant = handle.claimant();
        let round = claimant.advance(&mut watch)?;
        if round == Round::Locked {
            claimant.put_by(watch);
            return Ok(());
        }
        drop(claimant);
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        if handle.waiter.is_cancelled() {
            return Err(handle.claimant().why_not_yet().into_kind(ErrorKind::Cancelled));
        }
        if left.is_zero() {
            return Err(handle.claimant().why_not_yet().into_kind(ErrorKind::Timeout));
        }
        watch.has_news = false;
        if round == Round::Sleep {
            let pause = watch.pause(handle.claimant().chance());
            watch.has_news = bell.sleep(watch.sources(), pause.min(left));
            handle.check_owner()?; // a signal handler may have forked
        }
    }
}

/// What a round of waiting came to.
#[derive(PartialEq, Eq)]
enum Round {
    /// We hold the lock.
    Locked,
    /// There is more to do at once. (A line of many dead takes many rounds, and the time or the wait may be over before.)
    Again,
    /// The watch is set up for whatever comes next.
    Sleep,
}

impl Round {
    fn of(locked: bool) -> Round {
        match locked {
            true => Round::Locked,
            false => Round::Sleep,
        }
    }
}

/// What a waiter is to be woken by, and what it remembers from one round to the next.
struct Watch {
    /// The folder, once we were the first in line and the lock wasn't free.
    folder: Option<(FileId, FolderWatch)>,
    /// Whom we wait for as the first in line.
    holder: Option<Arc<Rival>>,
    /// Whom we wait for otherwise.
    ahead: Option<Predecessor>,
    /// What we saw of the line.
    view: View,
    /// We were woken by the beacon of the one before us, or by news from the folder.
    has_news: bool,
    next_look: Instant,
    /// The first in line at the last look, if the lock was free.
    no_show: Option<Ticket>,
    polled: Duration,
}

impl Watch {
    fn new(chance: f64) -> Watch {
        Watch {
            folder: None,
            holder: None,
            ahead: None,
            view: View::default(),
            has_news: false,
            next_look: Instant::now() + out_of_step(LOOK, chance),
            no_show: None,
            polled: SHORTEST_PAUSE,
        }
    }

    /// Nobody was before us when we read the line. Nobody can come before us later.
    fn is_first(&self) -> bool {
        self.view.length > 0 && self.view.predecessor.is_none()
    }

    /// We have read the line, not only been told who is before us, and watch that one.
    fn knows_line(&self) -> bool {
        self.view.first.is_some() && self.ahead.is_some()
    }

    /// The one before us had the lock, and gave it back.
    fn is_our_turn(&self) -> bool {
        self.has_news && self.ahead.as_ref().is_some_and(Predecessor::has_handed_over)
    }

    fn sources(&self) -> [Option<Source<'_>>; 2] {
        match &self.ahead {
            Some(ahead) => ahead.sources(),
            None => [
                self.folder.as_ref().map(|(_, news)| news.source()),
                self.holder.as_ref().and_then(|holder| holder.pulse.source()),
            ],
        }
    }

    /// Whether the kernel tells all that matters: that the one we wait for lets go, and that it dies.
    fn is_told(&self) -> bool {
        match &self.ahead {
            Some(ahead) => ahead.is_told(),
            None => self.folder.is_some() && self.holder.as_ref().is_some_and(|holder| holder.pulse.source().is_some()),
        }
    }

    /// How long to sleep at most. `chance` is from 0 to 1.
    fn pause(&mut self, chance: f64) -> Duration {
        if self.is_told() {
            self.polled = SHORTEST_PAUSE;
            return self.next_look.saturating_duration_since(Instant::now());
        }
        let pause = self.polled;
        self.polled = (pause * 2).min(LONGEST_PAUSE);
        // Not cut short by a look that is due: where there is no line nobody looks, and the pause would be none at all.
        pause.mul_f64(0.5 + 0.5 * chance)
    }

    /// True, once, when it is time for a look at what no event tells.
    fn look_is_due(&mut self, chance: f64) -> bool {
        let is_due = Instant::now() >= self.next_look;
        if is_due {
            self.look_later(chance);
        }
        is_due
    }

    /// Our place in line is gone.
    fn start_anew_later(&mut self) -> Round {
        (self.ahead, self.holder, self.folder) = (None, None, None);
        (self.view, self.polled) = (View::default(), LONGEST_PAUSE);
        Round::Sleep
    }

    fn look_later(&mut self, chance: f64) {
        let pairs = u32::try_from(self.view.length.saturating_mul(self.view.length)).unwrap_or(u32::MAX);
        self.next_look = Instant::now() + out_of_step(LOOK + LOOK_PER_PAIR.saturating_mul(pairs), chance);
    }
}

/// Waiters that came at once shall not march in step.
fn out_of_step(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.75 + 0.5 * chance)
}

impl Claimant {
    /// Keeps what a wait was woken by until we leave the line.
    fn put_by(&mut self, watch: Watch) {
        if let (Some(line), Some((_, folder_watch))) = (&mut self.line, watch.folder) {
            line.folder_watch = Some(folder_watch);
        }
    }

    /// Takes the lock if it is free and nobody waits for it. One cheap look more than `lock`.
    pub(crate) fn lock_unless_line(&mut self) -> Result<bool> {
        self.approach_folder()?;
        if self.sees_line() {
            return Ok(false);
        }
        self.lock_if_free()
    }

    fn lock_if_free(&mut self) -> Result<bool> {
        match self.lock() {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::Busy => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// One round of waiting.
    fn advance(&mut self, watch: &mut Watch) -> Result<Round> {
        self.delete_stray()?;
        let is_due = watch.look_is_due(self.chance());
        // The common hand-over. No need to read the line again.
        if !is_due && watch.is_our_turn() && self.lock_if_free()? {
            return Ok(Round::Locked);
        }
        if !is_due && watch.is_first() {
            if self.lock_as_first(watch)? {
                return Ok(Round::Locked);
            }
            if self.has_ticket() {
                return Ok(Round::Sleep);
            } // else the folder is another one now, and so is the line
        }
        self.find_folder()?;
        match self.stand_in_line()? {
            // As a rule that is all that a look finds. Whoever holds will tell, by way of those before us.
            Standing::Stood if is_due && watch.knows_line() && self.is_taken(watch)? => return Ok(Round::Sleep),
            Standing::Nowhere => {
                (watch.ahead, watch.holder, watch.folder) = (None, None, None);
                watch.view = View::default();
                return self.lock_if_free().map(Round::of); // without a line it's anybody's
            }
            // We didn't come forward, or somebody is deleting the whole folder, and shall get to its end. Then we join anew.
            Standing::Lost => return Ok(watch.start_anew_later()),
            Standing::Joined(Some(ticket)) if !is_due => watch.view = View::of_predecessor(ticket),
            Standing::Stood | Standing::Joined(_) => watch.view = self.view()?,
        }
        if watch.view.length == 0 {
            return Ok(watch.start_anew_later()); // the same, a moment later
        }
        if is_due {
            watch.look_later(self.chance()); // now we know how long the line is
        }
        let Some(predecessor) = watch.view.predecessor else {
            return self.lock_as_first(watch).map(Round::of);
        };
        watch.ahead = self.watch_predecessor(predecessor, watch.ahead.take())?;
        // A line of many dead is passed over without reading it for each; but the time, or the wait, may be over meanwhile.
        for _ in 0..PASSED_OVER {
            if watch.ahead.is_some() {
                break;
            }
            let Some(predecessor) = watch.view.step_back() else {
                watch.view = View::default(); // we may have been told of one alone, so that nobody is left does not make us the first
                break;
            };
            watch.ahead = self.watch_predecessor(predecessor, None)?;
        }
        if watch.ahead.is_none() || is_due && self.forfeit_no_show(watch)? {
            return Ok(Round::Again); // it is gone: who is before us now?
        }
        Ok(Round::Sleep)
    }

    /// Bids by the ordinary protocol. False: there is a holder, and we are about to be told of what it does.
    fn lock_as_first(&mut self, watch: &mut Watch) -> Result<bool> {
        (watch.view.predecessor, watch.ahead) = (None, None);
        if self.lock_if_free()? {
            return Ok(true);
        }
        // Only now: whoever comes to an unlocked folder, as by a hand-over, needs no watch on it, or no other news.
        watch.folder.take_if(|(id, _)| *id != self.folder_id());
        match &watch.folder {
            Some((_, news)) => news.reset(),
            None => watch.folder = FolderWatch::new(self.dir()).ok().map(|news| (self.folder_id(), news)),
        }
        if watch.folder.is_some() && self.lock_if_free()? {
            return Ok(true);
        }
        watch.holder = self.last_rival();
        if let Some(holder) = &watch.holder {
            self.restore_order(holder)?;
        }
        Ok(false)
    }

    /// Somebody holds the lock, or bids for it; so the first in line has not failed to come forward.
    fn is_taken(&mut self, watch: &mut Watch) -> Result<bool> {
        let is_taken = self.scan(None)?.rival.is_some();
        if is_taken {
            watch.no_show = None;
        }
        Ok(is_taken)
    }

    /// Nobody waits for ever for a claimant that can't or won't use its turn. True: the first in line lost its place; if it
    /// comes back, it goes to the end.
    fn forfeit_no_show(&mut self, watch: &mut Watch) -> Result<bool> {
        if self.is_taken(watch)? {
            return Ok(false);
        }
        if watch.no_show.is_some() && watch.no_show == watch.view.first {
            watch.no_show.take().into_iter().for_each(|first| self.discard_ticket(first));
            return Ok(true);
        }
        watch.no_show = watch.view.first;
        watch.next_look = Instant::now() + SECOND_LOOK;
        Ok(false)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
