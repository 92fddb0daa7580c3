//! Events as the API has them. Pure.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};

use super::correlate::Record;
use crate::events::Object;

/// What events of a kubelet say they come from; tools look for it.
const COMPONENT: &str = "kubelet";
/// Where events of objects without a namespace are (`makeEvent` of client-go).
const DEFAULT_NAMESPACE: &str = "default";
/// Longest name of an object in the API, in bytes.
const MAX_NAME: usize = 253;
/// A dot and a number of 16 hexadecimal digits.
const SUFFIX: usize = 17;

/// The namespace in which the event of an object is.
pub(super) fn namespace(object: &Object) -> &str {
    match object {
        Object::Pod { namespace, .. } => namespace,
        Object::Node { .. } => DEFAULT_NAMESPACE,
    }
}

/// The name of the event.
pub(super) fn name(record: &Record, node: &str) -> String {
    let mut object = match &record.object {
        Object::Pod { name, .. } => name.as_str(),
        Object::Node { name } if name.is_empty() => node,
        Object::Node { name } => name.as_str(),
    };
    if object.len() > MAX_NAME - SUFFIX {
        let cut = (0..=MAX_NAME - SUFFIX).rev().find(|at| object.is_char_boundary(*at)).unwrap_or(0);
        object = object.get(..cut).unwrap_or_default().trim_end_matches(['-', '.']);
    }
    format!("{object}.{:x}", record.number)
}

/// The whole event. `node` is this node's name, `pod` the pod in the API, if it is known.
pub(super) fn event(record: &Record, node: &str, pod: Option<&Pod>) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name(record, node)),
            namespace: Some(namespace(&record.object).to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: involved(&record.object, node, pod),
        type_: Some(record.kind.as_str().to_owned()),
        reason: Some(record.reason.clone()),
        message: Some(record.message.clone()),
        first_timestamp: Some(Time(record.first)),
        last_timestamp: Some(Time(record.last)),
        count: Some(count(record)),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node.to_owned()) }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}

/// What changes when an event happens again. The message too, since a combined series shows the latest.
pub(super) fn patch(record: &Record) -> Value {
    json!({ "count": count(record), "lastTimestamp": Time(record.last), "message": record.message })
}

fn count(record: &Record) -> i32 {
    i32::try_from(record.count).unwrap_or(i32::MAX)
}

fn involved(object: &Object, node: &str, pod: Option<&Pod>) -> ObjectReference {
    match object {
        Object::Pod { namespace, name, uid, field } => {
            let known = pod.map(|pod| &pod.metadata);
            let uid = uid.as_ref().map(|uid| uid.as_str().to_owned());
            ObjectReference {
                kind: Some("Pod".to_owned()),
                api_version: Some("v1".to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: uid.or_else(|| known.and_then(|known| known.uid.clone())),
                resource_version: known.and_then(|known| known.resource_version.clone()),
                field_path: field.clone(),
            }
        }
        // The kubelet's events of a node have its name for a UID, and `kubectl describe node` asks for that.
        Object::Node { name } => {
            let name = if name.is_empty() { node } else { name.as_str() };
            ObjectReference {
                kind: Some("Node".to_owned()),
                api_version: Some("v1".to_owned()),
                name: Some(name.to_owned()),
                uid: Some(name.to_owned()),
                ..ObjectReference::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use pinnace_cri::id::PodUid;

    use super::*;
    use crate::events::Kind;

    fn record(object: Object) -> Record {
        Record {
            object,
            kind: Kind::Warning,
            reason: "BackOff".into(),
            message: "m".into(),
            first: Timestamp::from_second(1_000).unwrap(),
            last: Timestamp::from_second(2_000).unwrap(),
            count: 3,
            number: 0x18d0_0000_0000_00aa,
        }
    }

    #[test]
    fn a_containers_event_is_as_the_kubelet_writes_it() {
        let uid = PodUid::new("u1").unwrap();
        let field = Some("spec.containers{c}".to_owned());
        let object = Object::Pod { namespace: "ns".into(), name: "web".into(), uid: Some(uid), field };
        let pod = json!({ "metadata": { "uid": "other", "resourceVersion": "7" } });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let event = event(&record(object), "n1", Some(&pod));
        let expected = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": "web.18d00000000000aa", "namespace": "ns" },
            "involvedObject": {
                "kind": "Pod", "apiVersion": "v1", "namespace": "ns", "name": "web", "uid": "u1",
                "resourceVersion": "7", "fieldPath": "spec.containers{c}",
            },
            "type": "Warning", "reason": "BackOff", "message": "m", "count": 3,
            "firstTimestamp": "1970-01-01T00:16:40Z", "lastTimestamp": "1970-01-01T00:33:20Z",
            "source": { "component": "kubelet", "host": "n1" },
            "reportingComponent": "kubelet", "reportingInstance": "n1",
        });
        assert_eq!(serde_json::to_value(event).unwrap(), expected);
    }

    #[test]
    fn a_nodes_event_is_in_default_with_the_name_for_a_uid() {
        let event = event(&record(Object::node("")), "n1", None);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("n1"));
        assert_eq!(event.involved_object.namespace, None);
        assert_eq!(event.metadata.name.as_deref(), Some("n1.18d00000000000aa"));
    }

    #[test]
    fn a_long_name_is_cut_to_what_the_api_takes() {
        let long = format!("{}-b", "a".repeat(235));
        let name = name(&record(Object::from(format!("ns/{long}").as_str())), "n1");
        assert_eq!(name, format!("{}.18d00000000000aa", "a".repeat(235)));
        assert!(name.len() <= MAX_NAME);
    }
}
