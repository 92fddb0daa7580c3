//! Configurations in the kubelet's shape, for seeding what a kubelet would have left behind. Pure.

use std::collections::BTreeMap;

use crate::labels;
use crate::v1::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxPodSandboxConfig,
    PodSandboxConfig, PodSandboxMetadata,
};

/// The pod that something is seeded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodShape {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// UID; for a static pod the 32 hex digits of its manifest's hash.
    pub uid: String,
    /// Attempt of the sandbox.
    pub attempt: u32,
    /// Where the pod came from: `file`, `http` or `api`.
    pub source: String,
}

impl PodShape {
    /// A static pod of the namespace `default`, with its first sandbox.
    #[must_use]
    pub fn static_pod(name: &str, uid: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: uid.to_owned(),
            attempt: 0,
            source: "file".to_owned(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        [
            (labels::POD_NAME, &self.name),
            (labels::POD_NAMESPACE, &self.namespace),
            (labels::POD_UID, &self.uid),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
    }

    fn log_directory(&self) -> String {
        format!("/var/log/pods/{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

/// The sandbox that the kubelet makes for this pod.
#[must_use]
pub fn sandbox_config(pod: &PodShape) -> PodSandboxConfig {
    let mut annotations: BTreeMap<String, String> = BTreeMap::new();
    annotations.insert(labels::CONFIG_SEEN.to_owned(), "2026-01-01T00:00:00.000000000Z".to_owned());
    annotations.insert(labels::CONFIG_SOURCE.to_owned(), pod.source.clone());
    if pod.source != "api" {
        annotations.insert(labels::CONFIG_HASH.to_owned(), pod.uid.clone());
    }
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            attempt: pod.attempt,
        }),
        hostname: pod.name.clone(),
        log_directory: pod.log_directory(),
        labels: pod.labels(),
        annotations,
        linux: Some(LinuxPodSandboxConfig::default()),
        ..Default::default()
    }
}

/// The container that the kubelet makes in it. `attempt` is its restart count.
#[must_use]
pub fn container_config(pod: &PodShape, name: &str, image: &str, attempt: u32) -> ContainerConfig {
    let mut own_labels = pod.labels();
    own_labels.insert(labels::CONTAINER_NAME.to_owned(), name.to_owned());
    let annotations = [
        (labels::CONTAINER_HASH, "1a2b3c4d".to_owned()),
        (labels::RESTART_COUNT, attempt.to_string()),
        (labels::TERMINATION_MESSAGE_PATH, "/dev/termination-log".to_owned()),
        (labels::TERMINATION_MESSAGE_POLICY, "File".to_owned()),
        (labels::POD_TERMINATION_GRACE_PERIOD, "30".to_owned()),
    ];
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt }),
        image: Some(ImageSpec {
            image: image.to_owned(),
            user_specified_image: image.to_owned(),
            ..Default::default()
        }),
        labels: own_labels,
        annotations: annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        log_path: format!("{name}/{attempt}.log"),
        linux: Some(LinuxContainerConfig::default()),
        ..Default::default()
    }
}
