//! The clocks.

#[cfg(not(target_os = "linux"))]
use std::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The clock of time-outs and pauses. All of the library asks it here, so that a test can stop the time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock, in nanoseconds since 1970. 0 if the clock is set before 1970.
pub(crate) fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64)
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
