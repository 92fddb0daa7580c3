//! Desired pods as one value: what a source publishes and every pod worker reads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_cri::id::PodUid;
use serde::{Deserialize, Serialize};

use super::apiserver::age;
use crate::events::Object;

/// Where a pod comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A manifest in the static pod directory, by its path.
    File(PathBuf),
    /// The API server.
    Api,
}

/// A field that keeps a pod from being started, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Path of the field, such as `spec.containers[0].livenessProbe`.
    pub field: String,
    /// What is missing, in a sentence without a full stop.
    pub reason: String,
}

impl Held {
    /// Reason and message of its event. A volume that cannot be had is an event that people and tests look for.
    #[must_use]
    pub fn event(&self) -> (&'static str, String) {
        let Self { field, reason } = self;
        if field.starts_with("spec.volumes[") {
            return ("FailedMount", format!("Unable to attach or mount volumes: {field}: {reason}"));
        }
        ("Held", format!("Pod is not started: {field}: {reason}"))
    }
}

/// One pod that should run, defaulted and validated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredPod {
    /// The pod's UID as text; [`DesiredPod::uid`] is its parsed form.
    #[serde(with = "uid_text")]
    pub uid: PodUid,
    /// Namespace, `default` if the manifest has none.
    pub namespace: String,
    /// Name, with the node's name as suffix for a static pod.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The whole pod. Of a pod of the API: metadata and spec, and of the status only a terminal phase.
    #[serde(deserialize_with = "shared_pod")]
    pub pod: Arc<Pod>,
    /// Fields that are not built yet; not empty means that nothing of this pod is started.
    pub held: Vec<Held>,
}

/// A manifest, or a part of one, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The field, if one is at fault.
    pub field: Option<String>,
    /// What is wrong, in a sentence without a full stop.
    pub reason: String,
}

/// Everything that the sources want, as one value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// Every source has been read at least once. Until then nothing may be cleaned up.
    pub synced: bool,
    /// The manifests have, whatever the API server does: a static pod whose manifest is gone may go.
    pub manifests_synced: bool,
    /// Pods by UID.
    pub pods: BTreeMap<PodUid, Arc<DesiredPod>>,
    /// What could not be used; the rest goes on.
    pub problems: Vec<Problem>,
    /// Pods that the API removed lately, with the grace that it asked for.
    pub removed: Arc<BTreeMap<PodUid, Duration>>,
}

impl Desired {
    /// Whether an absence says that a pod of this origin is not wanted. What nobody can tell the origin of is
    /// judged once every source was read.
    #[must_use]
    pub fn is_complete_for(&self, origin: Option<&Origin>) -> bool {
        self.synced || (self.manifests_synced && matches!(origin, Some(Origin::File(_))))
    }

    /// Equal, without taking unchanged pods apart.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let pods = self.pods.len() == other.pods.len()
            && self.pods.iter().zip(&other.pods).all(|((uid, pod), (other_uid, other_pod))| {
                uid == other_uid && (Arc::ptr_eq(pod, other_pod) || pod == other_pod)
            });
        let synced = (self.synced, self.manifests_synced) == (other.synced, other.manifests_synced);
        let removed = Arc::ptr_eq(&self.removed, &other.removed) || self.removed == other.removed;
        synced && pods && removed && self.problems == other.problems
    }
}

impl DesiredPod {
    /// `namespace/name`: two pods with the same full name never run at once.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The pod, as events name it.
    #[must_use]
    pub fn object(&self) -> Object {
        Object::pod(self.namespace.as_str(), self.name.as_str(), self.uid.clone())
    }

    /// The same pod, as if its deletion had been asked for with this grace.
    #[must_use]
    pub fn with_deletion_grace(&self, grace: Duration) -> Self {
        let mut pod = Pod::clone(&self.pod);
        pod.metadata.deletion_grace_period_seconds = i64::try_from(grace.as_secs()).ok();
        Self { pod: Arc::new(pod), ..self.clone() }
    }

    /// What keeps it from being started, if anything. That the API server was not heard for too long counts only for a
    /// pod that does not run.
    #[must_use]
    pub fn hold(&self, runs: bool) -> Option<&Held> {
        self.held.iter().find(|held| !runs || held.field != age::FIELD)
    }

    /// Whether the API was asked to delete it. Its object stays until nothing of it runs.
    #[must_use]
    pub fn is_being_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(out, "{}: {field}: {}", self.file.display(), self.reason),
            None => write!(out, "{}: {}", self.file.display(), self.reason),
        }
    }
}

fn shared_pod<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Arc<Pod>, D::Error> {
    crate::api::decoded::by_value(input).map(Arc::new)
}

/// Serde form of a [`PodUid`] that refuses on reading what could not be one.
pub mod uid_text {
    use pinnace_cri::id::PodUid;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the UID as text.
    pub fn serialize<S: Serializer>(uid: &PodUid, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(uid.as_str())
    }

    /// Reads and checks a UID.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PodUid, D::Error> {
        PodUid::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
