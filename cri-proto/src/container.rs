//! Containers as plain values.

use std::collections::BTreeMap;

use crate::id::{ContainerId, PodUid, SandboxId};

/// Where a container is in its one-way life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// Its process ended; exit code and times are in its status.
    Exited,
    /// The runtime lost sight of it, or sent a state that CRI v1 does not have.
    Unknown,
}

/// One record of `ListContainers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id.
    pub id: ContainerId,
    /// The sandbox that it lives in.
    pub sandbox_id: SandboxId,
    /// UID of its pod, from its labels.
    pub pod_uid: PodUid,
    /// Name in the pod's spec.
    pub name: String,
    /// Which instance this is; equals the restart count when it was made.
    pub attempt: u32,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Image as it was asked for.
    pub image: String,
    /// Image that it runs, as the runtime names it.
    pub image_ref: String,
    /// Wall-clock creation time in nanoseconds, as the runtime stamped it: for display, never for order.
    pub created_at: i64,
    /// Labels, among them the kubelet's own (see [`crate::labels`]).
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The answer of `ContainerStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// The runtime's id.
    pub id: ContainerId,
    /// Name in the pod's spec.
    pub name: String,
    /// Which instance this is.
    pub attempt: u32,
    /// Where it is in its life, at the time of this answer.
    pub state: ContainerState,
    /// Wall-clock nanoseconds.
    pub created_at: i64,
    /// Wall-clock nanoseconds; none before it started.
    pub started_at: Option<i64>,
    /// Wall-clock nanoseconds; none before it ended.
    pub finished_at: Option<i64>,
    /// Exit code; meaningful once [`ContainerState::Exited`].
    pub exit_code: i32,
    /// Image as the runtime reports it.
    pub image: String,
    /// Digest of the image, where the runtime knows it.
    pub image_ref: String,
    /// One camel-case word of why it is in this state, such as `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// A sentence of the same.
    pub message: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Absolute path of its log; empty if it has none.
    pub log_path: String,
    /// Pairs of path in the container and path on the host.
    pub mounts: Vec<(String, String)>,
    /// Whom its first process started as, where the runtime tells.
    pub user: Option<LinuxUser>,
}

/// Identity of a Linux process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinuxUser {
    /// User id.
    pub uid: i64,
    /// Primary group id.
    pub gid: i64,
    /// Supplementary group ids.
    pub groups: Vec<i64>,
}
