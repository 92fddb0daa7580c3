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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::fake::{container, container_status, sandbox, uid};

    type States = (BTreeMap<ContainerId, ContainerState>, BTreeMap<SandboxId, SandboxState>);

    fn states(pod: Option<&PodObserved>) -> States {
        let containers = pod.into_iter().flat_map(|pod| &pod.containers);
        let sandboxes = pod.into_iter().flat_map(|pod| &pod.sandboxes);
        (
            containers.map(|seen| (seen.record.id.clone(), seen.record.state)).collect(),
            sandboxes.map(|seen| (seen.record.id.clone(), seen.record.state)).collect(),
        )
    }

    fn apply((mut containers, mut sandboxes): States, changes: &[Change]) -> States {
        for change in changes.iter().cloned() {
            match change {
                Change::ContainerCreated { id, .. } => drop(containers.insert(id, ContainerState::Created)),
                Change::ContainerStarted { id, .. } => drop(containers.insert(id, ContainerState::Running)),
                Change::ContainerDied { id, .. } => drop(containers.insert(id, ContainerState::Exited)),
                Change::ContainerLost { id, .. } => drop(containers.insert(id, ContainerState::Unknown)),
                Change::ContainerRemoved { id, .. } => drop(containers.remove(&id)),
                Change::SandboxReady { id, .. } => drop(sandboxes.insert(id, SandboxState::Ready)),
                Change::SandboxNotReady { id, .. } => drop(sandboxes.insert(id, SandboxState::NotReady)),
                Change::SandboxRemoved { id, .. } => drop(sandboxes.remove(&id)),
                Change::PodUpdated => {}
                Change::PodRemoved => assert!(containers.is_empty() && sandboxes.is_empty()),
            }
        }
        (containers, sandboxes)
    }

    fn pod(sandboxes: &[Option<SandboxState>], containers: &[Option<ContainerState>]) -> Option<PodObserved> {
        let sandboxes: Vec<_> = (0u32..)
            .zip(sandboxes)
            .filter_map(|(attempt, state)| {
                Some(SandboxSeen { record: sandbox("a", attempt, (*state)?), status: None })
            })
            .collect();
        let containers: Vec<_> = (0u32..)
            .zip(containers)
            .filter_map(|(attempt, state)| {
                let record = container("a", "c", attempt, (*state)?);
                let status = Some(Arc::new(container_status(&record, 7)));
                Some(ContainerSeen { record, status })
            })
            .collect();
        let some = !sandboxes.is_empty() || !containers.is_empty();
        let (name, namespace) = ("a".to_owned(), "default".to_owned());
        some.then(|| PodObserved {
            uid: uid("a"),
            name,
            namespace,
            began: 1,
            sandboxes,
            containers,
            quarantine: None,
        })
    }

    fn any_pod() -> impl Strategy<Value = Option<PodObserved>> {
        let sandbox = prop::option::of(prop_oneof![Just(SandboxState::Ready), Just(SandboxState::NotReady)]);
        let container = prop::option::of(prop_oneof![
            Just(ContainerState::Created),
            Just(ContainerState::Running),
            Just(ContainerState::Exited),
            Just(ContainerState::Unknown),
        ]);
        (prop::collection::vec(sandbox, 0..3), prop::collection::vec(container, 0..5))
            .prop_map(|(sandboxes, containers)| pod(&sandboxes, &containers))
    }

    #[test]
    fn an_exit_carries_its_code_and_a_vanished_run_has_none() {
        let running = pod(&[], &[Some(ContainerState::Running)]);
        let exited = pod(&[], &[Some(ContainerState::Exited)]);
        let died = diff(running.as_ref(), exited.as_ref());
        assert!(matches!(&died[..], [Change::ContainerDied { exit_code: Some(7), .. }]), "{died:?}");
        let gone = diff(running.as_ref(), None);
        assert!(
            matches!(
                &gone[..],
                [
                    Change::ContainerDied { exit_code: None, .. },
                    Change::ContainerRemoved { was: ContainerState::Running, .. },
                    Change::PodRemoved
                ]
            ),
            "{gone:?}"
        );
    }

    #[test]
    fn when_it_was_seen_is_no_difference() {
        let old = pod(&[Some(SandboxState::Ready)], &[]).unwrap();
        let new = PodObserved { began: 9, ..old.clone() };
        assert_eq!(diff(Some(&old), Some(&new)), []);
        let new = PodObserved { name: "b".to_owned(), ..old.clone() };
        assert_eq!(diff(Some(&old), Some(&new)), [Change::PodUpdated]);
    }

    proptest! {
        #[test]
        fn diff_then_apply_gives_the_new_states(old in any_pod(), new in any_pod()) {
            let changes = diff(old.as_ref(), new.as_ref());
            prop_assert_eq!(apply(states(old.as_ref()), &changes), states(new.as_ref()));
        }

        #[test]
        fn nothing_happened_between_equals(pod in any_pod()) {
            prop_assert_eq!(diff(pod.as_ref(), pod.as_ref()), vec![]);
        }

        #[test]
        fn something_happened_between_different_ones(old in any_pod(), new in any_pod()) {
            let differs = states(old.as_ref()) != states(new.as_ref());
            prop_assert_eq!(!diff(old.as_ref(), new.as_ref()).is_empty(), differs);
        }
    }
}
