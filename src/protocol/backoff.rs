//! Pauses that grow, up to some time in all.

use std::time::{Duration, Instant};

/// How long the bidder with the first bid waits for its rivals to withdraw, where a system call takes no longer than usual. A rival
/// withdraws within two system calls; a holder does not withdraw.
pub(crate) const TIE_BREAK: Duration = Duration::from_millis(5);

pub(crate) struct Backoff {
    end: Instant,
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_micros(20);

    pub fn new(now: Instant, time: Duration) -> Backoff {
        Backoff { end: now + time, next: Self::FIRST }
    }

    /// How long to pause now. `None`: the time is over.
    pub fn next(&mut self, now: Instant) -> Option<Duration> {
        let pause = self.next;
        self.next *= 2;
        (now < self.end).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_the_time_is_over() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now, Duration::from_millis(5));
        let pauses = [0, 1, 4, 5, 6].map(|at| backoff.next(now + Duration::from_millis(at)));
        let micros = |n| Some(Duration::from_micros(n));
        assert_eq!(pauses, [micros(20), micros(40), micros(80), None, None]);
    }
}
