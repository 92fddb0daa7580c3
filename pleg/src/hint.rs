//! Reads the runtime's event stream and turns it into requests to look.
//!
//! Owns the stream. Woken by its events, and by a timer while there is none. Writes only requests. Ends with the stop
//! token. A runtime that has no stream is asked again now and then, since it may be replaced by one that has; until then
//! the lists find everything by themselves.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::ask::Asks;
use crate::seam::{Hint, Runtime, Unanswered};

/// Wait after the first failure; doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest wait while the runtime may be restarting.
const LAST_RETRY: Duration = Duration::from_secs(3);
/// Failures in a row, about half a minute's worth, after which there is no hurry any more.
const HURRIED_TRIES: u32 = 15;
/// Wait from then on.
const RARE_RETRY: Duration = Duration::from_secs(30);

/// The reader of the event stream.
pub struct HintReader<R> {
    runtime: Arc<R>,
    asks: Arc<Asks>,
}

impl<R: Runtime> HintReader<R> {
    pub(crate) fn new(runtime: Arc<R>, asks: Arc<Asks>) -> Self {
        Self { runtime, asks }
    }

    /// Reads until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0u32;
        let mut told = false;
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                opened = self.runtime.events() => opened,
            };
            match opened {
                Ok(None) => {
                    if !std::mem::replace(&mut told, true) {
                        info!("the runtime has no event stream, lists alone find what changes");
                    }
                    failures = HURRIED_TRIES;
                }
                Ok(Some(stream)) => {
                    told = false;
                    if self.read(stream, &stop).await {
                        failures = 0;
                    }
                }
                Err(error) => debug!(%error, "failed to open the event stream"),
            }
            failures = failures.saturating_add(1);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay(failures)) => {}
            }
        }
    }

    /// Reads one stream to its end; whether it said anything.
    async fn read(
        &self,
        mut stream: BoxStream<'static, Result<Hint, Unanswered>>,
        stop: &CancellationToken,
    ) -> bool {
        self.asks.stream(true);
        let mut said = false;
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                next = stream.next() => next,
            };
            match next {
                Some(Ok(hint)) => {
                    said = true;
                    self.asks.hint(hint);
                }
                Some(Err(error)) => {
                    debug!(%error, "the event stream broke");
                    break;
                }
                None => break,
            }
        }
        self.asks.stream(false);
        said
    }
}

/// Wait before the next try after so many failures in a row.
fn delay(failures: u32) -> Duration {
    if failures > HURRIED_TRIES {
        return RARE_RETRY;
    }
    let doubled = 2u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_RETRY.saturating_mul(doubled).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hurries_at_first() {
        let waits: Vec<_> = [1, 2, 5, 6, 15, 16].map(delay).iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [100, 200, 1600, 3000, 3000, 30_000]);
    }
}
