//! Which pods get a worker, and which are told to go. Pure.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pinnace_cri::id::PodUid;
use pinnace_pleg::snapshot::Snapshot;

use crate::journal::history::{Histories, TerminationCause};
use crate::source::desired::{Desired, DesiredPod};

/// What the fleet knows of a member.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// `namespace/name`.
    pub full_name: Arc<str>,
    /// Why it was told to go, if it was.
    pub leaving: Option<TerminationCause>,
    /// Its spec.
    pub pod: Option<Arc<DesiredPod>>,
}

/// A change of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// A wanted pod gets a worker.
    Admit(Arc<DesiredPod>),
    /// A member's spec changed under its UID.
    Update(Arc<DesiredPod>),
    /// A pod that nobody wants gets a worker that takes it down.
    TakeUp {
        /// The pod.
        uid: PodUid,
        /// Why it goes.
        cause: TerminationCause,
    },
    /// A member is told to go.
    Dismiss {
        /// The pod.
        uid: PodUid,
        /// Why it goes.
        cause: TerminationCause,
    },
}

/// Decides. Before every source has synced nothing is dismissed or taken up, only admitted; and what only the
/// runtime knows is taken up once it was listed.
#[must_use]
pub fn moves(
    members: &BTreeMap<PodUid, Known>,
    desired: &Desired,
    remembered: &Histories,
    snapshot: &Snapshot,
) -> Vec<Move> {
    let names = LazyCell::new(|| desired.pods.values().map(|pod| pod.full_name()).collect::<BTreeSet<_>>());
    let cause = |name: &str| match names.contains(name) {
        true => TerminationCause::Replaced,
        false => TerminationCause::Removed,
    };
    let mut moves = Vec::new();
    for (uid, known) in members.iter().filter(|(uid, _)| !desired.pods.contains_key(*uid)) {
        let origin = known.pod.as_ref().map(|pod| &pod.origin);
        if may_be_told_to_go(known) && desired.is_complete_for(origin) {
            moves.push(Move::Dismiss { uid: uid.clone(), cause: cause(&known.full_name) });
        }
    }
    let absent = |uid: &PodUid| !members.contains_key(uid) && !desired.pods.contains_key(uid);
    for (uid, history) in remembered.iter().filter(|(uid, _)| absent(uid)) {
        if desired.is_complete_for(history.admitted.as_ref().map(|pod| &pod.origin)) {
            let name = history.admitted.as_ref().map(|pod| pod.full_name()).unwrap_or_default();
            moves.push(Move::TakeUp { uid: uid.clone(), cause: cause(&name) });
        }
    }
    if desired.synced {
        for uid in snapshot.pods.keys().filter(|uid| absent(uid) && !remembered.contains_key(*uid)) {
            moves.push(Move::TakeUp { uid: uid.clone(), cause: TerminationCause::Orphaned });
        }
    }
    moves.extend(changes(members, desired));
    // The older pod has the first say on what both want.
    let mut new: Vec<_> = desired.pods.values().filter(|pod| !members.contains_key(&pod.uid)).collect();
    new.sort_by_key(|pod| pod.pod.metadata.creation_timestamp.as_ref().map(|created| created.0));
    moves.extend(new.into_iter().map(|pod| Move::Admit(Arc::clone(pod))));
    moves
}

/// What members that are still wanted have to be told.
fn changes(members: &BTreeMap<PodUid, Known>, desired: &Desired) -> Vec<Move> {
    let mut moves = Vec::new();
    for (uid, pod) in &desired.pods {
        let Some(known) = members.get(uid) else { continue };
        if !is_same(known.pod.as_ref(), pod) {
            moves.push(Move::Update(Arc::clone(pod)));
        }
        if known.leaving.is_none() && pod.is_being_deleted() {
            moves.push(Move::Dismiss { uid: uid.clone(), cause: TerminationCause::Deleted });
        }
    }
    moves
}

/// Whether a member that no source has any more is to be told so: also one that was told to go while its object
/// was still there, since now nothing keeps it.
fn may_be_told_to_go(known: &Known) -> bool {
    matches!(known.leaving, None | Some(TerminationCause::Deleted))
}

/// Nearly always it is the very same value; comparing two whole specs at every pass of the fleet would be its
/// largest cost.
fn is_same(known: Option<&Arc<DesiredPod>>, pod: &Arc<DesiredPod>) -> bool {
    known.is_some_and(|known| Arc::ptr_eq(known, pod) || known == pod)
}

/// Pods of which nothing but a directory is left: neither a source, nor the journal, nor the runtime knows them.
/// None before every source has synced and the runtime was listed.
#[must_use]
pub fn leftovers(
    members: &BTreeMap<PodUid, Known>,
    desired: &Desired,
    remembered: &Histories,
    snapshot: &Snapshot,
    on_disk: &BTreeSet<PodUid>,
) -> Vec<Move> {
    if !desired.synced || snapshot.listed == 0 {
        return Vec::new();
    }
    let known = |uid: &PodUid| {
        let listed = snapshot.pods.contains_key(uid) || snapshot.lagging.contains_key(uid);
        listed || members.contains_key(uid) || remembered.contains_key(uid) || desired.pods.contains_key(uid)
    };
    let left = on_disk.iter().filter(|uid| !known(uid));
    left.map(|uid| Move::TakeUp { uid: uid.clone(), cause: TerminationCause::Orphaned }).collect()
}

/// The members that are not alone in their name: another one of that name is to go, and was not gone yet.
#[must_use]
pub fn not_alone(members: &BTreeMap<PodUid, Known>) -> BTreeSet<&PodUid> {
    let mut leaving = BTreeMap::<&str, Vec<&PodUid>>::new();
    for (uid, known) in members.iter().filter(|(_, known)| known.leaving.is_some()) {
        leaving.entry(&known.full_name).or_default().push(uid);
    }
    let has_another = |(uid, known): &(&PodUid, &Known)| {
        leaving.get(&*known.full_name).is_some_and(|others| others.iter().any(|other| other != uid))
    };
    members.iter().filter(has_another).map(|(uid, _)| uid).collect()
}

/// Whether the runtime lists a pod that is no member and was not inspected yet: it may have anybody's name.
#[must_use]
pub fn is_anyone_unseen(members: &BTreeMap<PodUid, Known>, snapshot: &Snapshot) -> bool {
    snapshot.lagging.keys().any(|uid| !members.contains_key(uid) && !snapshot.pods.contains_key(uid))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::example;

    fn uid(text: &str) -> PodUid {
        PodUid::new(text).unwrap()
    }

    fn pod(id: &str, name: &str) -> Arc<DesiredPod> {
        Arc::new(example::manifest(id, "default", name, json!({ "metadata": {} })))
    }

    fn desired(synced: bool, pods: &[Arc<DesiredPod>]) -> Desired {
        let pods = pods.iter().map(|pod| (pod.uid.clone(), Arc::clone(pod))).collect();
        Desired { synced, pods, ..Desired::default() }
    }

    fn member(id: &str, name: &str, leaving: bool) -> (PodUid, Known) {
        let leaving = leaving.then_some(TerminationCause::Removed);
        (uid(id), Known { full_name: format!("default/{name}").into(), leaving, pod: Some(pod(id, name)) })
    }

    #[test]
    fn nothing_goes_before_the_sources_have_synced() {
        let members = BTreeMap::from([member("a", "x", false)]);
        let remembered = Histories::from([(uid("b"), Default::default())]);
        assert_eq!(moves(&members, &desired(false, &[]), &remembered, &Snapshot::default()), []);
        let gone = moves(&members, &desired(true, &[]), &remembered, &Snapshot::default());
        assert_eq!(gone.len(), 2, "{gone:?}");
    }

    #[test]
    fn a_new_generation_replaces_the_old_one_and_waits_for_it() {
        let members = BTreeMap::from([member("a", "x", false)]);
        let next = pod("b", "x");
        let moves =
            moves(&members, &desired(true, &[Arc::clone(&next)]), &Histories::new(), &Snapshot::default());
        let replaced = Move::Dismiss { uid: uid("a"), cause: TerminationCause::Replaced };
        assert_eq!(moves, [replaced, Move::Admit(next)]);
        let members = BTreeMap::from([member("a", "x", true), member("b", "x", false)]);
        assert_eq!(not_alone(&members), BTreeSet::from([&uid("b")]));
        let members = BTreeMap::from([member("b", "x", false), member("c", "y", true)]);
        assert_eq!(not_alone(&members), BTreeSet::new());
    }

    #[test]
    fn what_only_a_directory_tells_of_goes_once_everybody_was_asked() {
        let on_disk = BTreeSet::from(["a", "b", "c", "d", "e", "f"].map(uid));
        let members = BTreeMap::from([member("a", "x", false)]);
        let remembered = Histories::from([(uid("b"), Default::default())]);
        let mut snapshot = Snapshot { listed: 1, ..Snapshot::default() };
        snapshot.lagging.insert(uid("d"), 0);
        let wanted = desired(true, &[pod("c", "y")]);
        let left = leftovers(&members, &wanted, &remembered, &snapshot, &on_disk);
        let gone = |id| Move::TakeUp { uid: uid(id), cause: TerminationCause::Orphaned };
        assert_eq!(left, [gone("e"), gone("f")]);
        for (wanted, snapshot) in [(&wanted, &Snapshot::default()), (&desired(false, &[]), &snapshot)] {
            assert_eq!(leftovers(&members, wanted, &remembered, snapshot, &on_disk), []);
        }
    }

    #[test]
    fn a_pod_that_was_listed_and_not_inspected_may_have_anybodys_name() {
        let members = BTreeMap::from([member("a", "x", false)]);
        let mut snapshot = Snapshot { listed: 1, ..Snapshot::default() };
        snapshot.lagging.insert(uid("a"), 0);
        assert!(!is_anyone_unseen(&members, &snapshot), "a member's name is known");
        snapshot.lagging.insert(uid("b"), 0);
        assert!(is_anyone_unseen(&members, &snapshot));
    }

    #[test]
    fn members_are_not_moved_twice() {
        let pod = pod("a", "x");
        let members = BTreeMap::from([member("a", "x", false), member("b", "y", true)]);
        let moves = moves(&members, &desired(true, &[pod]), &Histories::new(), &Snapshot::default());
        assert_eq!(moves, []);
    }
}
