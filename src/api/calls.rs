//! The calls of a user on a claimant, other than to lock and unlock.

use std::time::Duration;

use crate::api::place::AnyPlace;
use crate::api::snapshot::{BidInfo, WaiterInfo};
use crate::error::{BidState, Error, ErrorKind, Result};
use crate::protocol::{Place, Session};
use crate::slots::Slots;

/// Each call looks first whether we hold the lock, and with which bid.
impl Session<AnyPlace> {
    /// Checks that the lock is held, and that all claimants who open the path see that.
    pub fn holds(&mut self) -> Result<()> {
        let bid = self.held_bid()?;
        self.place.holds(&bid)
    }

    /// Tells whether another claimant has a bid that counts as live.
    pub fn in_use(&mut self) -> Result<bool> {
        let bids = self.bids()?;
        Ok(bids.iter().any(|bid| !matches!(bid.state, BidState::Own | BidState::Stale)))
    }

    pub fn bids(&mut self) -> Result<Vec<BidInfo>> {
        let held = self.held();
        let bids = self.place.bids(held.as_ref())?;
        Ok(bids.into_iter().map(|(rival, is_own)| BidInfo::new(rival, is_own)).collect())
    }

    pub fn waiters(&mut self) -> Result<Vec<WaiterInfo>> {
        let line = self.place.line()?;
        Ok(line.into_iter().map(|(ticket, owner)| WaiterInfo::new(ticket.arrival, owner)).collect())
    }

    pub fn set_command(&mut self, command: &str) -> Result<()> {
        match self.held() {
            None => {
                self.place.set_command(command);
                Ok(())
            }
            Some(_) => {
                Err(self.place.misuse(ErrorKind::AlreadyHeld, "holds the lock, so its command can't be changed now"))
            }
        }
    }

    pub fn reap_stale(&mut self) -> Result<usize> {
        let held = self.held();
        self.place.reap_stale(held.as_ref())
    }

    pub fn renew(&self) -> Result<()> {
        self.held_bid()?;
        self.place.renew()
    }

    pub fn valid_for(&self) -> Result<Option<Duration>> {
        self.held_bid()?;
        self.place.valid_for()
    }

    pub fn set_lease(&mut self, length: Duration) -> Result<()> {
        match self.held() {
            None => self.place.set_lease(length),
            Some(_) => {
                Err(self.place.misuse(ErrorKind::AlreadyHeld, "holds the lock, so its lease can't be changed now"))
            }
        }
    }

    /// The caller has the turn, so the lock is not held, and no wait is in progress.
    pub fn set_slots(&mut self, slots: Slots) -> Result<()> {
        if slots == Slots::AtMost(0) {
            let text = "at most 0 can never hold a lock: name at least one, or any number";
            return Err(Error::fixed(ErrorKind::Invalid, text));
        }
        self.place.set_slots(Slots::of_number(slots.number())) // a place gets `One`, and never `AtMost(1)`
    }

    pub fn fence(&mut self) -> Result<u64> {
        self.place.fence(&self.held_bid()?)
    }
}
