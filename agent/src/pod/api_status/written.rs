//! The form in which a status is compared and written, and what may never be written. Pure.

use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::containers::{is_sidecar, restarts};

/// Bytes of termination messages of a whole pod (`MaxPodTerminationMessageLogLength` of
/// `pkg/kubelet/container/runtime.go`).
const MESSAGE_BYTES: usize = 12_288;

/// Whole seconds, bounded messages, containers in a fixed order.
pub(super) fn normalize(spec: &PodSpec, status: &mut PodStatus) {
    let init = spec.init_containers.as_ref().map_or(0, Vec::len);
    let ephemeral = spec.ephemeral_containers.as_ref().map_or(0, Vec::len);
    let all = spec.containers.len().saturating_add(init).saturating_add(ephemeral);
    let limit = MESSAGE_BYTES.checked_div(all).unwrap_or(MESSAGE_BYTES);
    status.start_time.as_mut().into_iter().for_each(whole_second);
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_probe_time.as_mut().into_iter().for_each(whole_second);
        condition.last_transition_time.as_mut().into_iter().for_each(whole_second);
    }
    let lists = [
        &mut status.container_statuses,
        &mut status.init_container_statuses,
        &mut status.ephemeral_container_statuses,
    ];
    for container in lists.into_iter().flatten().flatten() {
        for state in [&mut container.state, &mut container.last_state].into_iter().flatten() {
            cut(state, limit);
        }
    }
    // Init containers are in the spec's order already.
    for list in [&mut status.container_statuses, &mut status.ephemeral_container_statuses] {
        list.iter_mut().for_each(|list| list.sort_by(|one, other| one.name.cmp(&other.name)));
    }
}

fn whole_second(time: &mut Time) {
    let Time(at) = time;
    // Cut, not rounded: a time in the future would be wrong in another way.
    let whole = at.as_nanosecond().div_euclid(1_000_000_000);
    let whole = i64::try_from(whole).ok().and_then(|second| Timestamp::from_second(second).ok());
    *at = whole.or_else(|| at.round(Unit::Second).ok()).unwrap_or(*at);
}

fn cut(state: &mut ContainerState, limit: usize) {
    if let Some(running) = &mut state.running {
        running.started_at.as_mut().into_iter().for_each(whole_second);
    }
    let Some(ended) = &mut state.terminated else { return };
    ended.started_at.as_mut().into_iter().for_each(whole_second);
    ended.finished_at.as_mut().into_iter().for_each(whole_second);
    if let Some(message) = &mut ended.message {
        let end = message.floor_char_boundary(limit);
        message.truncate(end);
    }
}

/// Whether the new status takes a container out of an end that its policy says is final.
pub(super) fn is_illegal(spec: &PodSpec, before: &PodStatus, new: &PodStatus) -> bool {
    let revived = |containers: &[k8s_openapi::api::core::v1::Container],
                   init: bool,
                   before: &Option<Vec<ContainerStatus>>,
                   new: &Option<Vec<ContainerStatus>>| {
        containers.iter().filter(|container| !(init && is_sidecar(container))).any(|container| {
            let find = |list: &Option<Vec<ContainerStatus>>| {
                let found = list.iter().flatten().find(|status| status.name == container.name);
                found.map(|status| status.state.as_ref().and_then(|state| state.terminated.clone()))
            };
            let code = find(before).flatten().map(|ended| ended.exit_code);
            let lives = matches!(find(new), Some(None));
            lives && code.is_some_and(|code| !restarts(spec, container, init, code))
        })
    };
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    revived(&spec.containers, false, &before.container_statuses, &new.container_statuses)
        || revived(inits, true, &before.init_container_statuses, &new.init_container_statuses)
}
