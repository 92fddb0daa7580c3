//! Which mirror pods are to be made and which to go. Pure.
//!
//! A mirror is a view of a static pod: it is rewritten whenever it differs, and it goes once its pod is taken down. What is
//! planned twice on one input is the same, and once it has taken effect nothing more is planned.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pinnace_cri::id::PodUid;

use crate::source::static_pod::{HASH_ANNOTATION, MIRROR_ANNOTATION};

/// A static pod that is wanted or not yet gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticPod {
    /// Its UID on this node.
    pub uid: PodUid,
    /// `namespace/name`.
    pub full_name: String,
    /// The hash of its manifest.
    pub hash: String,
    /// It shall run; else it is being taken down.
    pub wanted: bool,
}

/// A mirror pod as the API has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its UID in the API.
    pub uid: String,
    /// The hash of the manifest that it shows.
    pub hash: String,
    /// Somebody has deleted it; it stays until this node lets it go.
    pub leaving: bool,
}

/// What there is.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Static pods.
    pub statics: &'a [StaticPod],
    /// Mirrors by `namespace/name`.
    pub mirrors: &'a BTreeMap<String, Mirror>,
    /// Every source has been read, and the runtime: a pod that is not there is not wanted, and down.
    pub synced: bool,
}

/// What to do about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the mirror of this pod.
    Create {
        /// The static pod.
        of: PodUid,
    },
    /// Delete this mirror, which shows something else than it should or was deleted by somebody.
    Renew {
        /// Its UID in the API.
        uid: String,
    },
    /// Delete this mirror: no static pod of its name is there.
    Remove {
        /// Its UID in the API.
        uid: String,
    },
}

/// What to do, by `namespace/name`.
#[must_use]
pub fn plan(input: Input<'_>) -> BTreeMap<String, Action> {
    let statics = input.statics.iter().map(|pod| pod.full_name.as_str());
    let names: BTreeSet<&str> = statics.chain(input.mirrors.keys().map(String::as_str)).collect();
    let decided = names.into_iter().filter_map(|name| Some((name.to_owned(), decide(input, name)?)));
    decided.collect()
}

fn decide(input: Input<'_>, name: &str) -> Option<Action> {
    let of_name = || input.statics.iter().filter(|pod| pod.full_name == name);
    let wanted = of_name().find(|pod| pod.wanted);
    let mirror = input.mirrors.get(name);
    let renew = |mirror: &Mirror| Some(Action::Renew { uid: mirror.uid.clone() });
    match (wanted, mirror) {
        (Some(pod), None) => Some(Action::Create { of: pod.uid.clone() }),
        (Some(_), Some(mirror)) if mirror.leaving => renew(mirror),
        (Some(pod), Some(mirror)) if mirror.hash == pod.hash => None,
        // Shows the pod that has to be down before the wanted one may start.
        (Some(_), Some(mirror)) if of_name().any(|pod| !pod.wanted && pod.hash == mirror.hash) => None,
        (Some(_), Some(mirror)) => renew(mirror),
        (None, Some(mirror)) if input.synced && of_name().next().is_none() => {
            Some(Action::Remove { uid: mirror.uid.clone() })
        }
        (None, _) => None,
    }
}

/// UIDs of mirrors in the API by the UIDs of the static pods that they show.
#[must_use]
pub fn translation(input: Input<'_>) -> BTreeMap<PodUid, PodUid> {
    let shown = input.statics.iter().filter_map(|pod| {
        let mirror = input.mirrors.get(&pod.full_name).filter(|mirror| mirror.hash == pod.hash)?;
        Some((pod.uid.clone(), PodUid::new(&mirror.uid).ok()?))
    });
    shown.collect()
}

/// The hash of a static pod's manifest; its UID where only the runtime knows the pod.
#[must_use]
pub fn hash_of(pod: Option<&Pod>, uid: &PodUid) -> String {
    let annotations = pod.and_then(|pod| pod.metadata.annotations.as_ref());
    let hash = annotations.and_then(|annotations| annotations.get(HASH_ANNOTATION));
    hash.cloned().unwrap_or_else(|| uid.as_str().to_owned())
}

/// A pod of the API as a mirror; none if it is not one.
#[must_use]
pub fn as_mirror(pod: &Pod) -> Option<Mirror> {
    let hash = pod.metadata.annotations.as_ref()?.get(MIRROR_ANNOTATION)?.clone();
    let leaving = pod.metadata.deletion_timestamp.is_some();
    Some(Mirror { uid: pod.metadata.uid.clone()?, hash, leaving })
}

/// The owner that mirrors on this node have; none while the node is not in the API, or is being deleted from it.
///
/// NodeRestriction admits a pod only if this is its one owner, with the node's UID and without `blockOwnerDeletion`
/// (`plugin/pkg/admission/noderestriction/admission.go`).
#[must_use]
pub fn owner(node: &Node) -> Option<OwnerReference> {
    let metadata = &node.metadata;
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: metadata.name.clone()?,
        uid: metadata.uid.clone().filter(|uid| !uid.is_empty())?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

/// The mirror of a static pod, as it is sent to the API, which gives it a UID of its own.
#[must_use]
pub fn body(pod: &Pod, uid: &PodUid, owner: OwnerReference) -> Pod {
    let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
    annotations.insert(MIRROR_ANNOTATION.to_owned(), hash_of(Some(pod), uid));
    Pod {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            labels: pod.metadata.labels.clone(),
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: pod.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
mod tests;
