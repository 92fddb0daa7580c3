use proptest::prelude::*;

use super::*;

fn value(text: &str) -> i64 {
    Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).value()
}

#[test]
fn readings_that_are_often_wrong() {
    for (text, units, milli) in [
        ("1.5Gi", 1_610_612_736, Some(1_610_612_736_000)),
        ("100m", 1, Some(100)),
        ("0.1m", 1, Some(1)),
        ("1n", 1, Some(1)),
        ("12E", i64::MAX, None),
        ("10Ei", i64::MAX, None),
        ("7Ei", 8_070_450_532_247_928_832, None),
        ("9223372036854775807", i64::MAX, None),
        ("9223372036854775806.5", i64::MAX, None),
        ("1E", 1_000_000_000_000_000_000, None),
        ("1e3", 1_000, Some(1_000_000)),
        ("1E3", 1_000, Some(1_000_000)),
        ("1e-3", 1, Some(1)),
        ("1.5e+2", 150, Some(150_000)),
        ("0.5Ki", 512, Some(512_000)),
        ("0.0001Ki", 1, Some(103)),
        (".5", 1, Some(500)),
        ("5.", 5, Some(5_000)),
        ("+5", 5, Some(5_000)),
        ("-1", -1, Some(-1_000)),
        ("-0.1", -1, Some(-100)),
        ("0", 0, Some(0)),
        ("-0", 0, Some(0)),
        ("00012", 12, Some(12_000)),
        ("0e99999999999", 0, Some(0)),
        ("2.000000000000000000000000000000000000000001", 3, Some(2_001)),
        ("1e-99999", 1, Some(1)),
        ("1k", 1_000, Some(1_000_000)),
        ("129e6", 129_000_000, Some(129_000_000_000)),
    ] {
        let quantity = Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((quantity.value(), quantity.milli()), (units, milli), "{text}");
    }
}

#[test]
fn a75_what_is_no_quantity_or_too_large_is_an_error() {
    for bad in [
        "",
        "+",
        "-",
        ".",
        "Gi",
        "1Ki1",
        "1.1.M",
        "1+1.0M",
        "0.1mi",
        "0.1am",
        "aoeu",
        ".5i",
        "1i",
        "-3.01i",
        "-3.01e-",
        " 1",
        "1 ",
        "1e",
        "1K",
        "1ki",
        "1KI",
        "1Mib",
        "0x10",
        "1e1.5",
        "1e--1",
        "--1",
        "+-1",
        "1_000",
        "١",
        "1e9223372036854775808",
        "NaN",
        "inf",
    ] {
        assert!(Quantity::parse(bad).is_err(), "{bad:?} was accepted");
    }
    assert_eq!(Quantity::parse("1e999"), Err(QuantityError::TooLarge));
    assert_eq!(Quantity::parse(&"9".repeat(400)), Err(QuantityError::TooLarge));
    assert_eq!(value("9223372036854775808"), i64::MAX, "beyond the range it saturates, never wraps");
    assert_eq!(value("-9223372036854775809"), i64::MIN);
    assert_eq!(Quantity::parse("9223372036854775").map(Quantity::milli), Ok(Some(9_223_372_036_854_775_000)));
    assert_eq!(Quantity::parse("9223372036854776").map(Quantity::milli), Ok(None));
}

#[test]
fn equal_amounts_are_equal() {
    for (one, other) in [("1Ki", "1024"), ("1", "1000m"), ("0.5", "500m"), ("1Gi", "1024Mi"), ("1e3", "1k")] {
        assert_eq!(Quantity::parse(one), Quantity::parse(other), "{one} and {other}");
    }
    assert!(Quantity::parse("1G").ok() < Quantity::parse("1Gi").ok());
    assert!(Quantity::parse("-1").ok() < Quantity::parse("0").ok());
}

proptest! {
    #[test]
    fn whole_numbers_are_themselves(number in any::<i64>()) {
        prop_assert_eq!(value(&number.to_string()), number);
    }

    #[test]
    fn milli_of_milli_is_itself(number in any::<i64>()) {
        prop_assert_eq!(Quantity::parse(&format!("{number}m")).map(Quantity::milli), Ok(Some(number)));
    }

    #[test]
    fn readings_never_fall_below(whole in 0_u32..1_000_000, part in 0_u32..1_000_000_000) {
        let quantity = Quantity::parse(&format!("{whole}.{part:09}")).unwrap();
        let exact = i128::from(whole) * 1_000_000_000 + i128::from(part);
        prop_assert_eq!(quantity.nano, exact);
        prop_assert!(i128::from(quantity.value()) * 1_000_000_000 >= exact);
        prop_assert!(i128::from(quantity.milli().unwrap()) * 1_000_000 >= exact);
        prop_assert_eq!(quantity.is_whole(), part == 0);
    }

    #[test]
    fn binary_is_a_shift(number in 0_i64..1_000_000, step in 0_usize..4) {
        let suffix = ["Ki", "Mi", "Gi", "Ti"][step];
        let shift = 10 * (u32::try_from(step).unwrap() + 1);
        prop_assert_eq!(Quantity::parse(&format!("{number}{suffix}")).map(Quantity::value), Ok(number.checked_shl(shift).unwrap_or(i64::MAX).max(number)));
    }

    #[test]
    fn any_text_is_decided(text in "[-+0-9.eEinumkKMGTP]{0,40}|.{0,20}") {
        if let Ok(quantity) = Quantity::parse(&text) {
            prop_assert_eq!(quantity.milli().is_none_or(|milli| milli >= 0), quantity.sign().is_ge() || quantity.milli().is_none());
            let negated = text.strip_prefix('-').map_or_else(|| format!("-{}", text.trim_start_matches('+')), str::to_owned);
            prop_assert_eq!(Quantity::parse(&negated).map(|negated| negated.nano), Ok(-quantity.nano));
        }
    }
}
