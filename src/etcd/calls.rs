//! What a user can ask of a claimant, apart from the lock itself.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Reach, Result};
use crate::etcd::claimant::Etcd;
use crate::etcd::keys::{key_of, rival, Key};
use crate::owner::rival::Rival;
use crate::protocol::lease::{LONGEST, SHORTEST};
use crate::slots::Slots;
use crate::sys::{self, Alarm};

/// A bid has at most so many characters of the command that a program told.
const LONGEST_COMMAND: usize = 128;

impl Etcd {
    /// Asks etcd whether our key is there, and looks at the lease before and after.
    pub fn holds(&mut self, bid: &Key) -> Result<()> {
        self.loss().map_or(Ok(()), Err)?;
        let key = key_of(&self.prefix, bid.lease);
        let looked = self.client.look(&self.prefix, &key, bid.created, self.until());
        let sight = looked.map_err(|fault| self.failed("look at our key", fault))?;
        if sight.own.is_none_or(|own| own.created != bid.created) {
            self.vanish();
        }
        self.loss().map_or(Ok(()), Err)
    }

    /// The holder's bid, and whether it is ours. Waiters have keys too, and are no holders.
    pub fn bids(&mut self, held: Option<&Key>) -> Result<Vec<(Rival, bool)>> {
        let all = self.list()?;
        let own = held.map(|held| held.created);
        Ok(all.into_iter().take(1).map(|(created, rival)| (rival, Some(created) == own)).collect())
    }

    /// The waiters in line, and when each arrived (Unix nanoseconds; now, if its key does not say).
    pub fn line(&mut self) -> Result<Vec<(u64, Rival)>> {
        let now = sys::unix_nanos();
        let arrival =
            |rival: &Rival| rival.modified.and_then(|ms| u64::try_from(ms).ok()).map_or(now, |ms| ms * 1_000_000);
        Ok(self.list()?.into_iter().skip(1).map(|(_, rival)| (arrival(&rival), rival)).collect())
    }

    fn list(&mut self) -> Result<Vec<(u64, Rival)>> {
        let listed = self.client.list(&self.prefix, self.until());
        let listed = listed.map_err(|fault| self.failed("list the keys", fault))?;
        Ok(listed.iter().map(|entry| (entry.created, rival(&self.prefix, entry))).collect())
    }

    /// From the next lock on, our keys name this command.
    pub fn set_command(&mut self, command: &str) {
        self.command = Some(command.chars().take(LONGEST_COMMAND).collect());
    }

    /// Etcd deletes the keys of dead claimants by itself, when their leases are over.
    pub fn reap_stale(&mut self, _: Option<&Key>) -> Result<usize> {
        Ok(0)
    }

    pub fn set_malformed_grace(&mut self, ms: u32) -> Result<()> {
        match ms {
            0 => Ok(()),
            _ => {
                let text = "on etcd no key is cut off, so there is no grace for such bids: a key is there until its lease is over";
                Err(Error::fixed(ErrorKind::Unsupported, text))
            }
        }
    }

    /// The revision that created our key. Each later holder has a larger one.
    pub fn fence(&mut self, bid: &Key) -> Result<u64> {
        self.holds(bid)?;
        Ok(bid.created)
    }

    pub fn renew(&self) -> Result<()> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let renewed = lease.renew();
        match (self.loss(), renewed) {
            (Some(lost), _) => Err(lost),
            (None, Ok(())) => Ok(()),
            (None, Err(Some(fault))) => Err(fault.into_error("renew our lease", self.path())),
            (None, Err(None)) => {
                let text = format!(
                    "the leader of etcd changed while the lease of {} was renewed: try again",
                    self.path().display()
                );
                Err(Error::new(ErrorKind::Io, text))
            }
        }
    }

    pub fn valid_for(&self) -> Result<Option<Duration>> {
        let Some(lease) = &self.lease else { return Ok(None) };
        match lease.valid_for() {
            Some(left) => Ok(Some(left)),
            None => Err(self.lost(&lease.why_lost())),
        }
    }

    pub fn set_slots(&mut self, slots: Slots) -> Result<()> {
        match slots {
            Slots::One => Ok(()),
            Slots::AtMost(_) | Slots::Any => {
                let text = "on etcd one at a time holds the lock, as with etcdctl lock: several can hold one only in a lock folder";
                Err(Error::fixed(ErrorKind::Unsupported, text))
            }
        }
    }

    pub fn set_lease(&mut self, length: Duration) -> Result<()> {
        if !(SHORTEST..=LONGEST).contains(&length) {
            return Err(Error::fixed(ErrorKind::Invalid, "a lease lasts from 5,000 to 3,600,000 ms"));
        }
        self.length = length;
        Ok(())
    }

    /// A descriptor that becomes readable when the lock is lost.
    pub fn lost_descriptor(&mut self) -> Result<Option<Arc<Alarm>>> {
        if self.alarm.is_none() {
            let alarm = Alarm::new().map_err(|e| Error::io("make a timer for", &**self.path(), e))?;
            self.alarm = alarm.map(Arc::new);
            if let (Some(alarm), Some(lease)) = (&self.alarm, &self.lease) {
                lease.ring(Arc::clone(alarm));
            }
        }
        Ok(self.alarm.clone())
    }

    pub fn reach(&self) -> Reach {
        Reach::Hosts
    }
}
