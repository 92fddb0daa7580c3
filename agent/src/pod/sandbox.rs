//! The sandbox that a pod asks the runtime for. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerPort, PodSpec};
use pinnace_cri::labels;
use pinnace_cri::v1::{PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};

use crate::pod::container::Site;
use crate::pod::hostname;
use crate::pod::paths::{Dirs, PodNames};
use crate::source::desired::DesiredPod;

/// Builds the message, without what has to be read for it: DNS and the Linux part. None if the pod's names cannot be
/// paths, which validation rules out. A full host name that is too long is cut to the short one.
#[must_use]
pub fn config(pod: &DesiredPod, attempt: u32, dirs: &Dirs, site: &Site) -> Option<PodSandboxConfig> {
    let names = PodNames::new(&pod.namespace, &pod.name, &pod.uid)?;
    let spec = pod.pod.spec.as_ref()?;
    let host = hostname::names(pod, spec, &site.dns.domain);
    Some(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.to_string(),
            namespace: pod.namespace.clone(),
            attempt,
        }),
        hostname: hostname::of_kernel(&host, spec).unwrap_or(host.host),
        log_directory: dirs.pod_log(&names).to_string_lossy().into_owned(),
        port_mappings: ports(spec),
        labels: sandbox_labels(pod, &site.owner),
        annotations: pod.pod.metadata.annotations.clone().unwrap_or_default(),
        ..PodSandboxConfig::default()
    })
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
        let site = example::site();
        config(&pod, 3, &dirs, &site).unwrap()
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
    fn the_host_name_is_the_kernels_and_absent_on_the_nodes_network() {
        let named = |spec: Value| built(json!({}), spec).hostname;
        assert_eq!(named(json!({ "containers": [] })), "web-node1");
        assert_eq!(named(json!({ "hostname": "db", "containers": [] })), "db");
        assert_eq!(named(json!({ "hostNetwork": true, "containers": [] })), "");
        let full = |subdomain: &str| {
            named(json!({ "subdomain": subdomain, "setHostnameAsFQDN": true, "containers": [] }))
        };
        assert_eq!(full("sub"), "web-node1.sub.ns.svc.cluster.local");
        assert_eq!(full(&"s".repeat(63)), "web-node1");
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
