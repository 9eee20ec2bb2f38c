//! Leases, where other hosts use the lock folder too: see `protocol::lease` for the rules. This file is what a claimant does about
//! its own lease.

pub(crate) mod files;
mod hold;
pub(crate) mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::files::{Files, Ours};
use self::hold::Hold;
use super::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::claim::Claim;
use crate::folder::location::join;
use crate::folder::names::{LEASES, SHARED};
use crate::owner::bid::BidName;
use crate::protocol::lease::{Loss, Moment, Renewal, Term, DEFAULT, LONGEST, SHORTEST};
use crate::protocol::Place;
use crate::renewer::{self, Renewer};
use crate::sys::{self, Alarm, Dir};

/// A process of the server may have prepared its claim before the first other host came. It looks for that host's mark this often, at a
/// lock.
const LOOK: Duration = Duration::from_secs(5);

/// What a claimant knows of its own lease.
pub(crate) struct Lease {
    /// How long our next lease lasts.
    pub length: Duration,
    /// A moment before our last bid was posted.
    pub posted: Moment,
    /// The lease of the bid by which we hold the lock, if it has one.
    hold: Option<Arc<Hold>>,
    renewer: Renewer<Hold>,
    alarm: Option<Arc<Alarm>>,
    /// The claim was made anew because of a rival's lease.
    has_noticed: bool,
    /// This host sees the folder as a disk of its own, and a lease can't be renewed there.
    pub has_no_links: bool,
    /// When we look for the mark again. `None`: we have not looked yet.
    next_look: Option<Instant>,
}

impl Default for Lease {
    fn default() -> Lease {
        Lease {
            length: DEFAULT,
            posted: Moment::ZERO,
            hold: None,
            renewer: Renewer::default(),
            alarm: None,
            has_noticed: false,
            has_no_links: false,
            next_look: None,
        }
    }
}

impl Lease {
    /// We have just looked for the mark.
    pub fn look_later(&mut self) {
        self.next_look = Some(sys::now() + LOOK);
    }

    /// In a forked child: the lease and its thread belong to the parent.
    pub fn abandon(&mut self) {
        self.renewer.abandon();
        // A thread of the parent may have locked what is in it.
        std::mem::forget(self.hold.take());
    }
}

impl Folder {
    /// The lease that the bids of a new claim state. `None`: no other host uses the folder, or a lease can't be renewed there.
    pub(super) fn lease_of_claim(&self, hidden: &Dir) -> Result<Option<Duration>> {
        let on = self.location.on;
        if self.lease.has_no_links {
            return Ok(None);
        }
        let failed = |e| Error::io("look for or leave the mark of a shared folder in", self.hidden_path(), e);
        let mark = hidden.stat_at(SHARED).map_err(failed)?;
        if on.is_shared() {
            // Hosts that see a disk of their own learn from the mark that we may be there.
            if mark.is_none() {
                hidden.create_durably(SHARED).map_err(failed)?;
            }
            return Ok(Some(self.lease.length));
        }
        let is_asked_for = mark.is_some() || self.memory.leases.saw_one;
        let gets_lease = is_asked_for && self.may_state_lease(hidden).map_err(failed)?;
        Ok(gets_lease.then_some(self.lease.length))
    }

    /// We have just made this claim. False: it states a lease that can't be renewed here, so make another one without. (The numbers of a
    /// lease are links.)
    pub(super) fn can_be_renewed(&mut self, claim: &Claim) -> bool {
        self.lease.has_no_links = self.location.on.is_local() && !claim.is_linked();
        !(self.lease.has_no_links && claim.said.lease.is_some())
    }

    /// Whether only users that can delete our bid could give us a lease, and take it over. Others can't delete it in a sticky folder, or if
    /// they may write to the sub-folder, or to that of the leases, and may not write to the lock folder (any more).
    fn may_state_lease(&self, hidden: &Dir) -> io::Result<bool> {
        let folder = &self.location.dir;
        if folder.stat()?.is_sticky() || !sys::may_be_trusted_in(hidden, folder)? {
            return Ok(false);
        }
        match hidden.open_dir(LEASES) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true), // we make it
            // One that we may not use renews no lease.
            leases => Ok(leases.and_then(|leases| sys::may_be_trusted_in(&leases, folder)).unwrap_or(false)),
        }
    }

    /// Whether our claim states a lease if it should, and none if it should not, as far as we know. We look again from time to time.
    pub(super) fn states_its_lease(&mut self) -> bool {
        let Some(claim) = &self.claim else { return true };
        // Where other hosts can write, each claim states one.
        if self.location.on.is_shared() || self.lease.has_no_links {
            return true;
        }
        let is_due = self.lease.next_look.is_none_or(|next| {
            // A clock that went back (the process entered another time namespace) must not put the look off.
            let left = next.saturating_duration_since(sys::now());
            left.is_zero() || left > LOOK
        });
        if !is_due {
            return true;
        }
        self.lease.look_later();
        self.lease_of_claim(claim.hidden()).map_or(true, |lease| lease.is_some() == claim.said.lease.is_some())
    }

    /// A bid is about to be posted. (This costs system calls, so only a bid with a lease does it.)
    pub(super) fn note_posting(&mut self) {
        if self.claim.as_ref().is_some_and(|claim| claim.said.lease.is_some()) {
            self.lease.posted = sys::since_boot();
        }
    }

    /// A rival's bid states a lease. Then our next bid does so too, because other hosts can't judge us otherwise.
    pub(super) fn notice_leases(&mut self) {
        if self.memory.leases.saw_one
            && self.claim.as_ref().is_some_and(|claim| claim.said.lease.is_none() && claim.is_current())
        {
            let is_news = !self.lease.has_no_links && !std::mem::replace(&mut self.lease.has_noticed, true);
            if is_news {
                self.claim.iter_mut().for_each(Claim::distrust);
            }
        }
    }

    /// Begins the lease of a bid that has won. `number`: that of its file in the listing that showed it.
    pub(super) fn begin_lease(&mut self, bid: &BidName, number: u64) -> Result<()> {
        let Some(claim) = &self.claim else { return Ok(()) };
        let Some(length) = claim.said.lease else { return Ok(()) };
        self.check_process()?; // a forked child must not renew the lease of its parent
        if !claim.is_linked() {
            let text = format!(
                "the filesystem of {} has no hard links, so no lease can be renewed there",
                self.path.display()
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let ours = Ours { is_claim: false, name: bid.as_c_str().to_owned(), number };
        let (dir, path) = (Arc::clone(&self.location.dir), join(&self.path, bid.as_c_str()));
        let files = Files::new(dir, bid.uuid(), bid.as_c_str().to_owned(), path, ours);
        let hold = Arc::new(Hold::new(Term::new(length, self.lease.posted), files, self.lease.alarm.clone()));
        self.lease.hold = Some(Arc::clone(&hold));
        if hold.valid_for().is_none() {
            let text =
                "the lease of our bid ended before it won, because the folder or this machine is too slow for it";
            return Err(Error::fixed(ErrorKind::Busy, text));
        }
        if self.options.renew_in_thread {
            let taken = self.lease.renewer.take(&hold);
            taken.map_err(|e| {
                let advice = renewer::advice(&e);
                Error::io("start the thread that renews the lease in", &*self.path, e).advising(Some(advice))
            })?;
        }
        Ok(())
    }

    /// Our bid is withdrawn, or it is a stray.
    pub(super) fn end_lease(&mut self, is_withdrawn: bool) {
        if let Some(hold) = self.lease.hold.take() {
            hold.end(is_withdrawn);
            self.lease.renewer.end(&hold);
        }
    }

    /// Our bid is about to be withdrawn.
    pub(super) fn stop_lease(&self) {
        self.lease.hold.iter().for_each(|hold| hold.stop());
    }

    /// Our bid may be gone by now or at any later time, because its withdrawal failed.
    pub(super) fn doubt_lease(&self) {
        self.lease.hold.iter().for_each(|hold| hold.lose());
    }

    /// The error that says why the lock was lost. `None`: its lease is valid, or it has none.
    pub(super) fn loss_of_lease(&self) -> Option<Error> {
        let (loss, refusal) = self.lease.hold.as_ref()?.loss()?;
        let why = match (loss, &refusal) {
            (Loss::TooLate, Some(refusal)) => &*format!("the lease could not be renewed in time: {refusal}"),
            (Loss::TooLate, None) => {
                "the lease could not be renewed in time (this process or its host was stopped, or the server of the folder did not \
                 answer)"
            }
            (Loss::TakenOver, _) => "another claimant found that the lease had expired, and took it over",
            (Loss::NoBid, _) => "somebody deleted our bid",
            (Loss::NoNumber, _) => "somebody deleted the files in .lockfolder/leases by which its lease was renewed",
        };
        let text = format!("the lock in {} was lost: {why}", self.path.display());
        Some(Error::new(ErrorKind::Lost, text))
    }

    pub fn set_lease(&mut self, length: Duration) -> Result<()> {
        if !(SHORTEST..=LONGEST).contains(&length) {
            return Err(Error::fixed(ErrorKind::Invalid, "a lease lasts from 5,000 to 3,600,000 ms"));
        }
        self.lease.length = length;
        if self.claim.as_ref().is_some_and(|claim| claim.said.lease.is_some_and(|before| before != length)) {
            self.claim.iter_mut().for_each(Claim::distrust); // the claim states the lease
        }
        Ok(())
    }

    /// Renews the lease of the lock that we hold.
    pub fn renew(&self) -> Result<()> {
        let Some(hold) = &self.lease.hold else { return Ok(()) };
        let renewed = hold.renew()?;
        if let (Some(clean), Renewal::Renewed) = (hold.cleaner(), renewed) {
            clean();
        }
        match (self.loss_of_lease(), renewed) {
            (Some(lost), _) => Err(lost),
            (None, Renewal::Renewed) => Ok(()),
            (None, _) => Err(Error::io("renew the lease in", &*self.path, io::ErrorKind::TimedOut.into())),
        }
    }

    /// For how long it is certain that we hold the lock. `None`: as long as we live.
    pub fn valid_for(&self) -> Result<Option<Duration>> {
        let Some(hold) = &self.lease.hold else { return Ok(None) };
        match (hold.valid_for(), self.loss_of_lease()) {
            (None, Some(lost)) => Err(lost),
            (left, _) => Ok(Some(left.unwrap_or_default())),
        }
    }

    /// A descriptor that becomes readable when a lease is lost.
    pub fn lost_descriptor(&mut self) -> Result<Option<Arc<Alarm>>> {
        if self.lease.alarm.is_none() {
            let alarm = Alarm::new().map_err(|e| Error::io("make a timer for", &*self.path, e))?;
            self.lease.alarm = alarm.map(Arc::new);
            if let (Some(alarm), Some(hold)) = (&self.lease.alarm, &self.lease.hold) {
                hold.ring(Arc::clone(alarm));
            }
        }
        Ok(self.lease.alarm.clone())
    }

    /// What takes over expired leases where we have no bid. `None`: no other host uses the folder.
    pub(super) fn taker_by_claim(&mut self, is_held: bool) -> Result<Option<Ours>> {
        if !self.location.on.is_shared() && !self.memory.leases.saw_one {
            return Ok(None);
        }
        // While we hold, the lock on our claim is the proof that we live.
        if !is_held && self.stray.is_none() {
            self.renew_claim()?;
        }
        let Some(claim) = &self.claim else { return Ok(None) };
        let (name, mut number) = (claim.name().clone(), None);
        let found = claim.hidden().list(true, |entry, file| number = number.or((*entry == *name).then_some(file)));
        found.map_err(|e| Error::io("look for our claim in", self.hidden_path(), e))?;
        Ok(number.map(|number| Ours { is_claim: true, name, number }))
    }
}
