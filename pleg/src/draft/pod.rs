//! One pod as it is being observed: what was read, and what of it can be shown. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use pinnace_cri::container::Container;
use pinnace_cri::id::PodUid;
use pinnace_cri::labels::{POD_NAME, POD_NAMESPACE};
use pinnace_cri::sandbox::Sandbox;
use tokio::time::Instant;

use super::shelf::{self, Shelf, Taken};
use super::{Inspection, Target};
use crate::diff::same;
use crate::health::Oddities;
use crate::object::{Held, Need, Object};
use crate::quarantine::Quarantine;
use crate::slots::Kind;
use crate::snapshot::{ContainerSeen, PodObserved, SandboxSeen};

/// One pod's draft.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) sandboxes: Shelf<Sandbox>,
    pub(crate) containers: Shelf<Container>,
    /// Begin of the newest observation that changed something.
    pub(crate) began: u64,
    /// The freshness that the pod stays at until it is settled again.
    pub(crate) frozen: u64,
    pub(crate) quarantine: Option<Quarantine>,
    pub(crate) published: Option<Arc<PodObserved>>,
}

impl Draft {
    pub(crate) fn new(frozen: u64) -> Self {
        let (sandboxes, containers) = (Shelf::<Sandbox>::new(), Shelf::<Container>::new());
        Self { sandboxes, containers, began: 0, frozen, quarantine: None, published: None }
    }

    /// Whether all that changed was inspected.
    pub(crate) fn settled(&self) -> bool {
        shelf::settled::<Sandbox>(&self.sandboxes) && shelf::settled::<Container>(&self.containers)
    }

    /// Whether nothing of the pod is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }

    /// Before the first change since a commit: what is shown of a settled pod is its state as of `covered`.
    pub(crate) fn freeze(&mut self, covered: u64) {
        if self.settled() {
            self.frozen = covered;
        }
    }

    /// Takes in a list that began at `begin`.
    pub(crate) fn take_list(
        &mut self,
        listed: &Listed<'_>,
        begin: u64,
        order: &mut u64,
        odd: &mut Oddities,
    ) -> Taken {
        let sandboxes = shelf::take_list(&mut self.sandboxes, &listed.sandboxes, begin, order, odd);
        let containers = shelf::take_list(&mut self.containers, &listed.containers, begin, order, odd);
        self.spare_old_sandboxes();
        let taken = sandboxes.and(containers);
        if taken.changed {
            self.began = self.began.max(begin);
        }
        taken
    }

    /// Only the newest sandbox is inspected: nobody needs the addresses of one that was replaced.
    pub(crate) fn spare_old_sandboxes(&mut self) {
        let newest = self.sandboxes.values().min_by_key(|held| rank(held)).map(|held| held.order);
        for held in self.sandboxes.values_mut() {
            let is_newest = Some(held.order) == newest;
            if held.need == Need::Inspection && !is_newest {
                held.need = Need::Nothing;
            } else if held.need == Need::Nothing && is_newest && held.status.is_none() {
                held.need = Need::Inspection;
            }
        }
    }

    /// The status calls that may start at `now`: all, or one in a quarantined pod.
    pub(crate) fn wanted(&self, uid: &PodUid, now: Instant) -> Vec<Inspection> {
        let kind = if self.quarantine.is_some() { Kind::Retry } else { Kind::Inspection };
        let sandboxes = self.sandboxes.values().filter(|held| held.wants_status());
        let containers = self.containers.values().filter(|held| held.wants_status());
        let wanted = sandboxes
            .map(|held| Target::Sandbox(held.record.id.clone()))
            .chain(containers.map(|held| Target::Container(held.record.id.clone())))
            .map(|target| Inspection { uid: uid.clone(), target, kind });
        let mut wanted: Vec<_> = wanted.collect();
        if let Some(quarantine) = &self.quarantine {
            if now < quarantine.next_retry || self.asks() {
                return Vec::new();
            }
            let turn = (quarantine.failures as usize).checked_rem(wanted.len()).unwrap_or(0);
            wanted.rotate_left(turn); // so that one that hangs for ever does not hide the others
            wanted.truncate(1);
        }
        wanted
    }

    /// Whether a status call is under way.
    fn asks(&self) -> bool {
        self.sandboxes.values().any(|held| held.asked) || self.containers.values().any(|held| held.asked)
    }

    /// What can be shown now, if that differs from what is shown; the inner none is a pod that is gone.
    pub(crate) fn publish(&mut self, uid: &PodUid) -> Option<Option<Arc<PodObserved>>> {
        let settled = self.settled();
        if settled {
            self.quarantine = None;
        }
        let shown = match (&self.published, settled, &self.quarantine) {
            (_, true, _) if self.is_empty() => None,
            (_, true, _) | (None, false, Some(_)) => Some(self.observed(uid)),
            (Some(last), false, _) if last.quarantine != self.quarantine => {
                Some(PodObserved { quarantine: self.quarantine.clone(), ..(**last).clone() })
            }
            (_, false, _) => return None,
        };
        let unchanged = match (&self.published, &shown) {
            (Some(last), Some(now)) => same(last, now),
            (None, None) => true,
            _ => false,
        };
        if unchanged {
            return None;
        }
        self.published = shown.map(Arc::new);
        Some(self.published.clone())
    }

    fn observed(&self, uid: &PodUid) -> PodObserved {
        let sandboxes = sorted(&self.sandboxes, rank);
        let containers = sorted(&self.containers, |held| {
            (held.record.name.clone(), Reverse(held.record.attempt), held.order)
        });
        let label = |key| containers.first().and_then(|held| held.record.labels.get(key)).cloned();
        let (name, namespace) = match sandboxes.first() {
            Some(newest) => (newest.record.pod_name.clone(), newest.record.pod_namespace.clone()),
            None => (label(POD_NAME).unwrap_or_default(), label(POD_NAMESPACE).unwrap_or_default()),
        };
        let sandbox =
            |held: &Held<Sandbox>| SandboxSeen { record: held.record.clone(), status: held.status.clone() };
        let container = |held: &Held<Container>| ContainerSeen {
            record: held.record.clone(),
            status: held.status.clone(),
        };
        PodObserved {
            uid: uid.clone(),
            name,
            namespace,
            began: self.began,
            sandboxes: sandboxes.into_iter().map(sandbox).collect(),
            containers: containers.into_iter().map(container).collect(),
            quarantine: self.quarantine.clone(),
        }
    }
}

/// One pod's records in a list.
#[derive(Debug, Default)]
pub(crate) struct Listed<'a> {
    pub(crate) sandboxes: Vec<&'a Arc<Sandbox>>,
    pub(crate) containers: Vec<&'a Arc<Container>>,
}

/// Newest first: attempt, then place in the list.
fn rank<O: Object>(held: &Held<O>) -> (Reverse<u32>, u64) {
    (Reverse(held.record.attempt()), held.order)
}

fn sorted<O: Object, K: Ord>(shelf: &Shelf<O>, key: impl Fn(&Held<O>) -> K) -> Vec<&Held<O>> {
    let mut all: Vec<_> = shelf.values().collect();
    all.sort_by_cached_key(|held| key(held));
    all
}
