//! etcd as the [`Place`] of the protocol.
//!
//! Both promises of a place hold: a look is a transaction that a majority has seen, so it shows each key that was posted before. And nobody
//! but its owner deletes a key, unless its lease is over.
//!
//! A claimant that does not wait posts its key only if there is no other one, in one transaction. One that waits has a ticket, and that
//! is its bid. So the first key always belongs to a holder, or to a waiter that is about to hold, and no tie has to be broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, Taken};
use crate::etcd::claimant::{identity, Etcd, Gone, CLEANING};
use crate::etcd::keys::{key_of, value, Key};
use crate::etcd::requests::Posted;
use crate::owner::rival::Rival;
use crate::protocol::{Backoff, Check, Line, Place};
use crate::sys;

impl Place for Etcd {
    type Bid = Key;
    type Rival = Arc<Rival>;

    fn enter(&mut self) -> Result<()> {
        self.clear()
    }

    fn clear(&mut self) -> Result<()> {
        self.check_owner()?;
        // A key that can't be taken away yet keeps us from the lock until its lease is over, and does no other harm.
        let end = self.until().min(sys::now() + CLEANING);
        self.end_strays(end);
        Ok(())
    }

    /// [`Place::post`] looks in the same transaction.
    fn glance(&mut self) -> Result<Option<Arc<Rival>>> {
        Ok(None)
    }

    fn post(&mut self) -> Result<Key> {
        self.check_owner()?;
        if let Some(ticket) = self.ticket {
            return Ok(ticket);
        }
        if self.end.is_some_and(|end| sys::now() >= end) {
            return Err(self.why_not_yet());
        }
        let lease = self.fresh_lease()?;
        let value = value(&*identity()?, self.command.as_ref(), self.length);
        let posted = self.client.post_if_free(&self.prefix, &lease.key, &value, lease.id, self.until());
        match posted {
            Ok((Posted::First(created), may_come_again)) => {
                self.is_doubtful |= may_come_again;
                let key = Key { lease: lease.id, created };
                self.first = Some(key);
                self.saw_rival(None);
                match self.stand_by(key) {
                    Ok(()) => Ok(key),
                    Err(error) => Err(self.take_back(key, error)),
                }
            }
            Ok((Posted::Taken(first), may_come_again)) => {
                if may_come_again {
                    self.drop_lease(); // otherwise the earlier try could still post our key
                    self.end_strays(self.until_cleaned());
                }
                self.saw_rival(first.as_ref());
                Err(self.why_not_yet())
            }
            Err(fault) => Err(self.not_posted(fault)),
        }
    }

    fn check(&mut self, own: &Key) -> Result<Check<Arc<Rival>>> {
        let key = key_of(&self.prefix, own.lease);
        if self.first != Some(*own) && !self.is_oldest(own, &key)? {
            let looked = self.client.look(&self.prefix, &key, own.created, self.until_next_step());
            let sight = looked.map_err(|fault| self.failed("look at the keys", fault))?;
            self.saw(sight);
            if !self.has_own(own) {
                return Ok(Check::Unseen);
            }
            if let Some(ahead) = &self.sight.ahead {
                let ahead = crate::etcd::keys::rival(&self.prefix, ahead);
                return Ok(Check::Rival(self.rival.clone().unwrap_or_else(|| Arc::new(ahead))));
            }
        }
        // Nobody was before us when we looked, and nobody can come before us later. So we have the lock while our key is there.
        match self.lease.as_ref().and_then(|lease| lease.valid_for()) {
            Some(_) => Ok(Check::Alone),
            None => {
                let text = "the lease of our key ended before it won, because etcd or this machine is too slow for it";
                Err(Error::fixed(ErrorKind::Busy, text))
            }
        }
    }

    /// The key that keeps us from the lock was created before ours.
    fn precedes(&self, _: &Arc<Rival>, _: &Key) -> bool {
        true
    }

    fn unseen(&mut self, _: &Key) -> Result<Error> {
        let path = self.path().display();
        let text = format!(
            "our key in {path} was deleted before it won, or etcd ended its lease; the next try makes a new one"
        );
        Ok(Error::new(ErrorKind::Busy, text))
    }

    fn keep(&mut self, _: &Key) {
        (self.ticket, self.first, self.watched) = (None, None, None);
        self.lease.iter().for_each(|lease| lease.hold());
    }

    fn take_back(&mut self, bid: Key, error: Error) -> Error {
        if self.ticket == Some(bid) {
            return error; // it keeps our place in the line
        }
        self.first = None;
        match self.delete(bid) {
            Ok(_) => error,
            Err(fault) => self.leaving(error, &fault.to_string()),
        }
    }

    fn withdraw(&mut self, own: &Key) -> Result<Option<Error>> {
        self.check_owner()?;
        let lost = self.loss(); // before we give the lock back, because it may be another's by now
        match self.delete(*own) {
            Ok(Gone::Deleted) => Ok(lost),
            Ok(gone) => {
                self.vanish();
                Ok(Some(lost.unwrap_or_else(|| self.lost(why_gone(&gone)))))
            }
            Err(fault) => {
                // Etcd may have deleted it, or may still do so. So we can't rely on the lock any more.
                if fault.may_be_done {
                    self.is_doubtful = true;
                    self.lease.iter().for_each(|lease| lease.lose());
                }
                if lost.is_some() {
                    self.drop_lease();
                    return Ok(lost);
                }
                Err(self.failed("delete our key", fault))
            }
        }
    }

    fn tidy(&mut self) {}

    fn abandon(&mut self) {
        self.forget();
    }

    fn busy(&self, rival: &Arc<Rival>) -> Error {
        Error::busy(self.path(), rival.holder(), Taken::Alone)
    }

    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::misuse(kind, self.path(), what)
    }

    fn check_process(&self) -> Result<()> {
        self.check_owner()
    }

    fn now(&self) -> Instant {
        sys::now()
    }

    /// No rival is about to withdraw in our favour: the order is that of the keys.
    fn tie_break(&self) -> Duration {
        Duration::ZERO
    }

    fn pause(&mut self, backoff: &mut Backoff) -> bool {
        let pause = backoff.next(sys::now());
        pause.into_iter().for_each(sys::sleep);
        pause.is_some()
    }
}

/// A holder that can't tell counts the lock as lost, as on a shared folder.
fn why_gone(gone: &Gone) -> &'static str {
    match gone {
        Gone::Unclear => {
            "etcd's answer to the deletion of our key did not arrive, and at the next try the key was gone; either that deletion \
             was done, or another program deleted the key before, and then the work under the lock may not have been alone"
        }
        Gone::Deleted | Gone::Missing => "our key was deleted, or etcd ended its lease",
    }
}

impl Etcd {
    /// Our key is there, and no other is before it.
    fn is_oldest(&mut self, own: &Key, key: &str) -> Result<bool> {
        let looked = self.client.is_oldest(&self.prefix, key, own.created, self.until_next_step());
        let is_oldest = looked.map_err(|fault| self.failed("look at the keys", fault))?;
        self.succeed();
        Ok(is_oldest)
    }

    /// The last look showed our key. If not, our place in the line is lost.
    pub(super) fn has_own(&mut self, own: &Key) -> bool {
        let is_there = self.sight.own.as_ref().is_some_and(|seen| seen.created == own.created);
        if !is_there {
            self.ticket = None;
            self.vanish();
            self.drop_lease();
        }
        is_there
    }

    pub(super) fn vanish(&self) {
        self.lease.iter().for_each(|lease| lease.vanish());
    }

    /// A request to post our key failed. If etcd may still post it, the lease must end.
    pub(super) fn not_posted(&mut self, fault: crate::etcd::fault::Fault) -> Error {
        let is_sure = !fault.may_be_done;
        let error = self.failed("post our key", fault);
        if is_sure {
            return error;
        }
        self.drop_lease();
        self.end_strays(self.until_cleaned());
        error
    }

    /// Our key may stay until its lease is over.
    pub(super) fn leaving(&mut self, error: Error, why: &str) -> Error {
        self.drop_lease();
        let (kind, seconds) = (error.kind(), self.length.as_secs());
        let text = format!("{error}; our key could not be deleted ({why}), so it may stay for up to {seconds} s, until its lease is over");
        Error::new(kind, text)
    }

    /// The error that says why the lock was lost. `None`: it was not, as far as the lease tells.
    pub(super) fn loss(&self) -> Option<Error> {
        let lease = self.lease.as_ref()?;
        match lease.valid_for() {
            Some(_) => None,
            None => Some(self.lost(&lease.why_lost())),
        }
    }

    pub(super) fn lost(&self, why: &str) -> Error {
        Error::new(ErrorKind::Lost, format!("the lock in {} was lost: {why}", self.path().display()))
    }
}
