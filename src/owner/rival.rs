//! A rival: somebody else's bid, read and judged.

use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::error::{BidState, Holder, Unread};
use crate::owner::bid::{Bid, Flaw};
use crate::owner::liveness::{Probe, Verdict};
use crate::sys::{self, FileId};

/// A bid that is not ours, read and judged.
pub(crate) struct Rival {
    pub name: CString,
    /// Tells two bids of one name apart: a Python peer uses its name again.
    number: u64,
    pub bid: Result<Bid, Flaw>,
    pub verdict: Verdict,
    /// Last modified, Unix milliseconds; `None` where we may not look.
    pub modified: Option<i64>,
    pub probe: Probe,
    /// What is said of it to others, once somebody asks.
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

    pub fn is(&self, (name, number): &Entry) -> bool {
        self.name == *name && self.number == *number
    }

    /// Its bid is a link of this file.
    pub fn is_link_of(&self, claim: &FileId) -> bool {
        self.number == claim.number()
    }

    /// As far as its pulse tells.
    pub fn is_alive(&self) -> bool {
        self.probe.beats()
    }

    pub fn state(&self) -> BidState {
        match self.verdict {
            Verdict::Live => BidState::Live,
            Verdict::Stale => BidState::Stale,
            Verdict::Unknown => BidState::Unknown,
            Verdict::Malformed => BidState::Malformed,
        }
    }

    /// Who it is, as plain data, to be kept for as long as anybody likes.
    pub fn holder(&self) -> &Arc<Holder> {
        self.holder.get_or_init(|| {
            let bid = self.bid.as_ref();
            let unread = bid.err().map(|flaw| match *flaw {
                Flaw::CutOff(why) => Unread::CutOff(why),
                Flaw::Foreign(why) => Unread::Foreign(why),
                Flaw::Denied => Unread::Denied,
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

/// A name in the folder, and the number of the file that has it.
pub(crate) type Entry = (CString, u64);
