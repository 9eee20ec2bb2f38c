//! A folder or an engine as one place: each call goes to the place that it is. (A build without engines has no such choice.)

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Reach, Result};
use crate::etcd::Etcd;
use crate::folder::Folder;
use crate::owner::rival::Rival;
use crate::protocol::{Backoff, Check, Leaving, Line, Place, Standing, View, WaitsFor};
use crate::slots::Slots;
use crate::sys::{Alarm, Source};

pub(crate) enum AnyPlace {
    Folder(Box<Folder>),
    Etcd(Box<Etcd>),
}

/// What belongs to one of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of<F, E> {
    Folder(F),
    Etcd(E),
}

type Bid = Of<<Folder as Place>::Bid, <Etcd as Place>::Bid>;
type Ticket = Of<<Folder as Line>::Ticket, <Etcd as Line>::Ticket>;
type Predecessor = Of<<Folder as Line>::Predecessor, <Etcd as Line>::Predecessor>;
type Watch = Of<<Folder as Line>::Watch, <Etcd as Line>::Watch>;

/// Both places describe a rival in the same way.
type TheirRival = Arc<Rival>;

/// When a waiter joined the line, in Unix nanoseconds.
pub(crate) struct Arrival {
    pub arrival: u64,
}

/// The same call on either place.
macro_rules! either {
    ($self:ident, $place:ident => $call:expr) => {
        match $self {
            AnyPlace::Folder($place) => $call,
            AnyPlace::Etcd($place) => $call,
        }
    };
}

/// A call with something that belongs to the place.
macro_rules! with {
    ($self:ident, $place:ident, $own:expr, $it:ident => $call:expr) => {
        match ($self, $own) {
            (AnyPlace::Folder($place), Of::Folder($it)) => $call,
            (AnyPlace::Etcd($place), Of::Etcd($it)) => $call,
            _ => unreachable!("{MIXED}"),
        }
    };
}

/// The same, with a result that belongs to the place too.
macro_rules! wrap {
    ($self:ident, $place:ident => $call:expr) => {
        match $self {
            AnyPlace::Folder($place) => $call.map(Of::Folder),
            AnyPlace::Etcd($place) => $call.map(Of::Etcd),
        }
    };
}

const MIXED: &str = "a handle has one place for its whole life";

fn folders<T>(it: Of<T, impl Sized>) -> T {
    match it {
        Of::Folder(it) => it,
        Of::Etcd(_) => unreachable!("{MIXED}"),
    }
}

fn etcds<T>(it: Of<impl Sized, T>) -> T {
    match it {
        Of::Etcd(it) => it,
        Of::Folder(_) => unreachable!("{MIXED}"),
    }
}

impl Place for AnyPlace {
    type Bid = Bid;
    type Rival = TheirRival;

    fn enter(&mut self) -> Result<()> {
        either!(self, place => place.enter())
    }

    fn clear(&mut self) -> Result<()> {
        either!(self, place => place.clear())
    }

    fn glance(&mut self) -> Result<Option<TheirRival>> {
        either!(self, place => place.glance())
    }

    fn post(&mut self) -> Result<Bid> {
        wrap!(self, place => place.post())
    }

    fn check(&mut self, own: &Bid) -> Result<Check<TheirRival>> {
        with!(self, place, own, own => place.check(own))
    }

    fn precedes(&self, rival: &TheirRival, own: &Bid) -> bool {
        with!(self, place, own, own => place.precedes(rival, own))
    }

    fn unseen(&mut self, own: &Bid) -> Result<Error> {
        with!(self, place, own, own => place.unseen(own))
    }

    fn keep(&mut self, own: &Bid) {
        with!(self, place, own, own => place.keep(own));
    }

    fn take_back(&mut self, bid: Bid, error: Error) -> Error {
        with!(self, place, bid, bid => place.take_back(bid, error))
    }

    fn withdraw(&mut self, own: &Bid) -> Result<Option<Error>> {
        with!(self, place, own, own => place.withdraw(own))
    }

    fn tidy(&mut self) {
        either!(self, place => place.tidy());
    }

    fn abandon(&mut self) {
        either!(self, place => place.abandon());
    }

    fn busy(&self, rival: &TheirRival) -> Error {
        either!(self, place => place.busy(rival))
    }

    fn check_process(&self) -> Result<()> {
        either!(self, place => place.check_process())
    }

    fn misuse(&self, kind: ErrorKind, what: &'static str) -> Error {
        either!(self, place => place.misuse(kind, what))
    }

    fn now(&self) -> Instant {
        either!(self, place => place.now())
    }

    fn tie_break(&self) -> Duration {
        either!(self, place => place.tie_break())
    }

    fn pause(&mut self, backoff: &mut Backoff) -> bool {
        either!(self, place => place.pause(backoff))
    }
}

impl Line for AnyPlace {
    type Ticket = Ticket;
    type Predecessor = Predecessor;
    type Watch = Watch;

    fn approach(&mut self) -> Result<()> {
        either!(self, place => place.approach())
    }

    fn refresh(&mut self) -> Result<bool> {
        either!(self, place => place.refresh())
    }

    fn first_in_line(&self) -> Option<Ticket> {
        wrap!(self, place => place.first_in_line())
    }

    fn has_line(&self) -> bool {
        either!(self, place => place.has_line())
    }

    fn bury(&mut self, first: Ticket) -> bool {
        with!(self, place, first, first => place.bury(first))
    }

    fn stand(&mut self) -> Result<Standing<Ticket>> {
        fn either<F, T>(standing: Standing<F>, of: impl Fn(F) -> T) -> Standing<T> {
            match standing {
                Standing::Stood => Standing::Stood,
                Standing::Joined(ticket) => Standing::Joined(ticket.map(of)),
                Standing::Lost => Standing::Lost,
                Standing::Nowhere => Standing::Nowhere,
            }
        }
        Ok(match self {
            AnyPlace::Folder(place) => either(place.stand()?, Of::Folder),
            AnyPlace::Etcd(place) => either(place.stand()?, Of::Etcd),
        })
    }

    fn has_ticket(&self) -> bool {
        either!(self, place => place.has_ticket())
    }

    fn view(&mut self) -> Result<View<Ticket>> {
        fn either<F, T>(view: View<F>, of: impl Fn(F) -> T) -> View<T> {
            View {
                first: view.first.map(&of),
                predecessor: view.predecessor.map(&of),
                before: view.before.into_iter().map(&of).collect(),
                successor: view.successor.map(&of),
                ahead: view.ahead,
                length: view.length,
            }
        }
        Ok(match self {
            AnyPlace::Folder(place) => either(place.view()?, Of::Folder),
            AnyPlace::Etcd(place) => either(place.view()?, Of::Etcd),
        })
    }

    fn watch_predecessor(&mut self, ticket: Ticket, known: Option<Predecessor>) -> Result<Option<Predecessor>> {
        Ok(match self {
            AnyPlace::Folder(place) => place.watch_predecessor(folders(ticket), known.map(folders))?.map(Of::Folder),
            AnyPlace::Etcd(place) => place.watch_predecessor(etcds(ticket), known.map(etcds))?.map(Of::Etcd),
        })
    }

    fn has_handed_over(predecessor: &Predecessor) -> bool {
        match predecessor {
            Of::Folder(predecessor) => Folder::has_handed_over(predecessor),
            Of::Etcd(predecessor) => Etcd::has_handed_over(predecessor),
        }
    }

    fn is_leaving(predecessor: &Predecessor, rival: &TheirRival) -> bool {
        match predecessor {
            Of::Folder(predecessor) => Folder::is_leaving(predecessor, rival),
            Of::Etcd(predecessor) => Etcd::is_leaving(predecessor, rival),
        }
    }

    fn glance_after(&mut self, predecessor: &Predecessor) -> Result<Option<TheirRival>> {
        match (self, predecessor) {
            (AnyPlace::Folder(place), Of::Folder(predecessor)) => place.glance_after(predecessor),
            (AnyPlace::Etcd(place), Of::Etcd(predecessor)) => place.glance_after(predecessor),
            (place, _) => place.glance(),
        }
    }

    fn tells(predecessor: &Predecessor) -> bool {
        match predecessor {
            Of::Folder(predecessor) => Folder::tells(predecessor),
            Of::Etcd(predecessor) => Etcd::tells(predecessor),
        }
    }

    fn watch(&mut self, known: Option<Watch>) -> Option<Watch> {
        match self {
            AnyPlace::Folder(place) => place.watch(known.map(folders)).map(Of::Folder),
            AnyPlace::Etcd(place) => place.watch(known.map(etcds)).map(Of::Etcd),
        }
    }

    fn put_by(&mut self, watch: Option<Watch>, predecessor: Option<Predecessor>) {
        match self {
            AnyPlace::Folder(place) => place.put_by(watch.map(folders), predecessor.map(folders)),
            AnyPlace::Etcd(place) => place.put_by(watch.map(etcds), predecessor.map(etcds)),
        }
    }

    fn rival(&mut self, first: Option<Ticket>) -> Result<Option<TheirRival>> {
        match self {
            AnyPlace::Folder(place) => place.rival(first.map(folders)),
            AnyPlace::Etcd(place) => place.rival(first.map(etcds)),
        }
    }

    fn glance_for(&mut self, first: Ticket) -> Result<Option<TheirRival>> {
        with!(self, place, first, first => place.glance_for(first))
    }

    fn last_rivals(&self) -> Vec<TheirRival> {
        either!(self, place => place.last_rivals())
    }

    fn is_same_bid(one: &TheirRival, other: &TheirRival) -> bool {
        one.is_same(other)
    }

    fn is_overtaken(&self, ticket: Ticket, before: &TheirRival, now: &TheirRival) -> bool {
        with!(self, place, ticket, ticket => place.is_overtaken(ticket, before, now))
    }

    /// A rival on etcd has no liveness probe.
    fn tells_death(rival: &TheirRival) -> bool {
        Folder::tells_death(rival)
    }

    fn restore_order(&mut self, holder: &TheirRival) -> Result<()> {
        either!(self, place => place.restore_order(holder))
    }

    fn discard(&mut self, ticket: Ticket) {
        with!(self, place, ticket, ticket => place.discard(ticket));
    }

    fn pass_on(&mut self) {
        either!(self, place => place.pass_on());
    }

    fn comes_later(&self, rival: &TheirRival) -> Error {
        either!(self, place => place.comes_later(rival))
    }

    fn tell(&mut self) {
        either!(self, place => place.tell());
    }

    fn leave(&mut self, why: Leaving) {
        either!(self, place => place.leave(why));
    }

    fn why_not_yet(&mut self) -> Error {
        either!(self, place => place.why_not_yet())
    }

    fn chance(&mut self) -> f64 {
        either!(self, place => place.chance())
    }

    fn bound(&mut self, end: Option<Instant>) {
        either!(self, place => place.bound(end));
    }

    fn rides_out(&mut self, error: &Error) -> bool {
        either!(self, place => Line::rides_out(&mut **place, error))
    }
}

/// What a waiter waits for, if its place is a folder. Otherwise this is what wakes it.
fn of_folder(waits_for: WaitsFor<'_, AnyPlace>) -> Result<WaitsFor<'_, Folder>, Vec<Option<Source<'_>>>> {
    match waits_for {
        WaitsFor::Predecessor(Of::Folder(predecessor)) => Ok(WaitsFor::Predecessor(predecessor)),
        WaitsFor::Predecessor(Of::Etcd(predecessor)) => Err(vec![Some(predecessor.source())]),
        WaitsFor::Holders(Some(Of::Folder(watch)), holders) => Ok(WaitsFor::Holders(Some(watch), holders)),
        WaitsFor::Holders(_, holders) => Ok(WaitsFor::Holders(None, holders)),
    }
}

impl AnyPlace {
    pub fn path(&self) -> &Arc<Path> {
        either!(self, place => place.path())
    }

    pub fn sources(waits_for: WaitsFor<'_, AnyPlace>) -> Vec<Option<Source<'_>>> {
        of_folder(waits_for).map_or_else(|sources| sources, Folder::sources)
    }

    pub fn sources_but_news(waits_for: WaitsFor<'_, AnyPlace>) -> Vec<Option<Source<'_>>> {
        of_folder(waits_for).map_or_else(|_| Vec::new(), Folder::sources_but_news)
    }

    pub fn is_others_change(waits_for: WaitsFor<'_, AnyPlace>) -> bool {
        of_folder(waits_for).is_ok_and(Folder::is_others_change)
    }

    pub fn holds(&mut self, bid: &Bid) -> Result<()> {
        with!(self, place, bid, bid => place.holds(bid))
    }

    pub fn bids(&mut self, held: Option<&Bid>) -> Result<Vec<(Rival, bool)>> {
        match self {
            AnyPlace::Folder(place) => place.bids(held.copied().map(folders).as_ref()),
            AnyPlace::Etcd(place) => place.bids(held.copied().map(etcds).as_ref()),
        }
    }

    pub fn line(&mut self) -> Result<Vec<(Arrival, Rival)>> {
        Ok(match self {
            AnyPlace::Folder(place) => {
                let arrived = |(ticket, rival): (<Folder as Line>::Ticket, Rival)| (ticket.arrival, rival);
                place.line()?.into_iter().map(arrived).map(since).collect()
            }
            AnyPlace::Etcd(place) => place.line()?.into_iter().map(since).collect(),
        })
    }

    pub fn set_command(&mut self, command: &str) {
        either!(self, place => place.set_command(command));
    }

    pub fn set_malformed_grace(&mut self, ms: u32) -> Result<()> {
        either!(self, place => place.set_malformed_grace(ms))
    }

    pub fn reap_stale(&mut self, held: Option<&Bid>) -> Result<usize> {
        match self {
            AnyPlace::Folder(place) => place.reap_stale(held.copied().map(folders).as_ref()),
            AnyPlace::Etcd(place) => place.reap_stale(held.copied().map(etcds).as_ref()),
        }
    }

    pub fn fence(&mut self, bid: &Bid) -> Result<u64> {
        with!(self, place, bid, bid => place.fence(bid))
    }

    pub fn renew(&self) -> Result<()> {
        either!(self, place => place.renew())
    }

    pub fn valid_for(&self) -> Result<Option<Duration>> {
        either!(self, place => place.valid_for())
    }

    pub fn set_slots(&mut self, slots: Slots) -> Result<()> {
        either!(self, place => place.set_slots(slots))
    }

    pub fn set_lease(&mut self, length: Duration) -> Result<()> {
        either!(self, place => place.set_lease(length))
    }

    pub fn lost_descriptor(&mut self) -> Result<Option<Arc<Alarm>>> {
        either!(self, place => place.lost_descriptor())
    }

    pub fn reach(&self) -> Reach {
        either!(self, place => place.reach())
    }
}

fn since((arrival, rival): (u64, Rival)) -> (Arrival, Rival) {
    (Arrival { arrival }, rival)
}
