//! The phase of a pod, from its container statuses. Pure; the order of the rules is the kubelet's (`getPhase` of
//! `pkg/kubelet/kubelet_pods.go`).

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, PodSpec, PodStatus};

use super::{Around, containers, terminal};

pub(super) const PENDING: &str = "Pending";
pub(super) const RUNNING: &str = "Running";
pub(super) const SUCCEEDED: &str = "Succeeded";
pub(super) const FAILED: &str = "Failed";

/// Whether a pod of this phase is done for ever.
#[must_use]
pub fn is_terminal(phase: &str) -> bool {
    phase == SUCCEEDED || phase == FAILED
}

/// A phase with what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The phase to write.
    pub(super) phase: &'static str,
    /// Its reason.
    pub(super) reason: Option<String>,
    /// Its message.
    pub(super) message: Option<String>,
    /// The phase that conditions are made for: the terminal one also while its containers are still being stopped.
    pub(super) intended: &'static str,
}

/// Decides. What is terminal in the status before stays; a terminal phase waits until nothing can be running.
pub(super) fn decide(around: Around<'_>, new: &PodStatus) -> Verdict {
    let before = around.before;
    let computed = of(around.spec, new, around.over && !around.is_static);
    if let Some(phase) = before.phase.as_deref().and_then(known).filter(|phase| is_terminal(phase)) {
        let (reason, message) = (before.reason.clone(), before.message.clone());
        return Verdict { phase, reason, message, intended: phase };
    }
    let remembered = around.subject.face.history.terminal.as_ref();
    let final_word = remembered.map(|terminal| {
        let phase = if terminal.succeeded { SUCCEEDED } else { FAILED };
        (phase, some(&terminal.reason), some(&terminal.message))
    });
    let forced = (around.over && !around.is_static && !is_terminal(computed)).then_some((FAILED, None, None));
    let (phase, reason, message) = final_word.or(forced).unwrap_or((computed, None, None));
    if is_terminal(phase) && terminal::is_active(around.subject) {
        let shown = before.phase.as_deref().and_then(known).unwrap_or(RUNNING);
        let (reason, message) = (before.reason.clone(), before.message.clone());
        return Verdict { phase: shown, reason, message, intended: phase };
    }
    Verdict { phase, reason, message, intended: phase }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn known(phase: &str) -> Option<&'static str> {
    [PENDING, RUNNING, SUCCEEDED, FAILED].into_iter().find(|known| *known == phase)
}

#[derive(Debug, Default)]
struct Tally {
    /// Plain init containers that have not ended.
    init_pending: usize,
    /// Plain init containers that failed for good.
    init_failed: usize,
    /// Sidecars that have not started.
    sidecars_pending: usize,
    running: usize,
    waiting: usize,
    unknown: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

/// The phase that the statuses alone tell. `over`: nothing of the pod is started any more.
fn of(spec: &PodSpec, new: &PodStatus, over: bool) -> &'static str {
    let tally = tally(spec, new);
    let initialized = tally.running + tally.stopped > 0 && started_any(spec, new);
    if tally.init_failed > 0 {
        return FAILED;
    }
    if tally.init_pending > 0 || (tally.sidecars_pending > 0 && !initialized) || tally.waiting > 0 {
        return PENDING;
    }
    if tally.unknown > 0 {
        return PENDING;
    }
    if tally.running > 0 {
        return RUNNING;
    }
    if tally.stopped == 0 {
        return PENDING;
    }
    if !over && tally.stopped != tally.stopped_for_good {
        return RUNNING;
    }
    if tally.stopped == tally.succeeded { SUCCEEDED } else { FAILED }
}

fn started_any(spec: &PodSpec, new: &PodStatus) -> bool {
    let statuses = new.container_statuses.as_deref().unwrap_or_default();
    spec.containers.iter().any(|container| {
        let state = find(statuses, &container.name).and_then(|status| status.state.as_ref());
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    })
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

fn tally(spec: &PodSpec, new: &PodStatus) -> Tally {
    let mut tally = Tally::default();
    let statuses = new.init_container_statuses.as_deref().unwrap_or_default();
    for container in spec.init_containers.iter().flatten() {
        let status = find(statuses, &container.name);
        if containers::is_sidecar(container) {
            sidecar(status, &mut tally);
        } else {
            plain_init(spec, container, status, &mut tally);
        }
    }
    let statuses = new.container_statuses.as_deref().unwrap_or_default();
    for container in &spec.containers {
        app(spec, container, find(statuses, &container.name), &mut tally);
    }
    tally
}

/// How a container ended last, if it does not run.
fn ended(status: &ContainerStatus) -> Option<i32> {
    let terminated = |state: Option<&ContainerState>| Some(state?.terminated.as_ref()?.exit_code);
    terminated(status.state.as_ref()).or_else(|| terminated(status.last_state.as_ref()))
}

fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn plain_init(spec: &PodSpec, container: &Container, status: Option<&ContainerStatus>, tally: &mut Tally) {
    let code = status.filter(|status| !runs(status)).and_then(ended);
    match code {
        None => tally.init_pending += 1,
        Some(code) if code != 0 && !containers::restarts(spec, container, true, code) => {
            tally.init_failed += 1;
        }
        // An end with 0 that is only remembered, as after the loss of the sandbox, has to come about again; the kubelet
        // counts it as done all the same.
        Some(_) => {}
    }
}

/// Exit codes of sidecars never count.
fn sidecar(status: Option<&ContainerStatus>, tally: &mut Tally) {
    match status {
        None => tally.unknown += 1,
        Some(status) if runs(status) => {
            tally.running += 1;
            if status.started != Some(true) {
                tally.sidecars_pending += 1;
            }
        }
        Some(status) if ended(status).is_some() => {}
        Some(_) => {
            tally.sidecars_pending += 1;
            tally.waiting += 1;
        }
    }
}

fn app(spec: &PodSpec, container: &Container, status: Option<&ContainerStatus>, tally: &mut Tally) {
    let Some(status) = status else {
        tally.unknown += 1;
        return;
    };
    if runs(status) {
        tally.running += 1;
        return;
    }
    let Some(code) = ended(status) else {
        tally.waiting += 1;
        return;
    };
    tally.stopped += 1;
    if !containers::restarts(spec, container, false, code) {
        tally.stopped_for_good += 1;
    }
    // What waits for a restart has not succeeded, whatever its last end was.
    let stays = status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    if stays && code == 0 {
        tally.succeeded += 1;
    }
}
