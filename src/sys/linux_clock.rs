//! The clocks on Linux, for a process that may enter another time namespace. The clock of leases is CLOCK_BOOTTIME, because
//! CLOCK_MONOTONIC stops while the host sleeps (clock_gettime(2)).
//!
//! In another time namespace both clocks show another time (time_namespaces(7)). A holder would then think
//! that its lease lasts longer, and an observer that a lease has expired. But `/proc` there shows the start of the process, which
//! never changes, as another time too. So we count from a start that stays the same, to a tick of 10 ms.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId, Timespec};

use super::contract::{Processes, System};
use super::linux_proc::{nanos, own_place, own_start, NOISE};

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
    i128::from(LAST.load(Ordering::Acquire))
}

fn moved(moment: i128, by: i128) -> Duration {
    Duration::from_nanos(u64::try_from((moment + by).max(0)).unwrap_or(u64::MAX))
}

/// What the clocks of this process show, and where it is. It tells whether CLOCK_MONOTONIC jumps between two calls, because the process
/// enters another time namespace. (Only a process with one thread can do that.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    monotonic: i64,
    boot: i64,
    /// The number of the time namespace, and the start of this process as it is shown there, in nanoseconds.
    place: (u64, i64),
}

impl Clocks {
    /// `None`: the place can't be seen.
    pub fn now() -> Option<Clocks> {
        let [monotonic, boot, wall] = [ClockId::Monotonic, ClockId::Boottime, ClockId::Realtime].map(nanos);
        Some(Clocks { monotonic, boot, place: place([wall - monotonic, wall - boot])? })
    }

    /// By how many nanoseconds CLOCK_MONOTONIC has jumped since then.
    pub fn jump(&self) -> i64 {
        Clocks::now().map_or(0, |now| self.jump_until(&now))
    }

    /// The two clocks can be shifted by different times. CLOCK_BOOTTIME tells what time has passed, because the start tells its shift.
    fn jump_until(&self, now: &Clocks) -> i64 {
        if now.place == self.place {
            return 0; // somebody set the wall clock, or the host slept
        }
        let passed = now.boot - self.boot - (now.place.1 - self.place.1);
        now.monotonic - self.monotonic - passed
    }
}

/// Where this process is. The wall clock is the same in each time namespace, so a look at `/proc` is needed only if it is ahead of
/// CLOCK_MONOTONIC or CLOCK_BOOTTIME by another time than before.
fn place(ahead: [i64; 2]) -> Option<(u64, i64)> {
    static NAMESPACE: AtomicU64 = AtomicU64::new(0);
    static START: AtomicI64 = AtomicI64::new(0);
    static AHEAD: [AtomicI64; 2] = [AtomicI64::new(0), AtomicI64::new(0)];
    /// The process of these values. A forked child has another start.
    static OF: AtomicU64 = AtomicU64::new(0);

    let us = System::mark();
    let is_same = |(then, now): (&AtomicI64, i64)| (now - then.load(Ordering::Acquire)).abs() < NOISE;
    if OF.load(Ordering::Acquire) != us || !AHEAD.iter().zip(ahead).all(is_same) {
        let (namespace, start) = own_place().ok()?;
        NAMESPACE.store(namespace, Ordering::Release);
        START.store(start, Ordering::Release);
        AHEAD.iter().zip(ahead).for_each(|(then, now)| then.store(now, Ordering::Release));
        OF.store(us, Ordering::Release);
    }
    Some((NAMESPACE.load(Ordering::Acquire), START.load(Ordering::Acquire)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn only_another_namespace_makes_the_clock_jump() {
        let before = Clocks { monotonic: 50 * SECOND, boot: 70 * SECOND, place: (1, 30 * SECOND) };
        // Three seconds pass, and the host sleeps for two of them.
        let slept = Clocks { monotonic: 51 * SECOND, boot: 73 * SECOND, ..before };
        assert_eq!(before.jump_until(&slept), 0);
        // One second passes in which the process enters another namespace. Its clocks have shifts of their own.
        for (monotonic, boot) in [(1000, 1000), (-40, -60), (1000, 0), (0, 1000), (-7, 8)] {
            let there = Clocks {
                monotonic: (51 + monotonic) * SECOND,
                boot: (71 + boot) * SECOND,
                place: (2, (30 + boot) * SECOND),
            };
            assert_eq!(before.jump_until(&there), monotonic * SECOND, "{monotonic} s, {boot} s");
        }
    }

    #[test]
    fn a_clock_that_runs_does_not_jump() {
        let before = Clocks::now().unwrap();
        assert_eq!(before.jump(), 0);
        assert_eq!(place([0; 2]), Some(before.place), "read anew");
    }
}
