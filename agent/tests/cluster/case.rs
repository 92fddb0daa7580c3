//! A namespace with a node of its own, and what cases ask of both.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::{Admin, is_ready, text};
use crate::agent::Agent;
use crate::control_plane::ControlPlane;
use crate::namespace::Namespace;
use crate::runtime::Runtime;

/// Enough for what takes a few seconds on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Debian's busybox.
pub(crate) const IMAGE: &str = "pinnace.local/busybox:1.35";

/// A script that waits for ever and ends at once on TERM. As process 1 a shell ignores TERM unless told otherwise.
pub(crate) const WAIT: &str = "trap 'exit 0' TERM; sleep 100000 & wait";

/// The case. Fields are dropped in this order: the namespace is told to go while the node still runs.
pub(crate) struct Case<'a> {
    /// Where its pods are.
    pub(crate) namespace: Namespace<'a>,
    /// Its node.
    pub(crate) agent: Agent<'a>,
    /// Looks at objects.
    pub(crate) admin: Admin,
}

impl<'a> Case<'a> {
    /// A node on a containerd, whose process is not started yet.
    pub(crate) fn prepared(version: &str, cluster: &'a ControlPlane, name: &str) -> Self {
        Self::with(&Runtime::named(version).expect("a containerd"), cluster, name)
    }

    /// A node on this containerd, whose process is not started yet.
    pub(crate) fn with(runtime: &Runtime, cluster: &'a ControlPlane, name: &str) -> Self {
        let namespace = Namespace::fresh(cluster, name);
        let agent = Agent::prepared(cluster, runtime, &namespace.name);
        Self { namespace, agent, admin: Admin::of(cluster) }
    }

    /// A node that is Ready on the containerd of this version.
    pub(crate) fn on(version: &str, cluster: &'a ControlPlane, name: &str) -> Self {
        let mut case = Self::prepared(version, cluster, name);
        case.agent.launch();
        case.until_node_ready(Instant::now(), SOON);
        case
    }

    /// A node that is Ready on Debian's containerd.
    pub(crate) fn start(cluster: &'a ControlPlane, name: &str) -> Self {
        Self::on("debian", cluster, name)
    }

    /// Waits until the node is Ready; how long it took.
    pub(crate) fn until_node_ready(&self, since: Instant, limit: Duration) -> Duration {
        let look = || {
            let node = self.admin.node(&self.agent.name)?;
            if is_ready(&node) { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
        };
        self.agent.until("a node that is Ready", since, limit, look).1
    }

    /// Waits for something about the pods of the namespace; what it found and how long it took.
    pub(crate) fn until_pods<T>(
        &self,
        what: &str,
        since: Instant,
        mut look: impl FnMut(&[Value]) -> Option<T>,
    ) -> (T, Duration) {
        let pods = || {
            let pods: Vec<_> = self.admin.pods(&self.namespace.name)?.into_values().collect();
            look(&pods).ok_or_else(|| pods.iter().map(brief).collect::<Vec<_>>().join("\n"))
        };
        self.agent.until(what, since, SOON, pods)
    }

    /// Waits until a pod is in a phase.
    pub(crate) fn until_phase(&self, pod: &str, phase: &str) -> Value {
        let is_it = |found: &&Value| found["metadata"]["name"] == pod && found["status"]["phase"] == phase;
        let find = |pods: &[Value]| pods.iter().find(is_it).cloned();
        self.until_pods(&format!("{pod} {phase}"), Instant::now(), find).0
    }

    /// Waits until nothing of the namespace's pods is left, in the API, in the runtime and on the disk; how long it
    /// took in the API.
    pub(crate) fn until_nothing_is_left(&self) -> Duration {
        let since = Instant::now();
        let (_, took) = self.until_pods("no pod", since, |pods| pods.is_empty().then_some(()));
        let entries = |dir: &str| std::fs::read_dir(self.agent.path(dir)).map_or(0, Iterator::count);
        let left = || {
            let sandboxes = self.agent.runtime.sandboxes(&self.agent.name).len();
            match (sandboxes, entries("root/pods"), entries("logs")) {
                (0, 0, 0) => Ok(()),
                (boxes, dirs, logs) => {
                    Err(format!("{boxes} sandboxes, {dirs} pods' and {logs} logs' directories"))
                }
            }
        };
        self.agent.until("nothing on the node", since, SOON, left);
        took
    }
}

/// A pod in a line.
fn brief(pod: &Value) -> String {
    let (name, phase) = (text(&pod["metadata"]["name"]), text(&pod["status"]["phase"]));
    format!("{name} {phase} {}", pod["status"]["containerStatuses"])
}

/// A template of pods whose container `main` runs a script.
pub(crate) fn template(app: &str, policy: &str, script: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": {
            "restartPolicy": policy, "terminationGracePeriodSeconds": 3,
            "containers": [{ "name": "main", "image": IMAGE, "command": ["sh", "-c", script] }],
        },
    })
}

/// A pod whose container `main` runs a script.
pub(crate) fn pod(name: &str, policy: &str, script: &str) -> Value {
    let mut pod = template(name, policy, script);
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = name.into();
    pod
}

/// A Deployment of pods whose container `main` runs a script.
pub(crate) fn deployment(name: &str, replicas: usize, script: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": name } },
            "template": template(name, "Always", script),
        },
    })
}
