//! What people and scripts see: the JSON of the admin socket, which the command line prints as tables.
//!
//! Plain values without behaviour; `pod/status` fills them, `cli` prints them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of `pinnace pods`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers in the spec.
    pub containers: usize,
    /// What kubectl would show: a phase, a waiting reason such as `CrashLoopBackOff`, or `Terminating`.
    pub status: String,
    /// Pod phase of the API.
    pub phase: String,
    /// Sum of restart counts.
    pub restarts: u32,
    /// First sight.
    pub started: Option<Timestamp>,
    /// Primary address.
    pub ip: Option<String>,
    /// Why it is held, waiting or failed; empty when all is well.
    pub reason: String,
    /// Where its manifest is, if there is one.
    pub source: Option<String>,
}

/// One line of `pinnace containers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerView {
    /// Namespace of the pod.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Name in the spec.
    pub name: String,
    /// The runtime's id of the newest instance, if any.
    pub id: Option<String>,
    /// `Waiting`, `Running` or `Terminated`.
    pub state: String,
    /// Reason of the state, such as `CrashLoopBackOff` or `Completed`.
    pub reason: String,
    /// Message of the state.
    pub message: String,
    /// Exit code, once terminated.
    pub exit_code: Option<i32>,
    /// Exit code of the instance before, if there was one.
    pub last_exit_code: Option<i32>,
    /// Restart count.
    pub restarts: u32,
    /// Image.
    pub image: String,
    /// Start of the newest instance.
    pub started: Option<Timestamp>,
    /// End of the newest instance.
    pub finished: Option<Timestamp>,
    /// Log file of the newest instance.
    pub log_path: Option<String>,
    /// Log file of the instance before.
    pub previous_log_path: Option<String>,
}

/// What a pod is waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// The step, such as `RunPodSandbox` or `restart backoff of container web`.
    pub step: String,
    /// What it waits for, in a sentence.
    pub waiting_for: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again, if by time.
    pub next_try: Option<Timestamp>,
}

/// One entry of a pod's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineView {
    /// When.
    pub at: Timestamp,
    /// What was done or seen.
    pub what: String,
    /// How long it took in milliseconds, if it is a call.
    pub took_ms: Option<u64>,
    /// The error, if it failed.
    pub error: Option<String>,
}

/// The answer of `pinnace explain POD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// The pod.
    pub pod: PodView,
    /// Its containers.
    pub containers: Vec<ContainerView>,
    /// The step that it is in; none when there is nothing to do.
    pub step: Option<StepView>,
    /// The last error, if it has not been overcome.
    pub last_error: Option<TimelineView>,
    /// Fields of the spec that hold it back.
    pub held: Vec<String>,
    /// The latest entries, oldest first.
    pub timeline: Vec<TimelineView>,
}

/// One line of `pinnace events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// First time.
    pub first: Timestamp,
    /// Last time.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// Reason in the kubelet's words, such as `Started`.
    pub reason: String,
    /// `namespace/name` of the pod, or `node`.
    pub object: String,
    /// Message.
    pub message: String,
}

/// One line of `pinnace check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// What was looked at.
    pub what: String,
    /// Whether the node can do its work as it is.
    pub level: CheckLevel,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    pub fix: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckLevel {
    /// As it should be.
    Ok,
    /// Works, with less than full function.
    Warning,
    /// Pods cannot run.
    Error,
}
