//! The scan, which carries out the check of check-bid-check: which bids are in the folder, and is one of them a live
//! rival's?

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::folder::broom::Hidden;
use crate::folder::lease::files::{self, Ours};
use crate::folder::lease::watch::{stated, Watch};
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

/// What a handle remembers from one check to the next.
#[derive(Default)]
pub(crate) struct Memory {
    entries: Vec<Entry>,
    /// The numbers of the bids that were reaped, and whose claims are still to be swept.
    pub reaped: Vec<u64>,
    /// The last live rival that kept us out. While its bid is there and its liveness probe answers, we need not judge it
    /// again.
    pub last: Option<Arc<Rival>>,
    /// The same for the live rivals that were counted before it, and did not keep us out. If there are many, only the first ones.
    pub company: Vec<Arc<Rival>>,
    /// The same for the look before.
    known: Vec<Arc<Rival>>,
    /// Rivals that are forgotten, and whose descriptors are still to be closed.
    past: Vec<Arc<Rival>>,
    /// Our last bid met a rival that the glance before it had not shown. Posting and withdrawing a bid are events that
    /// wake waiters, including ourselves. To avoid an endless loop, the next glance lists the whole folder.
    was_surprised: bool,
    /// The leases of the rivals.
    pub leases: Watch,
    /// The newest bid of the last look of a waiter, and that of its look before. (Names sort by the time of posting.)
    newest: [Option<CString>; 2],
}

/// A waiter watches no more rivals than this beside the one that keeps it out. (Windows waits for 64 handles at most.)
const MOST_WATCHED: usize = 32;
/// So many are remembered where nobody watches them, only to spare the next look a judgement. The memory of each holds descriptors.
const FEW: usize = 4;

impl Memory {
    /// Notes which bids the look showed that has just been made.
    pub fn note_newest(&mut self) {
        let posted = self.entries.iter().filter(|(name, _)| bid::posted_at(name).is_some());
        let newest = posted.map(|(name, _)| name).max().cloned();
        self.newest = [newest, self.newest[0].take()];
    }

    /// Whether this bid was posted after the look before the last one that was noted.
    pub fn has_come_since(&self, rival: &Rival) -> bool {
        bid::posted_at(&rival.name).is_some() && self.newest[1].as_ref().is_none_or(|newest| rival.name > *newest)
    }

    /// The memory of a rival holds descriptors. To close them takes time, so that waits until [`Self::close`], or until others are
    /// forgotten: a waiter may look for days.
    pub fn forget_rivals(&mut self) {
        if self.last.is_some() || !self.company.is_empty() {
            self.past.clear();
            self.past.extend(self.last.take());
            self.past.append(&mut self.company);
        }
    }

    /// Closes what was kept of rivals that are forgotten.
    pub fn close(&mut self) {
        self.past.clear();
    }

    /// We hold the lock, and wait for no rival.
    pub fn forget_most_rivals(&mut self) {
        self.company.truncate(FEW);
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
    pub fn judge(&self, entry: &Entry) -> io::Result<Option<Rival>> {
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
mod tests {
    use super::*;
    use crate::scratch::{bid_name, Scratch};

    struct Folder {
        path: Scratch,
        dir: Dir,
        me: Arc<Identity>,
        seen: Sightings,
    }

    impl Folder {
        fn new() -> Folder {
            let path = Scratch::new();
            Folder {
                dir: Dir::open(&path).unwrap(),
                path,
                me: Identity::current().unwrap(),
                seen: Sightings::default(),
            }
        }

        /// The path of the bid for this word (see `bid_name`).
        fn at(&self, word: &str) -> std::path::PathBuf {
            self.path.join(bid_name(word))
        }

        fn post(&self, word: &str, pid: u32) {
            std::fs::write(self.at(word), Bid { pid, ..Bid::default() }.to_json()).unwrap();
        }

        fn scanner(&self) -> Scanner<'_> {
            Scanner {
                dir: &self.dir,
                rights: self.dir.stat().unwrap().rights(),
                me: &self.me,
                view: View::default(),
                on: Filesystem::Local,
                malformed_grace_ms: 0,
                seen: &self.seen,
                lease: crate::protocol::lease::DEFAULT,
                slots: Slots::One,
            }
        }

        /// The name and the verdict of the rival that a check finds.
        fn rival(&self, memory: &mut Memory) -> Option<(String, Verdict)> {
            let rival = self.scanner().check(memory, None).unwrap().rival?;
            Some((rival.name.to_str().unwrap().into(), rival.verdict))
        }
    }

    fn live(word: &str) -> Option<(String, Verdict)> {
        Some((bid_name(word), Verdict::Live))
    }

    fn name_of(word: &str) -> CString {
        CString::new(bid_name(word)).unwrap()
    }

    /// Linux never gives a PID this large.
    const DEAD: u32 = 1 << 22;

    /// Our bids are always one file under a new name each time. A Python peer's bids are a new file each time under one
    /// name.
    #[test]
    fn a_known_rival_is_recognised_by_its_name_and_its_file() {
        let (folder, mut memory) = (Folder::new(), Memory::default());
        let at = |word: &str| folder.at(word);
        folder.post("m", folder.me.pid);
        assert_eq!(folder.rival(&mut memory), live("m"));
        std::fs::rename(at("m"), at("n")).unwrap();
        assert_eq!(folder.rival(&mut memory), live("n"), "another name");
        folder.post("l", folder.me.pid);
        assert_eq!(folder.rival(&mut memory), live("l"), "the first of two");
        folder.post("other", DEAD);
        std::fs::rename(at("other"), at("l")).unwrap();
        assert_eq!(folder.rival(&mut memory), live("n"), "another file");
        assert!(!at("l").exists());
    }

    /// A known rival is not read again while its owner lives, because that would cost as much as the whole rest of a
    /// scan.
    #[test]
    fn a_known_rival_is_not_read_again() {
        let ours = bid::BidName::new(1, [7; 8], Slots::One).as_c_str().to_str().unwrap().to_owned();
        for (name, is_read_again) in [(ours, false), (bid_name("python"), true)] {
            let (folder, mut memory) = (Folder::new(), Memory::default());
            let post = |pid| std::fs::write(folder.path.join(&name), Bid { pid, ..Bid::default() }.to_json()).unwrap();
            post(folder.me.pid);
            let first = folder.rival(&mut memory);
            assert_eq!(first, Some((name.clone(), Verdict::Live)));
            post(DEAD); // in reality no bid of ours is ever overwritten
            assert_eq!(folder.rival(&mut memory), first.filter(|_| !is_read_again));
            assert_eq!(folder.rival(&mut Memory::default()), None);
        }
    }

    /// A waiter that looks for days, and finds the lock free now and then, keeps no more of the past than one look showed.
    #[test]
    fn what_is_kept_of_past_rivals_does_not_grow() {
        let (folder, mut memory) = (Folder::new(), Memory::default());
        for _ in 0..10 {
            folder.post("m", folder.me.pid);
            assert_eq!(folder.rival(&mut memory), live("m"));
            std::fs::remove_file(folder.at("m")).unwrap();
            for _ in 0..2 {
                assert_eq!(folder.rival(&mut memory), None);
                assert_eq!(memory.past.len(), 1);
            }
        }
        memory.close();
        assert!(memory.past.is_empty());
    }

    #[test]
    fn the_liveness_probe_tells_whether_a_rival_is_alive() {
        let folder = Folder::new();
        folder.post("live", folder.me.pid);
        folder.post("dead", DEAD);
        std::fs::write(folder.at("torn"), "").unwrap();
        let scanner = folder.scanner();
        let names = ["dead", "live", "torn"].map(name_of);
        let rivals = names.clone().map(|name| scanner.judge(&(name, 0)).unwrap().unwrap());
        let alive: Vec<_> = rivals.iter().map(|rival| (rival.name.as_c_str(), rival.is_alive())).collect();
        assert_eq!(alive, [(&*names[0], false), (&*names[1], true), (&*names[2], false)]);
        assert_eq!(format!("{:?}", rivals[1]), format!("{:?} Live", names[1]));
    }

    /// Our own bid woke us. The next bid therefore waits for a full listing. (tests/promises/asleep.rs has a filesystem
    /// that shows this.)
    #[test]
    fn a_glance_is_not_trusted_after_a_bid_met_a_rival() {
        let (folder, mut memory) = (Folder::new(), Memory::default());
        folder.post("rival", folder.me.pid);
        folder.scanner().check(&mut memory, None).unwrap();
        assert!(!memory.was_surprised, "we had no bid");
        folder.scanner().check(&mut memory, Some(c"own.json")).unwrap();
        folder.scanner().check(&mut memory, None).unwrap();
        assert!(memory.was_surprised);
        std::fs::remove_file(folder.at("rival")).unwrap();
        folder.scanner().check(&mut memory, Some(c"own.json")).unwrap();
        assert!(!memory.was_surprised);
    }

    #[test]
    fn a_bid_that_vanished_is_gone() {
        let folder = Folder::new();
        assert!(folder.scanner().judge(&(name_of("a"), 1)).unwrap().is_none());
    }

    #[test]
    fn all_stale_bids_are_reaped_and_counted() {
        let folder = Folder::new();
        for name in ["a", "b", "c"] {
            folder.post(name, DEAD);
        }
        folder.post("live", folder.me.pid);
        assert_eq!(folder.scanner().reap_all(&mut Watch::default(), Some(&name_of("b")), None).unwrap(), 2);
        let left: Vec<_> = folder.scanner().rivals().unwrap().into_iter().map(|rival| rival.name).collect();
        assert_eq!(left, [name_of("b"), name_of("live")]);
        assert!(!folder.scanner().reap(&name_of("a")), "it is already gone");
    }

    #[test]
    fn a_bid_of_4_kib_is_read_and_a_larger_one_is_not() {
        let folder = Folder::new();
        for (size, verdict) in [(bid::MAX_BYTES, Verdict::Live), (bid::MAX_BYTES + 1, Verdict::Malformed)] {
            let content = format!("{:<size$}", format!("{{\"PID\": {}}}", folder.me.pid));
            std::fs::write(folder.at("a"), content).unwrap();
            assert_eq!(folder.scanner().rivals().unwrap()[0].verdict, verdict);
        }
    }

    #[test]
    fn bids_that_are_only_shown_are_not_kept_open() {
        let folder = Folder::new();
        for word in ["one", "two", "three"] {
            std::fs::write(
                folder.path.join(bid_name(word)),
                Bid { pid: std::process::id(), ..Bid::default() }.to_json(),
            )
            .unwrap();
        }
        let rivals = folder.scanner().rivals().unwrap();
        assert_eq!(rivals.len(), 3);
        assert!(rivals.iter().all(|rival| rival.verdict == Verdict::Live && matches!(rival.probe, Probe::None)));
    }

    #[test]
    fn a_rival_is_described_to_a_person() {
        let folder = Folder::new();
        folder.post("a", folder.me.pid);
        std::fs::write(folder.at("b"), "").unwrap();
        std::fs::write(folder.at("c"), "[]").unwrap();
        let said: Vec<_> = folder.scanner().rivals().unwrap().iter().map(|rival| rival.holder().to_string()).collect();
        let [a, b, c] = ["a", "b", "c"].map(bid_name);
        assert_eq!(said[0], format!("the bid {a} of PID {} is live", folder.me.pid));
        assert!(said[1].starts_with(&format!("the bid {b} can't be judged: it is empty")), "{}", said[1]);
        assert!(said[1].contains("lf_set_malformed_grace"), "what to do: {}", said[1]);
        let in_the_way = format!("the file {c} is in the way: it has the name of a bid, but it names no PID");
        assert!(said[2].starts_with(&in_the_way) && said[2].contains("Move it away"), "what to do: {}", said[2]);
    }
}
