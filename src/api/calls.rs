//! What a user asks of a claimant, but for the lock itself.

use crate::api::snapshot::BidInfo;
use crate::error::{BidState, Result};
use crate::folder::Folder;
use crate::protocol::Session;

/// Each call knows the bid by which we hold the lock, or that we don't.
impl Session<Folder> {
    /// The lock is held, and everybody who goes by the path sees that.
    pub fn holds(&self) -> Result<()> {
        self.place.holds(&self.held_bid()?)
    }

    /// A live bid is there, and it is not ours.
    pub fn in_use(&mut self) -> Result<bool> {
        let bids = self.bids()?;
        Ok(bids.iter().any(|bid| !matches!(bid.state, BidState::Own | BidState::Stale)))
    }

    pub fn bids(&mut self) -> Result<Vec<BidInfo>> {
        let held = self.held();
        let bids = self.place.bids(held.as_ref())?;
        Ok(bids.into_iter().map(|(rival, is_own)| BidInfo::new(rival, is_own)).collect())
    }

    pub fn reap_stale(&mut self) -> Result<usize> {
        let held = self.held();
        self.place.reap_stale(held.as_ref())
    }

    pub fn fence(&mut self) -> Result<u64> {
        self.place.fence(&self.held_bid()?)
    }
}
