//! Durations as Go writes them: `1m30s`, `100ms`, `-1.5h`. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A signed duration in nanoseconds, as Go's `time.Duration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration {
    nanos: i64,
}

/// A text that is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number, or something that is neither a number nor a unit.
    #[error("not a duration such as 1m30s")]
    Syntax,
    /// A number without one of the units.
    #[error("duration needs a unit (ns, us, ms, s, m, h) after every number")]
    Unit,
    /// More than about 292 years.
    #[error("duration is too long")]
    Range,
}

impl GoDuration {
    /// From a number of nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// From a number of seconds; more than 292 years become 292 years.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self { nanos: seconds.saturating_mul(1_000_000_000) }
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.nanos
    }

    /// As a plain duration, if it is not negative.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.nanos).ok().map(Duration::from_nanos)
    }
}

/// Go's units, in nanoseconds; both micro signs are accepted.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(DurationError::Syntax);
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let (nanos, after) = one_part(rest)?;
            total = total.checked_add(nanos).ok_or(DurationError::Range)?;
            rest = after;
        }
        Ok(Self { nanos: if negative { total.saturating_neg() } else { total } })
    }
}

/// Reads one number with its unit and returns what is left.
fn one_part(text: &str) -> Result<(i64, &str), DurationError> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, after) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(DurationError::Syntax);
    }
    let (unit, rest) = after.split_at(after.find(is_number).unwrap_or(after.len()));
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Unit)?;
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().map_err(|_| DurationError::Range)? };
    let nanos = whole.checked_mul(*scale).ok_or(DurationError::Range)?;
    let nanos = nanos.checked_add(part_of(*scale, fraction)).ok_or(DurationError::Range)?;
    Ok((nanos, rest))
}

/// The fraction's share of a unit; digits below a nanosecond are dropped.
fn part_of(scale: i64, fraction: &str) -> i64 {
    let mut digit_worth = i128::from(scale) * 1_000_000;
    let mut micro_nanos: i128 = 0;
    for digit in fraction.chars().filter_map(|c| c.to_digit(10)) {
        digit_worth /= 10;
        micro_nanos += digit_worth * i128::from(digit);
    }
    i64::try_from(micro_nanos / 1_000_000).unwrap_or(0)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos < 0 {
            out.write_str("-")?;
        }
        let nanos = self.nanos.unsigned_abs();
        match nanos {
            0 => out.write_str("0s"),
            1..1_000 => write!(out, "{nanos}ns"),
            1_000..1_000_000 => write!(out, "{}\u{b5}s", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(out, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let seconds = nanos / 1_000_000_000;
                let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
                if hours > 0 {
                    write!(out, "{hours}h")?;
                }
                if seconds >= 60 {
                    write!(out, "{minutes}m")?;
                }
                write!(out, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `value / unit` in decimals without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let width = usize::try_from(unit.ilog10()).unwrap_or(0);
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| D::Error::custom(format!("{error}: {text:?}")))
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, nanos: i64, printed: &str) {
        let parsed: GoDuration = text.parse().unwrap();
        assert_eq!(parsed.nanos(), nanos, "{text}");
        assert_eq!(parsed.to_string(), printed, "{text}");
    }

    #[test]
    fn go_durations_are_read_and_printed() {
        check("1m30s", 90_000_000_000, "1m30s");
        check("0", 0, "0s");
        check("0s", 0, "0s");
        check("100ms", 100_000_000, "100ms");
        check("1.5h", 5_400_000_000_000, "1h30m0s");
        check("2m", 120_000_000_000, "2m0s");
        check("-1.5s", -1_500_000_000, "-1.5s");
        check(".5s", 500_000_000, "500ms");
        check("1h0.25s", 3_600_250_000_000, "1h0m0.25s");
        check("7us", 7_000, "7\u{b5}s");
        check("0.3333333333333333333h", 1_200_000_000_000 - 1, "19m59.999999999s");
        check("300ns", 300, "300ns");
    }

    #[test]
    fn what_is_no_duration_says_why() {
        let reason = |text: &str| text.parse::<GoDuration>().unwrap_err();
        assert_eq!(reason("10"), DurationError::Unit);
        assert_eq!(reason(""), DurationError::Syntax);
        assert_eq!(reason("-"), DurationError::Syntax);
        assert_eq!(reason("1.2.3s"), DurationError::Syntax);
        assert_eq!(reason(".s"), DurationError::Syntax);
        assert_eq!(reason("3d"), DurationError::Unit);
        assert_eq!(reason("s"), DurationError::Syntax);
        assert_eq!(reason("9999999999h"), DurationError::Range);
        assert_eq!(reason("99999999999999999999s"), DurationError::Range);
    }

    proptest! {
        #[test]
        fn printing_then_reading_gives_the_same(nanos in -i64::MAX..i64::MAX) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(duration.to_string().parse::<GoDuration>(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
