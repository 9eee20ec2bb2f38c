//! A descriptor that becomes readable at a given time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
#[cfg(feature = "capi")]
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};

use super::calls::descriptor;
use super::linux_clock::shown_at;
use super::Source;

/// A timer on the clock of [`since_boot`](super::since_boot). No thread is needed to ring it. It rings at the right time also if the
/// process enters another time namespace meanwhile.
pub(crate) struct Alarm {
    fd: OwnedFd,
}

impl Alarm {
    pub fn new() -> io::Result<Option<Alarm>> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Some(Alarm { fd: descriptor(|| timerfd_create(TimerfdClockId::Boottime, flags))? }))
    }

    /// Makes it readable at this time, or at once if the time is over. Until then it is not readable.
    pub fn set(&self, at: Duration) {
        self.set_to(shown_at(at).max(Duration::from_nanos(1))); // zero would switch it off
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        self.set_to(Duration::ZERO);
    }

    fn set_to(&self, at: Duration) {
        let to =
            Timespec { tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX), tv_nsec: at.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: to };
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once);
    }

    pub fn source(&self) -> Source<'_> {
        self.fd.as_fd()
    }

    #[cfg(feature = "capi")]
    pub fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::since_boot;
    use rustix::event::{poll, PollFd, PollFlags};

    fn is_readable(alarm: &Alarm) -> bool {
        let mut fds = [PollFd::new(&alarm.fd, PollFlags::IN)];
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
