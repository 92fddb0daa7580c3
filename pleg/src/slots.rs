//! Decides whether one more call may start towards the runtime. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Calls that count at a time: enough to inspect 300 changed pods at 50 ms each within 4 s, little enough for a
/// runtime that is already in trouble.
pub(crate) const SLOTS: usize = 8;
/// A call slower than this stops counting, so that hung calls do not hold up the rest.
pub(crate) const LENT_FOR: Duration = Duration::from_secs(2);

/// What a call is for. Each kind has its own share of the 32 that may be in flight, slow ones included, so that a
/// fault that hangs one kind leaves room for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The list of one pod.
    Look,
    /// The status of an object that changed.
    Inspection,
    /// The status of an object in a quarantined pod: likely to hang again, so it takes no slot from the rest.
    Retry,
}

impl Kind {
    fn most(self) -> usize {
        match self {
            Self::Look => 8,
            Self::Inspection => 20,
            Self::Retry => 4,
        }
    }
}

/// The calls in flight, by number.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    started: BTreeMap<u64, (Kind, Instant)>,
    next: u64,
}

impl Slots {
    /// How many calls of the kind may start at `now`.
    pub(crate) fn free(&self, kind: Kind, now: Instant) -> usize {
        let of_kind = self.started.values().filter(|(other, _)| *other == kind).count();
        let left = kind.most().saturating_sub(of_kind);
        if kind == Kind::Retry { left } else { left.min(SLOTS.saturating_sub(self.counting(now).count())) }
    }

    /// The starts of the calls that count at `now`.
    fn counting(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let counts = move |(kind, since): &&(Kind, Instant)| *kind != Kind::Retry && now < lent_until(*since);
        self.started.values().filter(counts).map(|(_, since)| *since)
    }

    /// Notes a call that starts at `now`, and gives its number.
    pub(crate) fn start(&mut self, kind: Kind, now: Instant) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.started.insert(self.next, (kind, now));
        self.next
    }

    /// Notes that a call ended.
    pub(crate) fn end(&mut self, number: u64) {
        self.started.remove(&number);
    }

    /// Start of the oldest call in flight.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.started.values().map(|(_, since)| *since).min()
    }

    /// When the next call stops counting.
    pub(crate) fn next_lent(&self, now: Instant) -> Option<Instant> {
        self.counting(now).map(lent_until).min()
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
            slots.start(Kind::Inspection, now);
        }
        assert_eq!((slots.free(Kind::Look, now), slots.next_lent(now)), (0, Some(now + LENT_FOR)));
        assert_eq!((slots.free(Kind::Look, now + LENT_FOR), slots.next_lent(now + LENT_FOR)), (SLOTS, None));
        slots.end(1);
        assert_eq!(slots.free(Kind::Look, now), 1);
    }

    #[test]
    fn retries_take_no_slot() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for _ in 0..slots.free(Kind::Retry, now) {
            slots.start(Kind::Retry, now);
        }
        assert_eq!((slots.free(Kind::Retry, now), slots.free(Kind::Inspection, now)), (0, SLOTS));
    }

    proptest! {
        #[test]
        fn no_kind_takes_more_than_its_share(starts in prop::collection::vec((0u64..5000, 0usize..3), 1..200)) {
            let (mut slots, mut now) = (Slots::default(), Instant::now());
            for (wait, kind) in starts {
                now += Duration::from_millis(wait);
                let kind = [Kind::Look, Kind::Inspection, Kind::Retry][kind];
                for _ in 0..slots.free(kind, now) {
                    slots.start(kind, now);
                }
                prop_assert!(slots.started.len() <= 32);
                prop_assert!(slots.counting(now).count() <= SLOTS);
            }
        }
    }
}
