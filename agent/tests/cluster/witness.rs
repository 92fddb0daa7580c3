//! Watches what others see of a node and its pods, and counts what must not happen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::control_plane::ControlPlane;

/// Each value that Ready had, in order, per object.
type Seen = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// The watches; they end when it is dropped.
pub(crate) struct Witness {
    seen: Seen,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Watches the pods of a namespace and a node from now on. Returns once both lists are in.
    pub(crate) fn of(cluster: &ControlPlane, namespace: &str, node: &str) -> Self {
        let (seen, stop) = (Seen::default(), CancellationToken::new());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        let client = runtime.block_on(cluster.client("admin"));
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let nodes: Api<Node> = Api::all(client);
        let one = watcher::Config::default().fields(&format!("metadata.name={node}"));
        let (told, until) = (Arc::clone(&seen), stop.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let pods = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
                let pods = pods.map_ok(|pod| (pod.name_any(), state_of_pod(&pod)));
                let nodes = watcher(nodes, one).default_backoff().applied_objects();
                let nodes = nodes.map_ok(|node| (node.name_any(), state_of_node(&node)));
                let both = futures::stream::select(pods.boxed(), nodes.boxed());
                let each = both.try_for_each(|(name, state)| {
                    record(&told, name, state);
                    futures::future::ready(Ok(()))
                });
                let _ended = until.run_until_cancelled(each).await;
            });
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// How many objects it knows.
    pub(crate) fn objects(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Objects whose state changed while it watched, with every state.
    pub(crate) fn changes(&self) -> BTreeMap<String, Vec<String>> {
        // What was written last is still on its way.
        std::thread::sleep(Duration::from_secs(1));
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|(_, states)| states.len() > 1)
            .map(|(name, states)| (name.clone(), states.clone()))
            .collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn record(seen: &Seen, name: String, state: String) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let states = seen.entry(name).or_default();
    if states.last() != Some(&state) {
        states.push(state);
    }
}

fn state_of_pod(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let ready =
        status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Ready");
    let restarts: i32 =
        status.container_statuses.unwrap_or_default().iter().map(|one| one.restart_count).sum();
    let ready = ready.map(|ready| (ready.status, ready.last_transition_time));
    format!("Ready {ready:?}, {restarts} restarts")
}

fn state_of_node(node: &Node) -> String {
    let conditions = node.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    format!("Ready {:?}", ready.map(|ready| (ready.status, ready.last_transition_time)))
}
