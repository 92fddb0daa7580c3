//! One line of the log per cause and minute. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two lines of one cause.
const QUIET: Duration = Duration::from_secs(60);
/// Causes that are told apart; there are fewer kinds of answers than that.
const MOST: usize = 64;

/// What was said when.
#[derive(Debug, Default)]
pub(super) struct Hush {
    said: BTreeMap<String, (Instant, u64)>,
}

impl Hush {
    /// Whether to say it now: how often it was held back since it was last said.
    pub(super) fn may_say(&mut self, cause: &str, now: Instant) -> Option<u64> {
        match self.said.get_mut(cause) {
            Some((last, held_back)) if now.saturating_duration_since(*last) < QUIET => {
                *held_back = held_back.saturating_add(1);
                None
            }
            Some(entry) => Some(std::mem::replace(entry, (now, 0)).1),
            None => {
                if self.said.len() < MOST {
                    self.said.insert(cause.to_owned(), (now, 0));
                }
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_said_once_a_minute_with_its_count() {
        let (mut hush, now) = (Hush::default(), Instant::now());
        assert_eq!(hush.may_say("a", now), Some(0));
        assert_eq!(hush.may_say("b", now), Some(0));
        assert_eq!((hush.may_say("a", now), hush.may_say("a", now + QUIET / 2)), (None, None));
        assert_eq!(hush.may_say("a", now + QUIET), Some(2));
    }
}
