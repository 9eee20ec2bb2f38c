//! The leases of rivals, as one handle sees them. It looks at them only while there are rivals.

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
use crate::sys::{self, Dir};

/// The time between two looks. A wait looks at the bids more often than that.
const PAUSE: Duration = Duration::from_millis(400);

#[derive(Default)]
pub(crate) struct Watch {
    seen: Vec<(Uuid, Observed)>,
    /// The bids whose leases we took over, and that we could not delete.
    passed: Vec<Uuid>,
    looked: Option<Moment>,
}

impl Watch {
    /// Looks at the leases of these bids, unless it has just done so.
    pub fn look(&mut self, folder: &Dir, bids: &[Entry]) -> io::Result<()> {
        let began = sys::since_boot();
        if self.looked.is_some_and(|then| began.saturating_sub(then) < PAUSE) {
            return Ok(());
        }
        let mut names: Vec<(Uuid, Name)> = Vec::new();
        files::list(folder, |name, maker| names.push((name.bid, Name { number: name.number, maker })))?;
        let ended = sys::since_boot();
        let mut now = Vec::new();
        for bid in bids.iter().filter_map(|(name, _)| canonical(name)) {
            let of_bid: Vec<Name> = names.iter().filter(|(of, _)| *of == bid).map(|(_, name)| *name).collect();
            let mut observed = match self.seen.iter().position(|(of, _)| *of == bid) {
                Some(at) => self.seen.swap_remove(at).1,
                None => Observed::new(&of_bid, began, ended),
            };
            observed.look(&of_bid, began, ended);
            now.push((bid, observed));
        }
        self.seen = now;
        self.passed.retain(|bid| self.seen.iter().any(|(of, _)| of == bid));
        self.looked = Some(began);
        Ok(())
    }

    fn of(&self, bid: &CStr) -> Option<&Observed> {
        let bid = canonical(bid)?;
        self.seen.iter().find(|(of, _)| *of == bid).map(|(_, observed)| observed)
    }

    /// Whether we saw that its owner renewed it.
    pub fn was_renewed(&self, bid: &CStr) -> bool {
        self.of(bid).is_some_and(|observed| observed.was_renewed)
    }

    /// Whether the owner of this bid has lost the lock. If the lease has expired and `taker` is our bid or our claim, this takes the
    /// lease over and deletes the bid. Without `taker` it only tells whether that would be tried.
    pub fn keeps_nobody_out(&mut self, folder: &Dir, bid: &Entry, lease: Duration, taker: Option<&Ours>) -> bool {
        let (Some(uuid), Some(observed)) = (canonical(&bid.0), self.of(&bid.0)) else { return false };
        if self.passed.contains(&uuid) {
            return true; // we took it over before, and could not delete it
        }
        if !observed.has_expired(lease) {
            return false;
        }
        let Some(ours) = taker else { return true };
        let mut files = Files::new(folder, uuid, bid.0.clone(), ours.clone());
        // After an error we do not know whether we took it over, so it counts as live.
        if !observed.take_over(&mut files).unwrap_or(false) {
            // The next try comes a lease later. So a lease that can't be taken over makes nobody spin.
            self.seen.retain(|(of, _)| *of != uuid);
            return false;
        }
        self.passed.push(uuid); // until it is deleted
        delete(folder, bid.clone(), uuid);
        true
    }
}

/// The lease that a bid states, within the limits.
pub(crate) fn stated(ms: u32) -> Duration {
    Duration::from_millis(ms.into()).clamp(SHORTEST, LONGEST)
}

/// Deletes a bid that we took over, its claim, and the numbers of its lease.
///
/// A thread does this. On NFS 4 another host may have the right to cache the file, if a user has read the bid there. (We ask for no such
/// right: see `System::UNDELEGATED`.) If that host does not answer, the server lets us wait until this right has expired: 90 s on
/// Linux (RFC 8881, section 10.2.1).
fn delete(folder: &Dir, bid: Entry, uuid: Uuid) {
    let Ok(folder) = folder.open_dir(c".") else { return };
    let delete = move || {
        let hidden = Hidden::open(&folder);
        let broom = hidden.as_ref().ok().and_then(Hidden::broom);
        broom.into_iter().for_each(|broom| claims::delete_twin(broom, bid.1));
        if folder.unlink(&bid.0).is_ok() {
            broom.into_iter().for_each(|broom| files::sweep(broom, uuid));
        }
    };
    // Without a thread the bid stays, and the next claimant tries.
    let _ = sys::spawn("lockfolder-clean", delete);
}
