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

/// Sleeps for at most 20 ms, because nothing can wake the thread during this sleep.
pub(super) fn doze(time: Duration) {
    std::thread::sleep(time.min(Duration::from_millis(20)));
}

/// The time since this host booted. This clock also runs while the host sleeps, and nobody can set it. (A virtual machine that is
/// paused from outside can't know that.)
#[cfg(unix)]
pub(crate) fn since_boot() -> Duration {
    use rustix::time::{clock_gettime, ClockId};
    // CLOCK_MONOTONIC of Linux stops while the host sleeps (clock_gettime(2)). That of the BSDs and of macOS does not.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The same by GetTickCount64, which includes the time that the system sleeps.
#[cfg(windows)]
pub(crate) fn since_boot() -> Duration {
    // SAFETY: it has no arguments and can't fail.
    Duration::from_millis(unsafe { windows_sys::Win32::System::SystemInformation::GetTickCount64() })
}
