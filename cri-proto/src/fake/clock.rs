//! Wall-clock stamps that agree with tokio's clock, so that virtual time shows in what the runtime reports.

use tokio::time::{Duration, Instant};

/// 2026-01-01T00:00:00Z in nanoseconds: the wall clock of a fake at its birth, unless told otherwise.
pub const DEFAULT_WALL_BASE: i64 = 1_767_225_600 * 1_000_000_000;

/// Wall time as a function of tokio's time: base + elapsed + skew.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    base: i64,
    born: Instant,
    skew: i64,
}

impl Clock {
    pub(super) fn new(base: i64) -> Self {
        Self { base, born: Instant::now(), skew: 0 }
    }

    /// Wall nanoseconds at `at`.
    pub(super) fn wall(&self, at: Instant) -> i64 {
        let elapsed = nanos(at.saturating_duration_since(self.born));
        self.base.saturating_add(elapsed).saturating_add(self.skew)
    }

    /// From now on every stamp is off by `skew` nanoseconds.
    pub(super) fn set_skew(&mut self, skew: i64) {
        self.skew = skew;
    }
}

/// A duration in nanoseconds, clamped to what an `i64` holds.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// `ns` since 1970 as RFC 3339 in UTC with nine digits of fraction, as log files have it.
pub(super) fn rfc3339_nano(ns: i64) -> String {
    let seconds = ns.div_euclid(1_000_000_000);
    let fraction = ns.rem_euclid(1_000_000_000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Year, month and day of a day number since 1970, in the proleptic Gregorian calendar: years are counted
/// from March so that the leap day is the last of its year, in eras of 400 years (146,097 days).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_written_as_logs_have_them() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (DEFAULT_WALL_BASE, "2026-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(rfc3339_nano(ns), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wall_time_follows_virtual_time_and_skew() {
        let mut clock = Clock::new(DEFAULT_WALL_BASE);
        tokio::time::advance(Duration::from_secs(3)).await;
        clock.set_skew(-5);
        assert_eq!(clock.wall(Instant::now()), DEFAULT_WALL_BASE + 3_000_000_000 - 5);
    }

    proptest::proptest! {
        #[test]
        fn later_stamps_sort_later(a in 0_i64..i64::MAX, b in 0_i64..i64::MAX) {
            proptest::prop_assert_eq!(rfc3339_nano(a).cmp(&rfc3339_nano(b)), a.cmp(&b));
        }
    }
}
