//! How long to wait: doubling delays and spread periods. Pure; chance comes from a seed.

use std::time::Duration;

/// Delays that double from `first` to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubling {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Doubling {
    /// Delays from `first`, above zero, to `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The delay now; the following one is twice as long.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.most);
        delay
    }

    /// Starts again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Numbers without a pattern (xorshift64*); not for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// Numbers that follow from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    /// A number of 0 up to, not including, 1.
    pub fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        f64::from(u32::try_from(bits).unwrap_or(0)) / 4_294_967_296.0
    }

    /// `period` made longer by a chance part of it, up to `part`.
    pub fn longer(&mut self, period: Duration, part: f64) -> Duration {
        period.mul_f64(1.0 + part * self.fraction())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_to_their_limit() {
        let mut delays = Doubling::new(Duration::from_millis(100), Duration::from_secs(7));
        let seen: Vec<_> = (0..9).map(|_| delays.delay().as_millis()).collect();
        assert_eq!(seen, [100, 200, 400, 800, 1_600, 3_200, 6_400, 7_000, 7_000]);
        delays.reset();
        assert_eq!(delays.delay().as_millis(), 100);
    }

    proptest! {
        #[test]
        fn chance_stays_within_its_bounds(seed in any::<u64>()) {
            let mut dice = Dice::new(seed);
            let period = Duration::from_secs(10);
            for _ in 0..50 {
                prop_assert!((0.0..1.0).contains(&dice.fraction()));
                let longer = dice.longer(period, 0.04);
                prop_assert!(longer >= period && longer < Duration::from_millis(10_400));
            }
        }
    }
}
