//! A clock that jumps, because the process enters a place where it shows another time.

use std::time::{Duration, Instant};

/// The same moment on a clock that jumped by so many nanoseconds.
pub(crate) fn after_jump(moment: Instant, nanos: i64) -> Instant {
    let by = Duration::from_nanos(nanos.unsigned_abs());
    let moved = if nanos < 0 { moment.checked_sub(by) } else { moment.checked_add(by) };
    moved.unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_follows_the_clock_both_ways() {
        let now = Instant::now();
        assert_eq!(after_jump(now, 0), now);
        assert_eq!(after_jump(now, 5), now + Duration::from_nanos(5));
        assert_eq!(after_jump(after_jump(now, 7_000_000_000), -7_000_000_000), now);
    }
}
