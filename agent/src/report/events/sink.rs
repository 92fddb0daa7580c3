//! Writes the events that are due. Owns the series and the writes under way; woken by the feed, by answers and by time;
//! writes `core/v1` events and [`Tally`]; ends with the stop token, after a second for what is still to be said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pinnace_cri::id::PodUid;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::body;
use super::correlate::{Correlator, Next, Outcome, Rates, Tally, Verb, Write};
use crate::api::decoded::Decoded;
use crate::api::patience::CALL;
use crate::clock::Clock;
use crate::events::{Feed, Object, Occurrence};
use crate::report::refusal::why;
use crate::wait;

/// Rate of the kubelet (`eventRecordQPS` of `pkg/kubelet/apis/config/v1beta1/defaults.go`).
const DEFAULT_QPS: u32 = 50;
/// Burst of the kubelet (`eventBurst`).
const DEFAULT_BURST: u32 = 100;
/// Writes under way at once: 50 a second at an answer time of 80 ms.
const DEFAULT_WRITERS: usize = 4;
/// What is left when the agent stops must be written within this time: part of the supervisor's drain.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Period in which what is old is forgotten, in milliseconds.
const TIDY_EVERY: u64 = 600_000;
/// Least time between two log lines of one cause, in milliseconds.
const LOG_EVERY: u64 = 60_000;

/// How events are written.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// Writes per second; 0 is no limit.
    pub qps: u32,
    /// Writes above that rate at once.
    pub burst: u32,
    /// Writes under way at once; at least one.
    pub writers: usize,
    /// Longest time for one write.
    pub deadline: Duration,
}

impl Config {
    /// The kubelet's defaults.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            qps: DEFAULT_QPS,
            burst: DEFAULT_BURST,
            writers: DEFAULT_WRITERS,
            deadline: CALL,
        }
    }
}

/// The pods of this node as the API has them.
pub trait KnownPods: Send + Sync {
    /// The pod of this namespace and name, and of this UID if one is given.
    fn find(&self, namespace: &str, name: &str, uid: Option<&PodUid>) -> Option<Arc<Pod>>;
}

/// The loop.
pub struct Sink {
    config: Config,
    client: Client,
    feed: Feed,
    pods: Arc<dyn KnownPods>,
    clock: Clock,
    /// Whether pods are being started.
    starts: watch::Receiver<bool>,
    correlator: Correlator,
    writes: FuturesUnordered<BoxFuture<'static, Answered>>,
    tally: watch::Sender<Tally>,
    /// When old series were forgotten last.
    tidied: u64,
    /// When trouble was logged last.
    told: Option<u64>,
    /// It was logged that writes fail, and not yet that they work again.
    failing: bool,
}

struct Answered {
    write: Box<Write>,
    outcome: Outcome,
    error: Option<String>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sink").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Sink {
    /// The loop, and what became of events so far.
    #[must_use]
    pub fn new(
        config: Config,
        client: Client,
        feed: Feed,
        pods: Arc<dyn KnownPods>,
        clock: Clock,
        starts: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<Tally>) {
        let (tally, reader) = watch::channel(Tally::default());
        let rates = Rates { qps: config.qps.into(), burst: config.burst.into() };
        let seed =
            config.node.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let correlator = Correlator::new(rates, seed);
        let writes = FuturesUnordered::new();
        let sink = Self {
            config,
            client,
            feed,
            pods,
            clock,
            starts,
            correlator,
            writes,
            tally,
            tidied: 0,
            told: None,
            failing: false,
        };
        (sink, reader)
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = self.pass();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(answered) = self.writes.next(), if !self.writes.is_empty() => self.settle(answered),
                () = self.feed.filled() => {}
                () = changed(&mut self.starts) => {}
                () = wait::pause(pause) => {}
            }
        }
        if timeout(LAST_WORDS, self.finish()).await.is_err() {
            tracing::debug!(
                pending = self.correlator.tally().pending,
                "stopped before all events were written"
            );
        }
    }

    /// Writes what is due at once, and no more.
    async fn finish(&mut self) {
        self.starts = watch::channel(false).1;
        self.correlator.forget_starts();
        loop {
            self.pass();
            match self.writes.next().await {
                Some(answered) => self.settle(answered),
                None => return,
            }
        }
    }

    /// Takes in what happened and begins what is due; the time until something else is.
    fn pass(&mut self) -> Option<Duration> {
        let now = self.clock.now().boot.millis;
        self.take_in(now);
        let starting = *self.starts.borrow_and_update();
        self.correlator.starting(starting, now);
        if now.saturating_sub(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            self.correlator.tidy(now);
        }
        let pause = self.begin(now);
        let tally = self.correlator.tally();
        self.tally.send_if_modified(|last| std::mem::replace(last, tally) != tally);
        pause
    }

    fn take_in(&mut self, now: u64) {
        let (events, overflow): (VecDeque<Occurrence>, _) = self.feed.take();
        self.correlator.overflowed(overflow.normal, overflow.warnings);
        for event in events {
            self.correlator.observe(event, now);
        }
    }

    fn begin(&mut self, now: u64) -> Option<Duration> {
        while self.writes.len() < self.config.writers.max(1) {
            match self.correlator.next(now) {
                Next::Write(write) => self.writes.push(self.write(write)),
                Next::Wait(pause) => return pause,
            }
        }
        None
    }

    fn write(&self, write: Box<Write>) -> BoxFuture<'static, Answered> {
        let pod = match &write.record.object {
            Object::Pod { namespace, name, uid, .. } => self.pods.find(namespace, name, uid.as_ref()),
            Object::Node { .. } => None,
        };
        let api: Api<Decoded<Event>> =
            Api::namespaced(self.client.clone(), body::namespace(&write.record.object));
        let (node, deadline) = (self.config.node.clone(), self.config.deadline);
        Box::pin(async move {
            let sent = timeout(deadline, send(&api, &write, &node, pod.as_deref())).await;
            let (outcome, error) = match sent {
                Ok(Ok(())) => (Outcome::Written, None),
                Ok(Err(error)) => (answer::outcome(write.verb, &error), Some(why(&error))),
                Err(_) => (
                    Outcome::Failed { pause: None },
                    Some(format!("no answer within {} s", deadline.as_secs())),
                ),
            };
            Answered { write, outcome, error }
        })
    }

    fn settle(&mut self, answered: Answered) {
        let now = self.clock.now().boot.millis;
        let Answered { write, outcome, error } = answered;
        self.correlator.done(&write, outcome, now);
        if self.failing && !matches!(outcome, Outcome::Failed { .. }) {
            self.failing = false;
            tracing::info!(pending = self.correlator.tally().pending, "events are written again");
        }
        self.log(&write, outcome, error.as_deref(), now);
    }

    /// One line a minute at most: a dead API server is everybody's cause.
    fn log(&mut self, write: &Write, outcome: Outcome, error: Option<&str>, now: u64) {
        let (object, reason) = (&write.record.object, &write.record.reason);
        let recent = self.told.is_some_and(|told| now.saturating_sub(told) < LOG_EVERY);
        match (outcome, error) {
            (Outcome::Written | Outcome::Exists | Outcome::Gone, _) | (_, None) => return,
            (_, Some(error)) if recent => {
                tracing::debug!(%object, reason, error, "failed to write an event");
                return;
            }
            (Outcome::Failed { .. }, Some(error)) => {
                let pending = self.correlator.tally().pending;
                tracing::warn!(%object, reason, error, pending, "failed to write an event, trying again");
                self.failing = true;
            }
            (Outcome::Rejected | Outcome::Refused, Some(error)) => {
                tracing::warn!(%object, reason, error, "the API server does not want an event");
            }
        }
        self.told = Some(now);
    }
}

/// Ends with a new word; never where nobody is left to give one.
async fn changed(starts: &mut watch::Receiver<bool>) {
    if starts.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn send(
    api: &Api<Decoded<Event>>,
    write: &Write,
    node: &str,
    pod: Option<&Pod>,
) -> Result<(), kube::Error> {
    match write.verb {
        Verb::Create => {
            api.create(&PostParams::default(), &Decoded(body::event(&write.record, node, pod))).await?;
        }
        Verb::Patch => {
            let change = Patch::Strategic(body::patch(&write.record));
            api.patch(&body::name(&write.record, node), &PatchParams::default(), &change).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
