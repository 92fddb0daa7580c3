//! How many pulls may begin in a second: `registryPullQPS` and `registryBurst`. Pure but for its lock.
//!
//! The kubelet fails a pull that comes too early; here it waits for its turn.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Turns at a rate, with a burst.
#[derive(Debug)]
pub struct Rate {
    /// Between two turns; zero for no limit.
    gap: Duration,
    /// How far ahead of the rate turns may be taken.
    ahead: Duration,
    /// When the turn after those taken would be due at an even pace.
    next: Mutex<Option<Instant>>,
}

impl Rate {
    /// So many per second; 0 is no limit. A burst below 1 counts as 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let gap = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::ZERO);
        let ahead = gap.saturating_mul(burst.max(1).saturating_sub(1));
        Self { gap, ahead, next: Mutex::new(None) }
    }

    /// Takes the next turn; gives how long it is until then.
    #[must_use]
    pub fn take(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.unwrap_or(now).max(now);
        *next = due.checked_add(self.gap);
        due.saturating_duration_since(now).saturating_sub(self.ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_at_once_and_then_the_rate() {
        let (rate, now) = (Rate::new(5, 3), Instant::now());
        let waits: Vec<u128> = (0..6).map(|_| rate.take(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 200, 400, 600]);
        assert_eq!(rate.take(now + Duration::from_secs(60)), Duration::ZERO);
        let free = Rate::new(0, 0);
        assert!((0..1000).all(|_| free.take(now).is_zero()));
    }

    proptest! {
        #[test]
        fn never_above_the_rate(rate in 1..20_u32, burst in 1..10_u32, steps in prop::collection::vec(0..500_u64, 1..60)) {
            let (limit, start) = (Rate::new(rate, burst), Instant::now());
            let (mut now, mut turns) = (start, Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                turns.push(now + limit.take(now) - start);
            }
            // In any second from a turn on, at most the burst and one second's rate.
            for (first, from) in turns.iter().enumerate() {
                let within = turns[first..].iter().filter(|at| **at < *from + Duration::from_secs(1)).count();
                prop_assert!(within <= (burst + rate + 1) as usize, "{within} from {from:?}");
            }
        }
    }
}
