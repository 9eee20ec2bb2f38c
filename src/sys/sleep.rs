//! Sleep without news.

use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

/// Sleeps. This is not the sleep of std, which begins again with what nanosleep(2) leaves. Each signal makes that longer by the slack of
/// the kernel's timers (50 µs, prctl(2)), so signals that come faster than that would keep the thread asleep for ever.
pub(crate) fn sleep(time: Duration) {
    #[cfg(unix)]
    {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
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
                let end = Instant::now() + Duration::from_secs(20);
                while !has_slept.load(Ordering::Relaxed) && Instant::now() < end {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(sleeper, libc::SIGUSR2) };
                }
                Instant::now() < end
            });
            sleep(Duration::from_millis(5));
            has_slept.store(true, Ordering::Relaxed);
            assert!(storm.join().unwrap(), "the storm ended before the sleep");
        });
    }
}
