//! Pod sandboxes as plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::id::{PodUid, SandboxId};

/// What the runtime says of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SandboxState {
    /// The sandbox is up: its network and its pause process are there.
    Ready,
    /// The sandbox is down, or was never up.
    NotReady,
}

/// One record of `ListPodSandbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: SandboxId,
    /// UID of the pod that it was made for.
    pub pod_uid: PodUid,
    /// Name of the pod.
    pub pod_name: String,
    /// Namespace of the pod.
    pub pod_namespace: String,
    /// Which try of the pod this is; the newest sandbox is the one with the highest attempt.
    pub attempt: u32,
    /// Up or down.
    pub state: SandboxState,
    /// Wall-clock creation time in nanoseconds, as the runtime stamped it: for display, never for order.
    pub created_at: i64,
    /// Labels, among them the kubelet's own (see [`crate::labels`]).
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Runtime handler; empty is the runtime's default.
    pub runtime_handler: String,
}

/// Whose network a sandbox uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// A network namespace of its own.
    Pod,
    /// The node's network.
    Node,
}

/// The part of `PodSandboxStatus` that its list record does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxStatus {
    /// The runtime's id.
    pub id: SandboxId,
    /// Up or down, at the time of this answer.
    pub state: SandboxState,
    /// Addresses of the pod, the primary one first; empty for the node's network.
    pub ips: Vec<IpAddr>,
    /// Whose network it uses.
    pub network: NetworkMode,
}
