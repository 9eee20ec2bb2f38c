//! A rival: another claimant's bid, read and judged.

use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::error::{BidState, Holder, Unread};
use crate::owner::bid::{self, canonical, Bid, Flaw};
use crate::owner::liveness::{Probe, Verdict};
use crate::slots::Slots;
use crate::sys::{self, FileId};

/// A bid that is not ours, read and judged.
pub(crate) struct Rival {
    pub name: CString,
    /// Tells two bids with the same name apart, because a Python peer uses its name again.
    number: u64,
    pub bid: Result<Bid, Flaw>,
    pub verdict: Verdict,
    /// When the bid was last modified, in Unix milliseconds. `None` if we may not look.
    pub modified: Option<i64>,
    pub probe: Probe,
    /// The description of the rival for users, made when it is first needed.
    holder: OnceLock<Arc<Holder>>,
}

impl Rival {
    pub fn new(
        (name, number): &Entry,
        bid: Result<Bid, Flaw>,
        verdict: Verdict,
        modified: Option<i64>,
        probe: Probe,
    ) -> Rival {
        Rival { name: name.clone(), number: *number, bid, verdict, modified, probe, holder: OnceLock::new() }
    }

    pub fn unreadable(entry: &Entry) -> Rival {
        Rival::new(entry, Err(Flaw::Denied), Verdict::Unknown, None, Probe::None)
    }

    /// The same without the descriptors that its probe holds.
    pub fn without_probe(mut self) -> Rival {
        self.probe = Probe::None;
        self
    }

    pub fn is(&self, (name, number): &Entry) -> bool {
        self.name == *name && self.number == *number
    }

    pub fn is_same(&self, other: &Rival) -> bool {
        self.name == other.name && self.number == other.number
    }

    /// Whether the two say the same, as a claim and its bids do.
    pub fn says_the_same(&self, other: &Rival) -> bool {
        matches!((&self.bid, &other.bid), (Ok(one), Ok(other)) if one == other)
    }

    /// The number of the file in which this is stated, as far as the file itself tells.
    pub fn stated_number(&self) -> Option<u64> {
        self.bid.as_ref().ok()?.inode
    }

    /// The owner of this claim as a rival that has posted it as a bid. It has no probe.
    pub fn posted(&self, entry: &Entry) -> Rival {
        Rival::new(entry, self.bid.clone(), self.verdict, self.modified, Probe::None)
    }

    /// Whether the bid is a link of this file.
    pub fn is_link_of(&self, claim: &FileId) -> bool {
        self.number == claim.number()
    }

    /// The length of its owner's lease in milliseconds, if it has one. The lease goes by the UUID, so another spelling of a bid's
    /// name has none.
    pub fn lease(&self) -> Option<u32> {
        canonical(&self.name)?;
        self.bid.as_ref().ok()?.lease
    }

    /// How many hold the lock together by this bid.
    pub fn slots(&self) -> Slots {
        bid::slots(&self.name, self.bid.as_ref())
    }

    /// The same for a claim, whose name does not say it.
    pub fn stated_slots(&self) -> Slots {
        self.bid.as_ref().ok().and_then(|bid| bid.slots).map_or(Slots::One, Slots::of_number)
    }

    /// Whether a lease alone tells that the owner is gone.
    pub fn is_leased_elsewhere(&self) -> bool {
        self.lease().is_some() && self.verdict == Verdict::Unknown
    }

    /// Whether the owner is alive, as far as the liveness probe tells.
    pub fn is_alive(&self) -> bool {
        self.probe.says_alive()
    }

    pub fn state(&self) -> BidState {
        match self.verdict {
            Verdict::Live => BidState::Live,
            Verdict::Stale => BidState::Stale,
            Verdict::Unknown => BidState::Unknown,
            Verdict::Malformed => BidState::Malformed,
        }
    }

    /// A description of the rival as plain data, which the caller may keep for any time.
    pub fn holder(&self) -> &Arc<Holder> {
        self.holder.get_or_init(|| {
            let bid = self.bid.as_ref();
            let unread = bid.err().map(|flaw| match *flaw {
                Flaw::CutOff(why) => Unread::CutOff(why),
                Flaw::Foreign(why) => Unread::Foreign(why),
                Flaw::Denied => Unread::Denied,
                #[cfg(feature = "etcd")]
                Flaw::Mute => Unread::Mute,
            });
            let bid = bid.ok();
            Arc::new(Holder {
                name: sys::file_name(&self.name),
                pid: bid.map(|bid| bid.pid),
                command: bid.and_then(|bid| bid.command.clone()),
                host: bid.and_then(|bid| bid.host.clone()),
                state: self.state(),
                unread,
            })
        })
    }
}

impl fmt::Debug for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.name, self.verdict)
    }
}

/// A name in the folder, and the number of the file with this name.
pub(crate) type Entry = (CString, u64);
