//! How a time namespace of Linux shifts the start of a process.

/// Nanoseconds in one tick, the unit of the start in `/proc/PID/stat` (proc_pid_stat(5)).
fn tick() -> i64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second() as i64
}

/// The start of a process as our time namespace shows it, to a tick: nanoseconds of the boot clock there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShownStart {
    /// Negative if the boot clock of our time namespace begins after the process started. Then it is no whole number of ticks, because
    /// the kernel adds 2^64 ns and counts the ticks of the sum.
    pub nanos: i64,
}

impl ShownStart {
    /// `ticks` is the number in `/proc/PID/stat`.
    pub fn of(ticks: u64) -> ShownStart {
        // This takes away the 2^64 ns.
        ShownStart { nanos: ticks.wrapping_mul(tick() as u64) as i64 }
    }

    pub fn seconds(self) -> i64 {
        self.nanos.div_euclid(1_000_000_000)
    }

    /// The seconds for a reader that takes the number as it stands.
    pub fn seconds_as_shown(self) -> i64 {
        (self.nanos as u64 / 1_000_000_000) as i64
    }
}

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

    /// Converts a start to the count of the initial time namespace, in ticks. `None`: the offset is not a whole number of ticks, so
    /// rounding hides the exact start.
    pub fn undo(self, shown: ShownStart) -> Option<u64> {
        let from = self.earliest(shown);
        if from % i128::from(tick()) != 0 {
            return None;
        }
        u64::try_from(from / i128::from(tick())).ok()
    }

    /// Whether a start that is shown as `shown` is `start` in the count of the initial time namespace. `None`: rounding hides it.
    pub fn is_undone(self, shown: ShownStart, start: u64) -> Option<bool> {
        if let Some(exact) = self.undo(shown) {
            return Some(exact == start);
        }
        // The process started less than one tick after this moment, so in one of two ticks.
        let from = self.earliest(shown).div_euclid(i128::from(tick()));
        if (from..=from + 1).contains(&i128::from(start)) {
            None
        } else {
            Some(false)
        }
    }

    /// The earliest moment, in nanoseconds since the machine's boot, that is shown as `shown`.
    fn earliest(self, shown: ShownStart) -> i128 {
        i128::from(shown.nanos) - i128::from(self.nanos)
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

    fn shown(ticks: u64) -> ShownStart {
        ShownStart::of(ticks)
    }

    #[test]
    fn a_shifted_clock_is_undone() {
        assert_eq!(TimeNsOffset { nanos: 0 }.undo(shown(500)), Some(500));
        assert_eq!(TimeNsOffset { nanos: 86_400_000_000_000 }.undo(shown(8_640_500)), Some(500));
        assert_eq!(TimeNsOffset { nanos: -10_000_000 }.undo(shown(500)), Some(501));
        assert_eq!(TimeNsOffset { nanos: 5 }.undo(shown(500)), None);
        // Such a process would have started before the boot of the machine.
        assert_eq!(TimeNsOffset { nanos: 86_400_000_000_000 }.undo(shown(500)), None);
        assert_eq!(TimeNsOffset { nanos: 86_400_000_000_000 }.is_undone(shown(500), 500), Some(false));
    }

    /// A process that started at 4,999,999,998 ns (tick 499) is shown at tick 500 with an offset of 5 ns, and so is one that started at
    /// 5,000,000,000 ns (tick 500).
    #[test]
    fn behind_an_offset_of_no_whole_ticks_a_start_is_known_to_one_tick() {
        for (nanos, either) in [(5, 499), (-5, 500), (-86_400_000_000_005, 8_640_500), (86_400_000_000_005, -8_639_501)]
        {
            let offset = TimeNsOffset { nanos };
            for start in
                [either - 1, either + 2, either + 1000].into_iter().filter_map(|start| u64::try_from(start).ok())
            {
                assert_eq!(offset.is_undone(shown(500), start), Some(false), "{nanos} ns, {start}");
            }
            for start in [either, either + 1].into_iter().filter_map(|start| u64::try_from(start).ok()) {
                assert_eq!(offset.is_undone(shown(500), start), None, "{nanos} ns, {start}");
            }
        }
        let exact = [500, 501].map(|start| TimeNsOffset { nanos: 0 }.is_undone(shown(500), start));
        assert_eq!(exact, [Some(true), Some(false)]);
    }

    /// The kernel counts with 64 bits without a sign, so it shows a start before the beginning of the boot clock as a huge number.
    #[test]
    fn a_start_before_the_boot_clock_of_the_namespace_is_negative() {
        for late in [1, 9_999_999, 10_000_000, 1_000_000_000, 123_456_789_012_345] {
            // The process started 5.005 s after the boot of the machine, in tick 500.
            let (start, offset) = (5_005_000_000_i64, -(5_005_000_000 + late));
            let seen = shown((start + offset) as u64 / 10_000_000);
            assert!((0..10_000_000).contains(&(start + offset - seen.nanos)), "{late}: {seen:?}");
            let offset = TimeNsOffset { nanos: offset };
            assert_ne!(offset.is_undone(seen, 500), Some(false), "{late}");
            assert_eq!([497, 503, 1_000_000].map(|other| offset.is_undone(seen, other)), [Some(false); 3], "{late}");
            assert!((-1 - late / 1_000_000_000..=0).contains(&seen.seconds()), "{late}");
            assert!(seen.seconds_as_shown() > 1 << 34, "{late}");
        }
        assert_eq!(shown(500).seconds(), shown(500).seconds_as_shown());
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
