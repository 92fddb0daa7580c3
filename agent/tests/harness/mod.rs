//! A whole agent against the fake runtime in virtual time: one thread, in-memory streams, a paused clock.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it")]

pub mod history;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use history::Checker;
use jiff::Timestamp;
use pinnace::app::{self, Parts};
use pinnace::board::Board;
use pinnace::cgroup::Cgroups;
use pinnace::clock::Clock;
use pinnace::disk::{Disk, RealDisk};
use pinnace::events::EventLog;
use pinnace::journal::Journal;
use pinnace::pod::card::Card;
use pinnace::pod::container::Site;
use pinnace::pod::mind::Pace;
use pinnace::pod::paths::Dirs;
use pinnace::pod::resources::Node as Memory;
use pinnace::pod::security::Defaults;
use pinnace::server::views::Views;
use pinnace::source::desired::{Desired, DesiredPod};
use pinnace::source::static_pod;
use pinnace::supervise::{Supervision, Supervisor};
use pinnace::view::{ContainerView, PodView};
use pinnace_cri::fake::{Container, Fake, Options, Snapshot};
use pinnace_cri::labels::Ownership;
use pinnace_pleg::relist;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Name of the node in tests.
pub const NODE: &str = "node1";
/// An image that the fake has.
pub const IMAGE: &str = "pinnace.local/busybox:1.35";

/// A running agent.
pub struct Node {
    pub fake: Fake,
    pub board: Board,
    pub clock: Clock,
    wish: watch::Sender<Arc<Desired>>,
    stop: CancellationToken,
    supervision: Option<Supervision>,
    pub dir: Arc<TempDir>,
    pub checker: Checker,
    /// Samples the views for the checker.
    sampler: JoinSet<()>,
}

/// What a node is made with.
#[derive(Clone)]
pub struct Make {
    pub fake: Fake,
    pub dir: Arc<TempDir>,
    pub disk: Arc<dyn Disk>,
    pub clock: Clock,
    pub pace: Pace,
    pub ownership: Ownership,
    pub checker: Checker,
    pub cgroups: Cgroups,
}

impl Make {
    /// A node's parts on a fresh fake and a fresh directory.
    pub fn new() -> Self {
        Self::on(Fake::new(Options::default()))
    }

    pub fn on(fake: Fake) -> Self {
        let wall = Timestamp::from_nanosecond(i128::from(fake.wall())).unwrap();
        Self {
            checker: Checker::attach(&fake),
            fake,
            dir: Arc::new(tempfile::tempdir().unwrap()),
            disk: Arc::new(RealDisk),
            clock: Clock::scripted("boot-1", Duration::from_secs(1_000), wall),
            pace: Pace::default(),
            ownership: Ownership::Node(NODE.to_owned()),
            cgroups: Cgroups::default(),
        }
    }

    /// Starts a node that wants `pods`.
    pub fn start(&self, pods: &[Value]) -> Node {
        let node = self.start_unsynced();
        node.want(pods);
        node
    }

    /// Starts a node whose sources have not answered.
    pub fn start_unsynced(&self) -> Node {
        let root = self.dir.path().join("root");
        let dirs = Dirs {
            root: root.clone(),
            pod_logs: self.dir.path().join("logs"),
            container_logs: Some(self.dir.path().join("links")),
        };
        let stop = CancellationToken::new();
        let (supervisor, supervision) = Supervisor::new(stop.clone());
        let (wish, desired) = watch::channel(Arc::new(Desired::default()));
        let opened = Journal::open(Arc::clone(&self.disk), root.join("journal"));
        let parts = Parts {
            node: NODE.to_owned(),
            ownership: self.ownership.clone(),
            client: self.fake.client(),
            endpoint: "the fake".to_owned(),
            disk: Arc::clone(&self.disk),
            clock: self.clock.clone(),
            dirs,
            site: Site {
                owner: NODE.to_owned(),
                node: Memory { memory: 4 << 30, cfs_period: Some(100_000), ..Memory::default() },
                security: Defaults::bare(root.join("seccomp")),
                dns: pinnace::pod::dns::Settings::default(),
            },
            pace: self.pace,
            relist: relist::Config::default(),
            runtime_period: Duration::from_secs(5),
            images: pinnace::image::Settings::default(),
            events: EventLog::default(),
            objects: pinnace::objects::Objects::default(),
            classes: pinnace::runtime::class::RuntimeClasses::default(),
            cgroups: self.cgroups.clone(),
            place: tokio::sync::watch::channel(Arc::new(pinnace::pod::admit::Place::bare(NODE, 300))).1,
            ids_per_pod: 65_536,
            cpus: 2,
        };
        let board = app::start(parts, opened, desired, &supervisor);
        self.checker.unsynced();
        let mut sampler = JoinSet::new();
        sampler.spawn(sample(self.checker.clone(), board.clone()));
        Node {
            checker: self.checker.clone(),
            sampler,
            fake: self.fake.clone(),
            board,
            clock: self.clock.clone(),
            wish,
            stop,
            supervision: Some(supervision),
            dir: Arc::clone(&self.dir),
        }
    }
}

impl Node {
    /// The sources now want exactly these pods.
    pub fn want(&self, pods: &[Value]) {
        let pods: Vec<_> = pods.iter().map(desired).collect();
        self.checker.wants(&pods);
        let pods = pods.into_iter().map(|pod| (pod.uid.clone(), Arc::new(pod))).collect();
        self.wish.send_replace(Arc::new(Desired { synced: true, pods, ..Desired::default() }));
    }

    /// Stops the agent in order; containers live on.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(supervision) = self.supervision.take() {
            supervision.wait().await.expect("the agent did not stop in order");
        }
        self.checker.sample(&self.board);
        self.checker.verify();
    }

    /// Stops the agent while calls may be under way, which it does not wait for beyond its drain.
    pub async fn stop_anyhow(mut self) {
        self.stop.cancel();
        if let Some(supervision) = self.supervision.take() {
            let _unfinished = supervision.wait().await;
        }
        self.checker.verify();
    }

    /// Waits until everything is at rest and evaluates what must hold then.
    pub async fn at_rest(&self) {
        tokio::time::sleep(Duration::from_secs(120)).await;
        self.checker.at_rest(self);
    }

    /// Waits in virtual time until `done`, and fails with the node's state if it takes longer than `limit`.
    pub async fn until(&self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) {
        let began = tokio::time::Instant::now();
        while !done(self) {
            self.checker.verify();
            let waited = began.elapsed();
            assert!(waited < limit, "not within {limit:?}: {what}\n{}", self.describe());
            // Exact where milliseconds are asserted; long waits need fewer looks.
            let step = if waited < Duration::from_secs(2) { 1 } else { 20 };
            tokio::time::sleep(Duration::from_millis(step)).await;
        }
    }

    /// Calls so far that changed something in the runtime.
    pub fn mutations(&self) -> usize {
        self.fake.count_calls(|record| history::mutates(record.call))
    }

    /// What everybody says, for the message of a failed test.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for pod in self.board.pods() {
            text += &format!("pod {}/{} {} ({})\n", pod.namespace, pod.name, pod.status, pod.reason);
            if let Ok(explained) = self.board.explain(&pod.uid) {
                for entry in explained.timeline {
                    text += &format!("    {} {} {:?}\n", entry.at, entry.what, entry.error);
                }
                text += &format!("    step {:?}\n", explained.step);
            }
        }
        for container in self.board.containers() {
            text += &format!("container {}: {} {}\n", container.name, container.state, container.reason);
        }
        for container in self.fake.snapshot().containers.values() {
            text += &format!("runtime: {} {:?}\n", container.metadata().name, container.phase);
        }
        text
    }

    /// The view of a pod by the name in its manifest.
    pub fn pod(&self, name: &str) -> Option<PodView> {
        Some(self.views(name)?.0)
    }

    /// The newest admitted pod of that name is asked alone: tests look each millisecond.
    fn views(&self, name: &str) -> Option<(PodView, Vec<ContainerView>)> {
        let full = [format!("default/{name}"), format!("default/{name}-{NODE}")];
        let cards = self.board.cards.all().into_iter();
        let mut found: Vec<Arc<Card>> = cards.filter(|card| full.contains(&card.full_name())).collect();
        found.sort_by_key(|card| !card.face().wish.is_gone());
        found.last().map(|card| history::view_of(&self.board, card))
    }

    pub fn container(&self, pod: &str, name: &str) -> Option<ContainerView> {
        self.views(pod)?.1.into_iter().find(|container| container.name == name)
    }

    pub fn is_running(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod.status == "Running" && pod.ready == pod.containers)
    }

    pub async fn until_running(&self, pod: &str) {
        self.until(&format!("pod {pod} runs"), Duration::from_secs(60), |node| node.is_running(pod)).await;
    }

    pub fn runtime(&self) -> Snapshot {
        self.fake.snapshot()
    }

    /// Nothing of any pod is left in the runtime or on disk.
    pub fn is_empty(&self) -> bool {
        let snapshot = self.fake.snapshot();
        snapshot.containers.is_empty()
            && snapshot.sandboxes.is_empty()
            && entries(&self.dir.path().join("logs")).is_empty()
            && entries(&self.dir.path().join("root").join("pods")).is_empty()
    }
}

async fn sample(checker: Checker, board: Board) {
    loop {
        // Of a full node a sample is real work, and virtual time makes many of them.
        let pods = u64::try_from(board.cards.all().len()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_millis(100.max(pods.saturating_mul(10)))).await;
        checker.sample(&board);
    }
}

/// The only running container, by name.
pub fn running<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Container {
    let found: Vec<_> =
        snapshot.running().into_iter().filter(|container| container.metadata().name == name).collect();
    assert_eq!(found.len(), 1, "one running container {name}");
    found[0]
}

pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(read) = std::fs::read_dir(dir) else { return Vec::new() };
    read.map(|entry| entry.unwrap().path()).collect()
}

/// The desired pod of a manifest, as the static source makes it.
pub fn desired(manifest: &Value) -> DesiredPod {
    let pod = serde_json::from_value(manifest.clone()).unwrap();
    let seen = Timestamp::UNIX_EPOCH;
    let path = PathBuf::from(format!("/manifests/{}.yaml", manifest["metadata"]["name"].as_str().unwrap()));
    static_pod::desired(pod, &path, NODE, seen).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// A manifest of a pod with one container `main` that runs `command`.
pub fn pod(name: &str, policy: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "main",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
            }],
        },
    })
}

/// A pod that sleeps for ever.
pub fn sleeper(name: &str) -> Value {
    pod(name, "Always", &["sleep", "infinity"])
}
