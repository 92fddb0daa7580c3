//! Label and annotation keys, and the decision whose a sandbox or container is.
//!
//! The first group is the kubelet's (`pkg/kubelet/types/labels.go`, `pkg/kubelet/types/constants.go` and
//! `pkg/kubelet/kuberuntime/labels.go` of Kubernetes 1.36), so that crictl, log collectors and a kubelet that takes
//! the node back find what they expect. The second is our own.

use std::collections::BTreeMap;

/// Label: name of the pod.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: namespace of the pod.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: UID of the pod.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: name of the container in its pod's spec.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// Annotation: hash of the container's spec, in lower-case hexadecimal.
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how often the container was restarted before this instance, in decimal.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: path in the container of its termination message.
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: `File` or `FallbackToLogsOnError`.
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the pre-stop hook as JSON.
pub const PRE_STOP_HANDLER: &str = "io.kubernetes.container.preStopHandler";
/// Annotation: the container's ports as JSON.
pub const CONTAINER_PORTS: &str = "io.kubernetes.container.ports";
/// Annotation: the pod's termination grace period in seconds, in decimal.
pub const POD_TERMINATION_GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Annotation: the deletion's grace period in seconds, in decimal.
pub const POD_DELETION_GRACE_PERIOD: &str = "io.kubernetes.pod.deletionGracePeriod";
/// Annotation: when the pod was first seen, in RFC 3339.
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
/// Annotation: where the pod came from: `api`, `file` or `http`.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Annotation: hash of a static pod's manifest.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Annotation: on a mirror pod, the hash of the static pod behind it.
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// Label: name of the node that made the object.
pub const OWNER: &str = "pinnace.dev/owner";
/// Annotation: our own record of the spec that the object was made from, with the record's version.
pub const SPEC: &str = "pinnace.dev/spec";

/// Which sandboxes and containers of the runtime are this node's to manage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// The default. Everything that carries the kubelet's labels, unless it names another owner: what a kubelet
    /// left on this node is taken over as it runs.
    Node(String),
    /// `--virtual`: only what names this node as its owner; several such nodes share one runtime.
    Virtual(String),
}

impl Ownership {
    /// Name of this node: the value of [`OWNER`] on everything that it makes.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Ownership::Node(node) | Ownership::Virtual(node) => node,
        }
    }

    /// Whether an object with these labels is this node's.
    #[must_use]
    pub fn owns(&self, labels: &BTreeMap<String, String>) -> bool {
        let owner = labels.get(OWNER);
        match self {
            Ownership::Node(node) => is_pods(labels) && owner.is_none_or(|owner| owner == node),
            Ownership::Virtual(node) => owner.is_some_and(|owner| owner == node),
        }
    }
}

/// Whether the labels say that the object belongs to a pod at all; what `crictl run` makes has none.
#[must_use]
pub fn is_pods(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key(POD_UID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn check(ownership: &Ownership, pairs: &[(&str, &str)], expected: bool) {
        assert_eq!(ownership.owns(&labels(pairs)), expected, "{ownership:?} of {pairs:?}");
    }

    #[test]
    fn a_node_takes_over_a_kubelets_pods_and_leaves_another_owners() {
        let node = Ownership::Node("n1".into());
        check(&node, &[(POD_UID, "u")], true);
        check(&node, &[(POD_UID, "u"), (OWNER, "n1")], true);
        check(&node, &[(POD_UID, "u"), (OWNER, "n2")], false);
        check(&node, &[(POD_UID, "u"), (OWNER, "")], false);
        check(&node, &[("app", "x")], false);
        check(&node, &[], false);
    }

    #[test]
    fn a_virtual_node_touches_only_what_it_made() {
        let node = Ownership::Virtual("v1".into());
        check(&node, &[(POD_UID, "u"), (OWNER, "v1")], true);
        check(&node, &[(POD_UID, "u")], false);
        check(&node, &[(POD_UID, "u"), (OWNER, "v2")], false);
        check(&node, &[], false);
    }

    proptest! {
        #[test]
        fn no_two_owners_claim_one_object(
            owner in proptest::option::of("[ab]"), uid in any::<bool>(), virtual_a in any::<bool>(), virtual_b in any::<bool>()
        ) {
            let mut all = BTreeMap::new();
            if uid { all.insert(POD_UID.to_owned(), "u".to_owned()); }
            let named = owner.is_some();
            if let Some(owner) = owner { all.insert(OWNER.to_owned(), owner); }
            let make = |is_virtual, name: &str| if is_virtual { Ownership::Virtual(name.into()) } else { Ownership::Node(name.into()) };
            let (a, b) = (make(virtual_a, "a").owns(&all), make(virtual_b, "b").owns(&all));
            // An object without an owner is a kubelet's: two default nodes on one runtime are not supported.
            prop_assert!(!(a && b) || (!named && !virtual_a && !virtual_b));
        }
    }
}
