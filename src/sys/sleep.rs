//! Sleep without news.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

/// While it exists, no timer of this thread is late by more than the default slack. A program can have set a slack of seconds (prctl(2),
/// `TimerSlackNSec=` of systemd). Then a claimant would sleep for seconds while its bid keeps all others out.
#[cfg(target_os = "linux")]
pub(super) struct Punctual {
    before: Option<NonZeroU64>,
}

#[cfg(target_os = "linux")]
impl Punctual {
    pub fn now() -> Punctual {
        const DEFAULT: NonZeroU64 = NonZeroU64::new(50_000).unwrap();
        let before = slack().filter(|slack| *slack > DEFAULT);
        let before = before.filter(|_| rustix::thread::set_current_timer_slack(Some(DEFAULT)).is_ok());
        Punctual { before }
    }
}

/// rustix, and the function of the C library, cut the number off after 32 bits.
#[cfg(target_os = "linux")]
fn slack() -> Option<NonZeroU64> {
    // SAFETY: the call only reads a number.
    let slack = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_TIMERSLACK) };
    u64::try_from(slack).ok().and_then(NonZeroU64::new)
}

#[cfg(target_os = "linux")]
impl Drop for Punctual {
    fn drop(&mut self) {
        if self.before.is_some() {
            let _ = rustix::thread::set_current_timer_slack(self.before);
        }
    }
}

/// Sleeps. This is not the sleep of std, which begins again with what nanosleep(2) leaves. Each signal makes that longer by the slack of
/// the kernel's timers (50 µs, prctl(2)), so signals that come faster than that would keep the thread asleep for ever.
pub(crate) fn sleep(time: Duration) {
    #[cfg(unix)]
    {
        #[cfg(target_os = "linux")]
        let _punctual = Punctual::now();
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
    fn no_slack_makes_a_sleep_longer() {
        let ours = NonZeroU64::new(3_600_000_000_000);
        rustix::thread::set_current_timer_slack(ours).unwrap();
        sleep(Duration::from_millis(1)); // with that slack it would take an hour, and so would this:
        super::super::Waker::new().unwrap().sleep(&[], Duration::from_millis(1));
        assert_eq!(slack(), ours, "the slack of the program stays");
    }

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
