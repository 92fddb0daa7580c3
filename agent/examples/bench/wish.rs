//! The pods that the bench asks for. Pure.

use serde_json::{Value, json};

/// The image of all of them: both the fake and the development containerds have it.
pub(crate) const IMAGE: &str = "pinnace.local/busybox:1.35";

/// A process that ends on SIGTERM at once. `mark` stands in its arguments, so that it can be found.
pub(crate) fn command(mark: &str) -> Vec<String> {
    // `wait` ends on a signal; the shell would finish a plain `sleep` first.
    ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait", mark].map(str::to_owned).to_vec()
}

/// An argument that no other process of this machine has.
pub(crate) fn mark(name: &str) -> String {
    format!("pinnace-bench-{}-{name}", std::process::id())
}

/// A manifest of a pod that ends only once, with one container `main`.
pub(crate) fn pod(name: &str, command: &[String]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "enableServiceLinks": false,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
            }],
        },
    })
}

/// What a pod of the API refers to, beside its service account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refers {
    ToNothing,
    /// To a ConfigMap and a Secret of the name [`OBJECT`], in a volume each and in its environment.
    ToObjects,
}

/// Name of the ConfigMap and the Secret.
pub(crate) const OBJECT: &str = "bench";

/// The same for the API, bound to its node; admission adds the service account's volume.
pub(crate) fn api_pod(name: &str, node: &str, refers: Refers) -> Value {
    let mut pod = pod(name, &command(&mark(name)));
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("automountServiceAccountToken");
        spec.insert("nodeName".to_owned(), json!(node));
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(30));
        if refers == Refers::ToObjects {
            let volumes = json!([{ "name": "map", "configMap": { "name": OBJECT } },
                { "name": "secret", "secret": { "secretName": OBJECT } }]);
            spec.insert("volumes".to_owned(), volumes);
        }
    }
    if let (Refers::ToObjects, Some(container)) = (refers, pod.pointer_mut("/spec/containers/0")) {
        container["volumeMounts"] =
            json!([{ "name": "map", "mountPath": "/map" }, { "name": "secret", "mountPath": "/secret" }]);
        container["envFrom"] =
            json!([{ "configMapRef": { "name": OBJECT } }, { "secretRef": { "name": OBJECT } }]);
    }
    pod
}

/// A pod of the fake's, whose shell does not know `wait`.
pub(crate) fn sleeper(name: &str) -> Value {
    pod(name, &["sleep".to_owned(), "infinity".to_owned()])
}
