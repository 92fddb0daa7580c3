//! Whom a critical pod pushes out. Pure; the choice is the kubelet's (`pkg/kubelet/preemption/preemption.go`): as few
//! pods of as low a class as free what is lacking, and of pods that free the same the smaller one.

use std::collections::BTreeMap;

use super::{Neighbour, Place, Verdict, asks, reject};
use crate::pod::resources::{Qos, is_critical, qos};
use crate::source::desired::{DesiredPod, Origin};

/// Reason of the status and event of a pod that was pushed out (`PreemptContainer`).
pub const REASON: &str = "Preempting";
/// Its message.
pub const MESSAGE: &str = "Preempted in order to admit critical pod";
/// Message of its condition `DisruptionTarget`.
pub const DISRUPTION: &str = "Pod was preempted by Kubelet to accommodate a critical pod.";
/// What the critical pod waits for.
const WAITS: &str = "pods that make room for it to end";

/// What is lacking, by resource, in the units of [`asks`].
type Lack = BTreeMap<String, i64>;

/// Whether the node itself, or its cluster, needs the pod: its priority, or its manifest on the node, says so.
#[must_use]
pub fn is_vital(pod: &DesiredPod) -> bool {
    matches!(pod.origin, Origin::File(_)) || pod.pod.spec.as_ref().is_some_and(is_critical)
}

/// What becomes of a vital pod as far as amounts go.
pub(super) fn judge(pod: &DesiredPod, place: &Place, others: &[Neighbour<'_>]) -> Option<Verdict> {
    if lacking(pod, place, others.iter()).is_empty() {
        return None;
    }
    let lack = lacking(pod, place, others.iter().filter(|other| !other.leaving));
    if lack.is_empty() {
        return Some(Verdict::Wait { waiting_for: WAITS.to_owned(), left: None });
    }
    let candidates: Vec<usize> =
        (0..).zip(others).filter(|(_, other)| may_go(pod, other)).map(|(place, _)| place).collect();
    let Some(victims) = victims(&candidates, others, &lack) else {
        let lack: Vec<_> = lack.iter().map(|(name, amount)| format!("(res: {name}, q: {amount})")).collect();
        let message = format!(
            "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of \
             pods to preempt: no set of running pods found to reclaim resources: [{}]",
            lack.join(", ")
        );
        return Some(reject("UnexpectedAdmissionError", &message));
    };
    Some(Verdict::Preempt { victims, waiting_for: WAITS.to_owned() })
}

/// A vital pod is pushed out only by one of a higher priority.
fn may_go(pod: &DesiredPod, other: &Neighbour<'_>) -> bool {
    let priority = |pod: &DesiredPod| pod.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    !other.leaving && (!is_vital(other.pod) || priority(pod) > priority(other.pod))
}

fn lacking<'a>(pod: &DesiredPod, place: &Place, others: impl Iterator<Item = &'a Neighbour<'a>>) -> Lack {
    let mut used = Lack::new();
    for (name, amount) in others.flat_map(|other| asks(&other.pod.pod)) {
        let known = used.entry(name).or_default();
        *known = known.saturating_add(amount);
    }
    let lack = asks(&pod.pod).into_iter().filter(|(_, asked)| *asked > 0).filter_map(|(name, asked)| {
        let capacity = place.allocatable.get(&name)?;
        let lack = asked.saturating_add(used.get(&name).copied().unwrap_or(0)).saturating_sub(*capacity);
        (lack > 0).then_some((name, lack))
    });
    lack.collect()
}

/// The places among `others` of those who go; none if all candidates together would not do.
fn victims(candidates: &[usize], others: &[Neighbour<'_>], lack: &Lack) -> Option<Vec<usize>> {
    let of = |class: Qos| -> Vec<usize> {
        let spec = |place: usize| others.get(place).and_then(|other| other.pod.pod.spec.as_ref());
        candidates
            .iter()
            .copied()
            .filter(|place| spec(*place).is_some_and(|spec| qos(spec) == class))
            .collect()
    };
    let (best_effort, burstable, guaranteed) = (of(Qos::BestEffort), of(Qos::Burstable), of(Qos::Guaranteed));
    let left =
        |gone: &[&[usize]]| gone.concat().iter().fold(lack.clone(), |lack, place| less(lack, others, *place));
    // Of the higher class only what the lower ones cannot give.
    let guaranteed = nearest(guaranteed, others, left(&[&best_effort, &burstable]))?;
    let burstable = nearest(burstable, others, left(&[&best_effort, &guaranteed]))?;
    let best_effort = nearest(best_effort, others, left(&[&burstable, &guaranteed]))?;
    Some([best_effort, burstable, guaranteed].concat())
}

/// Chooses, again and again, the pod that brings the lack nearest to nothing.
fn nearest(mut places: Vec<usize>, others: &[Neighbour<'_>], mut lack: Lack) -> Option<Vec<usize>> {
    let mut chosen = Vec::new();
    while !lack.is_empty() {
        let asked = |place: usize| others.get(place).map(|other| asks(&other.pod.pod)).unwrap_or_default();
        let rank = |place: usize| {
            let asked = asked(place);
            let of = |name: &str| asked.get(name).copied().unwrap_or(0);
            (distance(&lack, &asked), of("memory"), of("cpu"))
        };
        let best = (0..places.len()).min_by(|one, other| {
            let rank = |at: &usize| places.get(*at).map(|place| rank(*place)).unwrap_or_default();
            let (one, other) = (rank(one), rank(other));
            one.0.total_cmp(&other.0).then((one.1, one.2).cmp(&(other.1, other.2)))
        })?;
        let place = places.swap_remove(best);
        lack = less(lack, others, place);
        chosen.push(place);
    }
    Some(chosen)
}

/// The sum of the squared shares of each lack that would be left.
#[expect(clippy::cast_precision_loss, reason = "a share, of which a few digits count")]
fn distance(lack: &Lack, asked: &Lack) -> f64 {
    let left = lack.iter().map(|(name, lack)| {
        let left = lack.saturating_sub(asked.get(name).copied().unwrap_or(0)).max(0);
        (left as f64 / *lack as f64).powi(2)
    });
    left.sum()
}

/// What is lacking once this one is gone.
fn less(lack: Lack, others: &[Neighbour<'_>], place: usize) -> Lack {
    let Some(other) = others.get(place) else { return lack };
    let freed = asks(&other.pod.pod);
    let left = lack.into_iter().map(|(name, lack)| {
        let freed = freed.get(&name).copied().unwrap_or(0);
        (name, lack.saturating_sub(freed))
    });
    left.filter(|(_, lack)| *lack > 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::source::example;

    fn pod(resources: Value, priority: i32) -> DesiredPod {
        let containers = json!([{ "name": "c", "image": "i", "resources": resources }]);
        let object = json!({ "metadata": {}, "spec": { "containers": containers, "priority": priority } });
        DesiredPod { origin: Origin::Api, ..example::manifest("u", "default", "p", object) }
    }

    fn guaranteed(cpu: u32) -> DesiredPod {
        let all = json!({ "cpu": format!("{cpu}m"), "memory": "1Mi" });
        pod(json!({ "requests": all, "limits": all }), 0)
    }

    fn burstable(cpu: u32) -> DesiredPod {
        pod(json!({ "requests": { "cpu": format!("{cpu}m") } }), 0)
    }

    fn critical(cpu: u32) -> DesiredPod {
        pod(json!({ "requests": { "cpu": format!("{cpu}m") } }), 2_000_000_000)
    }

    fn place(pods: i64, cpu: i64) -> Place {
        let mut place = Place::bare("n", 0);
        place.allocatable = [("pods".to_owned(), pods), ("cpu".to_owned(), cpu)].into();
        place
    }

    fn staying(others: &[DesiredPod]) -> Vec<Neighbour<'_>> {
        others.iter().map(|pod| Neighbour { pod, leaving: false }).collect()
    }

    fn chosen(new: &DesiredPod, place: &Place, others: &[DesiredPod]) -> Option<Vec<usize>> {
        match judge(new, place, &staying(others)) {
            Some(Verdict::Preempt { mut victims, .. }) => {
                victims.sort_unstable();
                Some(victims)
            }
            Some(Verdict::Reject { reason, .. }) if reason == "UnexpectedAdmissionError" => None,
            None => Some(Vec::new()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn b13_a_pod_as_large_as_the_node_pushes_out_what_asks_for_something() {
        let others = [guaranteed(300), burstable(300), pod(json!({}), 0)];
        assert_eq!(chosen(&critical(1_000), &place(10, 1_000), &others), Some(vec![0, 1]));
    }

    #[test]
    fn as_few_of_as_low_a_class_as_will_do() {
        let others = [guaranteed(500), burstable(100), burstable(400), burstable(450)];
        let room = place(10, 1_500);
        assert_eq!(chosen(&critical(50), &room, &others), Some(vec![]), "there is room");
        assert_eq!(chosen(&critical(400), &room, &others), Some(vec![2]), "350 lack: the smaller of two");
        assert_eq!(chosen(&critical(480), &room, &others), Some(vec![3]), "430 lack: one instead of two");
        assert_eq!(chosen(&critical(1_100), &room, &others), Some(vec![0, 1, 3]), "1,050 lack: 100 of them of 0");
        assert_eq!(chosen(&critical(1_600), &room, &others), None, "more than the node has");
        let many = [pod(json!({}), 0), burstable(10)];
        assert_eq!(chosen(&critical(1), &place(2, 1_000), &many), Some(vec![0]), "a place among the pods");
    }

    #[test]
    fn only_a_higher_priority_pushes_out_what_is_vital() {
        let mut file = burstable(500);
        file.origin = Origin::File("/m".into());
        let others = [critical(500), file];
        let room = place(10, 1_000);
        assert_eq!(chosen(&critical(500), &room, &others), Some(vec![1]), "a manifest without a priority");
        assert_eq!(chosen(&critical(600), &room, &others), None);
        let higher = pod(json!({ "requests": { "cpu": "600m" } }), 2_000_001_000);
        assert_eq!(chosen(&higher, &room, &others), Some(vec![0, 1]));
    }

    #[test]
    fn what_is_on_its_way_out_is_waited_for_and_pushes_nobody() {
        let others = [burstable(600), burstable(300)];
        let mut neighbours = staying(&others);
        neighbours[0].leaving = true;
        let verdict = judge(&critical(600), &place(10, 1_000), &neighbours);
        assert!(matches!(verdict, Some(Verdict::Wait { .. })), "{verdict:?}");
    }

    proptest! {
        /// Who goes frees enough, and none of them goes in vain as long as classes are not mixed.
        #[test]
        fn the_victims_free_enough_and_none_too_many(cpus in prop::collection::vec(1u32..500, 1..12), asked in 1u32..3000) {
            let others: Vec<_> = cpus.iter().map(|cpu| burstable(*cpu)).collect();
            let used: u32 = cpus.iter().sum();
            let new = critical(asked);
            match chosen(&new, &place(100, i64::from(used)), &others) {
                None => prop_assert!(asked > used),
                Some(victims) => {
                    let freed: Vec<u32> = victims.iter().map(|place| cpus[*place]).collect();
                    let sum: u32 = freed.iter().sum();
                    prop_assert!(sum >= asked);
                    let last = freed.iter().max().copied().unwrap_or(0);
                    prop_assert!(sum - last < asked, "{freed:?} for {asked}");
                }
            }
        }
    }
}
