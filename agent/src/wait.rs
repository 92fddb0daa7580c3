//! Waits that may never be due, and delays that double. Used by every loop; owns nothing.

use std::time::Duration;

use tokio::time::Instant;

/// Most doublings of a delay: any first delay of a millisecond or more is past every cap here by then.
const MOST_DOUBLINGS: u32 = 20;

/// Waits until then; for ever without a moment. Cancel-safe.
pub async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Waits as long; for ever without a length. Cancel-safe.
pub async fn pause(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// The delay after so many failures in a row: `first`, then twice as long each time, up to `cap`. Pure.
#[must_use]
pub fn doubled(first: Duration, failures: u32, cap: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(MOST_DOUBLINGS);
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let delay =
            |failures| doubled(Duration::from_millis(100), failures, Duration::from_secs(7)).as_millis();
        assert_eq!([0, 1, 2, 3, 7, 8, 1000].map(delay), [100, 100, 200, 400, 6400, 7000, 7000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_moment_is_never_due() {
        let began = Instant::now();
        at(Some(began + Duration::from_secs(1))).await;
        pause(Some(Duration::from_secs(1))).await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        let never = tokio::time::timeout(Duration::from_secs(1), at(None));
        assert!(never.await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(1), pause(None)).await.is_err());
    }
}
