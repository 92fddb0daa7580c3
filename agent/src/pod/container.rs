//! The container that a spec asks the runtime for. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};
use pinnace_cri::id::PodUid;
use pinnace_cri::labels;
use pinnace_cri::v1::{ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount};

use crate::pod::marks::{Mark, kubelet_hash};
use crate::pod::paths::{Dirs, is_component, log_path};
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
    /// Where the pod's volumes are.
    pub dirs: &'a Dirs,
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
        mounts: mounts(pod, spec, instance),
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

/// Volumes, then the termination message, in the kubelet's order.
fn mounts(pod: &DesiredPod, spec: &Container, instance: Instance<'_>) -> Vec<Mount> {
    let volumes = spec.volume_mounts.iter().flatten().filter(|mount| is_component(&mount.name));
    let volumes = volumes.map(|mount| volume_mount(mount, instance.dirs, &pod.uid));
    volumes.chain(instance.message_file.map(|file| message_mount(spec, file))).collect()
}

/// A projected volume: the only kind that the gate lets through, and read-only whatever the spec says.
fn volume_mount(mount: &VolumeMount, dirs: &Dirs, uid: &PodUid) -> Mount {
    let path = mount.mount_path.trim_start_matches('/');
    Mount {
        container_path: format!("/{path}"),
        host_path: dirs.projected_volume(uid, &mount.name).to_string_lossy().into_owned(),
        readonly: true,
        ..Mount::default()
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::source::example;

    fn built(container: Value) -> ContainerConfig {
        let spec = json!({ "terminationGracePeriodSeconds": 7, "containers": [container] });
        let pod = example::manifest("u1", "ns", "web", json!({ "metadata": {}, "spec": spec }));
        let site = Site {
            owner: "node1".into(),
            node: Node { memory: 4 << 30, cfs_period: Some(100_000) },
            security: security::Defaults { seccomp_default: false, seccomp_root: "/r/seccomp".into() },
        };
        let message_file = Some(Path::new("/r/m"));
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let instance = Instance { attempt: 2, image_ref: "sha256:1", message_file, dirs: &dirs };
        let container = &pod.pod.spec.as_ref().unwrap().containers[0];
        config(&pod, container, instance, &site).unwrap()
    }

    fn plain() -> Value {
        json!({ "name": "c", "image": "i:1" })
    }

    #[test]
    fn each_field_of_the_spec_changes_the_message() {
        let before = built(plain());
        for (field, value) in [
            ("command", json!(["a"])),
            ("args", json!(["a"])),
            ("workingDir", json!("/a")),
            ("env", json!([{ "name": "A", "value": "b" }])),
            ("tty", json!(true)),
            ("stdin", json!(true)),
            ("stdinOnce", json!(true)),
            ("ports", json!([{ "containerPort": 1 }])),
            ("terminationMessagePath", json!("/a")),
            ("terminationMessagePolicy", json!("FallbackToLogsOnError")),
            ("resources", json!({ "limits": { "memory": "1Gi" } })),
            ("securityContext", json!({ "runAsUser": 5 })),
            ("volumeMounts", json!([{ "name": "v", "mountPath": "/v" }])),
            ("image", json!("i:2")),
        ] {
            let mut changed = plain();
            changed[field] = value;
            assert_ne!(built(changed), before, "{field} changed nothing");
        }
    }

    #[test]
    fn labels_and_annotations_are_the_kubelets() {
        let config = built(plain());
        let annotation = |key: &str| config.annotations.get(key).map(String::as_str);
        assert_eq!(annotation("io.kubernetes.container.restartCount"), Some("2"));
        assert_eq!(annotation("io.kubernetes.pod.terminationGracePeriod"), Some("7"));
        assert_eq!(annotation("io.kubernetes.container.terminationMessagePath"), Some(MESSAGE_PATH));
        assert_eq!(annotation("io.kubernetes.container.hash"), Some(kubelet_hash("c", "i:1").as_str()));
        assert_eq!(config.labels.get("io.kubernetes.container.name").map(String::as_str), Some("c"));
        assert_eq!(config.log_path, "c/2.log");
        let image = config.image.unwrap();
        assert_eq!((image.image.as_str(), image.user_specified_image.as_str()), ("sha256:1", "i:1"));
    }

    #[test]
    fn a23_volumes_are_mounted_read_only_before_the_message_file() {
        let mut spec = plain();
        spec["volumeMounts"] = json!([{ "name": "v", "mountPath": "/var/run/secrets", "readOnly": false }]);
        let mounts = built(spec).mounts;
        let volume = Mount {
            container_path: "/var/run/secrets".into(),
            host_path: "/r/pods/u1/volumes/kubernetes.io~projected/v".into(),
            readonly: true,
            ..Mount::default()
        };
        assert_eq!((&mounts[0], mounts.len()), (&volume, 2));
        assert_eq!(mounts[1].container_path, MESSAGE_PATH);
    }

    #[test]
    fn the_last_of_two_variables_of_one_name_wins() {
        let mut spec = plain();
        spec["env"] = json!([{ "name": "A", "value": "1" }, { "name": "B" }, { "name": "A", "value": "2" }]);
        let env: Vec<_> = built(spec).envs.into_iter().map(|var| (var.key, var.value)).collect();
        assert_eq!(env, [("B".to_owned(), Vec::new()), ("A".to_owned(), b"2".to_vec())]);
    }
}
