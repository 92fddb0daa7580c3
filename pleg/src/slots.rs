//! Decides whether one more call may start towards the runtime. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Calls that count at a time: enough to inspect 300 changed pods at 50 ms each within 4 s, little enough for a
/// runtime that is already in trouble.
pub(crate) const SLOTS: usize = 8;
/// A call slower than this stops counting, so that hung calls do not hold up the rest.
pub(crate) const LENT_FOR: Duration = Duration::from_secs(2);
/// Calls in flight at most, slow ones included.
pub(crate) const MOST: usize = 32;
/// Inspections in flight at most: the rest is left to looks, which a hung shim does not slow.
pub(crate) const MOST_INSPECTIONS: usize = 24;

/// The calls in flight, by number.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    started: BTreeMap<u64, Instant>,
    next: u64,
}

impl Slots {
    /// How many calls may start at `now` while no more than `most` are in flight.
    pub(crate) fn free(&self, most: usize, now: Instant) -> usize {
        let counting = self.started.values().filter(|since| now < lent_until(**since)).count();
        SLOTS.saturating_sub(counting).min(most.saturating_sub(self.started.len()))
    }

    /// Notes a call that starts at `now`, and gives its number.
    pub(crate) fn start(&mut self, now: Instant) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.started.insert(self.next, now);
        self.next
    }

    pub(crate) fn end(&mut self, number: u64) {
        self.started.remove(&number);
    }

    /// Start of the oldest call in flight.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.started.values().min().copied()
    }

    /// When the next call stops counting.
    pub(crate) fn next_lent(&self, now: Instant) -> Option<Instant> {
        self.started.values().map(|since| lent_until(*since)).filter(|until| *until > now).min()
    }
}

fn lent_until(since: Instant) -> Instant {
    since.checked_add(LENT_FOR).unwrap_or(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slow_calls_stop_counting() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for _ in 0..SLOTS {
            slots.start(now);
        }
        assert_eq!((slots.free(MOST, now), slots.next_lent(now)), (0, Some(now + LENT_FOR)));
        assert_eq!((slots.free(MOST, now + LENT_FOR), slots.next_lent(now + LENT_FOR)), (SLOTS, None));
        slots.end(1);
        assert_eq!(slots.free(MOST, now), 1);
    }

    proptest! {
        #[test]
        fn never_more_in_flight_than_allowed(waits in prop::collection::vec(0u64..5000, 1..200)) {
            let (mut slots, mut now) = (Slots::default(), Instant::now());
            for wait in waits {
                now += Duration::from_millis(wait);
                for _ in 0..slots.free(MOST_INSPECTIONS, now) {
                    slots.start(now);
                }
                prop_assert!(slots.started.len() <= MOST_INSPECTIONS);
                prop_assert!(slots.free(MOST, now) <= SLOTS);
            }
        }
    }
}
