//! The scan, which carries out the check of check-bid-check: which bids are in the folder, and is one of them a live
//! rival's?

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::folder::broom::Hidden;
use crate::folder::lease::files::{self, Ours};
use crate::folder::lease::watch::{stated, Watch};
use crate::folder::memory::{Memory, FEW, MOST_WATCHED};
use crate::folder::sightings::Sightings;
use crate::owner::bid::{self, is_bid_name, Bid, Flaw};
use crate::owner::liveness::{self, Probe, Verdict};
use crate::owner::rival::{Entry, Rival};
use crate::protocol::Count;
use crate::slots::Slots;
use crate::sys::{Dir, Filesystem, Identity, Opened, Rights, View};

/// The settings of a scan: the folder, this process and its view of others, the filesystem, and the grace of a bid that
/// can't be parsed.
pub(crate) struct Scanner<'a> {
    pub dir: &'a Dir,
    /// The rights to the lock folder.
    pub rights: Rights,
    pub me: &'a Identity,
    pub view: View,
    pub on: Filesystem,
    pub malformed_grace_ms: u32,
    /// When we first saw bids that are cut off.
    pub seen: &'a Sightings,
    /// Our own lease. A rival's lease expires no sooner.
    pub lease: Duration,
    /// How many may hold the lock together with us.
    pub slots: Slots,
}

/// For unit tests: the eyes of a claimant that tolerates no company, on a disk of this host.
#[cfg(test)]
#[cfg(target_os = "linux")]
impl<'a> Scanner<'a> {
    pub fn local(dir: &'a Dir, me: &'a Identity, seen: &'a Sightings) -> Scanner<'a> {
        Scanner {
            dir,
            rights: dir.stat().unwrap().rights(),
            me,
            view: View::default(),
            on: Filesystem::Local,
            malformed_grace_ms: 0,
            seen,
            lease: crate::protocol::lease::DEFAULT,
            slots: Slots::One,
        }
    }
}

/// One check.
pub(crate) struct Check {
    /// The number of the file that the listing shows under the name of our bid. `None`: the listing does not show the
    /// name.
    pub own: Option<u64>,
    /// The live rival that keeps us out, if there is one. If there are several, that whose name sorts first.
    pub rival: Option<Arc<Rival>>,
}

impl Scanner<'_> {
    /// Lists the folder, deletes the stale bids, and finds the first live rival that keeps us out.
    pub fn check(&self, memory: &mut Memory, own: Option<&CStr>) -> io::Result<Check> {
        let own_number = self.list(&mut memory.entries, own)?;
        let rival = self.first_rival(memory, own.zip(own_number))?;
        if own.is_some() {
            memory.was_surprised = rival.is_some();
        }
        Ok(Check { own: own_number, rival })
    }

    /// Looks for a rival that keeps us out, before we bid. A glance may miss a bid; exclusion does not depend on it, because the check
    /// that shows our own bid also shows that one.
    pub fn glance(&self, memory: &mut Memory) -> io::Result<Option<Arc<Rival>>> {
        self.list_quickly(memory)?;
        self.first_rival(memory, None)
    }

    /// The same after the `owner` of a claim has told us that it gives the lock back. Its bid is a link of its claim, so the number of
    /// the file tells that the bid is still there. We need not read and judge it again. (A file that got the number of a claim that was
    /// deleted costs a pause.)
    pub fn glance_after(&self, memory: &mut Memory, owner: &Rival) -> io::Result<Option<Arc<Rival>>> {
        self.list_quickly(memory)?;
        let is_known_by_number = self.on.has_stable_numbers() && self.on.is_local();
        // An owner that tolerates company hands over and keeps the lock. Whether it keeps us out is a matter of counting.
        let is_leaving = !owner.stated_slots().tolerates_company();
        let number = owner.stated_number().filter(|_| is_known_by_number && is_leaving);
        match memory.entries.iter().find(|(_, other)| Some(*other) == number) {
            Some(entry) => Ok(Some(Arc::new(owner.posted(entry)))),
            None => self.first_rival(memory, None),
        }
    }

    fn list_quickly(&self, memory: &mut Memory) -> io::Result<()> {
        memory.entries.clear();
        match self.on.lists_in_full_pieces() && !memory.was_surprised {
            true => self.dir.glance(|name, number| note(&mut memory.entries, name, number)),
            false => self.list(&mut memory.entries, None).map(drop),
        }
    }

    /// `taker`: our bid, if it is there. By it we take over expired leases.
    fn first_rival(&self, memory: &mut Memory, taker: Option<(&CStr, u64)>) -> io::Result<Option<Arc<Rival>>> {
        if memory.entries.is_empty() {
            memory.forget_rivals();
            return Ok(None);
        }
        memory.entries.sort_unstable();
        std::mem::swap(&mut memory.company, &mut memory.known);
        memory.company.clear();
        let (mut first, mut looked, mut count) = (None, None, Count::new(self.slots));
        for entry in &memory.entries {
            // A Python peer uses its name again, and a file's number is also used again. A name of ours never is.
            let mut known = memory.last.iter().chain(&memory.known);
            let known = known.find(|known| known.is(entry) && bid::posted_at(&entry.0).is_some());
            let is_live = match known.filter(|known| known.is_alive() || known.is_leased_elsewhere()) {
                Some(known) => Some(Arc::clone(known)),
                // We also judge a known rival whose probe no longer answers: the probe may have watched an unrelated
                // process.
                None => match self.judge(entry)? {
                    None => continue,
                    Some(rival) if rival.verdict == Verdict::Stale => {
                        if self.reap(&entry.0) {
                            self.sweep_lease(&rival);
                            memory.reaped.push(entry.1);
                        }
                        continue;
                    }
                    Some(rival) => Some(Arc::new(rival)),
                },
            };
            if let Some(rival) = is_live {
                if let Some(lease) = rival.lease() {
                    memory.leases.saw_one = true;
                    let lease = self.lease.max(stated(lease));
                    let taker = taker.map(|(name, number)| Ours { is_claim: false, name: name.to_owned(), number });
                    let mut look = || memory.leases.look(self.dir, &memory.entries).is_ok();
                    if self.is_left_to_lease(&rival)
                        && *looked.get_or_insert_with(&mut look)
                        && memory.leases.keeps_nobody_out(self.dir, entry, lease, taker.as_ref())
                    {
                        continue;
                    }
                }
                if count.is_kept_out_by(rival.slots()) {
                    first = Some(rival);
                    break;
                }
                if memory.company.len() < self.most_known() {
                    memory.company.push(rival);
                }
            }
        }
        memory.leases.delete_taken(self.dir);
        memory.last.clone_from(&first);
        memory.known.clear();
        Ok(first)
    }

    /// How many rivals that do not keep us out are remembered. Only a waiter for one of several places watches them, if it can watch all.
    fn most_known(&self) -> usize {
        match self.slots {
            Slots::AtMost(places) if places as usize <= MOST_WATCHED + 1 => MOST_WATCHED,
            _ => FEW,
        }
    }

    /// Whether the lease may decide about this rival. On a disk of this host, what the kernel shows as alive is never taken over: other
    /// users could otherwise make a stopped holder lose the lock, by a mark that they leave.
    fn is_left_to_lease(&self, rival: &Rival) -> bool {
        !self.on.is_local() || rival.verdict == Verdict::Unknown
    }

    /// Removes the numbers of a lease whose bid was reaped.
    fn sweep_lease(&self, rival: &Rival) {
        if let (Some(_), Some(bid)) = (rival.lease(), bid::canonical(&rival.name)) {
            Hidden::clean(self.dir, |broom| files::sweep(broom, |other| other == bid));
        }
    }

    /// Deletes every stale bid, and returns how many there were. `taker`: our claim, by which we take over expired leases.
    pub fn reap_all(&self, leases: &mut Watch, own: Option<&CStr>, taker: Option<&Ours>) -> io::Result<usize> {
        let mut entries = Vec::new();
        self.list(&mut entries, own)?;
        let (mut reaped, mut looked) = (0, None);
        for entry in &entries {
            let Some(rival) = self.judge(entry)? else { continue };
            if rival.verdict == Verdict::Stale {
                reaped += usize::from(self.reap(&entry.0));
                self.sweep_lease(&rival);
            } else if let Some(lease) = rival.lease() {
                leases.saw_one = true;
                let lease = self.lease.max(stated(lease));
                let mut look = || leases.look(self.dir, &entries).is_ok();
                if self.is_left_to_lease(&rival) && *looked.get_or_insert_with(&mut look) && taker.is_some() {
                    reaped += usize::from(leases.keeps_nobody_out(self.dir, entry, lease, taker));
                }
            }
        }
        leases.delete_taken(self.dir);
        Ok(reaped)
    }

    /// Every bid with its verdict, sorted by name. Deletes nothing.
    pub fn rivals(&self) -> io::Result<Vec<Rival>> {
        let mut entries = Vec::new();
        self.list(&mut entries, None)?;
        entries.sort_unstable();
        entries.iter().filter_map(|e| self.judge_to_show(e).transpose()).collect()
    }

    /// Reads and judges one of many bids that are only to be shown. There can be more of them than this process may have descriptors, so
    /// none is kept open.
    pub fn judge_to_show(&self, entry: &Entry) -> io::Result<Option<Rival>> {
        Ok(self.judge(entry)?.map(Rival::without_probe))
    }

    /// Fills `entries` with the bids of rivals. The result is the number of the file that has the name of our own bid.
    pub fn list(&self, entries: &mut Vec<Entry>, own: Option<&CStr>) -> io::Result<Option<u64>> {
        let (entries, own_number) = (RefCell::new(entries), Cell::new(None));
        let begin = || {
            entries.borrow_mut().clear();
            own_number.set(None);
        };
        let each = |name: &CStr, number| match own == Some(name) {
            true => own_number.set(Some(number)),
            false => note(&mut entries.borrow_mut(), name, number),
        };
        let list = || self.dir.list_in_one(!self.on.is_local(), begin, each).map(|()| own_number.get());
        // An open of the folder can fail because another host changes it (GlusterFS: once in many runs under load), so
        // we try again.
        match list() {
            Err(e) if !self.on.is_local() && Dir::has_vanished(&e) => list(),
            listed => listed,
        }
    }

    /// Reads and judges one bid. `None`: the bid vanished.
    ///
    /// A program that closes a descriptor twice can close ours in the midst of that, and open another file with its number. What we then see
    /// of that file must not cost a live owner its bid. So we judge twice before we delete, unless the system says that there is no
    /// process with this PID.
    pub fn judge(&self, entry: &Entry) -> io::Result<Option<Rival>> {
        match self.judge_now(entry)? {
            Some(rival) if rival.verdict == Verdict::Stale && !liveness::has_no_process(&rival.bid, self.me) => {
                self.judge_now(entry)
            }
            judged => Ok(judged),
        }
    }

    fn judge_now(&self, entry: &Entry) -> io::Result<Option<Rival>> {
        // Bounded, because the folder itself may be gone.
        for _ in 0..10 {
            match self.judge_once(entry) {
                Err(e) if Dir::has_vanished(&e) => {} // the name now leads to another file, or to none
                judged => return judged,
            }
        }
        match self.judge_once(entry) {
            // We can't read it, so it counts as live.
            Err(e) if !self.on.is_local() && Dir::has_vanished(&e) => Ok(Some(Rival::unreadable(entry))),
            judged => judged,
        }
    }

    fn judge_once(&self, entry: &Entry) -> io::Result<Option<Rival>> {
        let rival = |bid, verdict, modified, probe| Rival::new(entry, bid, verdict, modified, probe);
        let malformed = |flaw, number, modified| {
            // Only a bid that its writer may not have finished becomes stale by its age.
            let may_go = matches!(flaw, Flaw::CutOff(_));
            let grace = self.malformed_grace_ms;
            let is_over = || grace > 0 && self.seen.since(entry, (number, modified)) >= grace.into();
            let verdict = match may_go && (liveness::is_abandoned(modified, grace, self.me, self.on) || is_over()) {
                true => Verdict::Stale,
                false => Verdict::Malformed,
            };
            rival(Err(flaw), verdict, Some(modified), Probe::None)
        };
        let file = match self.dir.open_small(&entry.0)? {
            Opened::Gone => return Ok(None),
            Opened::Denied => return Ok(Some(Rival::unreadable(entry))),
            Opened::Mounted => {
                let flaw = Flaw::Foreign("another filesystem is mounted there");
                return Ok(Some(rival(Err(flaw), Verdict::Malformed, None, Probe::None)));
            }
            Opened::NotRegular { modified } => {
                return Ok(Some(malformed(Flaw::Foreign("it is not a regular file"), 0, modified)));
            }
            Opened::File(file) => file,
        };
        let (number, modified) = (file.id.number(), file.modified);
        let Some(content) = file.read(bid::MAX_BYTES + 1)? else { return Ok(Some(Rival::unreadable(entry))) };
        Ok(Some(match Bid::parse(&content) {
            // A bid of ours is locked before it has a name. So others spoiled it.
            Err(Flaw::CutOff(_)) if file.is_locked().unwrap_or(false) => malformed(SPOILED, number, modified),
            Err(flaw) => malformed(flaw, number, modified),
            Ok(bid) => {
                let (verdict, probe) = liveness::judge(&bid, file, self.rights, self.me, &self.view, self.on);
                rival(Ok(bid), verdict, Some(modified), probe)
            }
        }))
    }

    /// Deletes a stale bid. False: we may not delete it (it is another user's, in a sticky folder), or another process
    /// was faster. We pass over such a bid, because its owner is gone.
    pub fn reap(&self, name: &CStr) -> bool {
        self.dir.unlink(name).is_ok()
    }
}

const SPOILED: Flaw = Flaw::Foreign("its owner lives, and somebody cut its content off");

fn note(entries: &mut Vec<Entry>, name: &CStr, number: u64) {
    if is_bid_name(name) {
        entries.push((name.to_owned(), number));
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
