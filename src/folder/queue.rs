//! The line of the waiters: one ticket each, in `.lockfolder/queue/`.
//!
//! A [`Ticket`] is named by the arrival of its owner, then by its owner's [`ClaimId`]. The names therefore sort by
//! arrival. The claim, one folder up, says which process waits, and is judged like a bid. The ticket's file is a hard
//! link of the claimant's [`HandOffFifo`], its *beacon*. The beacon is *lit* while the owner stands in line, and goes
//! *out* when the owner leaves the line or dies. Each claimant thereby wakes its successor and no other waiter. A
//! ticket stays until its owner gives the lock back, so one hand-over wakes one waiter.
//!
//! Exclusion does not depend on tickets: a lost or forged ticket only costs time.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::sync::Arc;

use crate::folder::broom::{Broom, Hidden, Like};
use crate::folder::claim::Claim;
use crate::folder::location::TRIES;
use crate::folder::names::{ClaimId, Ticket, QUEUE};
use crate::owner::rival::Rival;
use crate::protocol::View;
use crate::sys::{
    self, process_mark, Dir, FifoState, FifoWatch, FileId, FolderWatch, HandOffFifo, News, OwnFifo, ProcessMark, Sight,
    Source, Tail,
};

/// The tail: a FIFO in `.lockfolder/` while there is a long line. It holds the last ticket, so that a newcomer learns
/// its predecessor without reading the line.
const TAIL: &CStr = c"tail";
/// Reading a line shorter than this costs less than the tail.
const LONG: usize = 8;

/// The first in line, which may be the caller. The folder is made when a line forms and removed when the line ends, so
/// without a line this is usually one cheap system call. (In a sticky folder an empty queue may stay, because its last
/// claimant may not remove a folder that another user made.)
///
/// `known`: the folder as it was when we last used it. If it is another one by now, it is empty.
pub(crate) fn first(hidden: &Dir, known: Option<&Dir>) -> Option<Ticket> {
    if !hidden.sight(QUEUE).is_a_file() {
        return None;
    }
    let first_in = |queue: &Dir| {
        let mut first = None;
        let note = |ticket: Ticket| first = Some(first.map_or(ticket, |first: Ticket| first.min(ticket)));
        let _ = tickets(queue, note);
        first
    };
    known.and_then(first_in).or_else(|| first_in(&hidden.open_dir(QUEUE).ok()?))
}

/// The tickets in a queue: every plain file or FIFO with a ticket's name. A folder, a symbolic link, a socket or a
/// device can't be a hard link of a beacon, and we could not delete a folder as a ticket. Such an entry belongs to
/// somebody else: it is no place in line, and it stays.
fn tickets(queue: &Dir, each: impl FnMut(Ticket)) -> io::Result<()> {
    queue.list_plain(|name| Ticket::parse(name.to_bytes()), each)
}

/// What a claimant needs to stand in line. It is made once for each claim.
pub(crate) struct Queue {
    pub hidden: Arc<Hidden>,
    pub claim: ClaimId,
    pub dir: Dir,
    pub spot: Option<Spot>,
    /// The tail of the last line that we stood in.
    tail: Option<Tail>,
    /// The owner of the ticket that was before ours the last time. In a busy line it often is again.
    pub known: Option<(ClaimId, Arc<Rival>)>,
    pub beacons: [OwnFifo; 2],
    /// Whether the sub-folder is ours, and only we can put a file into it. Only then do we trust a tail: every user of the folder may
    /// write to it, so we can't tell a tail that we made from a FIFO that somebody moved in.
    pub has_tail: bool,
    /// Tickets of dead claimants that we may not delete (another user's, in a sticky folder), and tickets that we can't
    /// look at. We pass over them.
    pub ghosts: BTreeSet<Ticket>, // not a hash set: std panics if a sandbox refuses its random numbers
    /// The process that made the queue. In a forked child the files belong to the parent.
    of: ProcessMark,
}

/// Our place in line.
pub(crate) struct Spot {
    pub ticket: Ticket,
    pub beacon: HandOffFifo,
    /// Kept open, because a FIFO that nobody has open loses its content.
    pub tail: Option<Tail>,
    /// The beacon is out.
    has_told: bool,
    /// What woke us: the watch on the folder, or the predecessor. We close it only when we leave the line, because closing it takes
    /// time, and must delay neither the lock nor the other waiters.
    pub put_by: (Option<FolderWatch>, Option<Predecessor>),
}

/// The claimant right before us in line, and how we learn what it does.
pub(crate) struct Predecessor {
    pub ticket: Ticket,
    pub owner: Arc<Rival>,
    /// `None`: the beacon can't be watched, or it can tell nothing more.
    pub beacon: Option<FifoWatch>,
}

impl Queue {
    pub fn open(claim: &Claim) -> io::Result<Queue> {
        let hidden = Arc::clone(claim.hidden());
        let dir = hidden.open_shared(QUEUE)?;
        let beacons = claim.id().beacons().map(OwnFifo::new);
        let has_tail = hidden.broom().is_some() && hidden.stat()?.is_private_within();
        let (spot, known, ghosts) = (None, None, BTreeSet::new());
        let claim = claim.id();
        let tail = None;
        Ok(Queue { hidden, claim, dir, spot, tail, known, beacons, has_tail, ghosts, of: process_mark() })
    }

    /// Joins the line behind every claimant with an earlier arrival. `arrival` is our first arrival, if we were in line
    /// before; otherwise we arrive now. The result is the ticket right before ours, if we know it.
    pub fn join(&mut self, arrival: Option<u64>) -> io::Result<Option<Ticket>> {
        let joined = self.try_join(arrival);
        if joined.is_err() {
            self.dissolve(); // an empty queue would look like a line
        }
        joined
    }

    fn try_join(&mut self, arrival: Option<u64>) -> io::Result<Option<Ticket>> {
        let (index, beacon) = self.hidden.light_fifo(&mut self.beacons)?;
        let file = &self.beacons[index].name;
        // The last claimant in line removes the folder when it leaves. While we join, that does not happen many times
        // in a row.
        for _ in 0..TRIES {
            // Right before the link, so that few others come in between. Each of them makes a claimant read the whole line.
            let ticket = Ticket { arrival: arrival.unwrap_or_else(sys::unix_nanos), claim: self.claim };
            match self.hidden.link(file, &self.dir, &ticket.file()) {
                Ok(()) => {
                    let tail = self.has_tail.then(|| self.hidden.open_tail(TAIL, self.tail.take()).ok()).flatten();
                    let before = tail.as_ref().and_then(|tail| self.take_over(tail, ticket));
                    // The next time the other one is first, because our successor may watch this one until then.
                    self.beacons.rotate_left(index + 1);
                    self.spot = Some(Spot { ticket, beacon, tail, has_told: false, put_by: (None, None) });
                    return Ok(before);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.dir = self.hidden.open_shared(QUEUE)?,
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// The last ticket in line before ours, if the tail tells it.
    fn take_over(&self, tail: &Tail, ours: Ticket) -> Option<Ticket> {
        let last = tail.take(Ticket::LENGTH, Ticket::parse);
        let later = last.filter(|last| *last > ours && self.sight(*last) == Sight::Plain);
        tail.leave(&later.unwrap_or(ours).file()); // a newcomer must not take us for the last if another ticket is
        last.filter(|last| *last < ours)
    }

    /// Only a plain file is a ticket: see [`tickets`].
    pub fn sight(&self, ticket: Ticket) -> Sight {
        self.dir.sight(&ticket.file())
    }

    /// Wakes our successor before we give the lock back.
    pub fn tell(&mut self) {
        self.spot.iter_mut().for_each(|spot| spot.put_out(News::HandedOver));
    }

    /// Leaves the line, which wakes our successor.
    pub fn leave(&mut self, news: News) {
        if let Some(mut spot) = self.spot.take() {
            // The beacon goes out first, because our successor waits for it. The unlink may take time: in a long line
            // some claimant is always reading the folder, and a reader delays the change.
            spot.put_out(news);
            let _ = self.dir.unlink(&spot.ticket.file());
            let may_be_last = spot.tail.as_ref().is_none_or(|tail| self.may_be_last(tail, spot.ticket));
            self.tail = spot.tail.take();
            drop(spot); // closes the beacon only now; after that it may be lit again
            if may_be_last {
                self.dissolve();
            }
        }
    }

    /// False: another claimant is in line. rmdir(2) would tell that too. But it locks both folders, and where many claimants leave, all
    /// of them would wait for the one that has locked the first folder and waits for the second.
    fn may_be_last(&self, tail: &Tail, ours: Ticket) -> bool {
        let last = tail.take(Ticket::LENGTH, Ticket::parse);
        let last = last.filter(|last| *last != ours && self.sight(*last) == Sight::Plain);
        last.iter().for_each(|last| tail.leave(&last.file()));
        last.is_none()
    }

    fn dissolve(&self) {
        self.hidden.broom().into_iter().for_each(dissolve);
    }

    /// Takes another claimant's ticket out of the line.
    pub fn discard(&mut self, ticket: Ticket) {
        let broom = self.hidden.broom().and_then(|broom| broom.below(&self.dir));
        broom.into_iter().for_each(|broom| broom.discard(&ticket.file(), self.fifo_of(ticket)));
        if self.sight(ticket) != Sight::Missing {
            self.pass_over(ticket);
        }
    }

    /// The ticket stays, and from now on we take it for no place in line.
    pub fn pass_over(&mut self, ticket: Ticket) {
        self.ghosts.insert(ticket);
    }

    pub fn fifo_of(&self, ticket: Ticket) -> Option<FileId> {
        self.dir.fifo_of(&ticket.file(), &self.hidden, &ticket.claim.beacons())
    }

    pub fn is_in_line(&self) -> bool {
        self.spot.as_ref().is_some_and(|spot| self.sight(spot.ticket) == Sight::Plain)
    }

    pub fn view(&mut self) -> io::Result<View<Ticket>> {
        let mut view = View::default();
        let Some(Spot { ticket: here, tail, .. }) = &mut self.spot else { return Ok(view) };
        let here = *here;
        let ghosts = std::mem::take(&mut self.ghosts);
        let listed = tickets(&self.dir, |ticket| {
            view.length += 1;
            if ticket > here {
                view.successor = Some(view.successor.map_or(ticket, |kept| kept.min(ticket)));
            }
            if ghosts.contains(&ticket) {
                self.ghosts.insert(ticket); // it is still there
            } else if ticket < here {
                view.first = Some(view.first.map_or(ticket, |kept| kept.min(ticket)));
                view.before.push(ticket);
            }
        });
        match listed {
            // Somebody deleted the line, including our ticket.
            Err(e) if Dir::has_vanished(&e) => {
                self.spot = None;
                return Ok(View::default());
            }
            listed => listed?,
        }
        view.before.sort_unstable();
        view.ahead = view.before.len();
        view.step_back();
        if view.successor.is_none() && view.length >= LONG && tail.is_none() && self.has_tail {
            *tail = self.hidden.make_tail(TAIL).ok();
            tail.iter().for_each(|tail| tail.leave(&here.file()));
        }
        Ok(view)
    }
}

impl Spot {
    fn put_out(&mut self, news: News) {
        if !std::mem::replace(&mut self.has_told, true) {
            self.beacon.put_out(news);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.of == process_mark() {
            self.leave(News::Left);
            for beacon in self.claim.beacons() {
                let _ = self.hidden.unlink(&beacon);
            }
        }
    }
}

/// Deletes the tickets whose owners are gone, of the first `most` in the line. `is_gone` judges the owner. `hidden` is the sub-folder.
/// The result is the tickets of those that are gone and that stay, because we may not delete them.
pub(crate) fn sweep(
    hidden: &Dir,
    broom: Option<Broom<'_>>,
    most: usize,
    mut is_gone: impl FnMut(Ticket) -> bool,
) -> Vec<Ticket> {
    let mut all = Vec::new();
    if let Ok(queue) = hidden.open_dir(QUEUE) {
        let _ = tickets(&queue, |ticket| all.push(ticket));
        all.sort_unstable();
        all.truncate(most);
        let broom = broom.and_then(|broom| broom.below(&queue));
        all.retain(|ticket| is_gone(*ticket) && !broom.is_some_and(|broom| broom.delete(&ticket.file(), Like::Beacon)));
    }
    if let Some(broom) = broom {
        dissolve(broom);
        if hidden.sight(QUEUE) == Sight::Missing {
            broom.delete(TAIL, Like::Beacon); // the last claimant died between the two removals of `dissolve`
        }
    }
    all
}

/// Removes the queue and its tail if nobody is in line.
fn dissolve(broom: Broom<'_>) {
    if broom.remove_dir(QUEUE).is_ok() {
        // By now the tail may be that of a new line. A newcomer to that line then finds no tail, and reads the line.
        broom.delete(TAIL, Like::Beacon);
    }
}

impl Predecessor {
    /// What wakes us when the predecessor leaves or dies.
    pub fn sources(&self) -> [Option<Source<'_>>; 2] {
        [self.beacon.as_ref().map(FifoWatch::source), self.owner.probe.source()]
    }

    /// The predecessor had the lock and gave it back, so no claimant is before us any more.
    pub fn has_handed_over(&self) -> bool {
        self.beacon.as_ref().is_some_and(|beacon| beacon.light() == FifoState::Out(News::HandedOver))
    }

    /// Whether the kernel notifies us of all that matters. (The beacon also goes out when its owner dies.)
    pub fn is_told(&self) -> bool {
        self.beacon.is_some()
    }

    pub fn is_there(&self) -> bool {
        self.beacon.as_ref().is_some_and(FifoWatch::is_lit)
            && (self.owner.probe.source().is_none() || self.owner.is_alive())
    }
}

#[cfg(test)]
#[cfg(not(feature = "etcd"))] // they use the calls of users, which are on one type of place
mod tests;
