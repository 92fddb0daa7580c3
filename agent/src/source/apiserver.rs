//! The pods that the API assigns to this node. Owns what the API said of them; woken by its watch, by a second list
//! where the first one lacked pods, by errors after a delay, and by a kubeconfig that leads to another server. Writes the desired pods, the objects as the API has
//! them ([`ApiPods`]) and the mirrors of static pods. Ends with its stop token.
//!
//! Until the first list is believed, the pods that the journal had admitted are what this source wants: a node that
//! starts without its API server runs what it ran before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use pinnace_cri::id::PodUid;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desired::{Desired, DesiredPod};
use crate::api::decoded::Decoded;
use crate::api::fault;
use crate::api::link::LinkState;
use crate::api::patience::{Pace, within};
use crate::pod::changed::Changed;
use crate::wait::at;
use state::{Outcome, Seen, State};

pub mod age;
pub mod heard;
pub mod pod;
pub mod state;

/// Delays after a failed list or watch: client-go's reflector backs off from 0.8 s to 30 s.
const PACE: Pace = Pace { first: Duration::from_millis(800), cap: Duration::from_secs(30) };
/// Before the second list of pods that the first one lacked. Short: a pod that is really gone waits for it.
const SECOND: Duration = Duration::from_secs(1);
/// Objects in a page of a list.
const PAGE: u32 = 500;

/// The objects of this node's pods as the API has them.
#[derive(Debug, Clone, Default)]
pub struct ApiPods(Arc<RwLock<BTreeMap<PodUid, Arc<Pod>>>>);

impl ApiPods {
    /// The object of a pod, with its status and resource version.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<Arc<Pod>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// All objects.
    #[must_use]
    pub fn all(&self) -> BTreeMap<PodUid, Arc<Pod>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, pods: &BTreeMap<PodUid, Arc<Pod>>) -> Vec<PodUid> {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let same = |uid: &PodUid, pod: &Arc<Pod>| held.get(uid).is_some_and(|known| Arc::ptr_eq(known, pod));
        let changed = pods.iter().filter(|(uid, pod)| !same(uid, pod)).map(|(uid, _)| uid.clone());
        let gone = held.keys().filter(|uid| !pods.contains_key(*uid)).cloned();
        let changed = changed.chain(gone).collect();
        *held = pods.clone();
        changed
    }
}

/// What the loop writes.
#[derive(Debug)]
pub struct Outlets {
    /// Desired pods.
    pub desired: watch::Sender<Arc<Desired>>,
    /// The API's objects.
    pub objects: ApiPods,
    /// Mirror pods on this node by `namespace/name`.
    pub mirrors: watch::Sender<Arc<BTreeMap<String, Arc<Pod>>>>,
    /// Told the UID of every pod whose object changed or went.
    pub changed: Arc<Changed>,
    /// What keeps the API's word from arriving; empty when it does.
    pub problem: watch::Sender<String>,
}

/// The loop.
pub struct ApiServer {
    node: String,
    client: kube::Client,
    link: watch::Receiver<LinkState>,
    admitted: BTreeMap<PodUid, Arc<DesiredPod>>,
    state: State,
    /// Objects and what was made of them, so that an unchanged one is not made anew and stays the same value.
    made: BTreeMap<PodUid, (Arc<Pod>, Arc<DesiredPod>)>,
    out: Outlets,
}

impl ApiServer {
    /// The loop for the pods of `node`, with what the journal admitted.
    #[must_use]
    pub fn new(
        node: String,
        client: kube::Client,
        link: watch::Receiver<LinkState>,
        admitted: Vec<Arc<DesiredPod>>,
        out: Outlets,
    ) -> Self {
        let admitted: BTreeMap<_, _> = admitted.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        let expected: BTreeSet<PodUid> = admitted.keys().cloned().collect();
        let pods = Desired { pods: admitted.clone(), ..Desired::default() };
        out.desired.send_replace(Arc::new(pods));
        let state = State::new(expected);
        Self { node, client, link, admitted, state, made: BTreeMap::new(), out }
    }

    fn api(&self) -> Api<Decoded<Pod>> {
        Api::all(self.client.clone())
    }

    fn selector(&self) -> String {
        format!("spec.nodeName={}", self.node)
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = self.watch();
        let mut server = self.link.borrow_and_update().server.clone();
        let mut failures: u32 = 0;
        let mut second: Option<Instant> = None;
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = at(second), if second.is_some() => {
                    second = self.confirm().await;
                    continue;
                }
                Ok(()) = self.link.changed() => {
                    let now = self.link.borrow_and_update().server.clone();
                    // Another server's versions need not go on from the last one's.
                    if std::mem::replace(&mut server, now) != server {
                        events = self.watch();
                    }
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    // Only an object or a whole list proves that it works: `Init` says that a list is about to be asked for.
                    if !matches!(event, Event::Init) {
                        failures = 0;
                        self.tell("");
                    }
                    if self.take(event) == Outcome::Doubtful {
                        second = Some(Instant::now() + SECOND);
                    }
                }
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    self.failed(&error);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(PACE.after(failures)) => {}
                    }
                }
                None => return,
            }
        }
    }

    /// Lists and watches from the beginning.
    fn watch(&self) -> BoxStream<'static, watcher::Result<Event<Decoded<Pod>>>> {
        let config = watcher::Config::default().fields(&self.selector()).page_size(PAGE);
        watcher::watcher(self.api(), config)
            .map(|event| event.map(|event| event.modify(|Decoded(pod)| pod.metadata.managed_fields = None)))
            .boxed()
    }

    fn take(&mut self, event: Event<Decoded<Pod>>) -> Outcome {
        let seen = match event {
            Event::Init => Seen::Listing,
            Event::InitApply(Decoded(pod)) => Seen::Listed(pod),
            Event::InitDone => Seen::ListEnd,
            Event::Apply(Decoded(pod)) => Seen::Applied(pod),
            Event::Delete(Decoded(pod)) => Seen::Deleted(pod),
        };
        let outcome = self.state.see(seen);
        if outcome != Outcome::Nothing {
            self.publish();
        }
        outcome
    }

    /// Asks a second time, by a quorum read, for what the last list lacked. Returns when to ask again.
    async fn confirm(&mut self) -> Option<Instant> {
        match self.list().await {
            Ok(pods) => {
                self.state.confirm(pods);
                self.publish();
                None
            }
            Err(error) => {
                self.tell(&fault::explain(&error, &self.link.borrow().server));
                Some(Instant::now() + SECOND)
            }
        }
    }

    async fn list(&self) -> kube::Result<Vec<Pod>> {
        let mut all = Vec::new();
        let mut params = ListParams::default().fields(&self.selector()).limit(PAGE);
        loop {
            let page = within(self.api().list(&params)).await?;
            all.extend(page.items.into_iter().map(|Decoded(pod)| pod));
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(all),
            }
        }
    }

    fn failed(&self, error: &watcher::Error) {
        let server = &self.link.borrow().server;
        match error {
            // The history that the watch went on from is no longer kept; a list follows, and that is all.
            watcher::Error::WatchError(status) if status.code == 410 => {
                tracing::info!("the watch of pods expired, listing anew");
            }
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => self.tell(&fault::explain(error, server)),
            other => self.tell(&format!("API server {server}: {other}")),
        }
    }

    /// Each change of the problem once.
    fn tell(&self, problem: &str) {
        self.out.problem.send_if_modified(|last| {
            if *last == problem {
                return false;
            }
            match problem {
                "" => tracing::info!("the API server tells of this node's pods"),
                problem => tracing::warn!(problem, "the API server does not tell of this node's pods"),
            }
            problem.clone_into(last);
            true
        });
    }

    fn publish(&mut self) {
        for uid in self.out.objects.set(self.state.pods()) {
            self.out.changed.mark(&uid);
        }
        let (mirrors, pods): (Vec<_>, Vec<_>) =
            self.state.pods().iter().partition(|(_, object)| pod::is_mirror(object));
        let named = |object: &Arc<Pod>| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{}/{}", text(&object.metadata.namespace), text(&object.metadata.name))
        };
        let mirrors: BTreeMap<_, _> =
            mirrors.into_iter().map(|(_, object)| (named(object), Arc::clone(object))).collect();
        let mut made = BTreeMap::new();
        for (uid, object) in pods {
            if let Some(pod) = self.make(uid, object) {
                made.insert(uid.clone(), (Arc::clone(object), pod));
            }
        }
        self.made = made;
        self.out.mirrors.send_if_modified(|last| {
            let changed = **last != mirrors;
            if changed {
                *last = Arc::new(mirrors);
            }
            changed
        });
        self.send();
    }

    fn make(&self, uid: &PodUid, object: &Arc<Pod>) -> Option<Arc<DesiredPod>> {
        let known = self.made.get(uid);
        if let Some((_, pod)) = known.filter(|(from, _)| Arc::ptr_eq(from, object)) {
            return Some(Arc::clone(pod));
        }
        let new = pod::desired(object)?;
        let known = known.map(|(_, pod)| pod).or_else(|| self.admitted.get(uid));
        let same = known.filter(|known| ***known == new).cloned();
        Some(same.unwrap_or_else(|| Arc::new(new)))
    }

    fn send(&self) {
        let synced = self.state.is_synced();
        let mut pods = if synced { BTreeMap::new() } else { self.admitted.clone() };
        pods.extend(self.made.iter().map(|(uid, (_, pod))| (uid.clone(), Arc::clone(pod))));
        let removed = self.state.removed();
        let desired = Desired { synced, pods, removed, ..Desired::default() };
        self.out.desired.send_if_modified(|last| {
            let changed = !last.is_same(&desired);
            if changed {
                *last = Arc::new(desired);
            }
            changed
        });
    }
}
