//! Writes amounts as the API server does, so that what was written and what is read compare equal. Pure.
//! (`CanonicalizeBytes` in `k8s.io/apimachinery/pkg/api/resource`.)

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;

/// Suffixes of powers of 1024.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Suffixes of powers of 1000, from thousandths on.
const DECIMAL: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];

/// Bytes, with the largest binary suffix that leaves a whole number.
#[must_use]
pub fn bytes(amount: i64) -> Text {
    Text(with_suffix(amount, 1_024, &BINARY))
}

/// A count, with the largest decimal suffix that leaves a whole number.
#[must_use]
pub fn count(amount: i64) -> Text {
    Text(with_suffix(amount, 1_000, DECIMAL.get(1..).unwrap_or_default()))
}

/// Thousandths, such as of a processor.
#[must_use]
pub fn milli(amount: i64) -> Text {
    Text(if amount == 0 { "0".to_owned() } else { with_suffix(amount, 1_000, &DECIMAL) })
}

fn with_suffix(amount: i64, base: i64, suffixes: &[&str]) -> String {
    let mut left = amount;
    let mut suffixes = suffixes.iter();
    let mut suffix = suffixes.next().copied().unwrap_or_default();
    while left != 0 && left % base == 0 {
        let Some(next) = suffixes.next() else { break };
        (left, suffix) = (left / base, next);
    }
    format!("{left}{suffix}")
}

/// Whether two amounts are the same, however they are written.
#[must_use]
pub fn same(left: &Text, right: &Text) -> bool {
    left == right || matches!((Quantity::parse(&left.0), Quantity::parse(&right.0)), (Ok(l), Ok(r)) if l == r)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_look_as_the_kubelet_writes_them() {
        assert_eq!(bytes(16_777_216).0, "16Mi");
        assert_eq!(bytes(16_786_685_952).0, "16393248Ki");
        assert_eq!(bytes(94_579_391_611).0, "94579391611");
        assert_eq!(bytes(0).0, "0");
        assert_eq!(count(110).0, "110");
        assert_eq!(count(2_000).0, "2k");
        assert_eq!(milli(2_000).0, "2");
        assert_eq!(milli(1_930).0, "1930m");
        assert_eq!(milli(0).0, "0");
    }

    #[test]
    fn amounts_are_compared_by_value() {
        let text = |text: &str| Text(text.to_owned());
        assert!(same(&text("1Ki"), &text("1024")) && same(&text("x"), &text("x")));
        assert!(!same(&text("1"), &text("2")) && !same(&text("1"), &text("x")));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(amount in 0..i64::MAX / 2) {
            let read = |text: Text| Quantity::parse(&text.0).unwrap();
            prop_assert_eq!(read(bytes(amount)).value(), amount);
            prop_assert_eq!(read(count(amount)).value(), amount);
            prop_assert_eq!(read(milli(amount)).milli(), Some(amount));
        }
    }
}
