//! How a time namespace of Linux shifts the start of a process.

/// The offset of a time namespace's boot clock from the machine's boot clock (time_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeNsOffset {
    nanos: i64,
}

impl TimeNsOffset {
    pub(super) const NONE: TimeNsOffset = TimeNsOffset { nanos: 0 };

    pub fn parse(offsets: &str) -> Option<TimeNsOffset> {
        offsets.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            // Old kernels name the clock by its number.
            if !matches!(words.next()?, "boottime" | "7") {
                return None;
            }
            let seconds: i64 = words.next()?.parse().ok()?;
            let nanos: i64 = words.next()?.parse().ok()?;
            Some(TimeNsOffset { nanos: seconds.checked_mul(1_000_000_000)?.checked_add(nanos)? })
        })
    }

    /// Converts a start time to the count of the initial time namespace. `None`: the offset is not a whole number of ticks, so rounding
    /// hides the exact start.
    pub fn undo(self, ticks: u64) -> Option<u64> {
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second() as i64;
        if self.nanos % tick != 0 {
            return None;
        }
        ticks.checked_add_signed(-(self.nanos / tick))
    }

    /// Whether a start that is shown as `shown` is `start` in the count of the initial time namespace. `None`: rounding hides it.
    pub fn is_undone(self, shown: u64, start: u64) -> Option<bool> {
        if let Some(exact) = self.undo(shown) {
            return Some(exact == start);
        }
        let tick = 1_000_000_000 / i128::from(rustix::param::clock_ticks_per_second());
        // The process started within one tick after this moment, so in one of two ticks.
        let from = (i128::from(shown) * tick - i128::from(self.nanos)).div_euclid(tick);
        if (from..=from + 1).contains(&i128::from(start)) {
            None
        } else {
            Some(false)
        }
    }

    /// By how many seconds at most the offset makes the boot look later than it was. (An offset that makes the boot look earlier is not
    /// corrected, because some kernels do not shift `btime`.)
    pub fn seconds_late(self) -> i64 {
        -self.nanos.min(0).div_euclid(1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_clock_is_undone() {
        assert_eq!(TimeNsOffset { nanos: 0 }.undo(500), Some(500));
        assert_eq!(TimeNsOffset { nanos: 86_400_000_000_000 }.undo(8_640_500), Some(500));
        assert_eq!(TimeNsOffset { nanos: -10_000_000 }.undo(500), Some(501));
        assert_eq!(TimeNsOffset { nanos: 5 }.undo(500), None);
    }

    /// A process that started at 4,999,999,998 ns (tick 499) is shown at tick 500 with an offset of 5 ns, and so is one that started at
    /// 5,000,000,000 ns (tick 500).
    #[test]
    fn behind_an_offset_of_no_whole_ticks_a_start_is_known_to_one_tick() {
        for (nanos, either) in [(5, 499), (-5, 500), (-86_400_000_000_005, 8_640_500), (86_400_000_000_005, -8_639_501)]
        {
            let offset = TimeNsOffset { nanos };
            let shown = 500;
            for start in
                [either - 1, either + 2, either + 1000].into_iter().filter_map(|start| u64::try_from(start).ok())
            {
                assert_eq!(offset.is_undone(shown, start), Some(false), "{nanos} ns, {start}");
            }
            for start in [either, either + 1].into_iter().filter_map(|start| u64::try_from(start).ok()) {
                assert_eq!(offset.is_undone(shown, start), None, "{nanos} ns, {start}");
            }
        }
        assert_eq!([500, 501].map(|start| TimeNsOffset { nanos: 0 }.is_undone(500, start)), [Some(true), Some(false)]);
    }

    /// An offset that can't be parsed is not taken as 0.
    #[test]
    fn a_shift_is_read_or_not_known() {
        let both = TimeNsOffset::parse("monotonic           3         4\nboottime           -1        -5\n");
        assert_eq!(both, Some(TimeNsOffset { nanos: -1_000_000_005 }));
        assert_eq!(TimeNsOffset::parse("7 2 0\n"), Some(TimeNsOffset { nanos: 2_000_000_000 }));
        for bad in ["", "monotonic 0 0\n", "boottime 1\n", "boottime x 0\n", "boottime 99999999999999 0\n"] {
            assert_eq!(TimeNsOffset::parse(bad), None, "{bad:?}");
        }
    }
}
