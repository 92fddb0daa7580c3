//! Decides what happened between two observations of one pod. Pure.

use std::collections::BTreeMap;

use pinnace_cri::container::ContainerState;
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::SandboxState;

use crate::snapshot::{ContainerSeen, PodObserved, SandboxSeen};

/// One thing that happened to a pod in the runtime. The snapshot that shows it is visible before this is received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLifecycleEvent {
    /// The pod.
    pub uid: PodUid,
    /// The commit that shows it: [`crate::snapshot::Snapshot::seq`].
    pub seq: u64,
    /// What happened.
    pub change: Change,
}

/// What happened to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A container was made and does not run yet.
    ContainerCreated {
        /// The runtime's id.
        id: ContainerId,
        /// Name in the pod's spec.
        name: String,
        /// Which instance.
        attempt: u32,
    },
    /// A container runs.
    ContainerStarted {
        /// The runtime's id.
        id: ContainerId,
        /// Name in the pod's spec.
        name: String,
        /// Which instance.
        attempt: u32,
    },
    /// A container ended.
    ContainerDied {
        /// The runtime's id.
        id: ContainerId,
        /// Name in the pod's spec.
        name: String,
        /// Which instance.
        attempt: u32,
        /// Its exit code; none when it was gone before anyone could ask.
        exit_code: Option<i32>,
    },
    /// The runtime no longer knows what a container does.
    ContainerLost {
        /// The runtime's id.
        id: ContainerId,
        /// Name in the pod's spec.
        name: String,
        /// Which instance.
        attempt: u32,
    },
    /// A container is no longer in the runtime. If it ran, [`Change::ContainerDied`] precedes this.
    ContainerRemoved {
        /// The runtime's id.
        id: ContainerId,
        /// Name in the pod's spec.
        name: String,
        /// Which instance.
        attempt: u32,
        /// Its last known state.
        was: ContainerState,
    },
    /// A sandbox is up.
    SandboxReady {
        /// The runtime's id.
        id: SandboxId,
        /// Which try of the pod.
        attempt: u32,
    },
    /// A sandbox is down.
    SandboxNotReady {
        /// The runtime's id.
        id: SandboxId,
        /// Which try of the pod.
        attempt: u32,
    },
    /// A sandbox is no longer in the runtime.
    SandboxRemoved {
        /// The runtime's id.
        id: SandboxId,
        /// Which try of the pod.
        attempt: u32,
    },
    /// Something else differs: an address, an annotation, a quarantine. Never beside another change.
    PodUpdated,
    /// Nothing of the pod is left in the runtime.
    PodRemoved,
}

/// What happened between two observations of one pod, containers before sandboxes; empty for equal ones.
#[must_use]
pub fn diff(old: Option<&PodObserved>, new: Option<&PodObserved>) -> Vec<Change> {
    let mut changes = Vec::new();
    containers(old, new, &mut changes);
    sandboxes(old, new, &mut changes);
    match (old, new) {
        (Some(_), None) => changes.push(Change::PodRemoved),
        (old, Some(new)) if changes.is_empty() && !old.is_some_and(|old| same(old, new)) => {
            changes.push(Change::PodUpdated);
        }
        _ => {}
    }
    changes
}

/// Whether two observations say the same; when they were made does not matter.
pub(crate) fn same(one: &PodObserved, other: &PodObserved) -> bool {
    one.sandboxes == other.sandboxes
        && one.containers == other.containers
        && one.quarantine == other.quarantine
        && one.name == other.name
        && one.namespace == other.namespace
}

fn containers(old: Option<&PodObserved>, new: Option<&PodObserved>, changes: &mut Vec<Change>) {
    let old = by_id(old.map(|pod| &pod.containers), |seen: &ContainerSeen| seen.record.id.clone());
    let new = by_id(new.map(|pod| &pod.containers), |seen: &ContainerSeen| seen.record.id.clone());
    for (id, was) in &old {
        if !new.contains_key(id) {
            removed(was, changes);
        }
    }
    for (id, is) in &new {
        if old.get(id).map(|was| was.record.state) != Some(is.record.state) {
            changes.push(reached(is));
        }
    }
}

fn reached(is: &ContainerSeen) -> Change {
    let (id, name, attempt) = (is.record.id.clone(), is.record.name.clone(), is.record.attempt);
    match is.record.state {
        ContainerState::Created => Change::ContainerCreated { id, name, attempt },
        ContainerState::Running => Change::ContainerStarted { id, name, attempt },
        ContainerState::Exited => {
            let exit_code = is.status.as_ref().map(|status| status.exit_code);
            Change::ContainerDied { id, name, attempt, exit_code }
        }
        ContainerState::Unknown => Change::ContainerLost { id, name, attempt },
    }
}

fn removed(was: &ContainerSeen, changes: &mut Vec<Change>) {
    let (id, name, attempt) = (&was.record.id, &was.record.name, was.record.attempt);
    if was.record.state == ContainerState::Running {
        let (id, name) = (id.clone(), name.clone());
        changes.push(Change::ContainerDied { id, name, attempt, exit_code: None });
    }
    let (id, name, was) = (id.clone(), name.clone(), was.record.state);
    changes.push(Change::ContainerRemoved { id, name, attempt, was });
}

fn sandboxes(old: Option<&PodObserved>, new: Option<&PodObserved>, changes: &mut Vec<Change>) {
    let old = by_id(old.map(|pod| &pod.sandboxes), |seen: &SandboxSeen| seen.record.id.clone());
    let new = by_id(new.map(|pod| &pod.sandboxes), |seen: &SandboxSeen| seen.record.id.clone());
    for (id, was) in &old {
        if !new.contains_key(id) {
            changes.push(Change::SandboxRemoved { id: id.clone(), attempt: was.record.attempt });
        }
    }
    for (id, is) in &new {
        if old.get(id).map(|was| was.record.state) != Some(is.record.state) {
            let (id, attempt) = (id.clone(), is.record.attempt);
            changes.push(match is.record.state {
                SandboxState::Ready => Change::SandboxReady { id, attempt },
                SandboxState::NotReady => Change::SandboxNotReady { id, attempt },
            });
        }
    }
}

fn by_id<T, Id: Ord>(seen: Option<&Vec<T>>, id: impl Fn(&T) -> Id) -> BTreeMap<Id, &T> {
    seen.into_iter().flatten().map(|one| (id(one), one)).collect()
}
