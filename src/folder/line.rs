//! What a claimant does with the line: it joins, looks at it, watches the one before it, and leaves.

use std::io;
use std::sync::Arc;

use super::queue::{self, first, Predecessor, Queue};
use crate::error::{Error, ErrorKind, Result};
use crate::folder::claim::Claim;
use crate::folder::location::TRIES;
use crate::folder::names::{Ticket, HIDDEN};
use crate::folder::Folder;
use crate::owner::liveness::Verdict;
use crate::owner::rival::Rival;
use crate::protocol::{self, Leaving, Place, Standing, View, Wait, WaitsFor};
use crate::sys::{Dir, FifoState, FifoWatch, FileId, FolderWatch, News, Source};

impl protocol::Line for Folder {
    type Ticket = Ticket;
    type Predecessor = Predecessor;
    /// The folder that is watched, and its news.
    type Watch = (FileId, FolderWatch);

    fn approach(&mut self) -> Result<()> {
        match self.is_private_only() {
            true => self.enter(),
            false => self.clear(),
        }
    }

    fn refresh(&mut self) -> Result<bool> {
        let before = self.folder_id();
        self.find_folder()?;
        Ok(self.folder_id() != before)
    }

    /// Where nobody waits it is one look on a warm handle, and never through a link.
    fn first_in_line(&self) -> Option<Ticket> {
        match &self.claim {
            Some(claim) => first(claim.hidden()),
            None => first(&self.dir().open_dir(HIDDEN).ok()?),
        }
    }

    fn bury(&mut self, first: Ticket) -> bool {
        let Ok(hidden) = self.dir().open_dir(HIDDEN) else { return true };
        let is_gone = self.is_gone(&hidden, first.claim);
        if is_gone {
            queue::sweep(&hidden, |claim| self.is_gone(&hidden, claim));
        }
        is_gone
    }

    fn stand(&mut self) -> Result<Standing<Ticket>> {
        if !self.is_on_local_filesystem() {
            return Ok(Standing::Nowhere);
        }
        self.check_private()?;
        self.renew_claim()?;
        if let Some(queue) = self.queue.as_mut().filter(|queue| Some(queue.claim) == self.claim.as_ref().map(Claim::id))
        {
            if queue.is_in_line() {
                return Ok(Standing::Stood);
            }
            if queue.spot.take().is_some() {
                return Ok(Standing::Lost);
            }
        }
        for tried in 0..TRIES {
            match self.join_line() {
                // Somebody deleted our claim, or all of the sub-folder: make them again. (Without a claim we would count as dead.)
                // Or our beacons are another user's, because the process has another user now. So are no new ones.
                Err(e)
                    if e.kind() == io::ErrorKind::NotFound
                        || Dir::is_not_ours(&e) && tried == 0 && !self.claim_is_ours() =>
                {
                    (self.queue, self.claim) = (None, None);
                    self.renew_claim()?;
                }
                joined => return Ok(joined.map_or(Standing::Nowhere, Standing::Joined)),
            }
        }
        Ok(Standing::Nowhere)
    }

    fn has_ticket(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.spot.is_some())
    }

    fn view(&mut self) -> Result<View<Ticket>> {
        let view = self.queue.as_mut().map_or_else(|| Ok(View::default()), Queue::view);
        view.map_err(|e| Error::io("read the line of the waiting in", self.hidden_path(), e))
    }

    fn watch_predecessor(&mut self, ticket: Ticket, known: Option<Predecessor>) -> Result<Option<Predecessor>> {
        let Some(queue) = &mut self.queue else { return Ok(None) };
        if let Some(known) = known.filter(|known| known.ticket == ticket && known.is_there()) {
            return Ok(Some(known));
        }
        let beacon = queue.fifo_of(ticket).and_then(|beacon| queue.dir.watch_fifo(&ticket.file(), beacon).ok());
        let light = beacon.as_ref().map(FifoWatch::light);
        if matches!(light, Some(FifoState::Out(_))) {
            queue.discard(ticket); // its owner left the line, and is about to do so itself
            return Ok(None);
        }
        let beacon = beacon.filter(|_| light == Some(FifoState::Lit));
        // While the ticket is there, the light that we saw is this ticket's, and still to go out. Without this look, it could
        // have gone out, and be lit for another ticket, while we were opening it.
        if !queue.has(ticket) {
            return Ok(None);
        }
        // First the watch, then the verdict: so what happens to the owner from now on, we are told.
        let known = queue.known.take().filter(|(claim, owner)| ticket.claim == *claim && owner.is_alive());
        let owner = match known {
            Some((_, owner)) => Some(owner),
            None => self.judge_claim(ticket.claim)?.map(Arc::new),
        };
        let queue = self.queue.as_mut().expect("there above");
        let Some(owner) = owner.filter(|owner| owner.verdict != Verdict::Stale) else {
            queue.discard(ticket);
            return Ok(None);
        };
        queue.known = Some((ticket.claim, Arc::clone(&owner)));
        Ok(Some(Predecessor { ticket, owner, beacon }))
    }

    fn has_handed_over(predecessor: &Predecessor) -> bool {
        predecessor.has_handed_over()
    }

    fn tells(predecessor: &Predecessor) -> bool {
        predecessor.is_told()
    }

    fn watch(&mut self, known: Option<Self::Watch>) -> Option<Self::Watch> {
        match known.filter(|(id, _)| *id == self.folder_id()) {
            Some((id, news)) => {
                news.reset();
                Some((id, news))
            }
            None => FolderWatch::new(self.dir()).ok().map(|news| (self.folder_id(), news)),
        }
    }

    fn put_by(&mut self, (_, news): Self::Watch) {
        if let Some(queue) = &mut self.queue {
            queue.folder_watch = Some(news);
        }
    }

    fn rival(&mut self) -> Result<Option<Arc<Rival>>> {
        Ok(self.scan(None)?.rival)
    }

    fn last_rival(&self) -> Option<Arc<Rival>> {
        Folder::last_rival(self)
    }

    fn tells_death(rival: &Arc<Rival>) -> bool {
        rival.probe.source().is_some()
    }

    fn restore_order(&mut self, holder: &Arc<Rival>) -> Result<()> {
        let next = self.view()?.successor;
        if let (Some(queue), Some(next)) = (&mut self.queue, next) {
            let claim = queue.hidden.file_id(&next.claim.file()).ok().flatten();
            if claim.is_some_and(|claim| holder.is_link_of(&claim)) {
                queue.discard(next);
            }
        }
        Ok(())
    }

    fn discard(&mut self, ticket: Ticket) {
        self.queue.iter_mut().for_each(|queue| queue.discard(ticket));
    }

    fn leave(&mut self, why: Leaving) {
        let news = match why {
            Leaving::HandsOver => News::HandedOver,
            Leaving::GivesUp => News::Left,
        };
        self.queue.iter_mut().for_each(|queue| queue.leave(news));
    }

    fn why_not_yet(&mut self) -> Error {
        let rival = match self.scan(None) {
            Ok(check) => check.rival,
            Err(e) => return e,
        };
        match rival {
            Some(rival) => Error::busy(self.path(), rival.holder()),
            None => Error::new(ErrorKind::Busy, self.why_nobody_holds()),
        }
    }

    fn chance(&mut self) -> f64 {
        self.random_share()
    }
}

impl Folder {
    /// The lock is free, and it is another's turn. A claimant that is stopped does not come, and it is known by its PID.
    fn why_nobody_holds(&mut self) -> String {
        let view = protocol::Line::view(self).unwrap_or_default();
        let folder = self.path().display();
        let first = view.first.and_then(|first| self.judge_claim(first.claim).ok()?);
        let who = first.and_then(|first| first.bid.ok()).map_or_else(String::new, |first| {
            // Others may have written these, and the message may end up on a terminal.
            let command = first.command.map_or_else(String::new, |command| format!(" ({})", command.escape_debug()));
            let host = first.host.map_or_else(String::new, |host| format!(" on host {}", host.escape_debug()));
            format!("; the first of them, PID {}{command}{host}, has not come forward", first.pid)
        });
        format!("nobody holds the lock folder {folder}, but {} claimants are in line before us{who}", view.ahead)
    }

    /// What ends a sleep. The first is news of the lock.
    pub(crate) fn sources(wait: &Wait<Folder>) -> [Option<Source<'_>>; 2] {
        match wait.waits_for() {
            WaitsFor::Predecessor(predecessor) => predecessor.sources(),
            WaitsFor::Holder(watch, holder) => {
                [watch.map(|(_, news)| news.source()), holder.and_then(|holder| holder.probe.source())]
            }
        }
    }

    fn claim_is_ours(&self) -> bool {
        let file = self.claim.as_ref().and_then(|claim| claim.hidden().stat_at(&claim.id().file()).ok()?);
        file.is_some_and(|file| file.is_ours())
    }

    fn join_line(&mut self) -> io::Result<Option<Ticket>> {
        let claim = self.claim.as_ref().expect("renewed by the caller");
        // Or somebody moved the sub-folder aside: then others stand elsewhere.
        let is_there = self.dir().file_id(HIDDEN)? == Some(claim.hidden().stat()?.id);
        if !is_there || !claim.hidden().has(&claim.id().file()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut arrival = None;
        if self.queue.as_ref().is_none_or(|queue| queue.claim != claim.id()) {
            // A new claim, as after a step of the clock, is no reason to go to the end of the line.
            arrival = self.queue.take().and_then(|queue| queue.spot.as_ref().map(|spot| spot.ticket.arrival));
            self.queue = Some(Queue::open(claim)?);
        }
        self.queue.as_mut().expect("opened").join(arrival)
    }
}
