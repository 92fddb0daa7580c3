//! What is kept of one pod with volumes while it runs, and when its files are looked at next. No I/O.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Now, Stamp};
use crate::objects::{Data, Reference};
use crate::source::desired::DesiredPod;
use crate::volume::plan::{self, Rendered, TokenSource, Volume};
use crate::volume::token::{Need, Token, jitter};
use crate::wait::doubled;

/// Delay after the first failed renewal of a pod's files; doubles with each.
const RETRY: Duration = Duration::from_secs(1);
/// Longest such delay.
const RETRY_CAP: Duration = Duration::from_secs(60);

/// One pod with volumes.
#[derive(Debug)]
pub(super) struct Live {
    /// As its source last told of it.
    pod: Mutex<Arc<DesiredPod>>,
    /// Cancelled when the teardown begins.
    pub(super) leaving: CancellationToken,
    /// Locked for the whole of a piece of work.
    pub(super) work: Arc<tokio::sync::Mutex<Work>>,
    turn: Mutex<Turn>,
}

#[derive(Debug, Default)]
pub(super) struct Work {
    /// Tokens by volume and source, from the API server or found on disk.
    pub(super) tokens: BTreeMap<(String, TokenSource), Token>,
    /// The last known state of each object: what a renewal falls back on.
    pub(super) objects: BTreeMap<Reference, Arc<Data>>,
    /// Failed renewals in a row.
    pub(super) failures: u32,
    /// Why a token that is due for renewal is used on.
    pub(super) kept: Vec<String>,
}

/// When the pod's files are written anew.
#[derive(Debug, Default)]
struct Turn {
    /// They were written once: before that they are the pod's plan's.
    set_up: bool,
    /// Something that they are made from changed since the last renewal began.
    asked: bool,
    /// When time alone asks for it.
    due: Option<Due>,
}

#[derive(Debug, Clone)]
struct Due {
    from: Stamp,
    after: Duration,
}

impl Live {
    pub(super) fn new(pod: &Arc<DesiredPod>) -> Self {
        Self {
            pod: Mutex::new(Arc::clone(pod)),
            leaving: CancellationToken::new(),
            work: Arc::default(),
            turn: Mutex::default(),
        }
    }

    pub(super) fn pod(&self) -> Arc<DesiredPod> {
        Arc::clone(&self.pod.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the pod as its source has it now; true if its files show something that is other than before.
    pub(super) fn take(&self, pod: &Arc<DesiredPod>) -> bool {
        let mut known = self.pod.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, Arc::clone(pod));
        drop(known);
        let (before, after) = (&before.pod.metadata, &pod.pod.metadata);
        let same = before.labels == after.labels && before.annotations == after.annotations;
        !same && plan::volumes(&pod.pod).is_ok_and(|volumes| shows_the_pod(&volumes))
    }

    pub(super) fn jitter(&self) -> Duration {
        jitter(self.pod().uid.as_str())
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files are to be written anew.
    pub(super) fn ask(&self) {
        self.turn().asked = true;
    }

    /// A piece of work begins: it sees everything up to now.
    pub(super) fn begin(&self) {
        self.turn().asked = false;
    }

    /// How long until its files are looked at; none if never.
    pub(super) fn left(&self, now: &Now) -> Option<Duration> {
        let turn = self.turn();
        match &turn.due {
            _ if !turn.set_up => None,
            _ if turn.asked => Some(Duration::ZERO),
            due => due.as_ref().map(|due| due.after.saturating_sub(now.since(&due.from, due.after))),
        }
    }

    /// The pod is set up. The next look at its files: when the first token is due; after a failure when its delay is
    /// over.
    pub(super) fn schedule(&self, work: &Work, volumes: &[Volume], now: &Now) {
        let jitter = self.jitter();
        let due = volumes
            .iter()
            .filter_map(Volume::rendered)
            .flat_map(|volume| volume.tokens().map(move |source| key(volume, source)))
            .map(|key| match work.tokens.get(&key).map(|token| token.need(now, jitter)) {
                Some(Need::Nothing(left)) => left,
                _ => Duration::ZERO,
            })
            .min();
        let retry = backoff(work.failures);
        let due = match due {
            Some(Duration::ZERO) => Some(retry),
            due if work.failures > 0 => Some(due.map_or(retry, |due| due.min(retry))),
            due => due,
        };
        let mut turn = self.turn();
        turn.set_up = true;
        turn.due = due.map(|after| Due { from: now.stamp(), after });
    }
}

/// Whether some volume shows what may change in its pod.
pub(super) fn shows_the_pod(volumes: &[Volume]) -> bool {
    volumes.iter().filter_map(Volume::rendered).any(Rendered::shows_the_pod)
}

/// The delay after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    doubled(RETRY, failures, RETRY_CAP)
}

/// Under which a token is kept.
pub(super) fn key(volume: &Rendered, source: &TokenSource) -> (String, TokenSource) {
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
