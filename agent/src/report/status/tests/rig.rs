//! A reporter with everything around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pinnace_cri::container::{Container, ContainerState, ContainerStatus};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved, SandboxSeen, Snapshot};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{Parts, Reporter};
use super::fake::{Api, name};
use crate::clock::{BootTime, Clock, Stamp};
use crate::journal::history::{Exit, PodHistory, Terminal, Termination, TerminationCause, What};
use crate::pod::api_status::{self, Host};
use crate::pod::card::{Card, Cards, Face};
use crate::pod::paths::Dirs;
use crate::pod::plan::{Rest, Retry, Wish};
use crate::pod::status::Subject;
use crate::pod::step::Key;
use crate::report::patch;
use crate::runtime::watch::RuntimeState;
use crate::source::desired::{DesiredPod, Origin};

/// What a pod does here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Local {
    Creating,
    /// Its image cannot be had.
    Failing(String),
    Running,
    Ended(i32),
    /// It was deleted and ended with this code, and nothing is left of it.
    Gone(i32),
}

pub(super) struct Rig {
    pub(super) api: Api,
    cards: Arc<Cards>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    locals: Vec<Local>,
    attempts: Vec<u32>,
    clock: Clock,
    host: Host,
    dirs: Dirs,
    // Kept, or their readers would see the end.
    mirrors: watch::Sender<Arc<BTreeMap<PodUid, PodUid>>>,
    runtime: watch::Sender<RuntimeState>,
    ips: watch::Sender<Vec<std::net::IpAddr>>,
    tasks: JoinSet<()>,
}

fn uid(pod: usize) -> PodUid {
    PodUid::new(&format!("u{pod}")).unwrap()
}

impl Rig {
    pub(super) fn new(pods: usize, local: Local) -> Self {
        let cards = Arc::new(Cards::default());
        let api = Api::new(cards.changed());
        let clock = Clock::scripted("b", Duration::ZERO, Timestamp::from_second(1_000_000).unwrap());
        let ips: Vec<_> = vec!["192.0.2.1".parse().unwrap()];
        let host = Host { ips: ips.clone(), runtime: "containerd".into(), recursive_read_only: false };
        let same = (0..pods).map(|pod| (uid(pod), uid(pod))).collect();
        let state = RuntimeState { version: Some("containerd v2".into()), ..RuntimeState::default() };
        let mut rig = Self {
            api,
            cards,
            snapshots: watch::Sender::new(Arc::new(Snapshot { listed: 1, ..Snapshot::default() })),
            locals: vec![local.clone(); pods],
            attempts: vec![0; pods],
            clock,
            host,
            dirs: Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None },
            mirrors: watch::Sender::new(Arc::new(same)),
            runtime: watch::Sender::new(state),
            ips: watch::Sender::new(ips),
            tasks: JoinSet::new(),
        };
        for pod in 0..pods {
            rig.api.create(pod, uid(pod).as_str());
            rig.cards.put(Arc::new(Card::new(uid(pod), face(pod))));
            rig.set(pod, local.clone());
        }
        rig.start();
        rig
    }

    fn start(&mut self) {
        let parts = Parts {
            client: self.api.client(),
            cards: Arc::clone(&self.cards),
            observed: self.snapshots.subscribe(),
            reported: Arc::new(self.api.clone()),
            mirrors: self.mirrors.subscribe(),
            runtime: self.runtime.subscribe(),
            host_ips: self.ips.subscribe(),
            dirs: self.dirs.clone(),
            clock: self.clock.clone(),
        };
        self.tasks.spawn(Reporter::new(parts).run(CancellationToken::new()));
    }

    /// The pod's copy in the API server is another object from now on.
    pub(super) fn mirror(&mut self, pod: usize, mirror: &str) {
        self.api.create(pod, mirror);
        let mirror = PodUid::new(mirror).unwrap();
        self.mirrors.send_replace(Arc::new(BTreeMap::from([(uid(pod), mirror)])));
    }

    /// The agent dies and starts again; the runtime has told nothing yet.
    pub(super) fn restart(&mut self) {
        self.tasks.abort_all();
        let silent = Snapshot { listed: 0, ..Snapshot::default() };
        self.snapshots.send_replace(Arc::new(silent));
        self.start();
        for card in self.cards.all() {
            card.update(|_| {});
        }
    }

    pub(super) fn runtime_tells(&mut self) {
        self.snapshots.send_modify(|snapshot| Arc::make_mut(snapshot).listed = 1);
        for (pod, local) in self.locals.clone().into_iter().enumerate() {
            self.set(pod, local);
        }
    }

    pub(super) fn set_all(&mut self, local: Local) {
        for pod in 0..self.locals.len() {
            self.set(pod, local.clone());
        }
    }

    pub(super) fn set(&mut self, pod: usize, local: Local) {
        let ended = matches!(self.locals[pod], Local::Ended(_));
        // What goes back to the start, or runs after an end, is another instance.
        if ended && self.locals[pod] != local {
            self.attempts[pod] += 1;
        }
        let attempt = self.attempts[pod];
        let observed = observed(pod, &local, attempt);
        self.snapshots.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            match observed {
                Some(observed) => snapshot.pods.insert(uid(pod), Arc::new(observed)),
                None => snapshot.pods.remove(&uid(pod)),
            };
        });
        self.cards.get(&uid(pod)).unwrap().update(|face| tell(face, &local, attempt));
        self.locals[pod] = local;
    }

    /// Whether the API server's status of the pod is the local one.
    pub(super) fn is_told(&self, pod: usize) -> bool {
        let object = self.api.object(pod);
        let status = serde_json::from_value(object["status"].clone()).unwrap();
        let snapshot = self.snapshots.borrow().clone();
        let face = self.cards.get(&uid(pod)).unwrap().face();
        let uid = uid(pod);
        let seen = snapshot.pod(&uid).map(AsRef::as_ref);
        let subject = Subject { uid: &uid, face: &face, seen, dirs: &self.dirs };
        let wanted = api_status::status(&subject, Some(&status), &self.host, &self.clock.now());
        let state = &object["status"]["containerStatuses"][0]["state"];
        let same = match &self.locals[pod] {
            // What ended and has no reason to wait goes on showing its end until it runs again.
            Local::Creating if self.attempts[pod] > 0 => state["running"].is_null(),
            Local::Creating => state["waiting"]["reason"] == "ContainerCreating",
            Local::Failing(message) => state["waiting"]["message"] == json!(message),
            Local::Running => state["running"].is_object(),
            Local::Ended(code) | Local::Gone(code) => state["terminated"]["exitCode"] == json!(code),
        };
        same && patch::diff(Some(&status), &wanted).is_none()
    }

    pub(super) fn all_told(&self) -> bool {
        (0..self.locals.len()).all(|pod| self.is_told(pod))
    }

    pub(super) async fn settled(&self, limit: Duration) {
        self.every(Duration::from_millis(200), limit, Self::all_told).await;
        // Events of the last writes.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Waits until something holds, and tells when it did.
    pub(super) async fn until(&self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Instant {
        self.every(Duration::from_millis(5), limit, holds).await
    }

    async fn every(&self, period: Duration, limit: Duration, holds: impl Fn(&Self) -> bool) -> Instant {
        let deadline = Instant::now() + limit;
        while !holds(self) {
            if Instant::now() >= deadline {
                let wrong: Vec<_> = (0..self.locals.len()).filter(|pod| !self.is_told(*pod)).collect();
                let first = wrong.first().map(|pod| (self.locals[*pod].clone(), self.api.object(*pod)));
                panic!("not so within {limit:?}; wrong pods: {wrong:?}, the first: {first:?}");
            }
            tokio::time::sleep(period).await;
        }
        Instant::now()
    }
}

fn stamp() -> Stamp {
    let boot = BootTime { boot_id: "b".into(), millis: 0 };
    Stamp { boot, wall: Timestamp::from_second(1_000_000).unwrap() }
}

fn face(pod: usize) -> Face {
    let object = json!({ "metadata": {}, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    let desired = DesiredPod {
        uid: uid(pod),
        namespace: "ns".into(),
        name: name(pod),
        // Each pod is its own mirror here.
        origin: Origin::File("/m".into()),
        pod: Arc::new(serde_json::from_value(object).unwrap()),
        held: Vec::new(),
    };
    Face {
        namespace: "ns".into(),
        name: name(pod),
        pod: Some(Arc::new(desired)),
        wish: Wish::Run,
        history: PodHistory { started: Some(stamp()), ..PodHistory::default() },
        waits: Vec::new(),
        rest: Rest::Working,
        retries: BTreeMap::new(),
        busy: BTreeSet::new(),
        quarantined: None,
    }
}

fn tell(face: &mut Face, local: &Local, attempt: u32) {
    face.retries.clear();
    match local {
        Local::Creating | Local::Running => {}
        Local::Failing(message) => {
            let retry = Retry {
                failures: 1,
                left: Duration::ZERO,
                in_doubt: false,
                reason: "ErrImagePull".into(),
                message: message.clone(),
            };
            face.retries.insert(Key::Image("c".into()), retry);
        }
        Local::Ended(code) | Local::Gone(code) => {
            let exit = Exit {
                container_id: format!("c{attempt}"),
                attempt,
                code: *code,
                reason: "Error".into(),
                message: String::new(),
                started_at: 1_000_000_000,
                finished_at: 2_000_000_000,
            };
            face.history.apply(&What::Exited { name: "c".into(), exit, seen: stamp() });
        }
    }
    if let Local::Gone(_) = local {
        let grace = Duration::from_secs(30);
        face.history.apply(&What::Terminating(Termination {
            cause: TerminationCause::Removed,
            since: stamp(),
            grace,
            shortened: false,
        }));
        let terminal = Terminal { succeeded: false, reason: String::new(), message: String::new() };
        face.history.apply(&What::Terminal(terminal));
        face.rest = Rest::Vanished;
    }
}

fn observed(pod: usize, local: &Local, attempt: u32) -> Option<PodObserved> {
    let state = match local {
        Local::Running => Some(ContainerState::Running),
        Local::Ended(_) => Some(ContainerState::Exited),
        Local::Creating | Local::Failing(_) => None,
        Local::Gone(_) => return None,
    };
    Some(PodObserved {
        uid: uid(pod),
        name: name(pod),
        namespace: "ns".into(),
        began: 1,
        sandboxes: vec![sandbox(pod)],
        containers: state.map(|state| container(pod, state, attempt)).into_iter().collect(),
        quarantine: None,
    })
}

fn sandbox(pod: usize) -> SandboxSeen {
    let id = SandboxId::new(&format!("s{pod}")).unwrap();
    let record = Sandbox {
        id: id.clone(),
        pod_uid: uid(pod),
        pod_name: name(pod),
        pod_namespace: "ns".into(),
        attempt: 0,
        state: SandboxState::Ready,
        created_at: 1,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        runtime_handler: String::new(),
    };
    let ips = vec!["10.0.0.9".parse().unwrap()];
    let status = SandboxStatus { id, state: SandboxState::Ready, ips, network: NetworkMode::Pod };
    SandboxSeen { record: Arc::new(record), status: Some(Arc::new(status)) }
}

fn container(pod: usize, state: ContainerState, attempt: u32) -> ContainerSeen {
    let id = ContainerId::new(&format!("c{attempt}")).unwrap();
    let record = Container {
        id: id.clone(),
        sandbox_id: SandboxId::new(&format!("s{pod}")).unwrap(),
        pod_uid: uid(pod),
        name: "c".into(),
        attempt,
        state,
        image: "i".into(),
        image_ref: "i".into(),
        created_at: 1,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    let status = ContainerStatus {
        id,
        name: "c".into(),
        attempt,
        state,
        created_at: 1,
        started_at: Some(1_000_000_000),
        finished_at: None,
        exit_code: 0,
        image: "i".into(),
        image_ref: "i@sha256:1".into(),
        reason: String::new(),
        message: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        log_path: String::new(),
        mounts: Vec::new(),
        user: None,
    };
    ContainerSeen { record: Arc::new(record), status: Some(Arc::new(status)) }
}
