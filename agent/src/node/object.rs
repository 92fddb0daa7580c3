//! What the node's object should say. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSwapStatus, NodeSystemInfo,
    Taint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::capacity::Resources;
use super::conditions::{self, Pressure};
use super::verdict::Verdict;
use crate::config::node::NodeSettings;
use crate::host::identity;
use crate::host::machine::Machine;
use crate::runtime::watch::RuntimeHandler;

/// The version of the kubelet that this one stands in for: the node reports it, and installers read it from
/// `kubelet --version`. The kubelet's part comes first, since others compare it with the API server's; the rest after a
/// `+`, since a `-` would sort below it.
pub const KUBELET_VERSION: &str = concat!("v1.36.3+pinnace.", env!("CARGO_PKG_VERSION"));
/// Says that the controller attaches volumes (`pkg/volume/util`).
pub const ATTACH_ANNOTATION: &str = "volumes.kubernetes.io/controller-managed-attach-detach";
/// Tells a cloud controller the address that the node was given (`k8s.io/cloud-provider/api`).
pub const PROVIDED_IP_ANNOTATION: &str = "alpha.kubernetes.io/provided-node-ip";
/// Taint of nodes that a cloud controller has not seen yet.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
/// Label and taint of virtual nodes.
const VIRTUAL_LABEL: (&str, &str) = ("type", "virtual-kubelet");
/// Key and value of the taint that keeps ordinary pods off virtual nodes.
pub const VIRTUAL_TAINT: (&str, &str) = ("virtual-kubelet.io/provider", "pinnace");

/// What is known of the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeFacts {
    /// Such as `containerd://2.2.0`; none before it answered.
    pub version: Option<String>,
    /// Its handlers; none before it answered.
    pub handlers: Option<Vec<RuntimeHandler>>,
    /// Whether it obeys `supplementalGroupsPolicy`; none if it does not say.
    pub supplemental_groups_policy: Option<bool>,
}

/// Everything that the object is made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Name of the node.
    pub name: &'a str,
    /// The configuration.
    pub settings: &'a NodeSettings,
    /// Addresses that were told by `--node-ip`.
    pub told: &'a [IpAddr],
    /// The machine.
    pub machine: &'a Machine,
    /// What it has and gives.
    pub resources: &'a Resources,
    /// Addresses to publish; none if there is none to choose.
    pub addresses: Option<&'a [IpAddr]>,
    /// The runtime.
    pub runtime: &'a RuntimeFacts,
    /// Images to name; none if they are not known.
    pub images: Option<&'a Arc<Vec<ContainerImage>>>,
    /// What the node is short of.
    pub pressure: Pressure,
    /// Whether it is ready.
    pub verdict: &'a Verdict,
    /// This moment.
    pub now: Timestamp,
}

/// The object that a new node registers with.
#[must_use]
pub fn initial(facts: &Facts<'_>) -> Node {
    let mut annotations = annotations(facts);
    if facts.settings.controller_attach_detach {
        annotations.insert(ATTACH_ANNOTATION.to_owned(), "true".to_owned());
    }
    let taints = taints(facts.settings);
    Node {
        metadata: ObjectMeta {
            name: Some(facts.name.to_owned()),
            labels: Some(labels(facts)),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: facts.settings.provider_id.clone(),
            taints: (!taints.is_empty()).then_some(taints),
            ..NodeSpec::default()
        }),
        status: Some(status(facts, &[])),
    }
}

fn labels(facts: &Facts<'_>) -> BTreeMap<String, String> {
    let arch = identity::go_arch(std::env::consts::ARCH);
    let standard = [
        ("kubernetes.io/hostname", facts.name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let of_virtual = facts.settings.is_virtual.then_some(VIRTUAL_LABEL);
    let own = standard.into_iter().chain(of_virtual);
    let mut labels: BTreeMap<_, _> = own.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    labels.extend(facts.settings.labels.clone());
    labels
}

/// Taints can only be set when the node is made: NodeRestriction forbids changing them later.
fn taints(settings: &NodeSettings) -> Vec<Taint> {
    let no_schedule = |key: &str, value: &str| Taint {
        key: key.to_owned(),
        value: Some(value.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    };
    let mut taints = settings.taints.clone();
    if settings.external_cloud_provider {
        taints.push(no_schedule(UNINITIALIZED, "true"));
    }
    if settings.is_virtual {
        taints.push(no_schedule(VIRTUAL_TAINT.0, VIRTUAL_TAINT.1));
    }
    taints
}

/// Annotations that are kept up to date, not only set at the start.
#[must_use]
pub fn annotations(facts: &Facts<'_>) -> BTreeMap<String, String> {
    let told: Vec<String> =
        facts.told.iter().filter(|ip| !ip.is_unspecified()).map(ToString::to_string).collect();
    let provided = (facts.settings.external_cloud_provider && !told.is_empty()).then(|| told.join(","));
    provided.into_iter().map(|told| (PROVIDED_IP_ANNOTATION.to_owned(), told)).collect()
}

/// The parts of the status that are ours; everything else is none. `existing` are the object's conditions.
#[must_use]
pub fn status(facts: &Facts<'_>, existing: &[NodeCondition]) -> NodeStatus {
    let handlers = facts.runtime.handlers.as_ref().map(|handlers| handlers.iter().map(handler).collect());
    NodeStatus {
        addresses: facts.addresses.map(|ips| addresses(facts.name, ips)),
        capacity: Some(facts.resources.capacity.clone()),
        allocatable: Some(facts.resources.allocatable.clone()),
        conditions: Some(conditions::conditions(existing, facts.pressure, facts.verdict, facts.now)),
        // None where nothing listens: another node's server on the standard port would be taken for this one's.
        daemon_endpoints: (facts.settings.port > 0).then(|| NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.settings.port) }),
        }),
        features: facts
            .runtime
            .supplemental_groups_policy
            .map(|obeyed| NodeFeatures { supplemental_groups_policy: Some(obeyed) }),
        images: facts.images.map(|images| images.as_ref().clone()),
        node_info: Some(node_info(facts)),
        runtime_handlers: handlers,
        ..NodeStatus::default()
    }
}

fn addresses(name: &str, ips: &[IpAddr]) -> Vec<NodeAddress> {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let internal = ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    internal.chain([address("Hostname", name.to_owned())]).collect()
}

fn node_info(facts: &Facts<'_>) -> NodeSystemInfo {
    let machine = facts.machine;
    NodeSystemInfo {
        architecture: identity::go_arch(std::env::consts::ARCH).to_owned(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: facts.runtime.version.clone().unwrap_or_default(),
        kernel_version: machine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: machine.os_image.clone(),
        swap: (machine.swap > 0).then_some(NodeSwapStatus { capacity: Some(machine.swap) }),
        system_uuid: machine.system_uuid.clone(),
    }
}

fn handler(handler: &RuntimeHandler) -> NodeRuntimeHandler {
    NodeRuntimeHandler {
        name: Some(handler.name.clone()),
        features: Some(NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(handler.recursive_read_only_mounts),
            user_namespaces: Some(handler.user_namespaces),
        }),
    }
}
