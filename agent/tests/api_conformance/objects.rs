//! Objects that the cases make.

use serde_json::{Value, json};

/// A pod that a scheduler has given to `node`; `more` is merged into it.
pub fn pod(name: &str, node: &str, more: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 30,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "main", "image": "pinnace.local/busybox:1.35" }],
        },
    });
    merge(&mut pod, more);
    pod
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (into, more) => *into = more,
    }
}

pub fn lease(name: &str, holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": "2026-01-02T03:04:05.000000Z" },
    })
}

/// What `container_status` says of a container.
pub fn terminated(name: &str, code: i64) -> Value {
    let state = json!({ "terminated": { "exitCode": code, "reason": "Error", "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:06Z" } });
    container_status(name, &state)
}

pub fn running(name: &str) -> Value {
    container_status(name, &json!({ "running": { "startedAt": "2026-01-02T03:04:05Z" } }))
}

fn container_status(name: &str, state: &Value) -> Value {
    json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state })
}

/// The text at a JSON pointer.
#[track_caller]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} of {object}"))
}

pub fn version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}
