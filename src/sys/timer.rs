//! A timer of the kernel that is a descriptor (timerfd_create(2)). It is readable from its time on, and rings once.

use std::io;
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};

use super::calls::descriptor;
use super::kept::Kept;
use super::Source;

pub(super) struct Timer {
    fd: Kept,
}

impl Timer {
    pub fn new(clock: TimerfdClockId) -> io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Timer { fd: Kept::nameless(descriptor(|| timerfd_create(clock, flags))?) })
    }

    /// Makes it readable at this time, or at once if the time is over. Until then it is not readable.
    pub fn set(&self, how: TimerfdTimerFlags, time: Duration) {
        self.set_to(how, time.max(Duration::from_nanos(1))); // zero would switch it off
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        self.set_to(TimerfdTimerFlags::empty(), Duration::ZERO);
    }

    fn set_to(&self, how: TimerfdTimerFlags, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let value = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        if let Ok(fd) = self.fd.ours() {
            let _ = timerfd_settime(fd, how, &once);
        }
    }

    pub fn source(&self) -> Source<'_> {
        self.fd.as_fd()
    }
}
