//! Which lists a strategic merge patch merges, and by what key; every other list is replaced as a whole.
//!
//! Facts: the `patchStrategy` and `patchMergeKey` tags of k8s.io/api v0.36 `core/v1/types.go` and of apimachinery's
//! `meta/v1/types.go`. Container statuses, images, taints and volumes in use have none.

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Replaced.
    Atomic,
    /// Elements are maps told apart by this key.
    Keyed(&'static str),
    /// Elements are plain values, each at most once.
    Set,
}

const META: [(&str, List); 2] =
    [("metadata.ownerReferences", List::Keyed("uid")), ("metadata.finalizers", List::Set)];

const POD: [(&str, List); 16] = [
    ("status.conditions", List::Keyed("type")),
    ("status.podIPs", List::Keyed("ip")),
    ("status.hostIPs", List::Keyed("ip")),
    ("status.resourceClaimStatuses", List::Keyed("name")),
    ("spec.volumes", List::Keyed("name")),
    ("spec.containers", List::Keyed("name")),
    ("spec.initContainers", List::Keyed("name")),
    ("spec.ephemeralContainers", List::Keyed("name")),
    ("spec.imagePullSecrets", List::Keyed("name")),
    ("spec.hostAliases", List::Keyed("ip")),
    ("spec.topologySpreadConstraints", List::Keyed("topologyKey")),
    ("spec.schedulingGates", List::Keyed("name")),
    ("spec.resourceClaims", List::Keyed("name")),
    ("spec.containers.env", List::Keyed("name")),
    ("spec.containers.ports", List::Keyed("containerPort")),
    ("spec.containers.volumeMounts", List::Keyed("mountPath")),
];

const NODE: [(&str, List); 3] = [
    ("status.conditions", List::Keyed("type")),
    ("status.addresses", List::Keyed("type")),
    ("spec.podCIDRs", List::Set),
];

const CONDITIONS: [(&str, List); 1] = [("status.conditions", List::Keyed("type"))];

const SERVICE_ACCOUNT: [(&str, List); 1] = [("secrets", List::Keyed("name"))];

/// How the list at `path` (field names joined by dots, list indices left out) of a `kind` is merged.
pub fn list(kind: &str, path: &str) -> List {
    let own: &[(&str, List)] = match kind {
        "Pod" => &POD,
        "Node" => &NODE,
        "Namespace" | "Service" | "PersistentVolumeClaim" => &CONDITIONS,
        "ServiceAccount" => &SERVICE_ACCOUNT,
        _ => &[],
    };
    let found = own.iter().chain(&META).find(|(known, _)| *known == path);
    found.map_or(List::Atomic, |(_, list)| *list)
}
