//! A sleep that signals do not make longer.

use std::time::{Duration, Instant};

/// The sleep of std begins again with what nanosleep(2) leaves, and each signal makes that longer by the slack of the kernel's timers. So
/// a storm of signals would keep it asleep for ever.
pub fn sleep(time: Duration) {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        #[cfg(unix)]
        if let Ok(timeout) = rustix::event::Timespec::try_from(left) {
            let _ = rustix::event::poll(&mut [], Some(&timeout)); // a signal ends it
        }
        #[cfg(not(unix))]
        std::thread::sleep(left);
    }
}
