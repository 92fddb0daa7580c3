//! Whether anything of a pod can still be running, and what becomes of its container statuses once its termination is
//! over. Pure.

use k8s_openapi::api::core::v1::{
    ContainerState as State, ContainerStateTerminated, ContainerStatus, PodSpec, PodStatus,
};
use pinnace_cri::container::ContainerState;

use super::containers::is_sidecar;
use crate::journal::history::ContainerHistory;
use crate::pod::plan::Rest;
use crate::pod::plan::notice::{UNKNOWN_CODE, UNKNOWN_REASON};
use crate::pod::plan::terminating::REFUSED;
use crate::pod::status::Subject;
use crate::pod::step::Key;

/// Message of a container that had not ended when its pod's termination was over, byte for byte the kubelet's.
const LOST_MESSAGE: &str = "The container could not be located when the pod was terminated";

/// Whether a container runs, or may come to run by a call that was begun.
pub(super) fn is_active(subject: &Subject<'_>) -> bool {
    let face = subject.face;
    if face.history.termination.is_some()
        && matches!(face.rest, Rest::Settled | Rest::Emptied | Rest::Vanished)
    {
        return false;
    }
    let seen = subject.seen.map(|seen| seen.containers.as_slice()).unwrap_or_default();
    let running = seen
        .iter()
        .any(|container| matches!(container.record.state, ContainerState::Running | ContainerState::Unknown));
    let creating = face.busy.iter().any(|key| matches!(key, Key::Sandbox | Key::Start(_)));
    let open = |(name, history): (&String, &ContainerHistory)| is_open(subject, name, history);
    running || creating || face.history.containers.iter().any(open)
}

/// An instance was asked for, and neither seen, nor ended, nor refused. A list may be older than the asking.
fn is_open(subject: &Subject<'_>, name: &str, history: &ContainerHistory) -> bool {
    let listed = subject.newest(name).map(|seen| seen.record.attempt);
    let ended = history.last_exit.as_ref().map(|exit| exit.attempt);
    let refused = subject.face.retries.get(&Key::Start(name.to_owned())).is_some_and(|retry| !retry.in_doubt);
    history.attempt > listed.max(ended) && !refused
}

/// Whether termination was begun and nothing is left that could run.
pub(super) fn is_over(subject: &Subject<'_>) -> bool {
    subject.face.history.termination.is_some() && !is_active(subject)
}

/// Whether admission refused the pod, so that nothing of it was ever asked for.
pub(super) fn is_rejected(subject: &Subject<'_>) -> bool {
    let history = &subject.face.history;
    let refused = history.terminal.as_ref().is_some_and(|terminal| terminal.message.starts_with(REFUSED));
    refused && history.containers.is_empty() && history.sandbox_attempt.is_none() && subject.seen.is_none()
}

/// Gives every container that has not ended its end: the code is an error's, since nobody knows better. Where the pod
/// never came so far as to start them, app containers stay as they are, and so do init containers behind the last
/// that ever started.
pub(super) fn complete(spec: &PodSpec, new: &mut PodStatus) {
    if has_initialized(spec, new) {
        for status in new.container_statuses.iter_mut().flatten() {
            lose(status);
        }
    }
    if let Some(inits) = &mut new.init_container_statuses {
        let last = inits.iter().rposition(|status| !is_waiting(status) || has_ended_before(status));
        for status in inits.iter_mut().take(last.map_or(1, |last| last.saturating_add(1))) {
            lose(status);
        }
    }
}

fn lose(status: &mut ContainerStatus) {
    if state(status).is_some_and(|state| state.terminated.is_some()) {
        return;
    }
    let terminated = ContainerStateTerminated {
        exit_code: UNKNOWN_CODE,
        reason: Some(UNKNOWN_REASON.to_owned()),
        message: Some(LOST_MESSAGE.to_owned()),
        ..ContainerStateTerminated::default()
    };
    status.state = Some(State { terminated: Some(terminated), ..State::default() });
    status.ready = false;
    status.started = Some(false);
}

fn state(status: &ContainerStatus) -> Option<&State> {
    status.state.as_ref()
}

fn is_waiting(status: &ContainerStatus) -> bool {
    state(status).is_some_and(|state| state.waiting.is_some())
}

fn has_ended_before(status: &ContainerStatus) -> bool {
    status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn has_initialized(spec: &PodSpec, new: &PodStatus) -> bool {
    let Some(last) = spec.init_containers.iter().flatten().next_back() else { return true };
    let moved = |status: &ContainerStatus| has_ended_before(status) || !is_waiting(status);
    if new.container_statuses.iter().flatten().any(moved) {
        return true;
    }
    let mut inits = new.init_container_statuses.iter().flatten();
    let Some(status) = inits.find(|status| status.name == last.name) else { return false };
    if is_sidecar(last) {
        let runs = state(status).is_some_and(|state| state.running.is_some());
        return runs && status.started == Some(true);
    }
    let done = |state: Option<&State>| {
        state.and_then(|state| state.terminated.as_ref()).is_some_and(|ended| ended.exit_code == 0)
    };
    done(state(status)) || done(status.last_state.as_ref())
}
