//! The line of those who wait: one ticket each, in `.lockfolder/queue/`.
//!
//! A [`Ticket`] is named by when its owner came, then its owner's [`ClaimId`]. So the names sort by arrival, and the claim, one
//! folder up, says who waits, and is judged like a bid. The file is a link of the claimant's [`HandOffFifo`], which goes out when its
//! owner leaves the line or dies: so each tells the next, and nobody else. A ticket stays until its owner gives the lock back, so one
//! hand-over wakes one waiter.
//!
//! Nobody's safety depends on tickets: a lost or forged one costs time, never exclusion.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::sync::Arc;

use crate::folder::claim::Claim;
use crate::folder::location::{open_shared, TRIES};
use crate::folder::names::{ClaimId, Ticket, QUEUE};
use crate::owner::rival::Rival;
use crate::protocol::View;
use crate::sys::{self, Dir, FifoState, FifoWatch, FileId, FolderWatch, HandOffFifo, News, OwnFifo, Source, Tail};

/// In `.lockfolder/` while there is a long line: where who joins learns who joined before it without reading the line.
const TAIL: &CStr = c"tail";
/// To read a line shorter than this costs less.
const LONG: usize = 8;

/// The first in line, whoever it is. The folder is made when a line forms and removed when it has gone, so where there is none this is
/// as a rule one cheap look. (In a sticky folder it may stay, for the last who leaves may not remove what another user made: then it
/// is empty.)
pub(crate) fn first(hidden: &Dir) -> Option<Ticket> {
    if !hidden.has(QUEUE) {
        return None;
    }
    let mut first = None;
    let note = |name: &CStr, _| {
        if let Some(ticket) = Ticket::parse(name.to_bytes()) {
            first = Some(first.map_or(ticket, |first: Ticket| first.min(ticket)));
        }
    };
    let _ = hidden.open_dir(QUEUE).and_then(|queue| queue.list(false, note));
    first
}

/// What a claimant needs to stand in line, made once for each claim.
pub(crate) struct Queue {
    pub hidden: Arc<Dir>,
    pub claim: ClaimId,
    pub dir: Dir,
    pub spot: Option<Spot>,
    /// What the first in line is woken by while there is no ticket before its own. It is given up when we leave, for that takes
    /// longer than we would keep others, or the lock, waiting.
    pub folder_watch: Option<FolderWatch>,
    /// Who was before us the last time: in a busy line it often is again.
    pub known: Option<(ClaimId, Arc<Rival>)>,
    pub beacons: [OwnFifo; 2],
    /// Nobody but us can put a file into the sub-folder. Only there is a tail believed: it is everybody's, so nothing tells one
    /// of ours from a FIFO that somebody moved in from elsewhere.
    pub has_tail: bool,
    /// Tickets of the dead that we may not delete (another user's, in a sticky folder). They are passed over.
    pub ghosts: HashSet<Ticket>,
    /// False in a forked child: the files are the parent's.
    pub ours: bool,
}

/// Our place in line.
pub(crate) struct Spot {
    pub ticket: Ticket,
    pub beacon: HandOffFifo,
    /// Kept open, for what is in it is gone otherwise.
    pub tail: Option<Tail>,
}

/// The one before us in line, and how we are told what becomes of it.
pub(crate) struct Predecessor {
    pub ticket: Ticket,
    pub owner: Arc<Rival>,
    /// `None`: it can't be watched, or it tells nothing more.
    pub beacon: Option<FifoWatch>,
}

impl Queue {
    pub fn open(claim: &Claim) -> io::Result<Queue> {
        let hidden = Arc::clone(claim.hidden());
        let dir = open_shared(&hidden, QUEUE)?;
        let beacons = claim.id().beacons().map(OwnFifo::new);
        let has_tail = hidden.stat()?.is_private_within();
        let (spot, folder_watch, known, ghosts) = (None, None, None, HashSet::new());
        let claim = claim.id();
        Ok(Queue { hidden, claim, dir, spot, folder_watch, known, beacons, has_tail, ghosts, ours: true })
    }

    /// Joins the line, behind all who came before: before now, or before we first did. Tells whose ticket is right before ours, if
    /// that is known.
    pub fn join(&mut self, arrival: Option<u64>) -> io::Result<Option<Ticket>> {
        let joined = self.try_join(arrival.unwrap_or_else(sys::unix_nanos));
        if joined.is_err() {
            dissolve(&self.hidden); // or it would look as if there was a line
        }
        joined
    }

    fn try_join(&mut self, arrival: u64) -> io::Result<Option<Ticket>> {
        let (index, beacon) = self.hidden.light_fifo(&mut self.beacons)?;
        let file = &self.beacons[index].name;
        let ticket = Ticket { arrival, claim: self.claim };
        // The last in line, who leaves, removes the folder. Not many times in a row while we come.
        for _ in 0..TRIES {
            match self.hidden.link(file, &self.dir, &ticket.file()) {
                Ok(()) => {
                    let tail = self.has_tail.then(|| self.hidden.open_tail(TAIL).ok()).flatten();
                    let before = tail.as_ref().and_then(|tail| self.take_over(tail, ticket));
                    self.spot = Some(Spot { ticket, beacon, tail });
                    return Ok(before);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.dir = open_shared(&self.hidden, QUEUE)?,
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Who was the last in line before us, if the tail says so.
    fn take_over(&self, tail: &Tail, ours: Ticket) -> Option<Ticket> {
        let last = tail.take(Ticket::LENGTH, Ticket::parse);
        let later = last.filter(|last| *last > ours && self.has(*last));
        tail.leave(&later.unwrap_or(ours).file()); // whoever comes next must not take us for the last if another is
        last.filter(|last| *last < ours)
    }

    pub fn has(&self, ticket: Ticket) -> bool {
        self.dir.has(&ticket.file())
    }

    /// Leaves the line, and so wakes the next.
    pub fn leave(&mut self, news: News) {
        if let Some(spot) = self.spot.take() {
            // First, for it is what the next one waits for, and in a long line somebody always reads the folder, which keeps
            // us from changing it.
            spot.beacon.put_out(news);
            let _ = self.dir.unlink(&spot.ticket.file());
            drop(spot); // and only then is it closed, and may be lit again
            dissolve(&self.hidden);
        }
        self.folder_watch = None;
    }

    /// Takes somebody else's ticket out of the line.
    pub fn discard(&mut self, ticket: Ticket) {
        self.dir.discard_fifo(&ticket.file(), self.fifo_of(ticket));
        if self.has(ticket) {
            self.ghosts.insert(ticket);
        }
    }

    pub fn fifo_of(&self, ticket: Ticket) -> Option<FileId> {
        self.dir.fifo_of(&ticket.file(), &self.hidden, &ticket.claim.beacons())
    }

    pub fn is_in_line(&self) -> bool {
        self.spot.as_ref().is_some_and(|spot| self.has(spot.ticket))
    }

    pub fn view(&mut self) -> io::Result<View<Ticket>> {
        let mut view = View::default();
        let Some(Spot { ticket: here, tail, .. }) = &mut self.spot else { return Ok(view) };
        let here = *here;
        let listed = self.dir.list(false, |name, _| {
            let Some(ticket) = Ticket::parse(name.to_bytes()) else { return };
            view.length += 1;
            if ticket > here {
                view.successor = Some(view.successor.map_or(ticket, |kept| kept.min(ticket)));
            }
            if ticket < here && !self.ghosts.contains(&ticket) {
                view.ahead += 1;
                view.first = Some(view.first.map_or(ticket, |kept| kept.min(ticket)));
                view.before.push(ticket);
            }
        });
        match listed {
            // Somebody deleted the line, and our ticket with it.
            Err(e) if Dir::has_vanished(&e) => {
                self.spot = None;
                return Ok(View::default());
            }
            listed => listed?,
        }
        view.before.sort_unstable();
        view.step_back();
        if view.successor.is_none() && view.length >= LONG && tail.is_none() && self.has_tail {
            *tail = self.hidden.make_tail(TAIL).ok();
            tail.iter().for_each(|tail| tail.leave(&here.file()));
        }
        Ok(view)
    }

    /// In a forked child: forgets the line without touching the parent's files.
    pub fn abandon(mut self) {
        self.ours = false;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.ours {
            self.leave(News::Left);
            for beacon in self.claim.beacons() {
                let _ = self.hidden.unlink(&beacon);
            }
        }
    }
}

/// Deletes the tickets whose owners are gone; `is_gone` judges a claim.
pub(crate) fn sweep(hidden: &Dir, mut is_gone: impl FnMut(ClaimId) -> bool) {
    let mut tickets = Vec::new();
    if let Ok(queue) = hidden.open_dir(QUEUE) {
        let _ = queue.list(false, |name, _| tickets.extend(Ticket::parse(name.to_bytes())));
        for ticket in tickets.into_iter().filter(|ticket| is_gone(ticket.claim)) {
            let _ = queue.unlink(&ticket.file());
        }
    }
    dissolve(hidden);
    if !hidden.has(QUEUE) {
        let _ = hidden.unlink(TAIL); // the last of a line died between these two
    }
}

/// Fails while somebody is in line.
fn dissolve(hidden: &Dir) {
    if hidden.remove_dir(QUEUE).is_ok() {
        // By now it may be that of a new line. Then whoever joins that finds none, and reads the line.
        let _ = hidden.unlink(TAIL);
    }
}

impl Predecessor {
    /// What wakes us when it leaves or dies.
    pub fn sources(&self) -> [Option<Source<'_>>; 2] {
        [self.beacon.as_ref().map(FifoWatch::source), self.owner.probe.source()]
    }

    /// It had the lock and gave it back. So nobody is before us any more.
    pub fn has_handed_over(&self) -> bool {
        self.beacon.as_ref().is_some_and(|beacon| beacon.light() == FifoState::Out(News::HandedOver))
    }

    /// Whether that is all that needs to be told. (The beacon also goes out when its owner dies.)
    pub fn is_told(&self) -> bool {
        self.beacon.is_some()
    }

    pub fn is_there(&self) -> bool {
        self.beacon.as_ref().is_some_and(FifoWatch::is_lit)
            && (self.owner.probe.source().is_none() || self.owner.is_alive())
    }
}

#[cfg(test)]
mod tests;
