//! Durations and ages as kubectl prints them: two figures at most, `<unknown>` without a start. Pure.
//!
//! The steps are those of `HumanDuration` in `k8s.io/apimachinery` `pkg/util/duration`.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A number of seconds for a table. A moment ahead of the clock by less than 2 s is now; more is not believed.
#[must_use]
pub fn human(seconds: i64) -> String {
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds, MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds, HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds, DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds, YEAR, "y", DAY, "d"),
        252_288_000.. => format!("{}y", seconds / YEAR),
    }
}

fn two(seconds: i64, large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    let rest = seconds % large / small;
    let whole = seconds / large;
    if rest == 0 { format!("{whole}{large_unit}") } else { format!("{whole}{large_unit}{rest}{small_unit}") }
}

/// How long ago something was.
#[must_use]
pub fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else { return "<unknown>".to_owned() };
    // Whole seconds, towards zero: an age of -1.5 s is -1 s, which still counts as now.
    human(now.duration_since(then).as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_kubectls() {
        let table = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (179, "2m59s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_199, "7d23h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_287_999, "7y364d"),
            (252_288_000, "8y"),
        ];
        for (seconds, wanted) in table {
            assert_eq!(human(seconds), wanted, "{seconds}");
        }
    }

    #[test]
    fn without_a_start_the_age_is_unknown() {
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(age(None, now), "<unknown>");
        assert_eq!(age(Timestamp::from_second(880).ok(), now), "2m");
        assert_eq!(age(Timestamp::from_second(1_001).ok(), now), "0s");
    }

    proptest! {
        #[test]
        fn ages_are_short(seconds in -5_i64..1_000_000_000_000) {
            prop_assert!(human(seconds).len() <= 9);
        }
    }
}
