//! What the API's watch of one node and its pods has told, with the moment at which it arrived here.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(180);

/// What was seen of a pod.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// First time with Ready=True.
    pub(super) ready: Option<Instant>,
    pub(super) is_ready: bool,
    /// How often Ready went away.
    pub(super) flips: u32,
    pub(super) restarts: i32,
    /// First time with a terminated container, and its exit code.
    pub(super) terminated: Option<(Instant, i32)>,
    pub(super) gone: Option<Instant>,
}

/// What was seen of the node.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenNode {
    pub(super) ready: Option<Instant>,
    /// Events with Ready other than True after the first with True.
    pub(super) lost: u32,
}

type Board = Arc<(Mutex<(BTreeMap<String, Seen>, SeenNode)>, watch::Sender<()>)>;

/// Two watches. They end with it.
pub(super) struct Witness {
    board: Board,
    _tasks: JoinSet<()>,
}

impl Witness {
    pub(super) fn start(api: &kube::Client, node: &str) -> Self {
        let board: Board = Arc::new((Mutex::default(), watch::Sender::new(())));
        let mut tasks = JoinSet::new();
        let pods = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        tasks.spawn(pods_of(Api::all(api.clone()), pods, Arc::clone(&board)));
        let only = watcher::Config::default().fields(&format!("metadata.name={node}"));
        tasks.spawn(node_of(Api::all(api.clone()), only, Arc::clone(&board)));
        Self { board, _tasks: tasks }
    }

    pub(super) fn pods(&self) -> BTreeMap<String, Seen> {
        lock(&self.board).0.clone()
    }

    pub(super) fn node(&self) -> SeenNode {
        lock(&self.board).1.clone()
    }

    pub(super) async fn until_node_ready(&self) -> Result<Instant> {
        self.until("a node that is Ready", |_, node| node.ready).await
    }

    /// Waits until all of these pods are what `done` says.
    pub(super) async fn until_all(
        &self,
        what: &str,
        names: &[String],
        done: impl Fn(&Seen) -> bool,
    ) -> Result<()> {
        let all = |pods: &BTreeMap<String, Seen>| names.iter().all(|name| pods.get(name).is_some_and(&done));
        self.until(what, |pods, _| all(pods).then_some(())).await
    }

    async fn until<T>(
        &self,
        what: &str,
        done: impl Fn(&BTreeMap<String, Seen>, &SeenNode) -> Option<T>,
    ) -> Result<T> {
        let mut changed = self.board.1.subscribe();
        let limit = tokio::time::Instant::now() + LIMIT;
        loop {
            changed.mark_unchanged();
            {
                let seen = lock(&self.board);
                if let Some(found) = done(&seen.0, &seen.1) {
                    return Ok(found);
                }
            }
            if tokio::time::timeout_at(limit, changed.changed()).await.is_err() {
                bail!("{what} did not come within {} s", LIMIT.as_secs());
            }
        }
    }
}

fn lock(board: &Board) -> MutexGuard<'_, (BTreeMap<String, Seen>, SeenNode)> {
    board.0.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pods_of(api: Api<Pod>, config: watcher::Config, board: Board) {
    let mut events = pin!(watcher::watcher(api, config));
    while let Some(event) = events.next().await {
        let now = Instant::now();
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => note(&mut lock(&board).0, &pod, now),
            Ok(Event::Delete(pod)) => {
                let name = pod.metadata.name.unwrap_or_default();
                lock(&board).0.entry(name).or_default().gone.get_or_insert(now);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => eprintln!("bench: the watch of pods: {error}"),
        }
        board.1.send_replace(());
    }
}

fn note(seen: &mut BTreeMap<String, Seen>, pod: &Pod, now: Instant) {
    let seen = seen.entry(pod.metadata.name.clone().unwrap_or_default()).or_default();
    let Some(status) = &pod.status else { return };
    let ready = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "Ready" && condition.status == "True"
    };
    let is_ready = status.conditions.iter().flatten().any(ready);
    if is_ready {
        seen.ready.get_or_insert(now);
    }
    seen.flips += u32::from(seen.is_ready && !is_ready);
    seen.is_ready = is_ready;
    for container in status.container_statuses.iter().flatten() {
        seen.restarts = seen.restarts.max(container.restart_count);
        if let Some(end) = container.state.as_ref().and_then(|state| state.terminated.as_ref()) {
            seen.terminated.get_or_insert((now, end.exit_code));
        }
    }
}

async fn node_of(api: Api<Node>, config: watcher::Config, board: Board) {
    let mut events = pin!(watcher::watcher(api, config));
    while let Some(event) = events.next().await {
        let now = Instant::now();
        if let Ok(Event::Apply(node) | Event::InitApply(node)) = event {
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let is_ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let seen = &mut lock(&board).1;
            if is_ready {
                seen.ready.get_or_insert(now);
            } else if seen.ready.is_some() {
                seen.lost += 1;
            }
        }
        board.1.send_replace(());
    }
}
