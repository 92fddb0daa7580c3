//! Renews the tokens of pods that run. Owns nothing but its turn: what is due is in [`Volumes`]. Woken by the time at
//! which the first token is due and by pods that were set up. Writes volumes in whole versions. Ends with the stop
//! token; a token stays in its volume, and is found there by the next start.

use std::time::Duration;

use futures::StreamExt;
use pinnace_cri::id::PodUid;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::volume::set_up::{SetUpError, Volumes};
use crate::wait::pause;

/// Pods renewed at once: after a long outage of the API server all of a node's are due together.
const AT_ONCE: usize = 8;
/// Least time between two log lines about renewals that failed.
const QUIET: Duration = Duration::from_secs(60);
/// Least time between two passes that time alone asks for.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// The loop.
#[derive(Debug)]
pub struct TokenRefresher {
    volumes: Volumes,
    warned: Option<Instant>,
}

impl TokenRefresher {
    pub(super) fn new(volumes: Volumes) -> Self {
        Self { volumes, warned: None }
    }

    /// Renews until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.pass() => {}
            }
            let next = self.volumes.next_due(&self.volumes.now());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.volumes.added() => {}
                () = pause(next.map(|next| next.max(LEAST_PAUSE))) => {}
            }
        }
    }

    /// Renews every pod's tokens that are due. May be dropped at any wait: a write that was begun goes on.
    async fn pass(&mut self) {
        let due = self.volumes.due(&self.volumes.now());
        let volumes = &self.volumes;
        let renewals = due.into_iter().map(|uid| async move { (volumes.renew(&uid).await.err(), uid) });
        let results: Vec<_> = futures::stream::iter(renewals).buffer_unordered(AT_ONCE).collect().await;
        let failed: Vec<_> =
            results.into_iter().filter_map(|(error, uid)| error.map(|error| (uid, error))).collect();
        self.tell(&failed);
    }

    fn tell(&mut self, failed: &[(PodUid, SetUpError)]) {
        let Some((uid, error)) = failed.first() else { return };
        if self.warned.is_some_and(|warned| warned.elapsed() < QUIET) {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(pods = failed.len(), first = %uid, %error, "failed to renew tokens, trying again");
    }
}
