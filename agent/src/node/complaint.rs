//! Decides which failures reach the log: each once, and again after a minute while it lasts. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How often one lasting failure is logged.
const REPEAT: Duration = Duration::from_secs(60);

/// What was last complained of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Complaint {
    last: Option<(String, Instant)>,
}

impl Complaint {
    /// Takes in a failure; whether it is to be logged.
    pub fn raise(&mut self, problem: &str, now: Instant) -> bool {
        let is_news = self
            .last
            .as_ref()
            .is_none_or(|(last, at)| last != problem || now.saturating_duration_since(*at) >= REPEAT);
        if is_news {
            self.last = Some((problem.to_owned(), now));
        }
        is_news
    }

    /// Takes in that all is well; whether that is news.
    pub fn clear(&mut self) -> bool {
        self.last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_is_logged_once_a_minute() {
        let start = Instant::now();
        let mut complaint = Complaint::default();
        let raised = (0..130).filter(|second| complaint.raise("down", start + Duration::from_secs(*second)));
        assert_eq!(raised.collect::<Vec<_>>(), [0, 60, 120]);
        assert!(complaint.raise("refused", start + Duration::from_secs(130)));
        assert!(complaint.clear() && !complaint.clear());
    }
}
