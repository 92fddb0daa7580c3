//! The sandbox that a pod asks the runtime for. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerPort, PodSpec};
use pinnace_cri::labels;
use pinnace_cri::v1::{PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};

use crate::pod::paths::{Dirs, PodNames};
use crate::source::desired::DesiredPod;

/// Longest host name, in bytes.
const HOSTNAME_BYTES: usize = 63;

/// Builds the message but for its Linux part; none if the pod's names cannot be paths, which validation rules out.
#[must_use]
pub fn config(pod: &DesiredPod, attempt: u32, dirs: &Dirs, owner: &str) -> Option<PodSandboxConfig> {
    let names = PodNames::new(&pod.namespace, &pod.name, &pod.uid)?;
    let spec = pod.pod.spec.as_ref()?;
    Some(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.to_string(),
            namespace: pod.namespace.clone(),
            attempt,
        }),
        hostname: hostname(pod, spec),
        log_directory: dirs.pod_log(&names).to_string_lossy().into_owned(),
        port_mappings: ports(spec),
        labels: sandbox_labels(pod, owner),
        annotations: pod.pod.metadata.annotations.clone().unwrap_or_default(),
        ..PodSandboxConfig::default()
    })
}

/// The host name in a network of the pod's own: its `hostname`, else its name, cut to 63 bytes
/// and trimmed of `-` and `.`; none on the node's network.
fn hostname(pod: &DesiredPod, spec: &PodSpec) -> String {
    if spec.host_network.unwrap_or(false) {
        return String::new();
    }
    let wanted = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(&pod.name);
    let cut = wanted.get(..HOSTNAME_BYTES).unwrap_or(wanted);
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn sandbox_labels(pod: &DesiredPod, owner: &str) -> BTreeMap<String, String> {
    let mut all = pod.pod.metadata.labels.clone().unwrap_or_default();
    all.extend(identity(pod, owner));
    all
}

/// Labels that say whose an object in the runtime is.
#[must_use]
pub fn identity(pod: &DesiredPod, owner: &str) -> BTreeMap<String, String> {
    [
        (labels::POD_NAME, pod.name.as_str()),
        (labels::POD_NAMESPACE, pod.namespace.as_str()),
        (labels::POD_UID, pod.uid.as_str()),
        (labels::OWNER, owner),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn ports(spec: &PodSpec) -> Vec<PortMapping> {
    spec.containers
        .iter()
        .flat_map(|container| container.ports.as_deref().unwrap_or_default())
        .map(port)
        .collect()
}

fn port(port: &ContainerPort) -> PortMapping {
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    PortMapping {
        protocol: protocol.into(),
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or(0),
        host_ip: port.host_ip.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::source::example;

    fn built(metadata: Value, spec: Value) -> PodSandboxConfig {
        let manifest = json!({ "metadata": metadata, "spec": spec });
        let pod = example::manifest("u1", "ns", "web-node1", manifest);
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        config(&pod, 3, &dirs, "node1").unwrap()
    }

    fn plain() -> Value {
        json!({ "containers": [{ "name": "c" }] })
    }

    #[test]
    fn identity_labels_win_over_the_pods_own() {
        let labels = json!({ "labels": { "app": "x", "io.kubernetes.pod.uid": "forged" } });
        let config = built(labels, plain());
        let label = |key: &str| config.labels.get(key).map(String::as_str);
        assert_eq!(label("app"), Some("x"));
        assert_eq!(label("io.kubernetes.pod.uid"), Some("u1"));
        assert_eq!(label("pinnace.dev/owner"), Some("node1"));
        assert_eq!(config.log_directory, "/l/ns_web-node1_u1");
        assert_eq!(config.metadata.map(|metadata| metadata.attempt), Some(3));
    }

    #[test]
    fn the_host_name_is_cut_and_trimmed_and_absent_on_the_nodes_network() {
        let named = |name: &str| built(json!({}), json!({ "hostname": name, "containers": [] })).hostname;
        assert_eq!(named("db"), "db");
        assert_eq!(named(""), "web-node1");
        assert_eq!(named(&format!("{}-.b", "a".repeat(61))), "a".repeat(61));
        let host = built(json!({}), json!({ "hostNetwork": true, "containers": [] }));
        assert_eq!(host.hostname, "");
    }

    #[test]
    fn ports_of_every_container_are_mapped() {
        let ports = json!([
            { "name": "a", "ports": [{ "containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1" }] },
            { "name": "b", "ports": [{ "containerPort": 53, "protocol": "UDP" }] },
        ]);
        let mapped = built(json!({}), json!({ "containers": ports })).port_mappings;
        let shown: Vec<_> = mapped
            .iter()
            .map(|port| (port.protocol(), port.container_port, port.host_port, port.host_ip.as_str()))
            .collect();
        assert_eq!(shown, [(Protocol::Tcp, 80, 8080, "127.0.0.1"), (Protocol::Udp, 53, 0, "")]);
    }
}
