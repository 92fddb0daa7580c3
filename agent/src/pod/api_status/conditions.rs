//! The conditions of a pod. Pure; reasons and messages are the kubelet's, byte for byte (`pkg/kubelet/status/generate.go`).

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_cri::sandbox::{NetworkMode, SandboxState};

use super::containers::is_sidecar;
use super::phase::{FAILED, SUCCEEDED, Verdict};
use super::{Around, is_terminal};
use crate::clock::Now;
use crate::pod::admit::preempt;

/// Conditions that the kubelet owns (`PodConditionsByKubelet` of `pkg/kubelet/types/pod_status.go`, with what its
/// feature gates of 1.36 add). All others are left as the API server has them.
const OURS: [&str; 8] = [
    "PodScheduled",
    "Initialized",
    "PodReadyToStartContainers",
    "ContainersReady",
    "Ready",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
];

/// A condition that others set, too; ours comes with the end that the node itself decided on, and is never taken back.
pub const DISRUPTION: &str = "DisruptionTarget";

/// Whether a condition of this type is the node's to write.
#[must_use]
pub fn is_ours(condition: &str) -> bool {
    OURS.contains(&condition)
}

/// What a condition says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Says {
    yes: bool,
    reason: &'static str,
    message: String,
}

const YES: Says = Says { yes: true, reason: "", message: String::new() };

fn no(reason: &'static str, message: String) -> Says {
    Says { yes: false, reason, message }
}

/// All conditions: those of others first, as they were, then ours in the kubelet's order.
pub(super) fn all(
    around: Around<'_>,
    new: &PodStatus,
    verdict: &Verdict,
    generation: Option<i64>,
    now: &Now,
) -> Vec<PodCondition> {
    let phase = verdict.intended;
    let told = around.before.conditions.as_deref().unwrap_or_default();
    let disrupted =
        disruption(around, verdict.phase).map(|says| condition(DISRUPTION, says, told, generation, now));
    let foreign = told.iter().filter(|told| !is_ours(&told.type_));
    let foreign = foreign.filter(|told| disrupted.is_none() || told.type_ != DISRUPTION);
    let containers_ready = containers_ready(around.spec, new, phase);
    let ours = [
        ("PodReadyToStartContainers", ready_to_start(around)),
        ("Initialized", initialized(around, new, phase)),
        ("Ready", ready(around.spec, told, &containers_ready)),
        ("ContainersReady", containers_ready),
        ("PodScheduled", YES),
    ];
    let made = ours.into_iter().map(|(name, says)| condition(name, says, told, generation, now));
    foreign.cloned().chain(disrupted.clone()).chain(made).collect()
}

/// Told with the terminal phase and not before.
fn disruption(around: Around<'_>, phase: &str) -> Option<Says> {
    let terminal = around.subject.face.history.terminal.as_ref()?;
    let said = phase == FAILED && terminal.reason == preempt::REASON;
    let message = preempt::DISRUPTION.to_owned();
    said.then_some(Says { yes: true, reason: "TerminationByKubelet", message })
}

fn find<'a>(told: &'a [PodCondition], name: &str) -> Option<&'a PodCondition> {
    told.iter().find(|condition| condition.type_ == name)
}

/// The time stays until the status flips.
fn condition(
    name: &str,
    says: Says,
    told: &[PodCondition],
    generation: Option<i64>,
    now: &Now,
) -> PodCondition {
    let status = if says.yes { "True" } else { "False" };
    let unchanged = find(told, name).filter(|told| told.status == status);
    let since = unchanged.and_then(|told| told.last_transition_time.clone());
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: (!says.reason.is_empty()).then(|| says.reason.to_owned()),
        message: (!says.message.is_empty()).then_some(says.message),
        observed_generation: generation,
        last_transition_time: Some(since.unwrap_or(Time(now.wall))),
        last_probe_time: None,
    }
}

/// The pod's one ready sandbox is its newest, in the right network, with an address.
fn ready_to_start(around: Around<'_>) -> Says {
    let sandboxes = around.subject.seen.map(|seen| seen.sandboxes.as_slice()).unwrap_or_default();
    let ready = sandboxes.iter().filter(|sandbox| sandbox.record.state == SandboxState::Ready).count();
    let host_network = around.spec.host_network == Some(true);
    let newest = sandboxes.first().filter(|newest| newest.record.state == SandboxState::Ready);
    let fits = newest.and_then(|newest| newest.status.as_ref()).is_some_and(|status| {
        (status.network == NetworkMode::Node) == host_network && (host_network || !status.ips.is_empty())
    });
    if ready == 1 && fits { YES } else { Says::default() }
}

fn named(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

/// `containers with X status: [a b]`, for those that are unknown and those that are not there yet.
fn lacking(unknown: &[&str], lagging: &[&str], word: &str) -> String {
    let parts = [("unknown", unknown), (word, lagging)];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> =
        parts.map(|(word, names)| format!("containers with {word} status: {}", named(names))).collect();
    parts.join(", ")
}

fn status_of<'a>(new: &'a PodStatus, container: &Container) -> Option<&'a ContainerStatus> {
    let inits = new.init_container_statuses.iter().flatten();
    inits.chain(new.container_statuses.iter().flatten()).find(|status| status.name == container.name)
}

fn are_unknown(new: &PodStatus) -> bool {
    new.container_statuses.is_none() && new.init_container_statuses.is_none()
}

fn containers_ready(spec: &PodSpec, new: &PodStatus, phase: &str) -> Says {
    if phase == FAILED {
        return no("PodFailed", String::new());
    }
    if are_unknown(new) {
        return no("UnknownContainerStatuses", String::new());
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(&spec.containers) {
        match status_of(new, container) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == SUCCEEDED && unknown.is_empty() {
        return no("PodCompleted", String::new());
    }
    match lacking(&unknown, &unready, "unready") {
        message if message.is_empty() => YES,
        message => no("ContainersNotReady", message),
    }
}

fn ready(spec: &PodSpec, told: &[PodCondition], containers_ready: &Says) -> Says {
    if !containers_ready.yes {
        return containers_ready.clone();
    }
    let gates = spec.readiness_gates.iter().flatten();
    let shut: Vec<String> = gates.filter_map(|gate| shut(told, &gate.condition_type)).collect();
    if shut.is_empty() { YES } else { no("ReadinessGatesNotReady", shut.join(", ")) }
}

/// Why a readiness gate is not open.
fn shut(told: &[PodCondition], gate: &str) -> Option<String> {
    match find(told, gate) {
        None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
        Some(condition) if condition.status != "True" => {
            let status = &condition.status;
            Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {status}"))
        }
        Some(_) => None,
    }
}

/// Once true, always true.
fn initialized(around: Around<'_>, new: &PodStatus, phase: &str) -> Says {
    let inits = around.spec.init_containers.as_deref().unwrap_or_default();
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in inits {
        match status_of(new, container) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !is_initialized(container, status) => incomplete.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == SUCCEEDED && unknown.is_empty() {
        return Says { yes: true, reason: "PodCompleted", message: String::new() };
    }
    let told = around.before.conditions.as_deref().unwrap_or_default();
    if started_any(new) || find(told, "Initialized").is_some_and(|condition| condition.status == "True") {
        return YES;
    }
    if are_unknown(new) && !inits.is_empty() && !is_terminal(phase) {
        return no("UnknownContainerStatuses", String::new());
    }
    match lacking(&unknown, &incomplete, "incomplete") {
        message if message.is_empty() => YES,
        message => no("ContainersNotInitialized", message),
    }
}

fn is_initialized(container: &Container, status: &ContainerStatus) -> bool {
    if is_sidecar(container) { status.started == Some(true) } else { status.ready }
}

/// Whether an app container runs or ran.
fn started_any(new: &PodStatus) -> bool {
    new.container_statuses.iter().flatten().any(|status| {
        let state = status.state.as_ref();
        let moved = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        moved || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
    })
}
