//! What a claimant does with the line: it joins, looks at the line, watches its predecessor, and leaves.

use std::io;
use std::sync::Arc;

use super::queue::{self, first, Predecessor, Queue};
use crate::error::{Error, ErrorKind, Result, Taken};
use crate::folder::broom::Hidden;
use crate::folder::claim::Claim;
use crate::folder::location::TRIES;
use crate::folder::names::{may_matter, Ticket, HIDDEN, QUEUE};
use crate::folder::Folder;
use crate::owner::bid::Bid;
use crate::owner::liveness::Verdict;
use crate::owner::rival::Rival;
use crate::protocol::{self, Leaving, Place, Standing, View, WaitsFor};
use crate::sys::{self, Dir, FifoState, FifoWatch, FileId, Filesystem, FolderWatch, News, Sight, Source};

/// How many claimants are judged in one call. The caller checks its time and its cancellation after that.
const BURIED_AT_ONCE: usize = 1000;

impl protocol::Line for Folder {
    type Ticket = Ticket;
    type Predecessor = Predecessor;
    /// The folder that is watched, and the watch on it.
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

    /// Without a line this is one look on a warm handle. It never follows a link.
    fn first_in_line(&self) -> Option<Ticket> {
        match &self.claim {
            Some(claim) => first(claim.hidden(), self.queue.as_ref().map(|queue| &queue.dir)),
            None => first(&self.dir().open_dir(HIDDEN).ok()?, None),
        }
    }

    /// A queue stands for a line: its last claimant removes it. A queue that others can't remove may be empty, so there we look into it.
    fn has_line(&self) -> bool {
        match &self.claim {
            Some(claim) if claim.hidden().broom().is_some() && !self.location.rights.is_sticky() => {
                claim.hidden().sight(QUEUE).is_a_file()
            }
            _ => self.first_in_line().is_some(),
        }
    }

    fn bury(&mut self, first: Ticket) -> bool {
        let hidden = match Hidden::open(self.dir()) {
            Ok(hidden) => hidden,
            Err(e) => return Dir::has_vanished(&e),
        };
        if !self.is_gone(&hidden, first.claim) {
            return false;
        }
        let is_known = |ticket| self.queue.as_ref().is_some_and(|queue| queue.ghosts.contains(&ticket));
        let is_gone = |ticket: Ticket| !is_known(ticket) && self.is_gone(&hidden, ticket.claim);
        let ghosts = queue::sweep(&hidden, hidden.broom(), BURIED_AT_ONCE, is_gone);
        self.queue.iter_mut().for_each(|queue| queue.ghosts.extend(&ghosts));
        true
    }

    fn stand(&mut self) -> Result<Standing<Ticket>> {
        if !self.is_on_local_filesystem() {
            return Ok(Standing::Nowhere);
        }
        self.check_process()?;
        self.location.check_descriptor(&self.path)?; // we make files before we list
        self.check_private()?;
        self.renew_claim()?;
        if sys::DELETES_AT_ONCE && !self.claim.as_ref().is_some_and(Claim::is_linked) {
            return Ok(Standing::Nowhere); // a ticket is a link
        }
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
                // Somebody deleted our claim or the whole sub-folder, so we make them again. (Without a claim we would
                // count as dead.) Or our beacons belong to another user, because this process has changed its user; new
                // beacons belong to the new user.
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
        let beacon = queue.dir.watch_fifo_of(&ticket.file(), &queue.hidden, &ticket.claim.beacons());
        let light = beacon.as_ref().map(FifoWatch::light);
        if matches!(light, Some(FifoState::Out(_))) {
            queue.discard(ticket); // the owner left the line, and is about to remove the ticket itself
            return Ok(None);
        }
        let beacon = beacon.filter(|_| light == Some(FifoState::Lit));
        // While the ticket is there, the lit beacon that we saw is this ticket's, and is still to go out. Without this
        // check, the beacon could have gone out and been lit for another ticket while we opened it.
        match queue.sight(ticket) {
            Sight::Plain => {}
            Sight::Missing => return Ok(None),
            // The next view would show it again, and we would look at it again without a pause.
            Sight::Other | Sight::Hidden => {
                queue.pass_over(ticket);
                return Ok(None);
            }
        }
        // First the watch, then the verdict. We are then notified of everything that happens to the owner after the
        // verdict.
        let known = queue.known.take().filter(|(claim, owner)| ticket.claim == *claim && owner.is_alive());
        let owner = match known {
            Some((_, owner)) => Some(owner),
            None => self.judge_claim(ticket.claim)?.map(Arc::new),
        };
        let is_same_view = owner.as_ref().is_some_and(|owner| self.shares_fifos_with(owner));
        let queue = self.queue.as_mut().expect("there above");
        let Some(owner) = owner.filter(|owner| owner.verdict != Verdict::Stale) else {
            queue.discard(ticket);
            return Ok(None);
        };
        // An honest claim is complete before its owner makes a ticket.
        if owner.verdict == Verdict::Malformed {
            queue.pass_over(ticket);
            return Ok(None);
        }
        // A claimant in line has its beacon open while its ticket is there. So this ticket is no place any more: its owner left the line
        // and could not delete it (it is another user by now), or it runs another program.
        if light == Some(FifoState::Dark) && is_same_view {
            queue.discard(ticket);
            return Ok(None);
        }
        queue.known = Some((ticket.claim, Arc::clone(&owner)));
        Ok(Some(Predecessor { ticket, owner, beacon }))
    }

    fn has_handed_over(predecessor: &Predecessor) -> bool {
        predecessor.has_handed_over()
    }

    fn is_leaving(predecessor: &Predecessor, rival: &Arc<Rival>) -> bool {
        !predecessor.owner.stated_slots().tolerates_company() && rival.says_the_same(&predecessor.owner)
    }

    fn glance_after(&mut self, predecessor: &Predecessor) -> Result<Option<Arc<Rival>>> {
        self.look(self.slots, |scanner, memory| scanner.glance_after(memory, &predecessor.owner))
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
            None => FolderWatch::new(self.dir(), &self.spare_watch).ok().map(|news| (self.folder_id(), news)),
        }
    }

    fn put_by(&mut self, watch: Option<Self::Watch>, predecessor: Option<Predecessor>) {
        if let Some(spot) = self.queue.as_mut().and_then(|queue| queue.spot.as_mut()) {
            spot.put_by = (watch.map(|(_, news)| news), predecessor);
        }
    }

    fn rival(&mut self, first: Option<Ticket>) -> Result<Option<Arc<Rival>>> {
        let slots = first.map_or(self.slots, |first| self.slots_of(first));
        let rival = self.look(slots, |scanner, memory| scanner.check(memory, None))?.rival;
        self.memory.note_newest();
        Ok(rival)
    }

    fn glance_for(&mut self, first: Ticket) -> Result<Option<Arc<Rival>>> {
        let slots = self.slots_of(first);
        self.look(slots, |scanner, memory| scanner.glance(memory))
    }

    fn last_rivals(&self) -> Vec<Arc<Rival>> {
        self.rivals_in_the_way()
    }

    fn is_same_bid(one: &Arc<Rival>, other: &Arc<Rival>) -> bool {
        one.is_same(other)
    }

    fn is_overtaken(&self, ticket: Ticket, before: &Arc<Rival>, now: &Arc<Rival>) -> bool {
        let is_in_line = self.queue.as_ref().is_some_and(|queue| queue.sight(ticket) == Sight::Plain);
        is_in_line && self.is_bid_of(ticket, now) == Some(false) && {
            // Those that hold together leave one after the other, and the lock is not free for a claimant that none of them tolerates.
            // For one that they tolerate, `before` and `now` took the last place, so a place was free in between. And a bid that has come
            // since gave way to the first in line, unless that one did not come.
            let is_together = before.slots().tolerates(now.slots());
            !is_together || self.slots_of(ticket).tolerates(now.slots()) || self.memory.has_come_since(now)
        }
    }

    fn tells_death(rival: &Arc<Rival>) -> bool {
        rival.probe.source().is_some()
    }

    fn restore_order(&mut self, holder: &Arc<Rival>) -> Result<()> {
        let Some(next) = self.view()?.successor else { return Ok(()) };
        let is_holders = self.is_bid_of(next, holder) == Some(true);
        // This check comes after the view, and no bid of ours uses its name twice. The holder therefore had this ticket
        // while it had the bid. A claimant that withdraws its bid first and joins afterwards does not break the order.
        if is_holders && self.dir().sight(&holder.name).is_a_file() {
            self.discard(next);
        }
        Ok(())
    }

    fn discard(&mut self, ticket: Ticket) {
        if self.check_process().is_err() {
            return; // the line is our parent's
        }
        self.queue.iter_mut().for_each(|queue| queue.discard(ticket));
    }

    fn pass_on(&mut self) {
        if self.slots.tolerates_company() {
            self.leave(Leaving::HandsOver);
        }
    }

    fn comes_later(&self, rival: &Arc<Rival>) -> Error {
        match self.slots.tolerates(rival.slots()) {
            true => Error::busy(self.path(), rival.holder(), Taken::ForAnother),
            false => self.busy(rival),
        }
    }

    fn tell(&mut self) {
        if self.check_process().is_ok() {
            self.queue.iter_mut().for_each(Queue::tell);
        }
    }

    fn leave(&mut self, why: Leaving) {
        if self.check_process().is_err() {
            return; // the ticket is our parent's
        }
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
        if let Some(rival) = rival {
            return self.busy(&rival);
        }
        let first =
            protocol::Line::view(self).ok().and_then(|view| view.first).filter(|_| self.slots.tolerates_company());
        match first.map(|first| self.rival(Some(first))) {
            Some(Ok(Some(rival))) => self.comes_later(&rival),
            _ => Error::new(ErrorKind::Busy, self.why_nobody_holds()),
        }
    }

    fn chance(&mut self) -> f64 {
        self.random_share()
    }
}

impl Folder {
    /// Whether the owner of this ticket has posted this bid. `None`: we can't see its claim.
    fn is_bid_of(&self, ticket: Ticket, bid: &Rival) -> Option<bool> {
        let claim = self.queue.as_ref()?.hidden.file_id(&ticket.claim.file()).ok()??;
        Some(bid.is_link_of(&claim))
    }

    /// Whether a FIFO that this claimant has open is certainly open for us too. Through an overlay it is another FIFO than on the files
    /// below, and so it is for the kernel of a virtual machine.
    fn shares_fifos_with(&self, owner: &Rival) -> bool {
        let is_here = |bid: &Bid| !bid.overlay && !bid.shared && bid.boot.is_some() && bid.boot == self.me.boot;
        self.location.on == Filesystem::Local && owner.bid.as_ref().is_ok_and(is_here)
    }

    /// Nobody holds the lock, but it is the turn of another claimant. We name its PID, because a stopped claimant does
    /// not come forward.
    fn why_nobody_holds(&mut self) -> String {
        let view = protocol::Line::view(self).unwrap_or_default();
        let folder = self.path().display();
        let first = view.first.and_then(|first| self.judge_claim(first.claim).ok()?);
        let who = first.and_then(|first| first.bid.ok()).map_or_else(String::new, |first| {
            // Other users may have written these texts, and the message may be shown on a terminal.
            let command = first.command.map_or_else(String::new, |command| format!(" ({})", command.escape_debug()));
            let host = first.host.map_or_else(String::new, |host| format!(" on host {}", host.escape_debug()));
            format!("; the first of them, PID {}{command}{host}, has not come forward", first.pid)
        });
        match view.ahead {
            0 => format!("nobody holds the lock of {folder} now; it became free just when the time was over"),
            1 => format!("nobody holds the lock of {folder}, but 1 claimant is in line before us{who}"),
            ahead => format!("nobody holds the lock of {folder}, but {ahead} claimants are in line before us{who}"),
        }
    }

    /// What ends a sleep. The first source is the one with news of the lock.
    pub(crate) fn sources(waits_for: WaitsFor<'_, Folder>) -> Vec<Option<Source<'_>>> {
        match waits_for {
            WaitsFor::Predecessor(predecessor) => predecessor.sources().to_vec(),
            WaitsFor::Holders(watch, holders) => {
                let news = watch.map(|(_, news)| news.source());
                [news].into_iter().chain(holders.iter().map(|holder| holder.probe.source())).collect()
            }
        }
    }

    /// The same without the news of the lock.
    pub(crate) fn sources_but_news(waits_for: WaitsFor<'_, Folder>) -> Vec<Option<Source<'_>>> {
        let mut sources = Folder::sources(waits_for);
        sources[0] = None;
        sources
    }

    /// Whether a change in the folder woke us that has nothing to do with locks (see [`may_matter`]). Such news is
    /// discarded.
    pub(crate) fn is_others_change(waits_for: WaitsFor<'_, Folder>) -> bool {
        match waits_for {
            WaitsFor::Holders(Some((_, news)), _) => !news.has_news(may_matter),
            _ => false,
        }
    }

    pub(super) fn claim_is_ours(&self) -> bool {
        let file = self.claim.as_ref().and_then(|claim| claim.hidden().stat_at(&claim.id().file()).ok()?);
        file.is_some_and(|file| file.is_ours())
    }

    fn join_line(&mut self) -> io::Result<Option<Ticket>> {
        let claim = self.claim.as_ref().expect("renewed by the caller");
        // The claim is missing, or somebody moved the sub-folder aside and other claimants now queue in its
        // replacement.
        let is_there = self.dir().file_id(HIDDEN)? == Some(claim.hidden().stat()?.id);
        if !is_there || !claim.hidden().sight(&claim.id().file()).is_a_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut arrival = None;
        if self.queue.as_ref().is_none_or(|queue| queue.claim != claim.id()) {
            // A new claim, as after a step of the clock, keeps our place in the line.
            arrival = self.queue.take().and_then(|queue| queue.spot.as_ref().map(|spot| spot.ticket.arrival));
            claim.hidden().look(self.dir());
            self.queue = Some(Queue::open(claim)?);
        }
        self.queue.as_mut().expect("opened").join(arrival)
    }
}
