//! The container that a spec asks the runtime for. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::Container;
use pinnace_cri::labels;
use pinnace_cri::v1::{ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, Mount};

use crate::pod::marks::{Mark, kubelet_hash};
use crate::pod::paths::log_path;
use crate::pod::prepare::{Instance, Prepared};
use crate::pod::resources::{self, Node};
use crate::pod::sandbox::identity;
use crate::pod::{dns, security};
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
    /// Names: the cluster's DNS.
    pub dns: dns::Settings,
}

/// Builds the message.
#[must_use]
pub fn config(instance: Instance<'_>, prepared: Prepared, site: &Site) -> ContainerConfig {
    let Instance { pod, spec: pod_spec, container: spec, attempt, image_ref, .. } = instance;
    let image = spec.image.clone().unwrap_or_default();
    let message = message_mount(spec, &prepared.message_file, site.security.se_linux);
    // In the kubelet's order.
    let mut mounts: Vec<Mount> = prepared.mounts.into_iter().chain([message]).collect();
    security::map_ids(&mut mounts, &prepared.security);
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: spec.name.clone(), attempt }),
        image: Some(ImageSpec {
            image: image_ref.to_owned(),
            user_specified_image: image.clone(),
            ..ImageSpec::default()
        }),
        command: prepared.command,
        args: prepared.args,
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        envs: prepared.env,
        mounts,
        labels: container_labels(pod, spec, &site.owner),
        annotations: annotations(pod, spec, attempt, &image),
        log_path: log_path(&spec.name, attempt),
        stdin: spec.stdin.unwrap_or(false),
        stdin_once: spec.stdin_once.unwrap_or(false),
        tty: spec.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::of_container(pod_spec, spec, &site.node)),
            security_context: Some(prepared.security),
        }),
        ..ContainerConfig::default()
    }
}

fn message_mount(spec: &Container, file: &Path, se_linux: bool) -> Mount {
    Mount {
        container_path: message_path(spec).to_owned(),
        host_path: file.to_string_lossy().into_owned(),
        selinux_relabel: se_linux,
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
    use crate::pod::paths::PodNames;
    use crate::source::example;

    fn built(container: Value) -> ContainerConfig {
        built_at(container, &example::site())
    }

    fn built_at(container: Value, site: &Site) -> ContainerConfig {
        let spec = json!({ "terminationGracePeriodSeconds": 7, "containers": [container] });
        let pod = example::manifest("u1", "ns", "web", json!({ "metadata": {}, "spec": spec }));
        let spec = pod.pod.spec.as_ref().unwrap();
        let names = PodNames::new(&pod.namespace, &pod.name, &pod.uid).unwrap();
        let instance = Instance {
            pod: &pod,
            spec,
            container: &spec.containers[0],
            names: &names,
            sandbox_attempt: 0,
            attempt: 2,
            image_ref: "sha256:1",
            sandbox_ips: &[],
        };
        let volume = Mount { container_path: "/v".into(), ..Mount::default() };
        let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        let container = &spec.containers[0];
        let prepared = Prepared {
            message_file: "/r/m".into(),
            command: words(&container.command),
            args: words(&container.args),
            mounts: vec![volume],
            ..Prepared::default()
        };
        config(instance, prepared, site)
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
            ("tty", json!(true)),
            ("stdin", json!(true)),
            ("stdinOnce", json!(true)),
            ("ports", json!([{ "containerPort": 1 }])),
            ("terminationMessagePath", json!("/a")),
            ("terminationMessagePolicy", json!("FallbackToLogsOnError")),
            ("resources", json!({ "limits": { "memory": "1Gi" } })),
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
    fn where_selinux_is_enabled_the_message_file_gets_the_containers_label() {
        let mut site = example::site();
        for enabled in [false, true] {
            site.security.se_linux = enabled;
            let message = built_at(plain(), &site).mounts.pop().unwrap();
            assert_eq!((message.container_path.as_str(), message.selinux_relabel), (MESSAGE_PATH, enabled));
        }
    }

    #[test]
    fn volumes_come_before_the_message_file() {
        let paths: Vec<_> = built(plain()).mounts.into_iter().map(|mount| mount.container_path).collect();
        assert_eq!(paths, ["/v", MESSAGE_PATH]);
    }
}
