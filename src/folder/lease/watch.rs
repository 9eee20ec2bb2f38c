//! The leases of rivals, as one handle sees them. It looks at them only while there are rivals.

use std::collections::{BTreeMap, BTreeSet}; // not hash maps: std panics if a sandbox refuses its random numbers
use std::ffi::CStr;
use std::io;
use std::time::Duration;

use uuid::Uuid;

use super::files::{self, Files, Ours};
use crate::folder::broom::Hidden;
use crate::folder::claims;
use crate::owner::bid::canonical;
use crate::owner::rival::Entry;
use crate::protocol::lease::{Moment, Name, Observed, LONGEST, SHORTEST};
use crate::sys::{self, Dir, Thread};

/// The time between two looks. A wait looks at the bids more often than that.
const PAUSE: Duration = Duration::from_millis(400);

/// So many leases at most are taken over after each look. Otherwise a call in a folder full of forged bids would take long, and look at
/// no time-out meanwhile.
const TAKEN_AT_ONCE: u32 = 32;

#[derive(Default)]
pub(crate) struct Watch {
    /// A rival's bid stated a lease, so other hosts use the folder too.
    pub saw_one: bool,
    seen: BTreeMap<Uuid, Observed>,
    /// The bids whose leases we took over, and that we could not delete.
    passed: BTreeSet<Uuid>,
    /// Those of them that nobody has tried to delete yet.
    doomed: Vec<(Uuid, Entry)>,
    /// How many more leases may be taken over until the next look.
    left: u32,
    looked: Option<Moment>,
    cleaner: Option<Thread>,
}

impl Watch {
    /// Looks at the leases of these bids, unless it has just done so.
    pub fn look(&mut self, folder: &Dir, bids: &[Entry]) -> io::Result<()> {
        let began = sys::since_boot();
        if self.looked.is_some_and(|then| began.saturating_sub(then) < PAUSE) {
            return Ok(());
        }
        let mut names: BTreeMap<Uuid, Vec<Name>> = BTreeMap::new();
        files::list(folder, |name, maker| {
            names.entry(name.bid).or_default().push(Name { number: name.number, maker });
        })?;
        let ended = sys::since_boot();
        let mut before = std::mem::take(&mut self.seen);
        for bid in bids.iter().filter_map(|(name, _)| canonical(name)) {
            let of_bid = names.get(&bid).map_or(&[][..], Vec::as_slice);
            let mut observed = before.remove(&bid).unwrap_or_else(|| Observed::new(of_bid, began, ended));
            observed.look(of_bid, began, ended);
            self.seen.insert(bid, observed);
        }
        self.passed.retain(|bid| self.seen.contains_key(bid));
        (self.looked, self.left) = (Some(began), TAKEN_AT_ONCE);
        Ok(())
    }

    /// Whether we saw that its owner renewed it.
    pub fn was_renewed(&self, bid: &CStr) -> bool {
        canonical(bid).and_then(|bid| self.seen.get(&bid)).is_some_and(|observed| observed.was_renewed)
    }

    /// Whether the owner of this bid has lost the lock. If the lease has expired and `taker` is our bid or our claim, this takes the
    /// lease over, and [`Watch::delete_taken`] deletes the bid. Without `taker` it only tells whether that would be tried.
    pub fn keeps_nobody_out(&mut self, folder: &Dir, bid: &Entry, lease: Duration, taker: Option<&Ours>) -> bool {
        let Some(uuid) = canonical(&bid.0) else { return false };
        let Some(observed) = self.seen.get(&uuid) else { return false };
        if self.passed.contains(&uuid) {
            return true; // we took it over before, and could not delete it
        }
        if !observed.has_expired(lease) {
            return false;
        }
        let Some(ours) = taker else { return true };
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        let mut files = Files::new(folder, uuid, bid.0.clone(), sys::file_name(&bid.0).into(), ours.clone());
        // After an error we do not know whether we took it over, so it counts as live.
        if !observed.take_over(&mut files).unwrap_or(false) {
            // The next try comes a lease later. So a lease that can't be taken over makes nobody spin.
            self.seen.remove(&uuid);
            return false;
        }
        self.passed.insert(uuid); // until it is deleted
        self.doomed.push((uuid, bid.clone()));
        true
    }

    /// Deletes the bids that we took over, their claims, and the numbers of their leases.
    ///
    /// A thread does this. On NFS 4 another host may have the right to cache the file, if a user has read the bid there. (We ask for no
    /// such right: see `System::UNDELEGATED`.) If that host does not answer, the server lets us wait until this right has expired: 90 s
    /// on Linux (RFC 8881, section 10.2.1).
    pub fn delete_taken(&mut self, folder: &Dir) {
        if self.doomed.is_empty() || self.cleaner.as_ref().is_some_and(|cleaner| !cleaner.has_ended()) {
            return;
        }
        let doomed = std::mem::take(&mut self.doomed);
        // Without a descriptor or a thread the bids stay, and the next claimant tries.
        let Ok(folder) = folder.open_dir(c".") else { return };
        self.cleaner = Thread::spawn("lockfolder-clean", move || delete(&folder, doomed)).ok();
    }
}

fn delete(folder: &Dir, doomed: Vec<(Uuid, Entry)>) {
    let hidden = Hidden::open(folder);
    let broom = hidden.as_ref().ok().and_then(Hidden::broom);
    let mut gone = BTreeSet::new();
    for (uuid, (name, number)) in doomed {
        broom.into_iter().for_each(|broom| claims::delete_twin(broom, number));
        if folder.unlink(&name).is_ok() {
            gone.insert(uuid);
        }
    }
    broom.into_iter().for_each(|broom| files::sweep(broom, |bid| gone.contains(&bid)));
}

/// The lease that a bid states, within the limits.
pub(crate) fn stated(ms: u32) -> Duration {
    Duration::from_millis(ms.into()).clamp(SHORTEST, LONGEST)
}
