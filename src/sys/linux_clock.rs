//! The clock of leases on Linux: CLOCK_BOOTTIME, because CLOCK_MONOTONIC stops while the host sleeps (clock_gettime(2)).
//!
//! A process can enter another time namespace, where that clock shows another time (time_namespaces(7)). A holder would then think
//! that its lease lasts longer, and an observer that a lease has expired. But `/proc` there shows the start of the process, which
//! never changes, as another time too. So we count from a start that stays the same, to a tick of 10 ms.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId, Timespec};

use super::contract::{Processes, System};
use super::linux_proc::own_start;

/// The time since a moment that stays the same for the whole life of this process.
pub(crate) fn since_boot() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    moved(i128::from(tv_sec) * 1_000_000_000 + i128::from(tv_nsec), -shown_early())
}

/// What CLOCK_BOOTTIME shows at this moment of [`since_boot`].
pub(super) fn shown_at(moment: Duration) -> Duration {
    moved(moment.as_nanos() as i128, shown_early())
}

/// By how many nanoseconds the clock shows more than it did when this process first asked.
fn shown_early() -> i128 {
    static FIRST: AtomicI64 = AtomicI64::new(0);
    /// The process that asked first. A forked child has another start.
    static OF: AtomicU64 = AtomicU64::new(0);
    static LAST: AtomicI64 = AtomicI64::new(0);

    // Where `/proc` can't be read, we take it that the process is where it was.
    if let Ok(start) = own_start() {
        let us = System::mark();
        if OF.load(Ordering::Acquire) != us {
            FIRST.store(start, Ordering::Release);
            OF.store(us, Ordering::Release);
        }
        LAST.store(start - FIRST.load(Ordering::Acquire), Ordering::Release);
    }
    let ticks = i128::from(LAST.load(Ordering::Acquire));
    ticks * 1_000_000_000 / i128::from(rustix::param::clock_ticks_per_second())
}

fn moved(moment: i128, by: i128) -> Duration {
    Duration::from_nanos(u64::try_from((moment + by).max(0)).unwrap_or(u64::MAX))
}
