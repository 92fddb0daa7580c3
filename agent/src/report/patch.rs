//! What to write so that the API server's status of a pod becomes ours. Pure.
//!
//! A strategic merge patch of what differs and nothing else: conditions by type, addresses by `ip`, container
//! statuses as whole lists, as the API's own struct tags say. It names the UID, so that it never lands on another pod
//! of the same name, and no resource version, so that nobody else's write refuses it.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::pod::api_status::{DISRUPTION, is_ours, is_terminal};
use crate::quantity::Quantity;

/// Which writes go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Others wait for it: readiness, a first start, an end, everything of a pod that is being deleted.
    Urgent,
    /// All else; held back a moment so that what follows goes with it.
    Soon,
    /// Steps of a start that goes as it should. A pod that is ready within a second is written once, with all of them.
    Start,
}

/// Why a container waits of which nothing is wrong (`pkg/kubelet/kubelet_pods.go`).
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The whole body of the request.
#[must_use]
pub fn body(uid: &str, status: &Value) -> Value {
    json!({ "metadata": { "uid": uid }, "status": status })
}

/// The patch of `status`; none if the API server has it all.
#[must_use]
pub fn diff(theirs: Option<&PodStatus>, ours: &PodStatus) -> Option<Value> {
    let nothing = PodStatus::default();
    let theirs = theirs.unwrap_or(&nothing);
    let mut patch = Map::new();
    let mut field = |name: &str, differs: bool, value: Value| {
        if differs {
            patch.insert(name.to_owned(), value);
        }
    };
    field("phase", theirs.phase != ours.phase, json(&ours.phase));
    field("reason", theirs.reason != ours.reason, json(&ours.reason));
    field("message", theirs.message != ours.message, json(&ours.message));
    field("hostIP", theirs.host_ip != ours.host_ip, json(&ours.host_ip));
    field("podIP", theirs.pod_ip != ours.pod_ip, json(&ours.pod_ip));
    field("qosClass", theirs.qos_class != ours.qos_class, json(&ours.qos_class));
    field("startTime", theirs.start_time != ours.start_time, json(&ours.start_time));
    let generation = (theirs.observed_generation.unwrap_or(0), ours.observed_generation.unwrap_or(0));
    field("observedGeneration", generation.0 != generation.1, json(&ours.observed_generation));
    for (name, theirs, ours) in [
        ("containerStatuses", &theirs.container_statuses, &ours.container_statuses),
        ("initContainerStatuses", &theirs.init_container_statuses, &ours.init_container_statuses),
    ] {
        field(name, canonical(theirs) != canonical(ours), json(ours));
    }
    let ips = |list: Option<Vec<&String>>| list.unwrap_or_default().into_iter().cloned().collect::<Vec<_>>();
    let of_host =
        |status: &PodStatus| ips(status.host_ips.as_ref().map(|ips| ips.iter().map(|ip| &ip.ip).collect()));
    let of_pod =
        |status: &PodStatus| ips(status.pod_ips.as_ref().map(|ips| ips.iter().map(|ip| &ip.ip).collect()));
    addresses("hostIPs", &of_host(theirs), &of_host(ours), &mut patch);
    addresses("podIPs", &of_pod(theirs), &of_pod(ours), &mut patch);
    let conditions = conditions(theirs, ours);
    if !conditions.is_empty() {
        patch.insert("conditions".to_owned(), Value::Array(conditions));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What the API server left out of a difference that it took, as an older one does with fields that it does not know.
/// None where something else differs, too: that was changed by others and has to be written.
#[must_use]
pub fn left_out(theirs: Option<&PodStatus>, sent: &PodStatus, difference: &Value) -> Option<Value> {
    let left = diff(theirs, sent)?;
    let named = |list: &Value, name: &Value| {
        list.as_array().is_some_and(|list| list.iter().any(|of| of.get("type") == Some(name)))
    };
    let was_sent = |(key, value): (&String, &Value)| match (key.as_str(), difference.get(key)) {
        (_, None) => false,
        ("conditions", Some(sent)) => {
            let left = value.as_array().into_iter().flatten();
            left.filter_map(|of| of.get("type")).all(|name| named(sent, name))
        }
        (_, Some(_)) => true,
    };
    left.as_object().is_some_and(|left| left.iter().all(was_sent)).then_some(left)
}

/// How soon a difference must be told.
#[must_use]
pub fn lane(object: &Pod, ours: &PodStatus) -> Lane {
    let theirs = object.status.as_ref();
    let ready = |status: Option<&PodStatus>| {
        let mut all = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        all.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let (was, is) = (theirs.and_then(|theirs| theirs.phase.as_deref()), ours.phase.as_deref());
    let telling = was != is && is.is_some_and(|phase| phase == "Running" || is_terminal(phase));
    let deleted = object.metadata.deletion_timestamp.is_some();
    if deleted || telling || ready(theirs) != ready(Some(ours)) {
        Lane::Urgent
    } else if is_starting(ours) && theirs.is_none_or(is_starting) {
        Lane::Start
    } else {
        Lane::Soon
    }
}

/// Nothing ran yet, and nothing is wrong so far. Without a condition of ours it is the API server's own first status.
fn is_starting(status: &PodStatus) -> bool {
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let mut containers = lists.into_iter().flatten().flatten();
    let waits = |status: &ContainerStatus| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        reason.is_some_and(|reason| STARTING.contains(&reason)) && status.restart_count == 0
    };
    let pending = status.phase.as_deref().is_none_or(|phase| phase == "Pending");
    pending && status.reason.is_none() && containers.all(waits)
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Quantities are compared by what they mean: the API server writes `0.5` as `500m`.
fn canonical(statuses: &Option<Vec<ContainerStatus>>) -> Vec<ContainerStatus> {
    let mut statuses = statuses.clone().unwrap_or_default();
    for status in &mut statuses {
        let needs = status.resources.get_or_insert_with(ResourceRequirements::default);
        for list in [&mut needs.limits, &mut needs.requests, &mut status.allocated_resources] {
            for text in list.get_or_insert_default().values_mut() {
                plain(text);
            }
        }
        status.state.get_or_insert_default();
        status.last_state.get_or_insert_default();
    }
    statuses
}

fn plain(text: &mut Text) {
    if let Ok(quantity) = Quantity::parse(&text.0) {
        text.0 = format!("{quantity:?}");
    }
}

/// A list that the API server merges by `ip`: what is to go must be named, and so must the order.
fn addresses(name: &str, theirs: &[String], ours: &[String], patch: &mut Map<String, Value>) {
    if theirs == ours {
        return;
    }
    let kept: Vec<Value> = ours.iter().map(|ip| json!({ "ip": ip })).collect();
    let gone = theirs.iter().filter(|ip| !ours.contains(ip));
    let gone = gone.map(|ip| json!({ "ip": ip, "$patch": "delete" }));
    patch.insert(format!("$setElementOrder/{name}"), Value::Array(kept.clone()));
    patch.insert(name.to_owned(), kept.iter().cloned().chain(gone).collect());
}

fn conditions(theirs: &PodStatus, ours: &PodStatus) -> Vec<Value> {
    let mine = |status: &PodStatus| -> Vec<PodCondition> {
        let all = status.conditions.iter().flatten();
        all.filter(|condition| is_ours(&condition.type_)).cloned().collect()
    };
    let shared = |status: &PodStatus| {
        let all = status.conditions.iter().flatten();
        all.filter(|condition| condition.type_ == DISRUPTION).cloned().collect::<Vec<_>>()
    };
    let disrupted = (shared(theirs), shared(ours));
    let (theirs, ours) = (mine(theirs), mine(ours));
    let find = |list: &[PodCondition], name: &str| list.iter().find(|of| of.type_ == name).cloned();
    let mut patch: Vec<Value> = Vec::new();
    for condition in &ours {
        patch.extend(changed(find(&theirs, &condition.type_), condition));
    }
    for condition in theirs.iter().filter(|theirs| find(&ours, &theirs.type_).is_none()) {
        patch.push(json!({ "type": condition.type_, "$patch": "delete" }));
    }
    // What others said by it is left as it is; what we say is added.
    patch.extend(disrupted.1.iter().flat_map(|ours| changed(find(&disrupted.0, DISRUPTION), ours)));
    patch
}

/// The fields of a condition that differ. It is merged field by field: what is to go must be null.
fn changed(theirs: Option<PodCondition>, ours: &PodCondition) -> Option<Value> {
    let Some(theirs) = theirs else { return Some(json(ours)) };
    let mut theirs = theirs;
    theirs.observed_generation = theirs.observed_generation.filter(|generation| *generation != 0);
    if theirs == *ours {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (json(&theirs), json(ours)) else { return None };
    let mut patch = Map::from_iter([("type".to_owned(), json(&ours.type_))]);
    for (key, value) in &after {
        if before.get(key) != Some(value) {
            patch.insert(key.clone(), value.clone());
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    fn check(theirs: Value, ours: Value, patch: Value) {
        let found = diff(Some(&status(theirs)), &status(ours)).unwrap_or(Value::Null);
        assert_eq!(found, patch);
    }

    #[test]
    fn only_what_differs_is_written() {
        check(json!({}), json!({}), Value::Null);
        check(
            json!({ "phase": "Pending", "reason": "X", "qosClass": "BestEffort" }),
            json!({ "phase": "Running", "qosClass": "BestEffort" }),
            json!({ "phase": "Running", "reason": null }),
        );
        check(
            json!({ "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }] }),
            json!({ "podIP": "10.0.0.2", "podIPs": [{ "ip": "10.0.0.2" }] }),
            json!({
                "podIP": "10.0.0.2",
                "podIPs": [{ "ip": "10.0.0.2" }, { "ip": "10.0.0.1", "$patch": "delete" }],
                "$setElementOrder/podIPs": [{ "ip": "10.0.0.2" }],
            }),
        );
    }

    #[test]
    fn b27_conditions_are_written_field_by_field_and_those_of_others_never() {
        let time = "2026-01-01T00:00:00Z";
        check(
            json!({ "conditions": [
                { "type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": time, "lastProbeTime": null },
                { "type": "other.io/x", "status": "True" },
                { "type": "PodResizePending", "status": "True" },
            ] }),
            json!({ "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": time, "observedGeneration": 2 },
                { "type": "PodScheduled", "status": "True" },
            ] }),
            json!({ "conditions": [
                { "type": "Ready", "status": "True", "reason": null, "observedGeneration": 2 },
                { "type": "PodScheduled", "status": "True" },
                { "type": "PodResizePending", "$patch": "delete" },
            ] }),
        );
    }

    #[test]
    fn the_servers_way_of_writing_is_no_difference() {
        let of = |cpu: &str, last: Value| {
            json!({ "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "lastState": last,
                "resources": { "requests": { "cpu": cpu } }, "allocatedResources": { "cpu": cpu },
            }] })
        };
        check(of("500m", json!({})), of("0.5", json!({})), Value::Null);
        let found = diff(Some(&status(of("1", json!({})))), &status(of("0.5", json!({})))).unwrap();
        assert_eq!(found["containerStatuses"][0]["resources"]["requests"]["cpu"], "0.5");
    }

    #[test]
    fn what_a_server_does_not_take_is_not_sent_for_ever_and_what_others_change_is() {
        let ours = json!({ "phase": "Running", "observedGeneration": 2,
            "conditions": [{ "type": "Ready", "status": "True" }] });
        let theirs = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        let difference = diff(None, &status(ours.clone())).unwrap();
        let left = left_out(Some(&status(theirs)), &status(ours.clone()), &difference);
        assert_eq!(left, Some(json!({ "observedGeneration": 2 })));
        let partly = json!({ "observedGeneration": 2 });
        let changed = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] });
        assert_eq!(left_out(Some(&status(changed.clone())), &status(ours.clone()), &partly), None);
        let other =
            json!({ "observedGeneration": 2, "conditions": [{ "type": "Initialized", "status": "True" }] });
        assert_eq!(left_out(Some(&status(changed)), &status(ours), &other), None);
    }

    #[test]
    fn urgent_is_what_others_wait_for() {
        let object = |ready: &str, phase: &str, deleted: bool| -> Pod {
            let mut metadata = json!({});
            if deleted {
                metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            let conditions = json!([{ "type": "Ready", "status": ready }]);
            serde_json::from_value(
                json!({ "metadata": metadata, "status": { "phase": phase, "conditions": conditions } }),
            )
            .unwrap()
        };
        let ours = |ready, phase| object(ready, phase, false).status.unwrap();
        assert_eq!(lane(&object("False", "Pending", false), &ours("False", "Pending")), Lane::Start);
        assert_eq!(lane(&object("False", "Running", false), &ours("True", "Running")), Lane::Urgent);
        assert_eq!(lane(&object("True", "Running", false), &ours("False", "Running")), Lane::Urgent);
        assert_eq!(lane(&object("False", "Pending", false), &ours("False", "Running")), Lane::Urgent);
        assert_eq!(lane(&object("False", "Running", false), &ours("False", "Failed")), Lane::Urgent);
        assert_eq!(lane(&object("False", "Running", true), &ours("False", "Running")), Lane::Urgent);
    }

    #[test]
    fn a_start_is_told_in_one_piece_unless_something_is_wrong() {
        let pod = |state: Value| -> Pod {
            let containers = json!([{ "name": "c", "image": "i", "imageID": "", "ready": false,
                "restartCount": 0, "state": state }]);
            let status = json!({ "phase": "Pending", "containerStatuses": containers });
            serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap()
        };
        let waiting = |reason: &str| pod(json!({ "waiting": { "reason": reason } }));
        let lane_of = |theirs: &Pod, ours: &Pod| lane(theirs, ours.status.as_ref().unwrap());
        let fresh = Pod::default();
        assert_eq!(lane_of(&fresh, &waiting("ContainerCreating")), Lane::Start);
        assert_eq!(lane_of(&waiting("PodInitializing"), &waiting("ContainerCreating")), Lane::Start);
        assert_eq!(lane_of(&fresh, &waiting("ErrImagePull")), Lane::Soon);
        assert_eq!(lane_of(&waiting("ErrImagePull"), &waiting("ContainerCreating")), Lane::Soon);
        assert_eq!(lane_of(&fresh, &pod(json!({ "running": {} }))), Lane::Soon, "an init container");
    }
}
