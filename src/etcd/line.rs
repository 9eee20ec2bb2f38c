//! The line of the waiters: their keys, in the order of their create revisions.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::etcd::claimant::{identity, Etcd};
use crate::etcd::keys::{key_of, value, Key};
use crate::etcd::watch::Predecessor;
use crate::owner::rival::Rival;
use crate::protocol::{Leaving, Line, Place, Standing, View};
use crate::sys;

/// A watch that is cut off without a sign says nothing. So a waiter also looks at least this often.
const LOOK: Duration = Duration::from_secs(2);

impl Line for Etcd {
    /// The revision that created the claimant's key.
    type Ticket = u64;
    type Predecessor = Arc<Predecessor>;
    type Watch = ();

    fn approach(&mut self) -> Result<()> {
        self.clear()
    }

    fn refresh(&mut self) -> Result<bool> {
        self.check_owner().map(|()| false)
    }

    /// A lock call that does not wait can't go ahead of waiters here, so it need not give way.
    fn first_in_line(&self) -> Option<u64> {
        None
    }

    fn has_line(&self) -> bool {
        false
    }

    fn bury(&mut self, _: u64) -> bool {
        false
    }

    fn stand(&mut self) -> Result<Standing<u64>> {
        self.check_owner()?;
        if self.ticket.is_some() {
            let lease = self.lease.clone();
            if let Some(lease) = lease.filter(|lease| lease.valid_for().is_some()) {
                if !self.in_thread && lease.is_due() {
                    let _ = lease.renew();
                }
                return Ok(Standing::Stood);
            }
            self.ticket = None;
            self.drop_lease();
            return Ok(Standing::Lost);
        }
        let lease = self.fresh_lease()?;
        let value = value(&*identity()?, self.command.as_ref(), self.length);
        let posted = self.client.post(&self.prefix, &lease.key, &value, lease.id, self.until_next_step());
        let (posting, may_come_again) = posted.map_err(|fault| self.not_posted(fault))?;
        self.is_doubtful |= may_come_again;
        let Some(created) = posting.sight.own.as_ref().map(|own| own.created) else {
            self.drop_lease();
            return Ok(Standing::Lost);
        };
        let key = Key { lease: lease.id, created };
        self.ticket = Some(key);
        if let Err(error) = self.stand_by(key) {
            self.leave(Leaving::GivesUp);
            return Err(error);
        }
        match posting.is_complete {
            true => {
                self.saw(posting.sight);
                Ok(Standing::Joined(self.sight.ahead.as_ref().map(|ahead| ahead.created)))
            }
            false => Ok(Standing::Joined(None)), // the view that follows looks
        }
    }

    fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    fn view(&mut self) -> Result<View<u64>> {
        let Some(ticket) = self.ticket else { return Ok(View::default()) };
        let every = (self.length / 6).max(LOOK);
        // A look of the future is not recent: the clock went back, because the process entered another time namespace.
        let passed = self.looked.and_then(|then| sys::now().checked_duration_since(then));
        let is_recent = passed.is_some_and(|passed| passed < every);
        let is_watched = self.watched.as_ref().is_some_and(|watched| !watched.is_over());
        let is_known = std::mem::take(&mut self.is_news) || is_recent && is_watched;
        if !is_known {
            let key = key_of(&self.prefix, ticket.lease);
            let looked = self.client.look(&self.prefix, &key, ticket.created, self.until_next_step());
            let sight = looked.map_err(|fault| self.failed("look at the line", fault))?;
            self.saw(sight);
            self.is_news = false;
            if !self.has_own(&ticket) {
                return Ok(View::default());
            }
        }
        let predecessor = self.sight.ahead.as_ref().map(|ahead| ahead.created);
        let ahead = usize::from(predecessor.is_some());
        Ok(View { predecessor, ahead, length: ahead + 1, ..View::default() })
    }

    fn watch_predecessor(&mut self, ticket: u64, known: Option<Arc<Predecessor>>) -> Result<Option<Arc<Predecessor>>> {
        let known = known.or_else(|| self.watched.clone()).filter(|known| known.created == ticket);
        if let Some(known) = known {
            match (known.is_over(), known.is_gone()) {
                (false, _) => return Ok(Some(known)),
                (true, true) => return Ok(None),
                (true, false) => {} // a gap, and the look after it still showed the key
            }
        }
        let Some(ahead) = self.sight.ahead.as_ref().filter(|ahead| ahead.created == ticket) else { return Ok(None) };
        let watched = Predecessor::watch(&self.client, ahead.key.clone(), ticket, self.sight.revision + 1);
        let watched = Arc::new(watched.map_err(|e| Error::io("start the thread that waits for", &**self.path(), e))?);
        self.watched = Some(Arc::clone(&watched));
        Ok(Some(watched))
    }

    fn has_handed_over(predecessor: &Arc<Predecessor>) -> bool {
        predecessor.is_gone()
    }

    fn is_leaving(_: &Arc<Predecessor>, _: &Arc<Rival>) -> bool {
        false // its key is gone when it has handed over
    }

    fn glance_after(&mut self, _: &Arc<Predecessor>) -> Result<Option<Arc<Rival>>> {
        self.glance()
    }

    fn tells(predecessor: &Arc<Predecessor>) -> bool {
        !predecessor.is_over()
    }

    fn watch(&mut self, _: Option<()>) -> Option<()> {
        None
    }

    fn put_by(&mut self, _: Option<()>, _: Option<Arc<Predecessor>>) {}

    fn rival(&mut self, _: Option<u64>) -> Result<Option<Arc<Rival>>> {
        Ok(self.rival.clone())
    }

    fn glance_for(&mut self, _: u64) -> Result<Option<Arc<Rival>>> {
        self.glance()
    }

    fn last_rivals(&self) -> Vec<Arc<Rival>> {
        self.rival.iter().cloned().collect()
    }

    fn is_same_bid(one: &Arc<Rival>, other: &Arc<Rival>) -> bool {
        one.is_same(other)
    }

    fn is_overtaken(&self, _: u64, _: &Arc<Rival>, _: &Arc<Rival>) -> bool {
        false
    }

    fn tells_death(_: &Arc<Rival>) -> bool {
        false
    }

    fn restore_order(&mut self, _: &Arc<Rival>) -> Result<()> {
        Ok(())
    }

    /// Nobody is put out of this line but by etcd, when its lease is over.
    fn discard(&mut self, _: u64) {}

    /// Nobody holds a lock on etcd together with others.
    fn pass_on(&mut self) {}

    fn comes_later(&self, rival: &Arc<Rival>) -> Error {
        self.busy(rival)
    }

    /// The engine tells, when our key goes.
    fn tell(&mut self) {}

    fn leave(&mut self, _: Leaving) {
        if self.check_owner().is_err() {
            return; // the ticket is our parent's
        }
        self.watched = None;
        if let Some(key) = self.ticket.take() {
            if self.delete(key).is_err() {
                self.drop_lease();
            }
        }
    }

    fn why_not_yet(&mut self) -> Error {
        match &self.rival {
            Some(rival) => self.busy(rival),
            None => {
                let text = format!(
                    "nobody was seen to hold the lock of {}, but it was not our turn yet",
                    self.path().display()
                );
                Error::new(ErrorKind::Busy, text)
            }
        }
    }

    fn chance(&mut self) -> f64 {
        let mut random = [0; 8];
        let _ = sys::fill_random(&mut random);
        u64::from_ne_bytes(random) as f64 / u64::MAX as f64
    }

    fn bound(&mut self, end: Option<std::time::Instant>) {
        self.succeed(); // another call begins, or this one is over
        self.end = end;
    }

    fn rides_out(&mut self, error: &Error) -> bool {
        Etcd::rides_out(self, error)
    }
}
