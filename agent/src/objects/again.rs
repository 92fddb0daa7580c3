//! When a list and watch that failed is begun again. Pure.
//!
//! ```text
//!  refused: 250 ms, 500 ms, … 30 s     the server answers, and has its reasons
//!  away:    250 ms, 500 ms, … 3 s      and each in turn with all the others, see `Reach`
//! ```

use std::time::Duration;

use crate::api::patience::Pace;

/// Delays after refusals in a row. The first is short: a pod may be waiting.
const REFUSED: Pace = Pace { first: Duration::from_millis(250), cap: Duration::from_secs(30) };
/// Delays while the server does not answer. Capped so that with what is added to each ([`super::follow`]) nobody is
/// without news for 5 s once it does again.
const AWAY: Pace = Pace { first: Duration::from_millis(250), cap: Duration::from_secs(3) };
/// What has lived for so long begins to count anew.
const LIVED: Duration = Duration::from_secs(30);

/// The failures in a row of one who lists and watches.
#[derive(Debug, Default)]
pub(super) struct Again {
    failures: u32,
    was_away: bool,
    /// How many answers the server had given to anybody when the last try that failed began.
    seen: u64,
}

impl Again {
    /// The delay after a try that began when the server had given `seen` answers to anybody and went on for so long.
    pub(super) fn after(&mut self, is_away: bool, seen: u64, lived: Duration) -> Duration {
        // Who is alone in not being answered is asked for patience like one who is refused.
        let away = is_away && (self.failures == 0 || self.seen == seen);
        let goes_on = self.failures > 0 && away == self.was_away && lived < LIVED;
        self.failures = if goes_on { self.failures.saturating_add(1) } else { 1 };
        (self.was_away, self.seen) = (away, seen);
        if away { AWAY.after(self.failures) } else { REFUSED.after(self.failures) }
    }

    /// All is well.
    pub(super) fn forget(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(tries: &[(bool, u64, u64)]) -> Vec<u128> {
        let mut again = Again::default();
        let after =
            |(away, seen, lived): &(bool, u64, u64)| again.after(*away, *seen, Duration::from_secs(*lived));
        tries.iter().map(after).map(|delay| delay.as_millis()).collect()
    }

    #[test]
    fn a_server_that_is_away_is_asked_every_three_seconds_and_one_that_refuses_every_thirty() {
        assert_eq!(delays(&[(true, 7, 0); 7]), [250, 500, 1_000, 2_000, 3_000, 3_000, 3_000]);
        assert_eq!(
            delays(&[(false, 7, 0); 9]),
            [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        // It was away and refuses now, as one does that has just begun: that counts from one.
        let begins = [(true, 7, 0), (true, 7, 0), (true, 7, 0), (false, 8, 0), (false, 9, 0)];
        assert_eq!(delays(&begins), [250, 500, 1_000, 250, 500]);
    }

    #[test]
    fn who_alone_is_not_answered_waits_as_if_refused() {
        let alone: Vec<_> = (0..9).map(|seen| (true, seen, 0)).collect();
        assert_eq!(delays(&alone)[1..], [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
    }

    #[test]
    fn what_lived_begins_to_count_anew() {
        assert_eq!(
            delays(&[(false, 0, 0), (false, 0, 29), (false, 0, 30), (false, 0, 0)]),
            [250, 500, 250, 500]
        );
        let mut again = Again::default();
        again.after(true, 0, Duration::ZERO);
        again.after(true, 0, Duration::ZERO);
        again.forget();
        assert_eq!(again.after(true, 9, Duration::ZERO).as_millis(), 250);
    }
}
