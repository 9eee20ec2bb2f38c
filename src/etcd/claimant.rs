//! What one claimant on etcd has and remembers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::etcd::client::Client;
use crate::etcd::fault::Fault;
use crate::etcd::keys::{key_of, Key};
use crate::etcd::lease::Lease;
use crate::etcd::requests::{Entry, Sight};
use crate::etcd::url::Target;
use crate::etcd::watch::Predecessor;
use crate::owner::opener::Opener;
use crate::owner::rival::Rival;
use crate::protocol::lease::DEFAULT;
use crate::renewer::{self, Renewer};
use crate::sys::{self, Alarm, Identity};

/// A call that has no time-out of its own takes no longer, whatever etcd does.
pub(super) const CALL: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_secs(2);
/// For so long a call whose time is over still tries to take its key away. Otherwise the key goes when its lease is over.
pub(super) const CLEANING: Duration = Duration::from_millis(500);
/// A wait rides out so long a time without etcd before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Etcd {
    path: Arc<Path>,
    pub(super) prefix: String,
    pub(super) client: Arc<Client>,
    opener: Opener,
    pub(super) command: Option<String>,
    /// How long our next lease lasts.
    pub(super) length: Duration,
    /// Our lease. It serves for many locks.
    pub(super) lease: Option<Arc<Lease>>,
    /// Etcd may post a key by that lease later, because an answer was lost. So the lease must not outlive the key.
    pub(super) is_doubtful: bool,
    /// Leases that are to end: a key of ours may be bound to them.
    strays: Vec<u64>,
    /// Our place in the line, while we wait.
    pub(super) ticket: Option<Key>,
    /// Our key, which was the only one when we posted it.
    pub(super) first: Option<Key>,
    /// What the last look showed.
    pub(super) sight: Sight,
    /// Nobody has used what that look showed.
    pub(super) is_news: bool,
    /// When that look was.
    pub(super) looked: Option<Instant>,
    pub(super) rival: Option<Arc<Rival>>,
    /// Until when requests may take. `None`: as long as a call may take at most.
    pub(super) end: Option<Instant>,
    /// Since when etcd does not answer.
    failing: Option<Instant>,
    /// Why the last request failed, since etcd answered last.
    refusal: Option<Error>,
    pub(super) alarm: Option<Arc<Alarm>>,
    pub(super) in_thread: bool,
    renewer: Renewer<Lease>,
    pub(super) watched: Option<Arc<Predecessor>>,
    /// The last failure may pass by itself.
    may_pass: bool,
}

/// How our key went.
pub(super) enum Gone {
    /// We deleted it, so it was there until now.
    Deleted,
    /// It was not there any more.
    Missing,
    /// It was not there any more at a second try. The first one, whose answer was lost, may have deleted it. Another program may also
    /// have done so, and earlier: etcd does not keep by whom or when a key was deleted.
    Unclear,
}

impl Etcd {
    /// It does not ask etcd anything yet.
    pub fn open(url: &str, in_thread: bool) -> Result<Etcd> {
        let target = Target::parse(url, |name| std::env::var(name).ok())?;
        Ok(Etcd {
            path: Path::new(&target.shown).into(),
            client: Arc::new(Client::new(&target)?),
            prefix: target.prefix,
            opener: Opener::this_process(),
            command: None,
            length: DEFAULT,
            lease: None,
            is_doubtful: false,
            strays: Vec::new(),
            ticket: None,
            first: None,
            sight: Sight::default(),
            is_news: false,
            looked: None,
            rival: None,
            end: None,
            failing: None,
            refusal: None,
            alarm: None,
            in_thread,
            renewer: Renewer::default(),
            watched: None,
            may_pass: false,
        })
    }

    /// The URL without its secrets.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub fn check_owner(&self) -> Result<()> {
        self.opener.check(&self.path)
    }

    /// Until when the requests of this call may take.
    pub(super) fn until(&self) -> Instant {
        let longest = sys::now() + CALL;
        self.end.map_or(longest, |end| end.min(longest))
    }

    /// The same for one step of a wait. A cancel takes effect after it.
    pub(super) fn until_next_step(&self) -> Instant {
        self.until().min(sys::now() + STEP)
    }

    /// The same for requests that take something of ours away.
    pub(super) fn until_cleaned(&self) -> Instant {
        match self.end {
            Some(_) => self.until().max(sys::now() + CLEANING),
            None => self.until(),
        }
    }

    /// `doing` reads like "post our key".
    pub(super) fn failed(&mut self, doing: &'static str, fault: Fault) -> Error {
        self.may_pass = fault.what.may_pass();
        let is_out_of_time = fault.what.is_time_out() && self.end.is_some_and(|end| sys::now() >= end);
        let error = fault.into_error(doing, &self.path);
        match (is_out_of_time, &self.refusal) {
            (false, _) => {
                self.refusal = Some(error.clone());
                error
            }
            // An earlier try of this call tells more.
            (true, Some(refusal)) => refusal.clone(),
            (true, None) => error.into_kind(ErrorKind::Timeout),
        }
    }

    /// A lease that serves for a lock that begins now.
    pub(super) fn fresh_lease(&mut self) -> Result<Arc<Lease>> {
        if let Some(lease) = &self.lease {
            if lease.is_fresh() && !self.is_doubtful && lease.length() == self.length {
                return Ok(Arc::clone(lease));
            }
        }
        self.drop_lease();
        let mut random = [0; 8];
        sys::fill_random(&mut random).map_err(|e| Error::io("get a random number for a lease of", &*self.path, e))?;
        let id = (u64::from_ne_bytes(random) >> 1).max(1); // etcd's numbers are signed, and 0 asks etcd to choose one
        let began = sys::since_boot();
        let granted =
            self.client.grant(id, self.length.as_secs() + u64::from(self.length.subsec_nanos() > 0), self.until());
        granted.map_err(|fault| self.failed("grant a lease", fault))?;
        self.succeed();
        let key = key_of(&self.prefix, id);
        let lease = Lease::new(id, key, self.length, Arc::clone(&self.client), began, self.alarm.clone());
        let lease = Arc::new(lease);
        self.lease = Some(Arc::clone(&lease));
        Ok(lease)
    }

    /// Our key is there: from now on the lease is renewed.
    pub(super) fn stand_by(&mut self, key: Key) -> Result<()> {
        let Some(lease) = self.lease.as_ref().filter(|lease| lease.id == key.lease) else { return Ok(()) };
        lease.stand(key.created);
        if self.in_thread {
            let taken = self.renewer.take(lease);
            taken.map_err(|e| {
                let advice = renewer::advice(&e);
                Error::io("start the thread that renews the lease of", &*self.path, e).advising(Some(advice))
            })?;
        }
        Ok(())
    }

    /// The lease is not used again. It ends, and its key with it, when there is time to see to that.
    pub(super) fn drop_lease(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.stop();
            self.strays.push(lease.id);
        }
        self.is_doubtful = false;
    }

    /// Ends the leases of earlier attempts. What fails here is tried again, and etcd ends each lease in the end.
    pub(super) fn end_strays(&mut self, end: Instant) {
        while let Some(id) = self.strays.pop() {
            if self.client.revoke(id, end).is_err() {
                self.strays.push(id);
                return;
            }
        }
    }

    /// Takes our key away. `Err`: it may still be there until its lease is over.
    pub(super) fn delete(&mut self, key: Key) -> Result<Gone, Fault> {
        let end = self.until_cleaned();
        let name = key_of(&self.prefix, key.lease);
        match self.client.delete(&name, key.created, end) {
            Ok((deleted, may_come_again)) => {
                self.lease.iter().filter(|lease| lease.id == key.lease).for_each(|lease| lease.stop());
                if self.is_doubtful {
                    self.drop_lease();
                    self.end_strays(end);
                }
                Ok(match (deleted, may_come_again) {
                    (true, _) => Gone::Deleted,
                    (false, true) => Gone::Unclear,
                    (false, false) => Gone::Missing,
                })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Remembers what a look showed.
    pub(super) fn saw(&mut self, sight: Sight) {
        (self.looked, self.is_news) = (Some(sys::now()), true);
        self.saw_rival(
            sight.first.as_ref().filter(|first| sight.own.as_ref().is_none_or(|own| own.created != first.created)),
        );
        self.sight = sight;
        self.succeed();
    }

    /// Etcd has answered.
    pub(super) fn succeed(&mut self) {
        (self.failing, self.refusal) = (None, None);
    }

    pub(super) fn saw_rival(&mut self, entry: Option<&Entry>) {
        self.rival = entry.map(|entry| Arc::new(crate::etcd::keys::rival(&self.prefix, entry)));
    }

    /// Whether a wait goes on after this error.
    pub fn rides_out(&mut self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Io || !self.may_pass {
            return false;
        }
        let now = sys::now();
        let since = *self.failing.get_or_insert(now);
        now.saturating_duration_since(since) < PATIENCE
    }

    /// In a forked child: all of this is the parent's.
    pub fn forget(&mut self) {
        self.renewer.abandon();
        self.watched = None; // its drop checks the process
        (self.ticket, self.first) = (None, None);
        self.strays.clear();
        // Threads of the parent may have locked what is in these, and a close would end the parent's TLS.
        std::mem::forget(self.lease.take());
        std::mem::forget(Arc::clone(&self.client));
        std::mem::forget(self.alarm.take());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if self.check_owner().is_err() {
            self.forget();
            return;
        }
        self.watched = None;
        if let Some(key) = self.ticket.take() {
            let _ = self.delete(key);
        }
        self.drop_lease();
        self.end_strays(sys::now() + CLEANING);
    }
}

/// What our bids say of this process.
pub(super) fn identity() -> Result<Arc<Identity>> {
    Identity::current().map_err(|e| Error::io("read the identity of this process from", sys::PROCESS_TABLE, e))
}
