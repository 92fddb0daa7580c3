//! Decides which dead containers of pods that exist are removed. Pure.
//!
//! The newest dead instances of each container stay, since their exit codes and logs are what a person asks for after
//! a crash. Newest means the highest attempt; the runtime's creation times are never compared. Containers of pods that
//! are gone are no matter of this plan: whoever tears such a pod down removes all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use pinnace_cri::container::ContainerState;
use pinnace_cri::id::{ContainerId, PodUid};

/// Dead instances that stay per container of a pod: the kubelet's `MaxPerPodContainer`
/// (`--maximum-dead-containers-per-container`).
pub const MAX_PER_CONTAINER: usize = 1;

/// What the plan needs to know of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The runtime's id.
    pub id: ContainerId,
    /// UID of its pod.
    pub pod_uid: PodUid,
    /// Name in the pod's spec.
    pub name: String,
    /// Which instance this is.
    pub attempt: u32,
    /// Where it is in its life.
    pub state: ContainerState,
}

/// The containers to remove, oldest attempt first.
///
/// A container goes when it has exited, or the runtime lost sight of it, and `max_per_container` such instances of the
/// same pod and name have higher attempts; and when it was made and never started, and a newer instance exists. The
/// newest instance stays in whatever state it is: it may be about to start. So does everything that runs or is in
/// `keep`.
#[must_use]
pub fn plan<'a>(
    containers: impl IntoIterator<Item = &'a Candidate>,
    keep: &BTreeSet<ContainerId>,
    max_per_container: usize,
) -> Vec<ContainerId> {
    let mut instances: BTreeMap<(&PodUid, &str), Vec<&Candidate>> = BTreeMap::new();
    for container in containers {
        instances.entry((&container.pod_uid, &container.name)).or_default().push(container);
    }
    let mut removed: Vec<&Candidate> =
        instances.into_values().flat_map(|of| surplus(of, max_per_container)).collect();
    removed.retain(|container| !keep.contains(&container.id));
    removed.sort_by_key(|container| (container.attempt, &container.id));
    removed.dedup_by_key(|container| &container.id);
    removed.into_iter().map(|container| container.id.clone()).collect()
}

/// The instances of one container that are of no more use. One that is about to start is no dead one: it must not
/// take the place of the last that ended.
fn surplus(mut instances: Vec<&Candidate>, max_per_container: usize) -> impl Iterator<Item = &Candidate> {
    instances.sort_by_key(|container| (Reverse(container.attempt), Reverse(&container.id)));
    let newest = instances.first().map(|container| container.attempt);
    let mut ended = 0;
    instances.into_iter().filter(move |container| {
        let surplus = match container.state {
            ContainerState::Running => false,
            ContainerState::Created => true,
            ContainerState::Exited | ContainerState::Unknown => {
                ended += 1;
                ended > max_per_container
            }
        };
        surplus && Some(container.attempt) != newest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContainerState::{Created, Exited, Running, Unknown};
    use proptest::prelude::*;

    fn candidate(name: &str, attempt: u32, state: ContainerState) -> Candidate {
        let id = ContainerId::new(&format!("{name}{attempt}")).unwrap();
        Candidate { id, pod_uid: PodUid::new("a").unwrap(), name: name.to_owned(), attempt, state }
    }

    fn check(instances: &[(u32, ContainerState)], keep: &[&str], max: usize, removed: &[&str]) {
        let instances: Vec<_> =
            instances.iter().map(|(attempt, state)| candidate("c", *attempt, *state)).collect();
        let keep = keep.iter().map(|id| ContainerId::new(id).unwrap()).collect();
        let planned = plan(&instances, &keep, max);
        assert_eq!(planned.iter().map(ContainerId::as_str).collect::<Vec<_>>(), removed);
    }

    #[test]
    fn keeps_the_newest_dead_instance_of_a_running_container() {
        check(&[(0, Exited), (3, Running), (2, Exited), (1, Exited)], &[], 1, &["c0", "c1"]);
    }

    #[test]
    fn an_instance_that_is_about_to_start_does_not_displace_the_last_that_ended() {
        check(&[(0, Exited), (1, Exited), (2, Created)], &[], 1, &["c0"]);
    }

    #[test]
    fn keeps_the_newest_instance_even_for_a_maximum_of_zero() {
        check(&[(0, Exited), (1, Exited)], &[], 0, &["c0"]);
        check(&[(0, Exited), (1, Created)], &[], 0, &["c0"]);
    }

    #[test]
    fn an_instance_that_never_started_goes_once_newer_ones_exist() {
        check(&[(0, Created), (1, Unknown), (2, Exited)], &[], 1, &["c0", "c1"]);
    }

    #[test]
    fn what_is_kept_by_name_stays() {
        check(&[(0, Exited), (1, Exited), (2, Exited)], &["c0"], 1, &["c1"]);
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let state = prop_oneof![Just(Created), Just(Running), Just(Exited), Just(Unknown)];
        prop::collection::vec(("[ab]", 0u32..8, state), 0..24).prop_map(|all| {
            let mut seen = BTreeSet::new();
            let all = all.into_iter().map(|(name, attempt, state)| candidate(&name, attempt, state));
            all.filter(|container| seen.insert(container.id.clone())).collect()
        })
    }

    fn keeps() -> impl Strategy<Value = BTreeSet<ContainerId>> {
        prop::collection::btree_set("[ab][0-7]".prop_map(|id| ContainerId::new(&id).unwrap()), 0..4)
    }

    proptest! {
        #[test]
        fn never_removes_what_is_in_use(all in candidates(), keep in keeps(), max in 0usize..4) {
            for id in plan(&all, &keep, max) {
                let gone = all.iter().find(|container| container.id == id).unwrap();
                prop_assert!(gone.state != Running && !keep.contains(&id));
                let newer = |other: &&Candidate| other.name == gone.name && other.attempt > gone.attempt;
                prop_assert!(all.iter().any(|other| newer(&other)), "{gone:?} is the newest");
                let ended = |other: &&Candidate| matches!(other.state, Exited | Unknown);
                prop_assert!(gone.state == Created || all.iter().filter(newer).filter(ended).count() >= max);
            }
        }

        #[test]
        fn planning_twice_plans_nothing_new(all in candidates(), keep in keeps(), max in 0usize..4) {
            let gone: BTreeSet<_> = plan(&all, &keep, max).into_iter().collect();
            let left: Vec<_> = all.into_iter().filter(|container| !gone.contains(&container.id)).collect();
            prop_assert_eq!(plan(&left, &keep, max), vec![]);
        }

        #[test]
        fn oldest_first_and_in_any_order_of_input(all in candidates(), max in 0usize..4) {
            let planned = plan(&all, &BTreeSet::new(), max);
            let reversed: Vec<_> = all.iter().rev().cloned().collect();
            prop_assert_eq!(&plan(&reversed, &BTreeSet::new(), max), &planned);
            let attempt = |id: &ContainerId| all.iter().find(|container| container.id == *id).unwrap().attempt;
            prop_assert!(planned.is_sorted_by_key(attempt));
        }
    }
}
