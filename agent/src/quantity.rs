//! Kubernetes quantities such as `1.5Gi` or `100m`, exact to 10^-9.
//!
//! Syntax and rounding are those of `k8s.io/apimachinery/pkg/api/resource`: three families of suffixes, finer
//! values rounded away from zero, binary quantities capped at 2^63-1. Nothing wraps: what is too large to hold
//! is refused, and readings that do not fit say so.

use std::cmp::Ordering;

/// A quantity, compared by value: `1Ki` equals `1024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// Billionths. At most 10^37 in magnitude.
    nano: i128,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// There is no number at the start.
    #[error("quantity has no number")]
    NoNumber,
    /// What follows the number is not one of the suffixes or exponents.
    #[error("quantity has an unknown suffix")]
    Suffix,
    /// The number is beyond 10^28.
    #[error("quantity is too large")]
    TooLarge,
}

const NANO: u128 = 1_000_000_000;

/// Digits before the point of the largest number that is held: 10^28 is a billion times 2^63.
const MAX_WHOLE_DIGITS: usize = 28;

/// Digits after the point that can matter; anything finer only rounds up.
const MAX_LEADING_ZEROS: usize = 64;

/// What a suffix multiplies by: a power of ten and a power of two, of which one is zero.
struct Scale {
    ten: i64,
    two: u32,
    binary: bool,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nano: 0 };

    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, rest) = digits(rest);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::NoNumber);
        }
        let scale = scale(suffix).ok_or(QuantityError::Suffix)?;
        let mut nano = nano(whole, fraction, &scale)?;
        if scale.binary {
            nano = nano.min(i128::from(i64::MAX) * NANO.cast_signed());
        }
        Ok(Self { nano: if negative { -nano } else { nano } })
    }

    /// In whole units, rounded away from zero; beyond the range of `i64`, its nearest end.
    #[must_use]
    pub fn value(self) -> i64 {
        let units = self.rounded(NANO.cast_signed());
        i64::try_from(units).unwrap_or(if units < 0 { i64::MIN } else { i64::MAX })
    }

    /// In thousandths, rounded away from zero; none beyond the range of `i64`.
    #[must_use]
    pub fn milli(self) -> Option<i64> {
        i64::try_from(self.rounded(1_000_000)).ok()
    }

    /// Whether it is below, at or above zero.
    #[must_use]
    pub fn sign(self) -> Ordering {
        self.nano.cmp(&0)
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nano % NANO.cast_signed() == 0
    }

    fn rounded(self, unit: i128) -> i128 {
        let whole = self.nano / unit;
        if self.nano % unit == 0 { whole } else { whole + self.nano.signum() }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

/// The leading digits and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn scale(suffix: &str) -> Option<Scale> {
    let decimal = |ten| Some(Scale { ten, two: 0, binary: false });
    let binary = |two| Some(Scale { ten: 0, two, binary: true });
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => decimal(exponent(suffix.strip_prefix(['e', 'E'])?)?),
    }
}

fn exponent(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The magnitude in billionths, rounded up.
fn nano(whole: &str, fraction: &str, scale: &Scale) -> Result<i128, QuantityError> {
    let (whole, fraction) = shifted(whole, fraction, scale.ten)?;
    let unit = NANO << scale.two;
    let units = whole.parse::<u128>().unwrap_or_default();
    let (part, inexact) = fraction_of(&fraction, unit);
    let total = units.checked_mul(unit).and_then(|nano| nano.checked_add(part + u128::from(inexact)));
    match total.map(i128::try_from) {
        Some(Ok(nano)) => Ok(nano),
        // A binary quantity is capped anyway.
        _ if scale.binary => Ok(i128::from(i64::MAX) * NANO.cast_signed()),
        _ => Err(QuantityError::TooLarge),
    }
}

/// The digits before and after the point once it has moved by `ten` places to the right.
fn shifted(whole: &str, fraction: &str, ten: i64) -> Result<(String, String), QuantityError> {
    let all: String = [whole, fraction].concat();
    if all.bytes().all(|digit| digit == b'0') {
        return Ok((String::new(), String::new()));
    }
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(ten);
    let zeros = all.bytes().take_while(|digit| *digit == b'0').count();
    let significant = point.saturating_sub(i64::try_from(zeros).unwrap_or(i64::MAX));
    if significant > i64::try_from(MAX_WHOLE_DIGITS).unwrap_or(i64::MAX) {
        return Err(QuantityError::TooLarge);
    }
    match usize::try_from(point) {
        Ok(point) if point <= all.len() => {
            let (whole, fraction) = all.split_at(point);
            Ok((whole.trim_start_matches('0').to_owned(), fraction.to_owned()))
        }
        Ok(point) => {
            let padding = "0".repeat(point.saturating_sub(all.len()));
            Ok((all.trim_start_matches('0').to_owned() + &padding, String::new()))
        }
        Err(_) => {
            let zeros = usize::try_from(point.unsigned_abs()).unwrap_or(usize::MAX).min(MAX_LEADING_ZEROS);
            Ok((String::new(), "0".repeat(zeros) + &all))
        }
    }
}

/// `0.fraction` times `unit`: the whole part, and whether anything is left over.
fn fraction_of(fraction: &str, unit: u128) -> (u128, bool) {
    let mut carry = 0_u128;
    let mut inexact = false;
    for digit in fraction.bytes().rev() {
        // At most 10 * unit, below 2^97.
        let product = u128::from(digit.saturating_sub(b'0')) * unit + carry;
        inexact |= !product.is_multiple_of(10);
        carry = product / 10;
    }
    (carry, inexact)
}

#[cfg(test)]
mod tests;
