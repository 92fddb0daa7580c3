//! What the server's types do to a body: they refuse what does not fit, and write back only what they hold.
//!
//! Decoding into Go structs and encoding again drops nulls, empty lists and most empty strings, and cuts
//! `metav1.Time` to whole seconds. A writer that compares its own status with the stored one must live with that.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::kinds::Kind;
use super::reading::text;
use super::status::Failure;
use super::wall::seconds;

/// Strings that are written even when they are empty: fields without `omitempty` in `core/v1/types.go`.
const KEPT: [&str; 6] = ["name", "image", "imageID", "type", "status", "address"];

/// Fields of the type `metav1.Time`.
const TIMES: [&str; 10] = [
    "creationTimestamp",
    "deletionTimestamp",
    "startTime",
    "startedAt",
    "finishedAt",
    "lastProbeTime",
    "lastTransitionTime",
    "lastHeartbeatTime",
    "firstTimestamp",
    "lastTimestamp",
];

/// Fields of the type `metav1.MicroTime`, which must have exactly six digits after the point.
const MICRO_TIMES: [&str; 4] =
    ["/spec/renewTime", "/spec/acquireTime", "/eventTime", "/series/lastObservedTime"];

/// Checks the body of a write against the type and leaves it as the server would write it.
pub fn body(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    match kind.kind {
        "Pod" => decodes::<Pod>(kind, object)?,
        "Node" => decodes::<Node>(kind, object)?,
        "Lease" => decodes::<Lease>(kind, object)?,
        _ => {}
    }
    for pointer in MICRO_TIMES {
        let given = text(object, pointer);
        if !given.is_empty() && !is_micro_time(given) {
            let what = format!("parsing time {given:?} as \"2006-01-02T15:04:05.000000Z07:00\"");
            return Err(Failure::bad_request(format!(
                "{} in version {:?} cannot be handled: {what}",
                kind.kind, kind.version
            )));
        }
    }
    if matches!(kind.kind, "Pod" | "Node") {
        for part in ["spec", "status"] {
            if let Some(value) = object.get_mut(part) {
                tidy(value);
            }
        }
        add_states(object);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !is_empty(value) && value.as_object().is_none_or(|map| !map.is_empty()));
    }
    object["apiVersion"] = Value::String(kind.api_version());
    object["kind"] = Value::String(kind.kind.to_owned());
    Ok(())
}

fn decodes<K: DeserializeOwned>(kind: &Kind, object: &Value) -> Result<(), Failure> {
    match serde_json::from_value::<K>(object.clone()) {
        Ok(_) => Ok(()),
        Err(error) => {
            let name = kind.kind;
            let text = format!("{name} in version {:?} cannot be handled as a {name}: {error}", kind.version);
            Err(Failure::bad_request(text))
        }
    }
}

/// Structs that are no pointers are always written: an empty state of a container is there as `{}`.
fn add_states(object: &mut Value) {
    for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        let path = format!("/status/{list}");
        let statuses = object.pointer_mut(&path).and_then(Value::as_array_mut);
        for status in statuses.into_iter().flatten().filter_map(Value::as_object_mut) {
            for key in ["state", "lastState"] {
                status.entry(key).or_insert_with(|| Value::Object(Map::new()));
            }
        }
    }
}

fn is_micro_time(given: &str) -> bool {
    let Some((_, after)) = given.split_once('.') else { return false };
    let digits = after.chars().take_while(char::is_ascii_digit).count();
    digits == 6 && given.parse::<Timestamp>().is_ok()
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                cut_time(key, value);
                tidy(value);
            }
            map.retain(|key, value| !is_empty(value) || (value.is_string() && KEPT.contains(&key.as_str())));
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn cut_time(key: &str, value: &mut Value) {
    if !TIMES.contains(&key) {
        return;
    }
    if let Some(Ok(at)) = value.as_str().map(str::parse::<Timestamp>) {
        *value = Value::String(seconds(at));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::Kind;
    use super::{body, is_micro_time};

    #[test]
    fn a_status_comes_back_as_the_server_writes_it() {
        let mut pod = json!({ "metadata": { "name": "p" }, "status": {
            "message": "", "podIPs": [], "startTime": "2026-01-02T03:04:05.678Z",
            "containerStatuses": [{ "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": { "running": { "startedAt": "2026-01-02T03:04:05.9Z" } } }],
        } });
        body(Kind::named("pods"), &mut pod).unwrap();
        let wanted = json!({
            "startTime": "2026-01-02T03:04:05Z",
            "containerStatuses": [{ "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "lastState": {}, "state": { "running": { "startedAt": "2026-01-02T03:04:05Z" } } }],
        });
        assert_eq!(pod["status"], wanted);
    }

    #[test]
    fn what_does_not_fit_the_type_is_a_bad_request() {
        let mut pod = json!({ "metadata": { "name": "p" }, "status": { "phase": 7 } });
        assert_eq!(body(Kind::named("pods"), &mut pod).unwrap_err().code, 400);
        let mut lease =
            json!({ "metadata": { "name": "n" }, "spec": { "renewTime": "2026-01-02T03:04:05Z" } });
        assert_eq!(body(Kind::named("leases"), &mut lease).unwrap_err().code, 400);
    }

    #[test]
    fn micro_times_have_six_digits() {
        assert!(is_micro_time("2026-01-02T03:04:05.000000Z"));
        assert!(!is_micro_time("2026-01-02T03:04:05.000Z"));
        assert!(!is_micro_time("2026-01-02T03:04:05Z"));
    }
}
