//! What the API said of this node's pods, and what that means. Pure.
//!
//! A watch's DELETED is the API's word and counts at once. An absence in a list is not: a list may be empty or old
//! where a cache of the API server is, so what it lacks is asked for once more before it is believed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_cri::id::PodUid;

/// Deleted UIDs that are remembered. A UID is never used again, so one that an older list brings back is not run; a
/// node has some hundreds of pods, and a list older than a thousand deletions is no longer watched from.
const REMEMBERED: usize = 1024;

/// One thing that the watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// A list begins.
    Listing,
    /// An object of the list.
    Listed(Pod),
    /// The list is complete.
    ListEnd,
    /// An object is there, as this.
    Applied(Pod),
    /// An object is gone; this is its last state.
    Deleted(Pod),
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do.
    Nothing,
    /// The pods changed.
    Changed,
    /// The list lacks pods that were there: a second one decides.
    Doubtful,
}

/// The pods of this node.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// A whole list was read and believed.
    synced: bool,
    pods: BTreeMap<PodUid, Arc<Pod>>,
    /// Pods that only the journal knows until the first list is in.
    expected: BTreeSet<PodUid>,
    listing: Option<BTreeMap<PodUid, Arc<Pod>>>,
    /// A list whose absences wait for a second one.
    doubted: Option<BTreeMap<PodUid, Arc<Pod>>>,
    /// Shared with whoever was told last.
    removed: Arc<BTreeMap<PodUid, Duration>>,
    /// Their UIDs, the oldest first.
    burials: VecDeque<PodUid>,
}

impl State {
    /// Nothing was read yet; the journal expects these pods.
    #[must_use]
    pub fn new(expected: BTreeSet<PodUid>) -> Self {
        Self { expected, ..Self::default() }
    }

    /// A whole list was read and believed.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The pods, each as the API has it.
    #[must_use]
    pub fn pods(&self) -> &BTreeMap<PodUid, Arc<Pod>> {
        &self.pods
    }

    /// Pods that were removed lately, with the grace that their deletion asked for.
    #[must_use]
    pub fn removed(&self) -> Arc<BTreeMap<PodUid, Duration>> {
        Arc::clone(&self.removed)
    }

    /// Takes in what the watch tells.
    pub fn see(&mut self, seen: Seen) -> Outcome {
        match seen {
            Seen::Listing => {
                self.listing = Some(BTreeMap::new());
                Outcome::Nothing
            }
            Seen::Listed(pod) => {
                if let (Some(uid), Some(listing)) = (uid(&pod), &mut self.listing) {
                    listing.insert(uid, Arc::new(pod));
                }
                Outcome::Nothing
            }
            Seen::ListEnd => self.list_ended(),
            Seen::Applied(pod) => self.applied(pod),
            Seen::Deleted(pod) => self.deleted(&pod),
        }
    }

    fn list_ended(&mut self) -> Outcome {
        let Some(listing) = self.listing.take() else { return Outcome::Nothing };
        let lacking = |uid: &PodUid| !listing.contains_key(uid);
        let doubtful = self.pods.keys().any(lacking) || (!self.synced && self.expected.iter().any(lacking));
        for pod in listing.values() {
            self.keep(pod);
        }
        if doubtful {
            self.doubted = Some(listing);
            return Outcome::Doubtful;
        }
        self.believe();
        Outcome::Changed
    }

    /// The second list: what neither of the two has is gone.
    pub fn confirm(&mut self, second: Vec<Pod>) -> Outcome {
        let Some(doubted) = self.doubted.take() else { return Outcome::Nothing };
        let second: BTreeMap<PodUid, Arc<Pod>> =
            second.into_iter().filter_map(|pod| Some((uid(&pod)?, Arc::new(pod)))).collect();
        for pod in second.values() {
            self.keep(pod);
        }
        let gone: Vec<PodUid> = self
            .pods
            .keys()
            .filter(|uid| !doubted.contains_key(*uid) && !second.contains_key(*uid))
            .cloned()
            .collect();
        for uid in gone {
            if let Some(pod) = self.pods.remove(&uid) {
                self.bury(uid, &pod);
            }
        }
        self.believe();
        Outcome::Changed
    }

    fn believe(&mut self) {
        self.synced = true;
        self.expected.clear();
    }

    fn applied(&mut self, pod: Pod) -> Outcome {
        self.keep(&Arc::new(pod));
        // While a first list is read or doubted, what it brings is not published piecemeal.
        if self.synced { Outcome::Changed } else { Outcome::Nothing }
    }

    /// Takes a pod in unless it is older than what is known, or was deleted.
    fn keep(&mut self, pod: &Arc<Pod>) {
        let Some(uid) = uid(pod) else { return };
        if self.removed.contains_key(&uid) {
            return;
        }
        let older = self.pods.get(&uid).is_some_and(|known| is_older(pod, known));
        if !older {
            self.pods.insert(uid, Arc::clone(pod));
        }
    }

    fn deleted(&mut self, pod: &Pod) -> Outcome {
        let Some(uid) = uid(pod) else { return Outcome::Nothing };
        if let Some(doubted) = &mut self.doubted {
            doubted.remove(&uid);
        }
        self.expected.remove(&uid);
        self.pods.remove(&uid);
        self.bury(uid, pod);
        Outcome::Changed
    }

    fn bury(&mut self, uid: PodUid, pod: &Pod) {
        let asked = pod.metadata.deletion_grace_period_seconds;
        let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace = asked.or(spec).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30);
        let removed = Arc::make_mut(&mut self.removed);
        if removed.insert(uid.clone(), Duration::from_secs(grace)).is_none() {
            self.burials.push_back(uid);
        }
        if self.burials.len() > REMEMBERED
            && let Some(oldest) = self.burials.pop_front()
        {
            removed.remove(&oldest);
        }
    }
}

/// The UID of a pod, if it is one that a path may be made of.
#[must_use]
pub fn uid(pod: &Pod) -> Option<PodUid> {
    PodUid::new(pod.metadata.uid.as_deref()?).ok()
}

/// Resource versions of one API server grow (guaranteed since Kubernetes 1.35, true of every etcd-backed one).
fn is_older(pod: &Pod, known: &Pod) -> bool {
    let version = |pod: &Pod| pod.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    matches!((version(pod), version(known)), (Some(new), Some(old)) if new < old)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(id: &str, version: u64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some(id.to_owned());
        pod.metadata.resource_version = Some(version.to_string());
        pod
    }

    fn list(state: &mut State, pods: &[Pod]) -> Outcome {
        state.see(Seen::Listing);
        for pod in pods {
            state.see(Seen::Listed(pod.clone()));
        }
        state.see(Seen::ListEnd)
    }

    fn known(state: &State) -> Vec<&str> {
        state.pods().keys().map(PodUid::as_str).collect()
    }

    #[test]
    fn b64_one_empty_list_takes_nothing_away() {
        let mut state = State::default();
        assert_eq!(list(&mut state, &[pod("a", 1), pod("b", 2)]), Outcome::Changed);
        assert_eq!(list(&mut state, &[]), Outcome::Doubtful);
        assert_eq!(known(&state), ["a", "b"]);
        assert_eq!(state.confirm(vec![pod("b", 2)]), Outcome::Changed);
        assert_eq!(known(&state), ["b"]);
        assert!(state.removed().contains_key(&PodUid::new("a").unwrap()));
    }

    #[test]
    fn b64_the_first_list_is_doubted_where_the_journal_expects_more() {
        let mut state = State::new(BTreeSet::from([PodUid::new("a").unwrap()]));
        assert_eq!(list(&mut state, &[]), Outcome::Doubtful);
        assert!(!state.is_synced());
        assert_eq!(state.confirm(Vec::new()), Outcome::Changed);
        assert!(state.is_synced() && state.pods().is_empty());
    }

    #[test]
    fn b64_an_older_list_changes_nothing_and_brings_nothing_back() {
        let mut state = State::default();
        list(&mut state, &[pod("a", 5), pod("b", 6)]);
        assert_eq!(state.see(Seen::Deleted(pod("b", 7))), Outcome::Changed);
        assert_eq!(list(&mut state, &[pod("a", 3), pod("b", 4)]), Outcome::Changed);
        assert_eq!(known(&state), ["a"]);
        let version = state.pods().values().next().unwrap().metadata.resource_version.clone();
        assert_eq!(version.as_deref(), Some("5"));
    }

    #[test]
    fn b63_what_is_missing_counts_only_once_the_list_has_ended() {
        let mut state = State::default();
        list(&mut state, &[pod("a", 1)]);
        state.see(Seen::Listing);
        state.see(Seen::Listed(pod("b", 2)));
        assert_eq!(known(&state), ["a"]);
        // The list is cut off, its watch expired; another begins.
        assert_eq!(list(&mut state, &[pod("a", 1), pod("b", 2)]), Outcome::Changed);
        assert_eq!(known(&state), ["a", "b"]);
    }

    #[test]
    fn a_deletion_tells_its_grace() {
        let mut state = State::default();
        list(&mut state, &[pod("a", 1)]);
        let mut last = pod("a", 2);
        last.metadata.deletion_grace_period_seconds = Some(0);
        state.see(Seen::Deleted(last));
        assert_eq!(state.removed().values().next(), Some(&Duration::ZERO));
    }

    #[test]
    fn the_oldest_of_many_deletions_is_forgotten() {
        let mut state = State::default();
        list(&mut state, &[]);
        for n in 0..=REMEMBERED {
            state.see(Seen::Deleted(pod(&format!("p{n}"), 2)));
            state.see(Seen::Deleted(pod("p7", 3)));
        }
        let removed = state.removed();
        let holds = |uid: &str| removed.contains_key(&PodUid::new(uid).unwrap());
        assert_eq!((removed.len(), holds("p0"), holds("p1"), holds("p7")), (REMEMBERED, false, true, true));
    }

    proptest! {
        /// Whatever lists are cut off, empty or old: a pod that is in the API and in one of two lists in a row is never
        /// lost, and a deleted one never comes back.
        #[test]
        fn b64_a_live_pod_is_never_lost_and_a_deleted_one_never_returns(
            steps in proptest::collection::vec((0u8..4, 0usize..5), 1..60)
        ) {
            let mut state = State::default();
            let mut truth: BTreeMap<String, u64> = BTreeMap::new();
            let mut deleted: BTreeSet<String> = BTreeSet::new();
            let mut version = 1;
            list(&mut state, &[]);
            for (kind, which) in steps {
                version += 1;
                let id = format!("p{which}");
                match kind {
                    0 if !deleted.contains(&id) => {
                        truth.insert(id.clone(), version);
                        state.see(Seen::Applied(pod(&id, version)));
                    }
                    1 => {
                        if truth.remove(&id).is_some() {
                            deleted.insert(id.clone());
                            state.see(Seen::Deleted(pod(&id, version)));
                        }
                    }
                    2 => {
                        // A list that lacks one pod, and a right one after it.
                        let all: Vec<Pod> = truth.iter().map(|(id, version)| pod(id, *version)).collect();
                        let partial: Vec<Pod> = all.iter().skip(which % 2).cloned().collect();
                        if list(&mut state, &partial) == Outcome::Doubtful {
                            state.confirm(all);
                        }
                    }
                    _ => {
                        // An old list.
                        let mut old: Vec<Pod> = truth.keys().map(|id| pod(id, 1)).collect();
                        old.extend(deleted.iter().map(|id| pod(id, 1)));
                        if list(&mut state, &old) == Outcome::Doubtful {
                            state.confirm(old);
                        }
                    }
                }
                let known: BTreeSet<String> = state.pods().keys().map(ToString::to_string).collect();
                let truth: BTreeSet<String> = truth.keys().cloned().collect();
                prop_assert_eq!(known, truth);
            }
        }
    }
}
