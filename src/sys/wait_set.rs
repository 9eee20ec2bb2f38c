//! One descriptor for all that can wake a waiter, for programs that have an event loop of their own.

use std::io;
use std::os::fd::AsFd;
#[cfg(feature = "capi")]
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::time::{TimerfdClockId, TimerfdTimerFlags};

use super::calls::descriptor;
use super::kept::Kept;
use super::timer::Timer;
use super::{Source, Waker};

/// An epoll instance (epoll(7)). It has the bell, a timer, and what the waiter waits for. It is readable while one of them is.
pub(crate) struct WaitSet {
    epoll: Kept,
    timer: Timer,
}

/// If the kernel takes no more descriptors into the set (epoll_ctl(2): ENOMEM, ENOSPC), the waiter looks again after this time.
const PAUSE: Duration = Duration::from_millis(20);

impl WaitSet {
    /// `None`: this system has nothing like it.
    pub fn new(bell: &Waker) -> io::Result<Option<WaitSet>> {
        let epoll = Kept::nameless(descriptor(|| epoll::create(CreateFlags::CLOEXEC))?);
        let set = WaitSet { epoll, timer: Timer::new(TimerfdClockId::Monotonic)? };
        set.add(bell.source())?;
        set.add(set.timer.source())?;
        Ok(Some(set))
    }

    fn add(&self, source: Source<'_>) -> io::Result<()> {
        Ok(epoll::add(self.epoll.ours()?, source, EventData::new_u64(0), EventFlags::IN)?)
    }

    /// From now on it is readable after this time, or if one of these sources is.
    pub fn watch(&self, sources: &[Option<Source<'_>>], time: Duration) {
        let is_refused = sources.iter().flatten().filter(|source| self.add(**source).is_err()).count() > 0;
        self.timer.set(TimerfdTimerFlags::empty(), if is_refused { time.min(PAUSE) } else { time });
    }

    /// Forgets these sources. They must still be open: a forked child may have them open too, and then the kernel would not forget
    /// them by itself.
    pub fn forget(&self, sources: &[Option<Source<'_>>]) {
        if let Ok(epoll) = self.epoll.ours() {
            for source in sources.iter().flatten() {
                let _ = epoll::delete(epoll, source);
            }
        }
        self.timer.clear();
    }

    /// Whether it is readable. If the kernel can't tell, it may be.
    pub fn is_ready(&self) -> bool {
        let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
    }

    pub fn source(&self) -> Source<'_> {
        self.epoll.as_fd()
    }

    #[cfg(feature = "capi")]
    pub fn descriptor(&self) -> RawFd {
        self.epoll.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_readable_while_one_of_its_sources_is_or_after_its_time() {
        let (bell, other) = (Waker::new().unwrap(), Waker::new().unwrap());
        let set = WaitSet::new(&bell).unwrap().unwrap();
        let (sources, long) = ([Some(other.source())], Duration::from_secs(1000));
        assert!(!set.is_ready());
        set.watch(&sources, long);
        assert!(!set.is_ready());
        other.ring();
        assert!(set.is_ready());
        set.forget(&sources);
        assert!(!set.is_ready());
        set.watch(&[], Duration::ZERO);
        while !set.is_ready() {}
        set.forget(&[]);
        assert!(!set.is_ready());
        bell.ring();
        assert!(set.is_ready());
        bell.sleep(&[], Duration::ZERO);
        assert!(!set.is_ready());
    }
}
