//! What the runtime holds, as far as it was fully observed: the value that everyone else reads. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use pinnace_cri::container::{Container, ContainerStatus};
use pinnace_cri::id::PodUid;
use pinnace_cri::sandbox::{Sandbox, SandboxStatus};

use crate::quarantine::Quarantine;

/// All pods in the runtime that this node owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of this commit; grows by one with each.
    pub seq: u64,
    /// Begin of the last complete list; 0 before the first, when an absent pod means nothing.
    pub listed: u64,
    /// The pods that were observed, by UID.
    pub pods: BTreeMap<PodUid, Arc<PodObserved>>,
    /// Begin of the last look at one pod, where that is later than `listed`.
    pub looked: BTreeMap<PodUid, u64>,
    /// Pods with objects that changed and are not inspected yet, with the freshness that they stay at.
    pub lagging: BTreeMap<PodUid, u64>,
}

impl Snapshot {
    /// What is known of a pod; none also when it is not in the runtime, which holds as of [`Self::freshness`].
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<&Arc<PodObserved>> {
        self.pods.get(uid)
    }

    /// The begin of the newest observation that the pod's state reflects in full; 0 before the first.
    ///
    /// Effects of an action that ended at `done` (see [`crate::sequence::Sequence`]) are in when this is greater.
    /// It stands still while an inspection of what changed in the pod is outstanding.
    #[must_use]
    pub fn freshness(&self, uid: &PodUid) -> u64 {
        match self.lagging.get(uid) {
            Some(frozen) => *frozen,
            None => self.listed.max(self.looked.get(uid).copied().unwrap_or(0)),
        }
    }
}

/// One pod as the runtime holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodObserved {
    /// UID, from the labels.
    pub uid: PodUid,
    /// Name, from the newest sandbox, else from a container's labels; may be empty.
    pub name: String,
    /// Namespace, found as the name is.
    pub namespace: String,
    /// Begin of the newest observation that changed this value; for "is it new enough" ask
    /// [`Snapshot::freshness`], which also grows while nothing changes.
    pub began: u64,
    /// Highest attempt first, then in listing order; never by time.
    pub sandboxes: Vec<SandboxSeen>,
    /// By name, highest attempt first, then in listing order.
    pub containers: Vec<ContainerSeen>,
    /// Why the pod could not be inspected, if so; the rest is then its last known state.
    pub quarantine: Option<Quarantine>,
}

impl PodObserved {
    /// The sandbox with the highest attempt.
    #[must_use]
    pub fn newest_sandbox(&self) -> Option<&SandboxSeen> {
        self.sandboxes.first()
    }

    /// The instance with the highest attempt of the container called `name`.
    #[must_use]
    pub fn newest_container(&self, name: &str) -> Option<&ContainerSeen> {
        self.containers.iter().find(|container| container.record.name == name)
    }

    /// Whether the container's sandbox is not among the pod's: such a container can only be removed.
    #[must_use]
    pub fn is_orphan(&self, container: &ContainerSeen) -> bool {
        !self.sandboxes.iter().any(|sandbox| sandbox.record.id == container.record.sandbox_id)
    }
}

/// A sandbox and what its inspection said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSeen {
    /// The list record.
    pub record: Arc<Sandbox>,
    /// An answer of the same state as the record; only the newest sandbox is inspected.
    pub status: Option<Arc<SandboxStatus>>,
}

/// A container and what its inspection said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSeen {
    /// The list record.
    pub record: Arc<Container>,
    /// An answer of the same state as the record; none only in a pod that was quarantined at its first sight.
    pub status: Option<Arc<ContainerStatus>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_the_newest_observation_unless_the_pod_lags() {
        let [a, b, c] = ["a", "b", "c"].map(|uid| PodUid::new(uid).unwrap());
        let snapshot = Snapshot {
            listed: 5,
            looked: BTreeMap::from([(b.clone(), 7), (c.clone(), 9)]),
            lagging: BTreeMap::from([(c.clone(), 3)]),
            ..Snapshot::default()
        };
        assert_eq!([a, b, c].map(|uid| snapshot.freshness(&uid)), [5, 7, 3]);
    }
}
