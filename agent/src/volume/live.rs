//! What is kept of one pod with volumes while it runs, and when its tokens are looked at next. No I/O.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Now, Stamp};
use crate::objects::Data;
use crate::source::desired::DesiredPod;
use crate::volume::plan::{Projected, TokenSource};
use crate::volume::token::{Need, Token, jitter};
use crate::wait::doubled;

/// Delay after the first failed renewal of a pod's tokens; doubles with each.
const RETRY: Duration = Duration::from_secs(1);
/// Longest such delay.
const RETRY_CAP: Duration = Duration::from_secs(60);

/// One pod with volumes.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) pod: Arc<DesiredPod>,
    /// Cancelled when the teardown begins.
    pub(super) leaving: CancellationToken,
    /// Locked for the whole of a piece of work.
    pub(super) work: Arc<tokio::sync::Mutex<Work>>,
    /// When its tokens are looked at next; none before it was set up and where there are none.
    due: Mutex<Option<Due>>,
}

#[derive(Debug, Default)]
pub(super) struct Work {
    /// Tokens by volume and source, from the API server or found on disk.
    pub(super) tokens: BTreeMap<(String, TokenSource), Token>,
    /// The last known state of each ConfigMap: what a renewal falls back on.
    pub(super) config_maps: BTreeMap<String, Arc<Data>>,
    /// Failed renewals in a row.
    pub(super) failures: u32,
    /// Why a token that is due for renewal is used on.
    pub(super) kept: Vec<String>,
}

#[derive(Debug, Clone)]
struct Due {
    from: Stamp,
    after: Duration,
}

impl Live {
    pub(super) fn new(pod: &Arc<DesiredPod>) -> Self {
        Self {
            pod: Arc::clone(pod),
            leaving: CancellationToken::new(),
            work: Arc::default(),
            due: Mutex::default(),
        }
    }

    pub(super) fn jitter(&self) -> Duration {
        jitter(self.pod.uid.as_str())
    }

    /// How long until its tokens are looked at; none if never.
    pub(super) fn left(&self, now: &Now) -> Option<Duration> {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.as_ref().map(|due| due.after.saturating_sub(now.since(&due.from, due.after)))
    }

    /// The next look at the tokens: when the first is due; after a failure when its delay is over.
    pub(super) fn schedule(&self, work: &Work, volumes: &[Projected], now: &Now) {
        let jitter = self.jitter();
        let due = volumes
            .iter()
            .flat_map(|volume| volume.tokens().map(move |source| key(volume, source)))
            .map(|key| match work.tokens.get(&key).map(|token| token.need(now, jitter)) {
                Some(Need::Nothing(left)) => left,
                _ => Duration::ZERO,
            })
            .min();
        let due = due.map(|due| due.max(work.delay(due)));
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) =
            due.map(|after| Due { from: now.stamp(), after });
    }
}

impl Work {
    /// Whether a token of the volume is to be renewed.
    pub(super) fn is_due(&self, live: &Live, volume: &Projected, now: &Now) -> bool {
        let good = |source: &TokenSource| {
            let token = self.tokens.get(&key(volume, source));
            token.is_some_and(|token| matches!(token.need(now, live.jitter()), Need::Nothing(_)))
        };
        volume.tokens().any(|source| !good(source))
    }

    /// Least pause before the next renewal of what is due now.
    fn delay(&self, due: Duration) -> Duration {
        if due.is_zero() { backoff(self.failures) } else { Duration::ZERO }
    }
}

/// The delay after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    doubled(RETRY, failures, RETRY_CAP)
}

/// Under which a token is kept.
pub(super) fn key(volume: &Projected, source: &TokenSource) -> (String, TokenSource) {
    (volume.name.clone(), source.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_renewals_wait_longer_up_to_a_minute() {
        let delays: Vec<u64> = (0..9).map(|failures| backoff(failures).as_secs()).collect();
        assert_eq!(delays, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(u32::MAX), RETRY_CAP);
    }
}
