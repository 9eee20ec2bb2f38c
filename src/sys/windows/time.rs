//! Moments as Windows counts them: units of 100 ns since 1601.

use windows_sys::Win32::Foundation::FILETIME;

pub(super) fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// Converts such a moment to microseconds since 1970.
pub(super) fn unix_micros(ticks: u64) -> i64 {
    const UNTIL_1970: i64 = 116_444_736_000_000_000;
    (ticks as i64).saturating_sub(UNTIL_1970).div_euclid(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_from_1970() {
        assert_eq!(unix_micros(116_444_736_000_000_000 + 15), 1);
        assert_eq!(unix_micros(133_444_736_000_000_000), 1_700_000_000_000_000);
    }
}
