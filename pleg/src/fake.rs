//! A runtime in memory for the tests: what it holds, the faults that it is told to have, and the calls it saw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::BoxStream;
use pinnace_cri::container::{Container, ContainerState, ContainerStatus};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use tokio::time::{Instant, sleep};

use crate::seam::{About, Hint, Listed, Listing, Runtime, Unanswered};

/// What the next complete list does instead of telling the truth.
pub(crate) enum ListFault {
    Answer(Listing),
    Fail,
    Hang,
    /// The truth of the moment of the call, told late.
    Late(Duration),
}

#[derive(Default)]
pub(crate) struct State {
    sandboxes: BTreeMap<SandboxId, Arc<Sandbox>>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
    /// Exits and when lists and statuses begin to show them.
    exits: BTreeMap<ContainerId, (Instant, i32)>,
    last: Option<Listing>,
    hints: Option<UnboundedSender<Result<Hint, Unanswered>>>,
    pub(crate) list_faults: VecDeque<ListFault>,
    /// Ids whose status never comes.
    pub(crate) hung: BTreeSet<String>,
    /// Ids whose status is an error.
    pub(crate) failing: BTreeSet<String>,
    pub(crate) hang_looks: bool,
    pub(crate) status_takes: Duration,
    pub(crate) lists: usize,
    pub(crate) looks: usize,
    pub(crate) statuses: usize,
    pub(crate) in_flight: usize,
    pub(crate) most_in_flight: usize,
}

#[derive(Default)]
pub(crate) struct Fake {
    state: Mutex<State>,
    has_events: AtomicBool,
}

pub(crate) fn uid(pod: &str) -> PodUid {
    PodUid::new(pod).unwrap()
}

pub(crate) fn cid(id: &str) -> ContainerId {
    ContainerId::new(id).unwrap()
}

pub(crate) fn sandbox(pod: &str, attempt: u32, state: SandboxState) -> Arc<Sandbox> {
    Arc::new(Sandbox {
        id: SandboxId::new(&format!("{pod}-s{attempt}")).unwrap(),
        pod_uid: uid(pod),
        pod_name: pod.to_owned(),
        pod_namespace: "default".to_owned(),
        attempt,
        state,
        created_at: 0,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        runtime_handler: String::new(),
    })
}

pub(crate) fn container(pod: &str, name: &str, attempt: u32, state: ContainerState) -> Arc<Container> {
    Arc::new(Container {
        id: cid(&format!("{pod}-{name}{attempt}")),
        sandbox_id: SandboxId::new(&format!("{pod}-s0")).unwrap(),
        pod_uid: uid(pod),
        name: name.to_owned(),
        attempt,
        state,
        image: "image".to_owned(),
        image_ref: "image".to_owned(),
        created_at: 0,
        labels: BTreeMap::from([("io.kubernetes.pod.name".to_owned(), pod.to_owned())]),
        annotations: BTreeMap::new(),
    })
}

pub(crate) fn sandbox_status(sandbox: &Sandbox) -> SandboxStatus {
    let ips = vec![[10, 0, 0, 1].into()];
    SandboxStatus { id: sandbox.id.clone(), state: sandbox.state, ips, network: NetworkMode::Pod }
}

pub(crate) fn container_status(container: &Container, exit_code: i32) -> ContainerStatus {
    ContainerStatus {
        id: container.id.clone(),
        name: container.name.clone(),
        attempt: container.attempt,
        state: container.state,
        created_at: 0,
        started_at: None,
        finished_at: None,
        exit_code,
        image: String::new(),
        image_ref: String::new(),
        reason: String::new(),
        message: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        log_path: String::new(),
        mounts: Vec::new(),
        user: None,
    }
}

impl Fake {
    pub(crate) fn new(has_events: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), has_events: AtomicBool::new(has_events) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put_sandbox(&self, sandbox: Arc<Sandbox>) {
        self.state().sandboxes.insert(sandbox.id.clone(), sandbox);
    }

    pub(crate) fn put(&self, container: Arc<Container>) {
        self.state().containers.insert(container.id.clone(), container);
    }

    /// A pod with one sandbox and one running container called `c`.
    pub(crate) fn run_pod(&self, pod: &str) {
        self.put_sandbox(sandbox(pod, 0, SandboxState::Ready));
        self.put(container(pod, "c", 0, ContainerState::Running));
    }

    /// `{pod}-c0` dies; lists and statuses show it after `shown_after`.
    pub(crate) fn exit(&self, pod: &str, code: i32, shown_after: Duration) {
        self.state().exits.insert(cid(&format!("{pod}-c0")), (Instant::now() + shown_after, code));
    }

    /// Everything of the pod is removed.
    pub(crate) fn remove_pod(&self, pod: &str) {
        let mut state = self.state();
        state.sandboxes.retain(|_, sandbox| sandbox.pod_uid != uid(pod));
        state.containers.retain(|_, container| container.pod_uid != uid(pod));
    }

    /// Announces something of the pod; does nothing while nobody listens.
    pub(crate) fn hint(&self, pod: &str, exit: bool) {
        let container_id = exit.then(|| cid(&format!("{pod}-c0")));
        self.send(Hint { about: About::Pod { uid: uid(pod), container_id }, exit });
    }

    /// Announces something of a container or sandbox without naming its pod.
    pub(crate) fn hint_object(&self, id: &str, exit: bool) {
        self.send(Hint { about: About::Object(cid(id)), exit });
    }

    fn send(&self, hint: Hint) {
        if let Some(hints) = &self.state().hints {
            hints.unbounded_send(Ok(hint)).ok();
        }
    }

    /// The runtime was replaced by one that has an event stream.
    pub(crate) fn learn_events(&self) {
        self.has_events.store(true, Ordering::Relaxed);
    }

    pub(crate) fn cut_stream(&self) {
        self.state().hints = None;
    }

    pub(crate) fn truth(&self) -> Listing {
        let mut state = self.state();
        let now = Instant::now();
        let shown: Vec<_> =
            state.exits.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| id.clone()).collect();
        for id in shown {
            if let Some(container) = state.containers.get_mut(&id)
                && container.state != ContainerState::Exited
            {
                *container = Arc::new(Container { state: ContainerState::Exited, ..(**container).clone() });
            }
        }
        Listing {
            sandboxes: state.sandboxes.values().cloned().collect(),
            containers: state.containers.values().cloned().collect(),
        }
    }

    async fn status<T>(
        &self,
        id: &str,
        answer: impl Fn(&State) -> Option<T>,
    ) -> Result<Option<T>, Unanswered> {
        self.truth();
        let (hangs, fails, takes) = {
            let mut state = self.state();
            state.statuses += 1;
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            (state.hung.contains(id), state.failing.contains(id), state.status_takes)
        };
        let _ends = Ends(self);
        if hangs {
            std::future::pending::<()>().await;
        }
        let answer = answer(&self.state());
        sleep(takes).await;
        if fails { Err(Unanswered("the shim is gone".into())) } else { Ok(answer) }
    }
}

struct Ends<'a>(&'a Fake);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}

impl Runtime for Fake {
    async fn list(&self) -> Result<Listed, Unanswered> {
        let truth = self.truth();
        let fault = {
            let mut state = self.state();
            state.lists += 1;
            state.list_faults.pop_front()
        };
        let listing = match fault {
            None => truth,
            Some(ListFault::Answer(listing)) => listing,
            Some(ListFault::Fail) => return Err(Unanswered("the runtime is away".into())),
            Some(ListFault::Hang) => std::future::pending().await,
            Some(ListFault::Late(by)) => {
                sleep(by).await;
                truth
            }
        };
        let last = self.state().last.replace(listing.clone());
        Ok(if last.as_ref() == Some(&listing) { Listed::Unchanged } else { Listed::Changed(listing) })
    }

    async fn list_pod(&self, uid: &PodUid) -> Result<Listing, Unanswered> {
        let mut listing = self.truth();
        let hangs = {
            let mut state = self.state();
            state.looks += 1;
            state.hang_looks
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        listing.sandboxes.retain(|sandbox| sandbox.pod_uid == *uid);
        listing.containers.retain(|container| container.pod_uid == *uid);
        Ok(listing)
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<Option<SandboxStatus>, Unanswered> {
        self.status(id.as_str(), |state| state.sandboxes.get(id).map(|sandbox| sandbox_status(sandbox))).await
    }

    async fn container_status(&self, id: &ContainerId) -> Result<Option<ContainerStatus>, Unanswered> {
        self.status(id.as_str(), |state| {
            let code = state.exits.get(id).map_or(0, |(_, code)| *code);
            state.containers.get(id).map(|container| container_status(container, code))
        })
        .await
    }

    async fn events(&self) -> Result<Option<BoxStream<'static, Result<Hint, Unanswered>>>, Unanswered> {
        if !self.has_events.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (hints, stream) = unbounded();
        self.state().hints = Some(hints);
        Ok(Some(stream.boxed()))
    }
}
