//! Watches the node's own object. Owns the watch; woken by its events and by the end of the stream; writes [`Known`];
//! ends with the stop token. It is read only: what a change means is for others to decide.
//!
//! A list begins it, and a watch goes on from there; a lost version begins again. The stream is asked to end after
//! some minutes, and a silence longer than bookmarks allow counts as a dead connection.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::call::{CallError, within};
use super::complaint::Complaint;
use super::known::Known;
use super::pace::Doubling;
use crate::api::decoded::Decoded;
use crate::api::fault::meaning;
use crate::api::patience::CALL;
use crate::chain::Chain;

/// How long one stream may last, in seconds. The API server closes streams after 30 to 60 min by itself.
const STREAM_SECONDS: u32 = 290;
/// Bookmarks come about once a minute; a stream that says nothing for longer is taken for dead.
const SILENCE: Duration = Duration::from_secs(90);
/// Delays after a failure.
const RETRY: Doubling = Doubling::new(Duration::from_millis(200), Duration::from_secs(7));

/// Why a stream ended before its time.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("failed to watch the node's object: {}", meaning(.0))]
    Stream(Box<kube::Error>),
    #[error("failed to watch the node's object: {0}")]
    Refused(String),
    #[error("failed to watch the node's object: nothing was heard for {SILENCE:?}")]
    Silent,
}

/// The loop.
#[derive(Debug)]
pub struct OwnNode {
    api: Api<Decoded<Node>>,
    name: String,
    known: Known,
    complaint: Complaint,
}

impl OwnNode {
    /// A watch of the node `name` that tells `known`.
    #[must_use]
    pub fn new(client: kube::Client, name: String, known: Known) -> Self {
        Self { api: Api::all(client), name, known, complaint: Complaint::default() }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep_watching() => {}
        }
    }

    async fn keep_watching(&mut self) {
        let mut retry = RETRY;
        loop {
            let began = Instant::now();
            let Err(error) = self.list_and_watch().await else { continue };
            if self.complaint.raise(&Chain(&error).to_string(), Instant::now()) {
                warn!(error = %Chain(&error), "the node's own object is not watched, trying again");
            }
            if began.elapsed() > SILENCE {
                retry.reset();
            }
            sleep(retry.delay()).await;
        }
    }

    /// Lists once, then follows streams for as long as the version holds.
    async fn list_and_watch(&mut self) -> Result<(), WatchError> {
        let only = format!("metadata.name={}", self.name);
        let params = ListParams { field_selector: Some(only.clone()), ..ListParams::default() };
        let list = within("read the node's object", CALL, self.api.list(&params)).await?;
        let mut version = list.metadata.resource_version.clone().unwrap_or_default();
        match list.items.into_iter().next() {
            Some(Decoded(node)) => self.known.learn(node),
            None => self.known.absent_at(&version),
        }
        self.complaint.clear();
        loop {
            version = self.follow(&only, version).await?;
        }
    }

    /// Follows one stream to its end; returns the version to go on from.
    async fn follow(&self, only: &str, mut version: String) -> Result<String, WatchError> {
        let params = WatchParams {
            field_selector: Some(only.to_owned()),
            timeout: Some(STREAM_SECONDS),
            ..WatchParams::default()
        };
        let began = Instant::now();
        let opened = self.api.watch(&params, &version);
        let mut events = std::pin::pin!(within("watch the node's object", CALL, opened).await?);
        loop {
            let event = timeout(SILENCE, events.next()).await.map_err(|_| WatchError::Silent)?;
            let Some(event) = event else { break };
            match event.map_err(|error| WatchError::Stream(Box::new(error)))? {
                WatchEvent::Added(Decoded(node)) | WatchEvent::Modified(Decoded(node)) => {
                    version = node.metadata.resource_version.clone().unwrap_or(version);
                    self.known.learn(node);
                }
                WatchEvent::Deleted(Decoded(node)) => {
                    version = node.metadata.resource_version.clone().unwrap_or(version);
                    self.known.absent_at(&version);
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(WatchError::Refused(status.to_string())),
            }
        }
        // Streams that end as soon as they begin must not turn into a storm of requests.
        if began.elapsed() < Duration::from_secs(1) {
            sleep(Duration::from_secs(1)).await;
        }
        Ok(version)
    }
}
