//! A cluster of one node, wired as a start with a kubeconfig wires it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pinnace::api::connections::Connections;
use pinnace::api::link::{Clients, LinkState};
use pinnace::app;
use pinnace::board::Board;
use pinnace::config::effective::Config;
use pinnace::disk::MemoryDisk;
use pinnace::events::EventLog;
use pinnace::join::{self, Membership};
use pinnace::journal::Journal;
use pinnace::objects::{Objects, Strategy};
use pinnace::pod::admit::Place;
use pinnace::pod::container::Site;
use pinnace::pod::paths::Dirs;
use pinnace::pod::resources::Node as Memory;
use pinnace::pod::security::Defaults;
use pinnace::runtime::class::RuntimeClasses;
use pinnace::source::apiserver::heard::Heard;
use pinnace::source::desired::{Desired, Origin};
use pinnace::source::merge;
use pinnace::supervise::{Supervision, Supervisor};
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Fake, Options};
use pinnace_pleg::relist;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::fake_api::requests::{Request, Verb};
use crate::fake_api::{FakeApi, test_side};
use crate::harness::history::mutates;
use crate::harness::{Make, NODE, desired};
use crate::host::OneAddress;

/// Enough for whatever has nothing to wait for.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The runtime, the directory of the agent and the API server, which outlive the agent.
pub(crate) struct Rig {
    pub(crate) make: Make,
    pub(crate) api: FakeApi,
    /// What the node takes.
    pub(crate) max_pods: u32,
    /// How it gets images.
    pub(crate) images: pinnace::image::Settings,
}

/// A running agent.
pub(crate) struct Agent {
    board: Board,
    _membership: Membership,
    manifests: watch::Sender<Arc<Desired>>,
    stop: CancellationToken,
    supervision: Supervision,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let fake = Fake::new(Options::default());
        // The harness's checker knows of manifests only; it is bound to a runtime in which nothing happens.
        // Nothing is synced to a disk: hundreds of generations would wait for nothing else.
        let make = Make { fake, disk: Arc::new(MemoryDisk::default()), ..Make::new() };
        let wall = Timestamp::from_nanosecond(i128::from(make.fake.wall())).unwrap();
        Self {
            make,
            api: FakeApi::starting_at(wall),
            max_pods: 300,
            images: pinnace::image::Settings::default(),
        }
    }

    /// Starts an agent without manifests.
    pub(crate) fn start(&self) -> Agent {
        self.start_with(&[])
    }

    /// Starts an agent with these manifests.
    pub(crate) fn start_with(&self, manifests: &[Value]) -> Agent {
        let make = &self.make;
        let root = make.dir.path().join("root");
        let config = Config::defaults(NODE, make.dir.path()).unwrap();
        let stop = CancellationToken::new();
        let (supervisor, supervision) = Supervisor::new(stop.clone());
        let opened = Journal::open(Arc::clone(&make.disk), root.join("journal"));
        let going_on = opened.histories.values().filter(|history| history.termination.is_none());
        let admitted = going_on.filter_map(|history| history.admitted.clone());
        let admitted = admitted.filter(|pod| pod.origin == Origin::Api).collect();
        let clients = Clients {
            shared: self.api.client_of_node(NODE),
            lease: self.api.client_of_node(NODE),
            watches: Connections::one(self.api.client_of_node(NODE)),
            state: watch::channel(LinkState::default()).1,
            lease_stuck: Arc::default(),
        };
        let (objects, keeper) =
            Objects::following(clients.shared.clone(), clients.watches.clone(), Strategy::Watch);
        supervisor.spawn_core("objects", keeper.run(stop.clone()));
        let own = root.join("pinnace");
        let (objects, kept) = objects.remembering(Arc::clone(&make.disk), &own, stop.clone());
        supervisor.spawn_core("last services", kept);
        let source = join::source(NODE, &clients, admitted);
        let (wanted, wanted_reader) = watch::channel(Arc::new(wish(manifests)));
        let (merged, merged_reader) = watch::channel(Arc::new(Desired::default()));
        let sources = merge::run(wanted_reader, source.desired.clone(), merged, stop.clone());
        supervisor.spawn_core("sources", sources);
        let (events, feed) = EventLog::feeding();
        let (place, place_reader) = watch::channel(Arc::new(Place::bare(NODE, 110)));
        let parts = app::Parts {
            node: NODE.to_owned(),
            ownership: make.ownership.clone(),
            client: make.fake.client(),
            endpoint: "the fake".to_owned(),
            disk: Arc::clone(&make.disk),
            clock: make.clock.clone(),
            dirs: self.dirs(),
            site: Site {
                owner: NODE.to_owned(),
                node: Memory { memory: 4 << 30, cfs_period: Some(100_000), ..Memory::default() },
                security: Defaults::bare(root.join("seccomp")),
                dns: pinnace::pod::dns::Settings { domain: "cluster.local".into(), ..Default::default() },
            },
            pace: make.pace,
            relist: relist::Config::default(),
            runtime_period: Duration::from_secs(5),
            images: self.images.clone(),
            events: events.clone(),
            objects,
            classes: RuntimeClasses::new(self.api.client_of_node(NODE)),
            cgroups: pinnace::cgroup::Cgroups::default(),
            place: place_reader,
            ids_per_pod: 65_536,
            cpus: 2,
        };
        let board = app::start(parts, opened, merged_reader, &supervisor);
        let joining = join::Parts {
            name: NODE.to_owned(),
            settings: config.node,
            told: Vec::new(),
            max_pods: self.max_pods,
            clients,
            runtime: make.fake.client(),
            host: Arc::new(OneAddress),
            clock: make.clock.clone(),
            events: (events, feed),
            event_rate: (50, 100),
            heard: Heard::new(Arc::clone(&make.disk), root.join("pinnace")),
            place,
            is_new_root: false,
            seed: 3,
        };
        let _membership = join::join(joining, source, &board, &supervisor);
        Agent { board, _membership, manifests: wanted, stop, supervision }
    }

    fn dirs(&self) -> Dirs {
        let dir = self.make.dir.path();
        Dirs { root: dir.join("root"), pod_logs: dir.join("logs"), container_logs: Some(dir.join("links")) }
    }

    /// Gives the pod to this node; its UID.
    pub(crate) fn create(&self, pod: &Value) -> String {
        let mut pod = pod.clone();
        pod["spec"]["nodeName"] = json!(NODE);
        uid_of(&self.api.create(pod))
    }

    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        self.api.get("pods", "default", name)
    }

    pub(crate) fn phase(&self, name: &str) -> String {
        self.pod(name).map(|pod| phase_of(&pod)).unwrap_or_default()
    }

    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.pod(name).is_some_and(|pod| test_side::condition(&pod, "Ready") == "True")
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: &str, limit: Duration) {
        let what = format!("{name} is {phase}");
        self.api.watch_until(&what, limit, |_| self.phase(name) == phase).await;
    }

    pub(crate) async fn until_ready(&self, name: &str) {
        self.until_ready_within(name, Duration::from_secs(60)).await;
    }

    pub(crate) async fn until_ready_within(&self, name: &str, limit: Duration) {
        self.api.watch_until(&format!("{name} is ready"), limit, |_| self.is_ready(name)).await;
    }

    pub(crate) async fn until_gone(&self, name: &str, limit: Duration) {
        self.api.watch_until(&format!("{name} is gone"), limit, |_| self.pod(name).is_none()).await;
    }

    /// Waits in virtual time until `done`.
    pub(crate) async fn until(&self, what: &str, limit: Duration, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.describe());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn describe(&self) -> String {
        let mut text = self.api.describe();
        for container in self.make.fake.snapshot().containers.values() {
            text += &format!("runtime: {:?} {:?}\n", container.metadata(), container.phase);
        }
        for call in self.make.fake.calls().iter().rev().take(10) {
            text += &format!("{call:?}\n");
        }
        text
    }

    /// Nothing of any pod is left in the runtime or on disk.
    pub(crate) fn is_empty(&self) -> bool {
        let snapshot = self.make.fake.snapshot();
        let dirs = self.dirs();
        let list = |dir| self.make.disk.list(dir).unwrap();
        let left: Vec<PathBuf> = [list(&dirs.pod_logs), list(&dirs.root.join("pods"))].concat();
        snapshot.containers.is_empty() && snapshot.sandboxes.is_empty() && left.is_empty()
    }

    pub(crate) async fn until_empty(&self, limit: Duration) {
        self.until("nothing of any pod is left", limit, || self.is_empty()).await;
    }

    /// Running containers of the pod with this UID.
    pub(crate) fn running(&self, uid: &str) -> usize {
        let snapshot = self.make.fake.snapshot();
        let own: Vec<_> = snapshot.containers_of(uid).iter().map(|container| container.id.clone()).collect();
        snapshot.running().iter().filter(|container| own.contains(&container.id)).count()
    }

    pub(crate) fn container_id(&self, uid: &str) -> String {
        let snapshot = self.make.fake.snapshot();
        let own = snapshot.containers_of(uid);
        own.iter().max_by_key(|container| container.metadata().attempt).unwrap().id.clone()
    }

    /// Calls that changed something in the runtime.
    pub(crate) fn mutations(&self) -> usize {
        self.make.fake.count_calls(|record| mutates(record.call))
    }

    pub(crate) fn sandboxes_made(&self) -> usize {
        self.make.fake.count_calls(|record| record.call == Call::RunPodSandbox)
    }

    /// Writes of pods, since this place in the log.
    pub(crate) fn pod_writes(&self, from: usize) -> Vec<Request> {
        let log = self.api.requests().split_off(from);
        log.into_iter().filter(|request| request.is_write() && request.resource == "pods").collect()
    }

    pub(crate) fn deletes_of(&self, name: &str) -> Vec<Request> {
        let writes = self.pod_writes(0).into_iter();
        writes
            .filter(|request| request.name == name && request.verb == Verb::Delete && is_ours(request))
            .collect()
    }

    /// How often this node read a pod of the API, which only a conflict may make it do. Mirrors are left out: who
    /// finds one that it did not know of reads it.
    pub(crate) fn pod_reads(&self) -> usize {
        let read = |request: &Request| request.resource == "pods" && request.verb == Verb::Get;
        let is_mirror = |request: &Request| request.name.ends_with(&format!("-{NODE}"));
        self.api.count(|request| read(request) && !is_mirror(request))
    }

    /// What must hold of everything that was ever asked: nothing forbidden, every write of a pod bound to its UID,
    /// and never two of one pod under way.
    pub(crate) fn check_manners(&self) {
        let log = self.api.requests();
        let refused: Vec<_> = log.iter().filter(|request| request.status == Some(403)).collect();
        assert!(refused.is_empty(), "{refused:?}");
        for request in log.iter().filter(|request| request.resource == "pods" && is_ours(request)) {
            assert_ne!(request.verb, Verb::Update, "{} was replaced", request.name);
            let bound = match request.verb {
                Verb::Patch => !request.body["metadata"]["uid"].is_null(),
                Verb::Delete => !request.body["preconditions"]["uid"].is_null(),
                _ => true,
            };
            assert!(bound, "not bound to a UID: {request:?}");
        }
        assert!(self.api.most_writes_at_once("pods") <= 1);
    }
}

fn is_ours(request: &Request) -> bool {
    request.user == format!("system:node:{NODE}")
}

impl Agent {
    /// The manifests are now these.
    pub(crate) fn want(&self, manifests: &[Value]) {
        self.manifests.send_replace(Arc::new(wish(manifests)));
    }

    /// Ends the agent; containers live on. Calls under way are not waited for beyond the drain.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _unfinished = self.supervision.wait().await;
    }

    /// What it says of itself.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Pods that the agent still knows.
    pub(crate) fn cards(&self) -> usize {
        self.board.cards.all().len()
    }
}

fn wish(manifests: &[Value]) -> Desired {
    let pods: BTreeMap<_, _> = manifests
        .iter()
        .map(|manifest| {
            let pod = desired(manifest);
            (pod.uid.clone(), Arc::new(pod))
        })
        .collect();
    Desired { synced: true, manifests_synced: true, pods, ..Desired::default() }
}

/// How many in `make test`, which says so, and in `make test-all`.
pub(crate) fn scaled(promise: &str, what: &str, few: usize, all: usize) -> usize {
    if std::env::var_os("PINNACE_TEST_ALL").is_some() {
        return all;
    }
    println!("{promise}: scaled, {few} of {all} {what}");
    few
}

pub(crate) fn uid_of(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

pub(crate) fn phase_of(pod: &Value) -> String {
    pod["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

/// The status of the pod's first container.
pub(crate) fn main_of(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

pub(crate) fn exit_of(pod: &Value) -> Option<i64> {
    main_of(pod)["state"]["terminated"]["exitCode"].as_i64()
}

/// The same pod with a finalizer of somebody else's.
pub(crate) fn held(mut pod: Value) -> Value {
    pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
    pod
}

pub(crate) fn let_go(rig: &Rig, name: &str) {
    rig.api.update("pods", "default", name, |pod| {
        pod["metadata"].as_object_mut().unwrap().remove("finalizers");
    });
    // The server's own part: what was deleted and is held no more goes.
    rig.api.force_delete("pods", "default", name).unwrap();
}

/// Whether all of the first `end` are so. What was so once is not looked at again, for many pods are asked often.
pub(crate) fn all_of(end: usize, is_so: impl Fn(usize) -> bool) -> impl Fn() -> bool {
    let next = Cell::new(0);
    move || {
        while next.get() < end && is_so(next.get()) {
            next.set(next.get() + 1);
        }
        next.get() == end
    }
}
