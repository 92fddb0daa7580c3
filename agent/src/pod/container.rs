//! The container that a spec asks the runtime for. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, EnvVar};
use pinnace_cri::labels;
use pinnace_cri::v1::{ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount};

use crate::pod::marks::{Mark, kubelet_hash};
use crate::pod::paths::log_path;
use crate::pod::resources::{self, Node};
use crate::pod::sandbox::identity;
use crate::pod::security;
use crate::source::desired::DesiredPod;

/// Where a container finds its termination message if its spec names no path.
pub const MESSAGE_PATH: &str = "/dev/termination-log";

/// What of the node enters the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Name of the node, written as owner on all that it makes.
    pub owner: String,
    /// Memory and CPU period.
    pub node: Node,
    /// Security defaults.
    pub security: security::Defaults,
}

/// What of the instance enters the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance<'a> {
    /// Its attempt, equal to the restart count.
    pub attempt: u32,
    /// The image as the runtime names it.
    pub image_ref: &'a str,
    /// Its termination message file on the host, if there is one.
    pub message_file: Option<&'a Path>,
}

/// Builds the message; none if the pod has no spec, which validation rules out.
#[must_use]
pub fn config(
    pod: &DesiredPod,
    spec: &Container,
    instance: Instance<'_>,
    site: &Site,
) -> Option<ContainerConfig> {
    let pod_spec = pod.pod.spec.as_ref()?;
    let image = spec.image.clone().unwrap_or_default();
    Some(ContainerConfig {
        metadata: Some(ContainerMetadata { name: spec.name.clone(), attempt: instance.attempt }),
        image: Some(ImageSpec {
            image: instance.image_ref.to_owned(),
            user_specified_image: image.clone(),
            ..ImageSpec::default()
        }),
        command: spec.command.clone().unwrap_or_default(),
        args: spec.args.clone().unwrap_or_default(),
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        envs: env(spec.env.as_deref().unwrap_or_default()),
        mounts: instance.message_file.map(|file| message_mount(spec, file)).into_iter().collect(),
        labels: container_labels(pod, spec, &site.owner),
        annotations: annotations(pod, spec, instance.attempt, &image),
        log_path: log_path(&spec.name, instance.attempt),
        stdin: spec.stdin.unwrap_or(false),
        stdin_once: spec.stdin_once.unwrap_or(false),
        tty: spec.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::of_container(pod_spec, spec, site.node)),
            security_context: Some(security::of_container(pod_spec, spec, &site.security)),
        }),
        ..ContainerConfig::default()
    })
}

/// Literal values in order; a later one of the same name wins, as in the kubelet's map.
fn env(vars: &[EnvVar]) -> Vec<KeyValue> {
    let last = |name: &str| vars.iter().rposition(|var| var.name == name);
    vars.iter()
        .enumerate()
        .filter(|(index, var)| last(&var.name) == Some(*index))
        .map(|(_, var)| KeyValue {
            key: var.name.clone(),
            value: var.value.clone().unwrap_or_default().into(),
        })
        .collect()
}

fn message_mount(spec: &Container, file: &Path) -> Mount {
    Mount {
        container_path: message_path(spec).to_owned(),
        host_path: file.to_string_lossy().into_owned(),
        ..Mount::default()
    }
}

fn message_path(spec: &Container) -> &str {
    spec.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(MESSAGE_PATH)
}

fn container_labels(pod: &DesiredPod, spec: &Container, owner: &str) -> BTreeMap<String, String> {
    let mut all = identity(pod, owner);
    all.insert(labels::CONTAINER_NAME.to_owned(), spec.name.clone());
    all
}

fn annotations(pod: &DesiredPod, spec: &Container, attempt: u32, image: &str) -> BTreeMap<String, String> {
    let grace = pod.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let policy = spec.termination_message_policy.as_deref().unwrap_or("File");
    let mut all: BTreeMap<String, String> = [
        (labels::CONTAINER_HASH, kubelet_hash(&spec.name, image)),
        (labels::RESTART_COUNT, attempt.to_string()),
        (labels::TERMINATION_MESSAGE_PATH, message_path(spec).to_owned()),
        (labels::TERMINATION_MESSAGE_POLICY, policy.to_owned()),
        (labels::SPEC, Mark::text(image)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(ports) = spec.ports.as_ref().filter(|ports| !ports.is_empty()) {
        let text = serde_json::to_string(ports).unwrap_or_default();
        all.insert(labels::CONTAINER_PORTS.to_owned(), text);
    }
    if let Some(grace) = grace {
        all.insert(labels::POD_TERMINATION_GRACE_PERIOD.to_owned(), grace.to_string());
    }
    all
}
