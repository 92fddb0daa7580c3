//! The status of a pod as the API server shall have it. Pure: (what is known of the pod, the status before, the node,
//! now) → the whole `PodStatus`.
//!
//! `before` is the last status that this function gave, or, first of all, what the API server had; [`basis`] makes it of
//! both. From it come what others own, the times of conditions, what never changes (`startTime`, a terminal phase, a
//! counted restart), and what neither the runtime nor the journal knows any more. Giving back the result as `before`
//! gives the same result.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::clock::Now;
use crate::pod::resources::{Qos, qos};
use crate::pod::status::Subject;
use crate::source::desired::Origin;

mod address;
mod conditions;
mod containers;
mod phase;
mod terminal;
mod written;

#[cfg(test)]
mod tests;

pub(crate) use address::sorted;
pub use conditions::{DISRUPTION, is_ours};
pub use phase::is_terminal;

/// What of the node enters a pod's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Addresses of the node, the primary one first, at most one of each family; empty while they are not known.
    pub ips: Vec<IpAddr>,
    /// The runtime's name as its `Version` answer gives it, which container ids start with: `containerd`.
    pub runtime: String,
    /// The runtime can make read-only mounts read-only in their whole tree.
    pub recursive_read_only: bool,
}

/// What the parts of a status are made from.
#[derive(Debug, Clone, Copy)]
struct Around<'a> {
    subject: &'a Subject<'a>,
    spec: &'a PodSpec,
    before: &'a PodStatus,
    host: &'a Host,
    /// Its source is a file: its phase is not forced, its mirror's generation says nothing.
    is_static: bool,
    /// Its termination is over: whatever has not ended by now never will.
    over: bool,
}

/// The status. Without a spec, which only a pod that nobody ever described lacks, it is the status before.
#[must_use]
pub fn status(subject: &Subject<'_>, before: Option<&PodStatus>, host: &Host, now: &Now) -> PodStatus {
    let pod = subject.face.pod.as_ref();
    let is_static = pod.is_some_and(|pod| matches!(pod.origin, Origin::File(_)));
    of(subject, before, host, is_static, now)
}

fn of(
    subject: &Subject<'_>,
    before: Option<&PodStatus>,
    host: &Host,
    is_static: bool,
    now: &Now,
) -> PodStatus {
    let nothing = PodStatus::default();
    let before = before.unwrap_or(&nothing);
    let pod = subject.face.pod.as_ref();
    let Some((pod, spec)) = pod.and_then(|pod| Some((pod, pod.pod.spec.as_ref()?))) else {
        return before.clone();
    };
    let over = terminal::is_over(subject);
    let around = Around { subject, spec, before, host, is_static, over };
    let mut new = carried_over(before);
    if !terminal::is_rejected(subject) {
        containers::fill(around, &mut new);
    }
    let generation = pod.pod.metadata.generation.filter(|generation| *generation > 0 && !is_static);
    new.observed_generation = generation.max(before.observed_generation.filter(|_| !is_static));
    let verdict = phase::decide(around, &new);
    new.conditions = Some(conditions::all(around, &new, &verdict, generation, now));
    (new.phase, new.reason, new.message) = (Some(verdict.phase.to_owned()), verdict.reason, verdict.message);
    address::fill(around, &mut new);
    // Once it is told, the API server refuses another.
    new.qos_class = before.qos_class.clone().or_else(|| Some(class(spec).to_owned()));
    new.start_time = Some(started(around, now));
    written::normalize(spec, &mut new);
    if written::is_illegal(spec, before, &new) { before.clone() } else { new }
}

/// What is not ours to say.
fn carried_over(before: &PodStatus) -> PodStatus {
    PodStatus {
        allocated_resources: before.allocated_resources.clone(),
        ephemeral_container_statuses: before.ephemeral_container_statuses.clone(),
        extended_resource_claim_status: before.extended_resource_claim_status.clone(),
        node_allocatable_resource_claim_statuses: before.node_allocatable_resource_claim_statuses.clone(),
        nominated_node_name: before.nominated_node_name.clone(),
        resize: before.resize.clone(),
        resource_claim_statuses: before.resource_claim_statuses.clone(),
        resources: before.resources.clone(),
        ..PodStatus::default()
    }
}

fn class(spec: &PodSpec) -> &'static str {
    match qos(spec) {
        Qos::Guaranteed => "Guaranteed",
        Qos::Burstable => "Burstable",
        Qos::BestEffort => "BestEffort",
    }
}

/// First sight, for ever.
fn started(around: Around<'_>, now: &Now) -> Time {
    let remembered = around.subject.face.history.started.as_ref();
    let known = around.before.start_time.clone();
    known.unwrap_or_else(|| Time(remembered.map_or(now.wall, |stamp| stamp.wall)))
}

/// The status to go on from: ours where there is one, with what others own as the API server has it. A terminal phase
/// of the API server's is final whoever wrote it.
#[must_use]
pub fn basis(ours: Option<&PodStatus>, api: Option<&PodStatus>) -> Option<PodStatus> {
    let (Some(ours), Some(api)) = (ours, api) else { return ours.or(api).cloned() };
    let mut basis = PodStatus {
        container_statuses: ours.container_statuses.clone(),
        init_container_statuses: ours.init_container_statuses.clone(),
        host_ip: ours.host_ip.clone(),
        host_ips: ours.host_ips.clone(),
        pod_ip: ours.pod_ip.clone(),
        pod_ips: ours.pod_ips.clone(),
        observed_generation: ours.observed_generation,
        start_time: ours.start_time.clone(),
        phase: ours.phase.clone(),
        reason: ours.reason.clone(),
        message: ours.message.clone(),
        qos_class: ours.qos_class.clone(),
        ..carried_over(api)
    };
    let of = |status: &PodStatus, mine: bool| -> Vec<PodCondition> {
        let all = status.conditions.iter().flatten();
        all.filter(|condition| is_ours(&condition.type_) == mine).cloned().collect()
    };
    basis.conditions = Some([of(api, false), of(ours, true)].concat());
    if api.phase.as_deref().is_some_and(is_terminal) {
        (basis.phase, basis.reason, basis.message) =
            (api.phase.clone(), api.reason.clone(), api.message.clone());
    }
    Some(basis)
}
