//! Desired pods for tests, as a source would publish them. One place, so that a new field of a pod is set once.

use std::sync::Arc;

use pinnace_cri::id::PodUid;
use serde_json::{Value, json};

use super::desired::{DesiredPod, Origin};
use crate::pod::container::Site;
use crate::pod::dns::Settings;
use crate::pod::resources::Node;
use crate::pod::security::Defaults;

/// The pod of a manifest, neither defaulted nor validated.
pub(crate) fn manifest(uid: &str, namespace: &str, name: &str, manifest: Value) -> DesiredPod {
    DesiredPod {
        uid: PodUid::new(uid).unwrap(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(serde_json::from_value(manifest).unwrap()),
        held: Vec::new(),
    }
}

/// A node of a cluster, as it enters messages.
pub(crate) fn site() -> Site {
    Site {
        owner: "node1".into(),
        node: Node { memory: 4 << 30, cfs_period: Some(100_000) },
        security: Defaults { seccomp_default: false, seccomp_root: "/r/seccomp".into() },
        dns: Settings { domain: "cluster.local".into(), ..Settings::default() },
    }
}

/// `default/x` with UID `u1`, this restart policy and containers of these names, all of image `i`.
pub(crate) fn pod(policy: &str, names: &[&str]) -> DesiredPod {
    let containers: Vec<_> = names.iter().map(|name| json!({ "name": name, "image": "i" })).collect();
    let spec = json!({ "restartPolicy": policy, "containers": containers });
    manifest("u1", "default", "x", json!({ "metadata": {}, "spec": spec }))
}
