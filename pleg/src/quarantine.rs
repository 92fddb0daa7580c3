//! Decides how long a pod whose inspection failed is left alone. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Wait after the first failure.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest wait; reached at the seventh failure in a row.
pub const LAST_RETRY: Duration = Duration::from_secs(60);

/// A pod whose inspection hangs or fails; its last known state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// The call that failed last and what it was about, such as `ContainerStatus 8f1c`.
    pub call: String,
    /// When the first of these failures was noticed.
    pub since: Instant,
    /// Failed tries in a row, at least 1; calls that fail at the same time count as one.
    pub failures: u32,
    /// What the last one said.
    pub last_error: String,
    /// When it is asked again.
    pub next_retry: Instant,
}

impl Quarantine {
    /// The state after one more failure, at `now`.
    #[must_use]
    pub fn after(previous: Option<&Self>, call: String, error: String, now: Instant) -> Self {
        let Some(previous) = previous else {
            let next_retry = later(now, FIRST_RETRY);
            return Self { call, since: now, failures: 1, last_error: error, next_retry };
        };
        if now < previous.next_retry {
            return Self { call, last_error: error, ..previous.clone() };
        }
        let failures = previous.failures.saturating_add(1);
        let next_retry = later(now, delay(failures));
        Self { call, since: previous.since, failures, last_error: error, next_retry }
    }
}

fn delay(failures: u32) -> Duration {
    let doubled = 2u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_RETRY.saturating_mul(doubled).min(LAST_RETRY)
}

fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_from_one_second_to_sixty() {
        let seconds: Vec<_> = (1..9).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn failures_at_the_same_time_count_once() {
        let now = Instant::now();
        let first = Quarantine::after(None, "a".into(), "slow".into(), now);
        let second = Quarantine::after(Some(&first), "b".into(), "slower".into(), now);
        assert_eq!((second.failures, second.next_retry, second.call.as_str()), (1, first.next_retry, "b"));
    }

    proptest! {
        #[test]
        fn never_shorter_nor_over_the_last(failures in 1u32..) {
            prop_assert!(delay(failures) >= FIRST_RETRY && delay(failures) <= LAST_RETRY);
            prop_assert!(delay(failures.saturating_add(1)) >= delay(failures));
        }
    }
}
