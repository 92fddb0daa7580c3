//! What the server itself does to pods: defaults at creation, quality of service, and which states may follow which.

use serde_json::{Map, Value, json};

use super::reading::{is_set, number, text};

/// Seconds; upstream's default of `terminationGracePeriodSeconds`.
const GRACE: i64 = 30;

/// Fills in what the server defaults in a new pod.
pub fn set_defaults(pod: &mut Value) {
    let plain = [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(GRACE)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
        ("enableServiceLinks", json!(true)),
        ("serviceAccountName", json!("default")),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
    ];
    if !pod.get("spec").is_some_and(Value::is_object) {
        pod["spec"] = json!({});
    }
    let Some(spec) = pod["spec"].as_object_mut() else { return };
    for (key, value) in plain {
        spec.entry(key).or_insert(value);
    }
    let account = spec["serviceAccountName"].clone();
    spec.entry("serviceAccount").or_insert(account);
    spec.entry("tolerations").or_insert_with(default_tolerations);
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            set_container_defaults(container);
        }
    }
}

/// Admission's DefaultTolerationSeconds: 300 s.
fn default_tolerations() -> Value {
    let toleration = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    json!([toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")])
}

fn set_container_defaults(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !last.contains('@') && (last.ends_with(":latest") || !last.contains(':'));
    let policy = if latest { "Always" } else { "IfNotPresent" };
    container.entry("imagePullPolicy").or_insert(json!(policy));
    container.entry("terminationMessagePath").or_insert(json!("/dev/termination-log"));
    container.entry("terminationMessagePolicy").or_insert(json!("File"));
    container.entry("resources").or_insert(json!({}));
}

/// The volume that ServiceAccount admission adds, and its mounts.
pub fn add_token_volume(pod: &mut Value) {
    const VOLUME: &str = "kube-api-access-fake1";
    const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    if pod["spec"]["automountServiceAccountToken"] == json!(false) {
        return;
    }
    let field =
        json!({ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    let volume = json!({ "name": VOLUME, "projected": { "defaultMode": 420, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [field] } },
    ] } });
    append(&mut pod["spec"], "volumes", volume);
    for list in ["containers", "initContainers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            append(
                container,
                "volumeMounts",
                json!({ "name": VOLUME, "readOnly": true, "mountPath": MOUNT }),
            );
        }
    }
}

fn append(to: &mut Value, key: &str, item: Value) {
    if !to.get(key).is_some_and(Value::is_array) {
        to[key] = json!([]);
    }
    to[key].as_array_mut().unwrap().push(item);
}

/// `status.qosClass`, from CPU and memory.
pub fn qos(pod: &Value) -> &'static str {
    let lists = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array());
    let containers: Vec<&Value> = lists.into_iter().flatten().flatten().collect();
    let of = |container: &Value, list: &str, name: &str| container["resources"][list].get(name).cloned();
    let names = ["cpu", "memory"];
    let any = |container: &&Value| {
        names
            .iter()
            .any(|name| of(container, "limits", name).or_else(|| of(container, "requests", name)).is_some())
    };
    let full = |container: &&Value| {
        names.iter().all(|name| {
            let limit = of(container, "limits", name);
            limit.is_some() && of(container, "requests", name).is_none_or(|request| Some(request) == limit)
        })
    };
    if containers.iter().all(full) && !containers.is_empty() {
        "Guaranteed"
    } else if containers.iter().any(any) {
        "Burstable"
    } else {
        "BestEffort"
    }
}

/// Where a status has containers, and where the spec has them.
const STATUSES: [(&str, &str); 2] =
    [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")];

/// Fields of the new status that bring an ended container back to life against its restart policy.
pub fn impossible_transitions(old: &Value, new: &Value) -> Vec<(String, &'static str, String)> {
    const TEXT: &str = "Forbidden: may not be transitioned to non-terminated state";
    let mut faults = Vec::new();
    for (statuses, specs) in STATUSES {
        let held = old["status"][statuses].as_array();
        for (index, held) in held.into_iter().flatten().enumerate() {
            let Some(code) = number(held, "/state/terminated/exitCode") else { continue };
            let given = new["status"][statuses].as_array().into_iter().flatten();
            let alive = given
                .filter(|status| status["name"] == held["name"])
                .any(|status| !is_set(status, "/state/terminated"));
            if alive && !may_restart(old, specs, text(held, "/name"), code) {
                faults.push((
                    format!("status.{statuses}[{index}].state"),
                    "FieldValueForbidden",
                    TEXT.to_owned(),
                ));
            }
        }
    }
    faults
}

fn may_restart(pod: &Value, list: &str, name: &str, code: i64) -> bool {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    let container = containers.into_iter().find(|container| container["name"] == name);
    let own = container.map(|container| text(container, "/restartPolicy")).unwrap_or_default();
    let policy = if own.is_empty() { text(pod, "/spec/restartPolicy") } else { own };
    match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// `observedGeneration` cannot be cleared, neither of the status nor of a condition that stays.
pub fn keep_observed_generation(old: &Value, new: &mut Value) {
    let held = old["status"].get("observedGeneration").cloned();
    let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let (None, Some(held)) = (status.get("observedGeneration"), held) {
        status.insert("observedGeneration".to_owned(), held);
    }
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let known = old["status"]["conditions"].as_array().into_iter().flatten();
        let known = known.into_iter().find(|known| known["type"] == condition["type"]);
        if let (None, Some(held)) =
            (condition.get("observedGeneration"), known.and_then(|known| known.get("observedGeneration")))
        {
            condition["observedGeneration"] = held.clone();
        }
    }
}
