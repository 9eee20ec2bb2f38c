//! The lease of a bid, where other hosts can post bids too. A host can't see whether a process of another host lives. So a
//! holder renews its lease, and the others may remove its bid once the lease has not been renewed for long enough.
//!
//! Renewal and takeover compete for one name. A lease is a row of numbers: 1, 2, 3 and so on. The holder renews its lease by
//! making the next number, and a claimant that finds the lease expired makes that same number. The place lets exactly one of
//! the two succeed. If the holder succeeds, the lease goes on. If the other one does, the holder can't renew any more, and
//! its bid may be removed.
//!
//! No clock is compared with another one. The rates of two clocks must differ by less than a third:
//!
//! - The holder counts from before it tried for the first time to make its last number, and has lost the lock after two
//!   thirds of the lease ([`Term`]). So if it has lost all contact, it stops first.
//! - An observer counts from the end of the look that first showed the last number to the start of the last look that still
//!   showed it, and waits for the whole lease ([`Observed`]). The last number was there before the first of these looks ended,
//!   and the holder tried to make it earlier still.
//!
//! An answer of the place can be lost, so no answer of [`Names::make`] counts. After each try the claimant looks at the names
//! instead: they tell which claimant made which number.

use std::time::Duration;

use crate::error::Result;

/// The shortest and the longest lease, and the lease of a claimant that chose none.
pub(crate) const SHORTEST: Duration = Duration::from_secs(5);
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
pub(crate) const DEFAULT: Duration = Duration::from_secs(30);

/// A moment on the clock of one host: the time since it booted. The clock runs also while the host sleeps.
pub(crate) type Moment = Duration;

/// How long a holder may rely on the lock after it began to renew the lease.
pub(crate) fn validity(lease: Duration) -> Duration {
    lease * 2 / 3
}

/// How long a holder waits until it renews the lease.
pub(crate) fn interval(lease: Duration) -> Duration {
    lease / 6
}

/// The names of one bid's lease, as one claimant reaches them.
pub(crate) trait Names {
    /// Tries to make this number in our name. It fails if the number is there, whoever made it. The result does not matter.
    fn make(&mut self, number: u64);

    /// The numbers that are there from before this call to its end, in any order. It may or may not show numbers that come or
    /// go meanwhile. It shows all that was there when our own [`Names::make`] was done.
    fn list(&mut self) -> Result<Vec<Name>>;

    /// Whether the bid is still there.
    fn has_bid(&mut self) -> Result<bool>;

    /// Removes a number.
    fn remove(&mut self, number: u64);

    /// What [`Name::maker`] is in the names that we make.
    fn us(&self) -> u64;

    /// The time now.
    fn now(&self) -> Moment;
}

/// One number of a lease. They are ordered by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub number: u64,
    /// Tells the claimants apart: the number of the file of the maker's bid.
    pub maker: u64,
}

/// The lease as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    lease: Duration,
    /// The last number that we made. 0: the bid itself, which begins the lease.
    last: u64,
    /// When we first tried to make the next number.
    tried: Option<Moment>,
    /// When we began to make the last number.
    began: Moment,
    lost: Option<Loss>,
}

/// What a renewal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed,
    /// The number was not made, so try again at once: the lease may still be valid for a while.
    Failed,
    /// We no longer hold the lock, and will not get it back by this bid.
    Lost(Loss),
}

/// Why the lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    /// We could not renew the lease in time.
    TooLate,
    /// Another claimant found the lease expired.
    TakenOver,
    /// Somebody deleted the bid.
    NoBid,
    /// Somebody deleted our last number, so the others may have seen nothing of our last renewal.
    NoNumber,
}

impl Term {
    /// The lease of a bid. `began`: a moment before it was posted.
    pub fn new(lease: Duration, began: Moment) -> Term {
        Term { lease, last: 0, tried: None, began, lost: None }
    }

    /// Until when it is certain that we hold the lock, if it was not lost.
    pub fn valid_until(&self) -> Option<Moment> {
        self.lost.is_none().then(|| self.began + validity(self.lease))
    }

    /// When the lease is to be renewed.
    pub fn renew_at(&self) -> Moment {
        self.began + interval(self.lease)
    }

    /// Whether we ever tried to make a number.
    pub fn has_tried(&self) -> bool {
        self.last > 0 || self.tried.is_some()
    }

    #[cfg(test)]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The numbers that the holder may delete, each one once. Those of the last two renewals stay. If an observer makes a
    /// number that we have deleted, the listing of one more renewal may have begun before that, but that of a second one
    /// shows it, and we have lost the lock. So the greatest number stays that was there, and the observer sees it.
    pub fn spare(&self) -> std::ops::Range<u64> {
        1..self.last.saturating_sub(1)
    }

    /// Whether the lock was lost by now, and why.
    pub fn loss(&mut self, now: Moment) -> Option<Loss> {
        if self.valid_until().is_some_and(|until| now >= until) {
            self.lost = Some(Loss::TooLate);
        }
        self.lost
    }

    /// Renews the lease. After an error it is not known whether it did: try again.
    pub fn renew<N: Names>(&mut self, names: &mut N) -> Result<Renewal> {
        let now = names.now();
        if let Some(loss) = self.loss(now) {
            return Ok(Renewal::Lost(loss));
        }
        let next = self.last + 1;
        // A try that failed may still have made the number. Observers then count from that try, and so must we.
        let tried = *self.tried.get_or_insert(now);
        names.make(next);
        let seen = names.list();
        let has_bid = names.has_bid();
        // Only now, because the number that we made helps only if it was there in time.
        if let Some(loss) = self.loss(names.now()) {
            return Ok(Renewal::Lost(loss));
        }
        let seen = seen?;
        if seen.iter().any(|name| name.maker != names.us() || name.number > next) {
            return Ok(self.lose(Loss::TakenOver));
        }
        if !has_bid? {
            return Ok(self.lose(Loss::NoBid));
        }
        if self.last > 0 && seen.iter().all(|name| name.number != self.last) {
            return Ok(self.lose(Loss::NoNumber));
        }
        if seen.iter().all(|name| name.number != next) {
            return Ok(Renewal::Failed);
        }
        (self.last, self.began, self.tried) = (next, tried, None);
        Ok(Renewal::Renewed)
    }

    fn lose(&mut self, loss: Loss) -> Renewal {
        self.lost = Some(loss);
        Renewal::Lost(loss)
    }
}

/// A rival's lease as one observer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Observed {
    /// The last number. `None`: the lease was never renewed.
    last: Option<Name>,
    /// The end of the look that showed this first.
    since: Moment,
    /// The start of the last look that showed it.
    until: Moment,
    /// An earlier look showed another number.
    pub was_renewed: bool,
}

impl Observed {
    /// `began` and `ended`: when the look began that showed these numbers, and when it ended.
    pub fn new(seen: &[Name], began: Moment, ended: Moment) -> Observed {
        Observed { last: seen.iter().max().copied(), since: ended, until: began, was_renewed: false }
    }

    /// The same for each later look.
    pub fn look(&mut self, seen: &[Name], began: Moment, ended: Moment) {
        let last = seen.iter().max().copied();
        if last == self.last {
            self.until = began;
        } else {
            *self = Observed { was_renewed: true, ..Observed::new(seen, began, ended) };
        }
    }

    /// Whether the holder has lost the lock unless it has renewed its lease since. `lease`: that of the holder or ours, the
    /// longer one.
    pub fn has_expired(&self, lease: Duration) -> bool {
        self.until.saturating_sub(self.since) >= lease
    }

    /// Takes over an expired lease. True: nobody holds the lock by this bid any more, and it may be removed.
    pub fn take_over<N: Names>(&self, names: &mut N) -> Result<bool> {
        let last = self.last.map_or(0, |name| name.number);
        names.make(last + 1);
        let ours = Name { number: last + 1, maker: names.us() };
        if !names.list()?.contains(&ours) {
            return Ok(false); // the holder has renewed it, or another claimant was faster
        }
        let won = self.is_last(ours, names);
        if !matches!(won, Ok(true)) {
            names.remove(ours.number);
        }
        won
    }

    /// Whether our number is there and follows on the last number of the holder. Our number may have come late, while an
    /// earlier listing was read. So what counts is a listing that begins when it is there.
    fn is_last<N: Names>(&self, ours: Name, names: &mut N) -> Result<bool> {
        let seen = names.list()?;
        // If the holder made our number earlier, and deleted it again, then it has made a greater one. It can't delete that
        // one while ours is there ([`Term::spare`]), so this listing shows it.
        let is_last = seen.iter().all(|name| *name <= ours) && self.last.is_none_or(|known| seen.contains(&known));
        // If the holder's request to delete that number was carried out twice, ours may have gone while we looked.
        Ok(is_last && names.list()?.contains(&ours) && names.has_bid()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place that has the bid, and these numbers of ours.
    struct Numbers(Vec<u64>);

    impl Names for Numbers {
        fn make(&mut self, number: u64) {
            self.0.push(number);
        }

        fn list(&mut self) -> Result<Vec<Name>> {
            Ok(self.0.iter().map(|number| Name { number: *number, maker: 7 }).collect())
        }

        fn has_bid(&mut self) -> Result<bool> {
            Ok(true)
        }

        fn remove(&mut self, number: u64) {
            self.0.retain(|other| *other != number);
        }

        fn us(&self) -> u64 {
            7
        }

        fn now(&self) -> Moment {
            Moment::ZERO
        }
    }

    #[test]
    fn a_holder_whose_last_number_was_deleted_has_lost_the_lock() {
        for (deleted, renewal) in [(1, Renewal::Renewed), (2, Renewal::Lost(Loss::NoNumber))] {
            let (mut term, mut numbers) = (Term::new(DEFAULT, Moment::ZERO), Numbers(Vec::new()));
            for _ in 0..2 {
                assert_eq!(term.renew(&mut numbers).unwrap(), Renewal::Renewed);
            }
            numbers.remove(deleted);
            assert_eq!(term.renew(&mut numbers).unwrap(), renewal, "{deleted}");
        }
    }
}
