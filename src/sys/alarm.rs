//! A descriptor that becomes readable at a given time.

use std::io;
#[cfg(feature = "capi")]
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use rustix::time::{TimerfdClockId, TimerfdTimerFlags};

use super::linux_clock::shown_at;
use super::timer::Timer;
use super::Source;

/// A timer on the clock of [`since_boot`](super::since_boot). No thread is needed to ring it. It rings at the right time also if the
/// process enters another time namespace meanwhile.
pub(crate) struct Alarm(Timer);

impl Alarm {
    pub fn new() -> io::Result<Option<Alarm>> {
        Ok(Some(Alarm(Timer::new(TimerfdClockId::Boottime)?)))
    }

    /// Makes it readable at this time, or at once if the time is over. Until then it is not readable.
    pub fn set(&self, at: Duration) {
        self.0.set(TimerfdTimerFlags::ABSTIME, shown_at(at));
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        self.0.clear();
    }

    pub fn source(&self) -> Source<'_> {
        self.0.source()
    }

    #[cfg(feature = "capi")]
    pub fn descriptor(&self) -> RawFd {
        self.source().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::since_boot;
    use rustix::event::{poll, PollFd, PollFlags, Timespec};

    fn is_readable(alarm: &Alarm) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(alarm.source(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn an_alarm_is_readable_from_its_time_on_until_it_is_set_anew() {
        let alarm = Alarm::new().unwrap().unwrap();
        assert!(!is_readable(&alarm));
        for _ in 0..2 {
            alarm.set(since_boot());
            assert!(is_readable(&alarm) && is_readable(&alarm));
            alarm.set(since_boot() + Duration::from_secs(1000));
            assert!(!is_readable(&alarm));
            alarm.set(Duration::ZERO);
            assert!(is_readable(&alarm));
            alarm.clear();
            assert!(!is_readable(&alarm));
        }
    }
}
