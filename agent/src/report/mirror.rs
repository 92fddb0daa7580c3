//! Keeps the mirrors of static pods in the API: views by which people and controllers see pods that the API did not make.
//!
//! Owns the attempts under way and what answers told; woken by the desired pods, the mirrors as the watch shows them, the
//! node object, pods that are gone, the runtime's first list, answers and time; writes mirror pods, the translation of UIDs, and events; ends with the stop token. It
//! starts and stops nothing on this node: a mirror that is deleted is simply made again.

pub mod plan;
mod state;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use pinnace_cri::id::PodUid;
use pinnace_pleg::snapshot::Snapshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::patience::CALL;
use crate::clock::Clock;
use crate::events::{EventLog, Object};
use crate::pod::card::Cards;
use crate::source::desired::{Desired, Origin};
use crate::wait;
use plan::{Action, Input, StaticPod};
use state::State;
use write::Answer;

/// Attempts under way at once: a node has few static pods, and one name without an answer must not hold up the others.
const AT_ONCE: usize = 4;
/// Reason of the event where a mirror cannot be made; the kubelet only logs that.
const REASON: &str = "FailedCreateMirrorPod";

/// UIDs of mirrors in the API by the UIDs of the static pods that they show.
pub type Translation = BTreeMap<PodUid, PodUid>;

/// What the loop looks at.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Desired pods, static ones among them.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// Pods of this node in the API that carry the mirror annotation, by `namespace/name`.
    pub mirrors: watch::Receiver<Arc<BTreeMap<String, Arc<Pod>>>>,
    /// The node object.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// All pods that are not gone from this node yet.
    pub cards: Arc<Cards>,
    /// What the runtime holds: until it was listed, a pod without a card may still be there.
    pub observed: watch::Receiver<Arc<Snapshot>>,
}

/// The loop.
pub struct Mirrors {
    client: Client,
    sources: Sources,
    events: EventLog,
    clock: Clock,
    state: State,
    attempts: FuturesUnordered<BoxFuture<'static, Attempt>>,
    busy: BTreeSet<String>,
    /// The latest trouble of each name, which is logged once.
    troubles: BTreeMap<String, String>,
    translation: watch::Sender<Arc<Translation>>,
}

struct Attempt {
    name: String,
    of: Option<PodUid>,
    answer: Answer,
}

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mirrors").field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl Mirrors {
    /// The loop, and what it knows of the mirrors' UIDs.
    #[must_use]
    pub fn new(
        client: Client,
        sources: Sources,
        events: EventLog,
        clock: Clock,
    ) -> (Self, watch::Receiver<Arc<Translation>>) {
        let (translation, reader) = watch::channel(Arc::default());
        let mirrors = Self {
            client,
            sources,
            events,
            clock,
            state: State::default(),
            attempts: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            troubles: BTreeMap::new(),
            translation,
        };
        (mirrors, reader)
    }

    /// Runs until `stop`. An attempt under way is dropped then: the next start finds what it left.
    pub async fn run(mut self, stop: CancellationToken) {
        let removed = self.sources.cards.removed();
        loop {
            let pause = self.pass();
            let unlisted = self.sources.observed.borrow_and_update().listed == 0;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(attempt) = self.attempts.next(), if !self.attempts.is_empty() => self.settle(attempt),
                changed = self.sources.desired.changed() => if changed.is_err() { return },
                changed = self.sources.mirrors.changed() => if changed.is_err() { return },
                changed = self.sources.node.changed() => if changed.is_err() { return },
                () = removed.notified() => {}
                Ok(()) = self.sources.observed.changed(), if unlisted => {}
                () = wait::pause(pause) => {}
            }
        }
    }

    /// Begins what is to be done; the time until there may be more without anything having changed.
    fn pass(&mut self) -> Option<Duration> {
        let now = self.clock.now().boot.millis;
        let desired = self.sources.desired.borrow_and_update().clone();
        let watched = self.sources.mirrors.borrow_and_update().clone();
        let node = self.sources.node.borrow_and_update().clone();
        let statics = statics(&desired, &self.sources.cards);
        let mirrors = self.state.mirrors(&watched, now);
        let listed = self.sources.observed.borrow().listed > 0;
        let input = Input { statics: &statics, mirrors: &mirrors, synced: desired.synced && listed };
        let planned = plan::plan(input);
        self.publish(plan::translation(input));
        self.state.only(&planned);
        self.troubles.retain(|name, _| planned.contains_key(name));
        let mut pauses: Vec<Duration> = self.state.doubt_in(now).into_iter().collect();
        for (name, action) in planned {
            if self.busy.contains(&name) || self.busy.len() >= AT_ONCE {
                continue;
            }
            let unconfirmed = match &action {
                Action::Remove { uid } => self.state.confirmed_in(uid, now),
                Action::Create { .. } | Action::Renew { .. } => Duration::ZERO,
            };
            let pause = self.state.pause(&name, now).max(unconfirmed);
            if pause.is_zero() {
                self.begin(name, action, &desired, node.as_deref());
            } else {
                pauses.push(pause);
            }
        }
        pauses.into_iter().min()
    }

    fn publish(&self, translation: Translation) {
        self.translation.send_if_modified(|last| {
            let changed = **last != translation;
            if changed {
                *last = Arc::new(translation);
            }
            changed
        });
    }

    /// Begins an attempt. One that needs the node object waits for that.
    fn begin(&mut self, name: String, action: Action, desired: &Desired, node: Option<&Node>) {
        let client = self.client.clone();
        let attempt: BoxFuture<'static, (Option<PodUid>, Answer)> = match action {
            Action::Create { of } => {
                let (Some(pod), Some(owner)) = (desired.pods.get(&of), node.and_then(plan::owner)) else {
                    return;
                };
                let mirror = plan::body(&pod.pod, &of, owner);
                Box::pin(async move { (Some(of), write::create(client, mirror, CALL).await) })
            }
            Action::Renew { uid } | Action::Remove { uid } => {
                let name = name.clone();
                Box::pin(async move { (None, write::delete(client, name, uid, CALL).await) })
            }
        };
        self.busy.insert(name.clone());
        self.attempts.push(Box::pin(async move {
            let (of, answer) = attempt.await;
            Attempt { name, of, answer }
        }));
    }

    fn settle(&mut self, attempt: Attempt) {
        let Attempt { name, of, answer } = attempt;
        let now = self.clock.now();
        let millis = now.boot.millis;
        self.busy.remove(&name);
        match answer {
            Answer::There(mirror) => {
                tracing::info!(pod = name, uid = mirror.uid, "mirror pod is in the API");
                self.troubles.remove(&name);
                self.state.is_there(&name, mirror, millis);
            }
            Answer::Gone { uid } => {
                tracing::info!(pod = name, uid, "mirror pod is gone from the API");
                self.troubles.remove(&name);
                self.state.is_gone(&name, &uid);
            }
            Answer::Prevented(why) => {
                let message = format!("the pod runs, but the API does not show it: {why}");
                if let Some((object, uid)) = of.and_then(|uid| Some((name.split_once('/')?, uid))) {
                    self.events.warning(Object::pod(object.0, object.1, uid), REASON, &message, now.wall);
                }
                self.trouble(&name, why);
                self.state.has_failed(&name, false, None, millis);
            }
            Answer::Busy { why, pause } => {
                self.trouble(&name, why);
                self.state.has_failed(&name, false, pause, millis);
            }
            Answer::Unreachable(why) => {
                self.trouble(&name, why);
                self.state.has_failed(&name, true, None, millis);
            }
        }
    }

    /// One line for each trouble of a name, until it is over or another takes its place.
    fn trouble(&mut self, name: &str, why: String) {
        if self.troubles.get(name) != Some(&why) {
            tracing::warn!(
                pod = name,
                error = why,
                "failed to bring the mirror pod up to date, trying again"
            );
            self.troubles.insert(name.to_owned(), why);
        }
    }
}

/// Static pods that are wanted, and those that are not yet gone: they have a card until nothing of them is left.
fn statics(desired: &Desired, cards: &Cards) -> Vec<StaticPod> {
    let from_file = |origin: &Origin| matches!(origin, Origin::File(_));
    let wanted = desired.pods.values().filter(|pod| from_file(&pod.origin)).map(|pod| StaticPod {
        uid: pod.uid.clone(),
        full_name: pod.full_name(),
        hash: plan::hash_of(Some(&pod.pod), &pod.uid),
        wanted: true,
    });
    let mut all: Vec<StaticPod> = wanted.collect();
    for card in cards.all().iter().filter(|card| !desired.pods.contains_key(&card.uid)) {
        let pod = card.pod();
        // One that only the runtime knows may have been static.
        if pod.as_ref().is_none_or(|pod| from_file(&pod.origin)) {
            let hash = plan::hash_of(pod.as_ref().map(|pod| pod.pod.as_ref()), &card.uid);
            let uid = card.uid.clone();
            all.push(StaticPod { uid, full_name: card.full_name(), hash, wanted: false });
        }
    }
    all
}

#[cfg(test)]
mod tests;
