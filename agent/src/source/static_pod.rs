//! Decides what the pod in a manifest becomes on this node: a desired pod with its name, UID and annotations.
//!
//! The UID is a hash of the manifest as decoded, before defaults, so that neither a new default in a later
//! version nor the moment of reading changes it: a changed UID restarts the pod.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_cri::id::PodUid;

use super::desired::{DesiredPod, Held, Origin};
use super::fault::Fault;
use super::fnv::Fnv128a;
use super::{defaults, gate, validate};

/// Annotation with the hash of the manifest (`pkg/kubelet/types` of Kubernetes).
pub const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
/// Annotation with the kind of source, `file` here.
pub const SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
/// Annotation with the time at which the manifest was first seen, RFC 3339.
pub const SEEN_ANNOTATION: &str = "kubernetes.io/config.seen";
/// Annotation that marks the API's mirror of a static pod; a manifest may not carry it.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// The desired pod of a manifest, or everything that is wrong with it.
///
/// `node` is the node's name, `file` the manifest's path and `seen` the wall time at which it was read.
pub fn desired(mut pod: Pod, file: &Path, node: &str, seen: Timestamp) -> Result<DesiredPod, Vec<Fault>> {
    let mut faults = validate::manifest(&pod);
    forget_what_the_api_server_sets(&mut pod);
    let hash = hash(&pod, file, node);
    let foreign = foreign_node(&pod, node);
    defaults::apply(&mut pod);
    name_it(&mut pod, node, &hash, seen);
    faults.extend(validate::pod(&pod));
    let uid = match PodUid::new(pod.metadata.uid.as_deref().unwrap_or_default()) {
        Ok(uid) => uid,
        Err(error) => {
            faults.push(Fault::at("metadata.uid", error.to_string()));
            return Err(faults);
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut held = gate::held(&pod);
    held.extend(foreign);
    Ok(DesiredPod {
        uid,
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        origin: Origin::File(file.to_owned()),
        pod: Arc::new(pod),
        held,
    })
}

/// Whether two readings are of the same manifest, whenever and by whichever version of the agent each was read.
#[must_use]
pub fn same_manifest(one: &DesiredPod, other: &DesiredPod) -> bool {
    let hash = |pod: &DesiredPod| pod.pod.metadata.annotations.as_ref()?.get(HASH_ANNOTATION).cloned();
    one.uid == other.uid
        && one.origin == other.origin
        && one.full_name() == other.full_name()
        && hash(one) == hash(other)
}

/// Drops what an export from a cluster carries and a manifest cannot decide.
fn forget_what_the_api_server_sets(pod: &mut Pod) {
    pod.status = None;
    let kept = std::mem::take(&mut pod.metadata);
    pod.metadata = ObjectMeta {
        annotations: kept.annotations,
        finalizers: kept.finalizers,
        generate_name: kept.generate_name,
        labels: kept.labels,
        name: kept.name,
        namespace: kept.namespace.filter(|namespace| !namespace.is_empty()),
        uid: kept.uid.filter(|uid| !uid.is_empty()),
        ..ObjectMeta::default()
    };
    if let Some(annotations) = &mut pod.metadata.annotations {
        for own in [HASH_ANNOTATION, SOURCE_ANNOTATION, SEEN_ANNOTATION] {
            annotations.remove(own);
        }
    }
}

/// A static pod runs where it is read; one that names another node was surely put here by mistake.
fn foreign_node(pod: &Pod, node: &str) -> Option<Held> {
    let named =
        pod.spec.as_ref()?.node_name.as_deref().filter(|named| !named.is_empty() && *named != node)?;
    Some(Held {
        field: "spec.nodeName".to_owned(),
        reason: format!("names {named:?}, this node is {node:?}"),
    })
}

fn name_it(pod: &mut Pod, node: &str, hash: &str, seen: Timestamp) {
    let metadata = &mut pod.metadata;
    if let Some(name) = metadata.name.as_mut().filter(|name| !name.is_empty()) {
        name.push('-');
        name.push_str(&node.to_lowercase());
    }
    metadata.namespace.get_or_insert_with(|| "default".to_owned());
    metadata.uid.get_or_insert_with(|| hash.to_owned());
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(HASH_ANNOTATION.to_owned(), hash.to_owned());
    annotations.insert(SOURCE_ANNOTATION.to_owned(), "file".to_owned());
    annotations.insert(SEEN_ANNOTATION.to_owned(), seen.to_string());
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(node.to_owned());
        tolerate_everything(spec);
    }
}

/// Taints do not evict a static pod.
fn tolerate_everything(spec: &mut PodSpec) {
    let any = Toleration {
        effect: Some("NoExecute".to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&any) {
        tolerations.push(any);
    }
}

/// FNV-128a over the pod with sorted keys, the node and the path, as 32 hex digits.
fn hash(pod: &Pod, file: &Path, node: &str) -> String {
    // Through a value, whose maps are sorted: the order of a struct's fields is the library's business.
    let canonical = serde_json::to_value(pod).map(|value| value.to_string()).unwrap_or_default();
    let mut hash = Fnv128a::default();
    hash.write(canonical.as_bytes());
    hash.write(format!("host:{node}").as_bytes());
    hash.write(b"file:");
    hash.write(std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str()));
    hash.hex()
}

#[cfg(test)]
mod tests;
