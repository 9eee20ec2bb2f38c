//! The clocks, and sleep.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of time-outs and pauses. All of the library asks it here, so that a test can stop the time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock, in nanoseconds since 1970. 0 if the clock is set before 1970.
pub(crate) fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64)
}

/// Sleeps. This is not the sleep of std, which begins again with what nanosleep(2) leaves. Each signal makes that longer by the slack of
/// the kernel's timers (50 µs, prctl(2)), so signals that come faster than that would keep the thread asleep for ever.
pub(crate) fn sleep(time: Duration) {
    #[cfg(unix)]
    {
        let end = now() + time;
        loop {
            let left = end.saturating_duration_since(now());
            let Some(timeout) = rustix::event::Timespec::try_from(left).ok().filter(|_| !left.is_zero()) else {
                return;
            };
            let _ = rustix::event::poll(&mut [], Some(&timeout)); // a signal ends it
        }
    }
    #[cfg(windows)]
    std::thread::sleep(time);
}

/// Sleeps for at most 20 ms, because nothing can wake the thread during this sleep.
pub(super) fn doze(time: Duration) {
    sleep(time.min(Duration::from_millis(20)));
}

/// A moment of the clock of leases: the time since this host booted, or since another moment that stays the same for the whole life
/// of this process. The clock also runs while the host sleeps, and nobody can set it. (A virtual machine that is paused from outside
/// can't know that.)
#[cfg(target_os = "linux")]
pub(crate) use super::linux_clock::since_boot;

#[cfg(target_os = "linux")]
pub(crate) use super::linux_clock::Clocks;

/// Tells whether the clock of [`now`] jumps between two calls. Here it never does.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks;

#[cfg(not(target_os = "linux"))]
impl Clocks {
    pub fn now() -> Option<Clocks> {
        None
    }

    pub fn jump(&self) -> i64 {
        0
    }
}

/// The same by CLOCK_MONOTONIC, which runs while these systems sleep.
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The same by GetTickCount64, which includes the time that the system sleeps.
#[cfg(windows)]
pub(crate) fn since_boot() -> Duration {
    // SAFETY: it has no arguments and can't fail.
    Duration::from_millis(unsafe { windows_sys::Win32::System::SystemInformation::GetTickCount64() })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_storm_of_signals_makes_no_sleep_endless() {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        // SAFETY: the call has no arguments.
        let (has_slept, sleeper) = (AtomicBool::new(false), unsafe { libc::pthread_self() });
        // SAFETY: it changes only this thread. With more slack, fewer signals suffice.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 100_000_000_u64) };
        std::thread::scope(|scope| {
            let storm = scope.spawn(|| {
                let end = now() + Duration::from_secs(20);
                while !has_slept.load(Ordering::Relaxed) && now() < end {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(sleeper, libc::SIGUSR2) };
                }
                now() < end
            });
            sleep(Duration::from_millis(5));
            has_slept.store(true, Ordering::Relaxed);
            assert!(storm.join().unwrap(), "the storm ended before the sleep");
        });
    }
}
