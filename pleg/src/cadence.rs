//! Decides when the next complete list begins. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::trust::PERIOD;

/// Least time between the end of a list and the start of the next, whoever asks for one.
const BREATHER: Duration = Duration::from_millis(100);

/// When complete lists began and ended, and what was asked for since.
#[derive(Debug, Default)]
pub(crate) struct Cadence {
    /// None before the first.
    started: Option<Instant>,
    ended: Option<Instant>,
    /// One is to begin as soon as can be.
    asked: bool,
    /// The next one does not wait for the long period.
    hurry: bool,
}

impl Cadence {
    /// A list that begins from now on is asked for, even if one is under way.
    pub(crate) fn ask(&mut self) {
        self.asked = true;
    }

    /// Something went wrong that the next list makes good: the long period does not apply to it.
    pub(crate) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(crate) fn started(&mut self, now: Instant) {
        *self = Self { started: Some(now), ended: self.ended, asked: false, hurry: false };
    }

    pub(crate) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// When the next list is due, `period` being what the stream has earned; none stands for at once.
    pub(crate) fn due(&self, period: Duration) -> Option<Instant> {
        let rested = self.ended.and_then(|ended| ended.checked_add(BREATHER));
        if self.asked {
            return rested;
        }
        let period = if self.hurry { period.min(PERIOD) } else { period };
        rested.max(self.started.and_then(|started| started.checked_add(period)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::STRETCHED;

    #[test]
    fn lists_begin_a_period_apart() {
        let (mut cadence, now) = (Cadence::default(), Instant::now());
        assert_eq!(cadence.due(PERIOD), None, "the first is due at once");
        cadence.started(now);
        cadence.ended(now + BREATHER);
        assert_eq!(cadence.due(PERIOD), Some(now + PERIOD));
        assert_eq!(cadence.due(STRETCHED), Some(now + STRETCHED));
        cadence.hurry();
        assert_eq!(cadence.due(STRETCHED), Some(now + PERIOD));
    }

    #[test]
    fn a_slow_list_is_followed_by_a_pause() {
        let (mut cadence, now) = (Cadence::default(), Instant::now());
        cadence.started(now);
        cadence.ended(now + STRETCHED);
        assert_eq!(cadence.due(PERIOD), Some(now + STRETCHED + BREATHER));
    }

    #[test]
    fn one_that_is_asked_for_while_another_is_under_way_follows_it() {
        let (mut cadence, now) = (Cadence::default(), Instant::now());
        cadence.started(now);
        cadence.ask();
        cadence.ended(now);
        assert_eq!(cadence.due(PERIOD), Some(now + BREATHER));
    }
}
