//! Drops records of images that are gone. Owns nothing else; woken by time, first of all at the start; lists the runtime's
//! images and removes files; ends with the stop token.

use std::time::Duration;

use pinnace_cri::client::Client;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Records;
use crate::chain::Chain;

/// Between two looks: an image must be missing in two of them, and a record that stays a while costs nothing.
const PERIOD: Duration = Duration::from_secs(600);

/// The loop.
#[derive(Debug)]
pub struct Prune {
    client: Client,
    records: Records,
}

impl Prune {
    /// For the records of this runtime's images.
    #[must_use]
    pub fn new(client: Client, records: Records) -> Self {
        Self { client, records }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if !self.records.is_kept() {
            return stop.cancelled().await;
        }
        let mut due = interval(PERIOD);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.pass() => {}
            }
        }
    }

    /// Only a whole list says what is absent; one without any image is rather that of a runtime that lost its own.
    async fn pass(&self) {
        self.records.begin_look();
        match self.client.list_images(None).await {
            Ok(listed) if listed.skipped.is_empty() && !listed.items.is_empty() => {
                self.records.prune(listed.items).await;
            }
            Ok(_) => tracing::debug!("the runtime's list of images is not whole, no record is dropped"),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "images are not known, no record is dropped")
            }
        }
    }
}
