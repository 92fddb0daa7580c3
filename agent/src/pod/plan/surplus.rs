//! What of a pod's past the runtime need not keep. Pure.

use std::collections::BTreeSet;

use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_gc::container::plan::{self as collect, Candidate, MAX_PER_CONTAINER};
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved};

use crate::pod::plan::running::recorded;
use crate::pod::plan::{Input, Plan, offer};
use crate::pod::step::Step;

/// Ended instances beyond the newest one of each container, and emptied old sandboxes. The end of
/// an instance is in the history before its removal is planned.
pub(super) fn give_back(input: &Input<'_>, plan: &mut Plan) {
    let Some(seen) = input.seen else { return };
    let candidates: Vec<Candidate> =
        seen.containers.iter().map(|container| candidate(seen, container)).collect();
    let unrecorded = seen.containers.iter().filter(|container| !recorded(input, container));
    let keep: BTreeSet<ContainerId> = unrecorded.map(|container| container.record.id.clone()).collect();
    let surplus: BTreeSet<ContainerId> =
        collect::plan(&candidates, &keep, MAX_PER_CONTAINER).into_iter().collect();
    for container in seen.containers.iter().filter(|container| surplus.contains(&container.record.id)) {
        let record = &container.record;
        let (name, id, attempt) = (record.name.clone(), record.id.clone(), record.attempt);
        offer(input, plan, Step::RemoveContainer { name, id, attempt });
    }
    let inhabited: BTreeSet<&SandboxId> =
        seen.containers.iter().map(|container| &container.record.sandbox_id).collect();
    for old in seen.sandboxes.iter().skip(1).filter(|old| !inhabited.contains(&old.record.id)) {
        let id = &old.record.id;
        // The runtime's word that it is stopped counts, also where it goes on listing it as ready.
        let stopped = input.stopped.contains(id);
        let step = if stopped {
            Step::RemoveSandbox { id: id.clone() }
        } else {
            Step::StopSandbox { id: id.clone() }
        };
        if !plan.steps.contains(&step) {
            offer(input, plan, step);
        }
    }
}

fn candidate(pod: &PodObserved, container: &ContainerSeen) -> Candidate {
    let record = &container.record;
    Candidate {
        id: record.id.clone(),
        pod_uid: pod.uid.clone(),
        name: record.name.clone(),
        attempt: record.attempt,
        state: record.state,
    }
}
