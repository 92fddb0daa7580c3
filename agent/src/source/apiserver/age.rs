//! How long a pod of the API is started without the API server's word. Pure.
//!
//! What a node ran before, it runs again while its API server is away. After a long time that is no longer right: the
//! pod may have been deleted and another of its kind run elsewhere. So a pod that only the journal knows has a greatest
//! age, counted from when the API server was last heard. It holds a start alone; what runs goes on, and is restarted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::duration::GoDuration;
use crate::pod::go_duration::go_duration;
use crate::source::desired::{DesiredPod, Held};

/// Annotation of a pod: for how long it is started without the API server's word, as a Go duration; `0` is never.
pub const ANNOTATION: &str = "pinnace.dev/max-offline-age";
/// For how long where a pod says nothing. Longer than any outage that people let pass over a holiday.
pub const DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The field that such a pod is held by.
pub const FIELD: &str = "metadata.annotations[pinnace.dev/max-offline-age]";

/// The pods of the journal as they are wanted until the API server tells of them. `heard` is when it was last heard by
/// the wall clock; none is not known, and holds nothing.
#[must_use]
pub fn held(
    admitted: Vec<Arc<DesiredPod>>,
    heard: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Arc<DesiredPod>> {
    let age = heard.map(|heard| age(heard, now));
    admitted.into_iter().map(|pod| judged(pod, age)).collect()
}

/// A clock that went back has not made the word of the API server older.
fn age(heard: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(heard)).unwrap_or_default()
}

fn judged(pod: Arc<DesiredPod>, age: Option<Duration>) -> Arc<DesiredPod> {
    let limit = limit(&pod);
    let reason = age.filter(|age| *age > limit).map(|age| reason(age, limit));
    let is_held = pod.held.iter().any(|held| held.field == FIELD);
    if reason.is_none() && !is_held {
        return pod;
    }
    let mut pod = DesiredPod::clone(&pod);
    // The journal may have it from a start before.
    pod.held.retain(|held| held.field != FIELD);
    pod.held.extend(reason.map(|reason| Held { field: FIELD.to_owned(), reason }));
    Arc::new(pod)
}

/// An annotation that is no duration is no reason to start what should not run, nor to stop what should.
fn limit(pod: &DesiredPod) -> Duration {
    let annotations = pod.pod.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    text.and_then(|text| text.parse::<GoDuration>().ok()?.to_std()).unwrap_or(DEFAULT)
}

fn reason(age: Duration, limit: Duration) -> String {
    format!(
        "the API server was last heard {} ago, and this pod is not started without it after {}; \
         bring the API server back, or correct the kubeconfig",
        go_duration(age),
        go_duration(limit)
    )
}

#[cfg(test)]
mod tests {
    use pinnace_cri::id::PodUid;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::source::desired::Origin;

    fn pod(age: Option<&str>) -> Arc<DesiredPod> {
        let annotations = age.map(|age| json!({ ANNOTATION: age }));
        let pod = serde_json::from_value(json!({ "metadata": { "annotations": annotations } })).unwrap();
        Arc::new(DesiredPod {
            uid: PodUid::new("u").unwrap(),
            namespace: "ns".to_owned(),
            name: "p".to_owned(),
            origin: Origin::Api,
            pod: Arc::new(pod),
            held: Vec::new(),
        })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// The reason, if a pod with this annotation is held after so many seconds.
    fn check(annotation: Option<&str>, seconds: i64) -> Option<String> {
        let mut pods = held(vec![pod(annotation)], Some(at(1_000)), at(1_000 + seconds));
        let pod = pods.remove(0);
        pod.held.first().map(|held| held.reason.clone())
    }

    #[test]
    fn a_pod_is_held_when_the_api_server_was_away_for_too_long() {
        let week = 7 * 24 * 3600;
        assert_eq!((check(None, 0), check(None, week)), (None, None));
        let reason = check(None, week + 3_600).unwrap();
        assert!(reason.contains("169h0m0s ago") && reason.contains("168h0m0s"), "{reason}");
        assert!(reason.contains("bring the API server back"), "{reason}");
        assert_eq!(check(Some("10m"), 600), None);
        assert!(check(Some("10m"), 601).is_some());
        assert!(check(Some("0"), 1).is_some());
        assert_eq!(check(Some("soon"), 3_600), None);
        assert_eq!(check(Some("-1s"), 3_600), None);
    }

    #[test]
    fn what_runs_is_not_held_by_age() {
        let pod = held(vec![pod(Some("1s"))], Some(at(0)), at(10)).remove(0);
        assert_eq!(pod.hold(false).map(|held| held.field.as_str()), Some(FIELD));
        assert_eq!(pod.hold(true), None);
    }

    #[test]
    fn a_clock_that_went_back_and_an_unknown_time_hold_nothing() {
        assert_eq!(check(Some("0"), -5), None);
        assert!(held(vec![pod(Some("0"))], None, at(9)).iter().all(|pod| pod.held.is_empty()));
    }

    #[test]
    fn what_a_start_before_held_is_judged_anew() {
        let old = held(vec![pod(Some("1m"))], Some(at(0)), at(100));
        assert_eq!(old[0].held.len(), 1);
        assert_eq!(held(old.clone(), Some(at(90)), at(100))[0].held, []);
        assert_eq!(held(old.clone(), Some(at(0)), at(200))[0].held.len(), 1);
    }

    proptest! {
        #[test]
        fn judging_twice_is_judging_once_and_other_reasons_stay(heard: i32, now: i32, other: bool) {
            let mut pod = DesiredPod::clone(&pod(None));
            if other {
                pod.held.push(Held { field: "spec.x".to_owned(), reason: "y".to_owned() });
            }
            let (heard, now) = (Some(at(heard.into())), at(now.into()));
            let once = held(vec![Arc::new(pod)], heard, now);
            prop_assert_eq!(&held(once.clone(), heard, now), &once);
            prop_assert_eq!(once[0].held.iter().any(|held| held.field == "spec.x"), other);
        }
    }
}
