//! Crash-loop backoff: when a container that ended may start again. Pure.
//!
//! Numbers of `pkg/kubelet/kubelet.go` and client-go's flowcontrol: the first crash restarts at once, then
//! after 10 s, 20 s, … up to the cap, counted from the end of the instance. The delay is forgotten when a
//! container ends more than [`FORGET_AFTER`] after the last raise.

use std::time::Duration;

use crate::clock::{Now, Stamp};
use crate::journal::history::Backoff;

/// First delay.
pub const INITIAL: Duration = Duration::from_secs(10);
/// Longest delay unless `crashLoopBackOff.maxContainerRestartPeriod` says less.
pub const CAP: Duration = Duration::from_secs(300);
/// A container that ran this long since the last raise starts afresh.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Whether a restart may happen, and what to remember if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// Start now and remember this delay for the next time.
    Now(Backoff),
    /// Not before so long from now.
    After {
        /// What is left.
        left: Duration,
        /// The whole delay, for the message.
        delay: Duration,
    },
}

/// Decides on a restart of a container whose last instance ended at `ended`.
#[must_use]
pub fn decide(known: Option<&Backoff>, ended: &Stamp, cap: Duration, now: &Now) -> Restart {
    let initial = INITIAL.min(cap);
    let Some(known) = known.filter(|known| !forgotten(known, ended)) else {
        return Restart::Now(Backoff { delay: initial, updated: now.stamp() });
    };
    let delay = known.delay.min(cap);
    let gone = now.since(ended, delay);
    match delay.checked_sub(gone) {
        Some(left) if !left.is_zero() => Restart::After { left, delay },
        _ => Restart::Now(Backoff { delay: delay.saturating_mul(2).min(cap), updated: now.stamp() }),
    }
}

fn forgotten(known: &Backoff, ended: &Stamp) -> bool {
    let end = Now { boot: ended.boot.clone(), wall: ended.wall };
    let limit = FORGET_AFTER.saturating_mul(2);
    end.since(&known.updated, limit) > FORGET_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::BootTime;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Now {
        let boot = BootTime { boot_id: "b".into(), millis: seconds * 1000 };
        Now { boot, wall: Timestamp::from_second(1_000_000).unwrap() }
    }

    /// Starts of a container that fails as soon as it starts.
    fn starts(cap: Duration, until: u64) -> Vec<u64> {
        let mut starts = vec![0];
        let (mut known, mut ended) = (None, at(0).stamp());
        for second in 0..until {
            if let Restart::Now(next) = decide(known.as_ref(), &ended, cap, &at(second)) {
                known = Some(next);
                ended = at(second).stamp();
                starts.push(second);
            }
        }
        starts
    }

    #[test]
    fn b17_starts_come_at_the_kubelets_times() {
        assert_eq!(starts(CAP, 311), [0, 0, 10, 30, 70, 150, 310]);
    }

    #[test]
    fn a_lower_cap_is_also_the_first_delay() {
        assert_eq!(starts(Duration::from_secs(3), 10), [0, 0, 3, 6, 9]);
    }

    #[test]
    fn b17_ten_good_minutes_forget_the_delay() {
        let known = Backoff { delay: CAP, updated: at(0).stamp() };
        let after = |end| decide(Some(&known), &at(end).stamp(), CAP, &at(end));
        assert!(matches!(after(600), Restart::After { .. }));
        assert!(matches!(after(601), Restart::Now(Backoff { delay: INITIAL, .. })));
    }

    proptest! {
        #[test]
        fn never_longer_than_the_cap(delay in 0u64..100_000, ended in 0u64..2_000, now in 0u64..4_000, cap in 1u64..400) {
            let known = Backoff { delay: Duration::from_secs(delay), updated: at(0).stamp() };
            let cap = Duration::from_secs(cap);
            match decide(Some(&known), &at(ended).stamp(), cap, &at(now)) {
                Restart::Now(next) => prop_assert!(next.delay <= cap),
                Restart::After { left, delay } => prop_assert!(left <= delay && delay <= cap),
            }
        }
    }
}
