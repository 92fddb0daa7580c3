//! The pods that the bench asks for. Pure.

use serde_json::{Value, json};

/// The image of all of them: both the fake and the development containerds have it.
pub(crate) const IMAGE: &str = "pinnace.local/busybox:1.35";

/// A process that ends on SIGTERM at once. `mark` stands in its arguments, so that it can be found.
pub(crate) fn command(mark: &str) -> Vec<String> {
    // `wait` ends on a signal; the shell would finish a plain `sleep` first.
    ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait", mark].map(str::to_owned).to_vec()
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

/// A pod of the fake's, whose shell does not know `wait`.
pub(crate) fn sleeper(name: &str) -> Value {
    pod(name, &["sleep".to_owned(), "infinity".to_owned()])
}
