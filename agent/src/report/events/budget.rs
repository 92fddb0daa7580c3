//! How many writes the events may cost: token buckets. Pure; moments are milliseconds of the boot clock.

use std::time::Duration;

/// Tokens that come back at a steady rate.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    capacity: f64,
    per_milli: f64,
    level: f64,
    at: u64,
}

impl Bucket {
    /// A full bucket of `capacity` tokens, at least one, that gains `per_second`.
    pub(super) fn new(capacity: f64, per_second: f64) -> Self {
        let capacity = capacity.max(1.0);
        Self { capacity, per_milli: per_second / 1_000.0, level: capacity, at: 0 }
    }

    /// One that is never empty.
    pub(super) fn unlimited() -> Self {
        Self { capacity: f64::INFINITY, per_milli: 0.0, level: f64::INFINITY, at: 0 }
    }

    fn refill(&mut self, now: u64) {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        // Exact for any span that a process lives.
        let passed = Duration::from_millis(passed).as_secs_f64() * 1_000.0;
        self.level = (self.level + passed * self.per_milli).min(self.capacity);
    }

    /// Time until a token is there; zero if one is.
    pub(super) fn ready_in(&mut self, now: u64) -> Duration {
        self.refill(now);
        if self.level >= 1.0 {
            return Duration::ZERO;
        }
        let millis = (1.0 - self.level) / self.per_milli;
        // A rate of zero never fills it: an hour stands for ever, since whoever waits looks again then.
        Duration::try_from_secs_f64(millis / 1_000.0)
            .unwrap_or(Duration::from_secs(3_600))
            .max(Duration::from_millis(1))
    }

    /// Takes a token that [`Bucket::ready_in`] said is there.
    pub(super) fn take(&mut self) {
        self.level = (self.level - 1.0).max(0.0);
    }

    /// Whether less than half is left.
    pub(super) fn is_low(&mut self, now: u64) -> bool {
        self.refill(now);
        self.level * 2.0 < self.capacity
    }

    /// Whether it is as if it had never been used.
    pub(super) fn is_full(&mut self, now: u64) -> bool {
        self.refill(now);
        self.level >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(3.0, 2.0);
        for _ in 0..3 {
            assert!(bucket.ready_in(0).is_zero());
            bucket.take();
        }
        assert_eq!(bucket.ready_in(0), Duration::from_millis(500));
        assert!(bucket.ready_in(500).is_zero());
        let mut none = Bucket::unlimited();
        none.take();
        assert!(none.ready_in(9).is_zero() && !none.is_low(9));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            capacity in 1u32..20, rate in 1u32..50, steps in prop::collection::vec(0u64..200, 1..300)
        ) {
            let mut bucket = Bucket::new(capacity.into(), rate.into());
            let (mut now, mut taken) = (0, 0.0);
            for step in steps {
                now += step;
                if bucket.ready_in(now).is_zero() {
                    bucket.take();
                    taken += 1.0;
                }
                let most = f64::from(capacity) + f64::from(rate) * now as f64 / 1_000.0;
                prop_assert!(taken <= most + 0.001);
            }
        }
    }
}
