//! Manifests of pods, as values.

use serde_json::{Value, json};

/// Debian's busybox.
pub(crate) const IMAGE: &str = "pinnace.local/busybox:1.35";

/// A pod with one container `main` that runs a shell script.
pub(crate) fn pod(name: &str, policy: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 3,
            "containers": [container("main", script)],
        },
    })
}

/// A container that runs a shell script.
pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script] })
}

/// A script that waits for ever and ends at once on TERM. As process 1 a shell ignores TERM unless told otherwise.
pub(crate) const WAIT: &str = "trap 'exit 0' TERM; sleep 100000 & wait";

/// A pod that waits for ever.
pub(crate) fn waiter(name: &str) -> Value {
    pod(name, "Always", WAIT)
}

/// The container `main` of a pod, to change it.
pub(crate) fn main(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}
