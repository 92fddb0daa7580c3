//! Tests of `patch` and `object`: the difference, applied, leaves nothing to say and nothing of others changed.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerImage, Node};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::capacity::{PodLimits, resources};
use super::conditions::Pressure;
use super::fake::merge;
use super::object::{self, Facts, RuntimeFacts};
use super::patch;
use super::verdict::Verdict;
use crate::config::file::KubeletConfiguration;
use crate::config::node::{NodeSettings, settle};
use crate::config::node_flags::NodeFlags;
use crate::host::machine::Machine;
use crate::runtime::watch::RuntimeHandler;

fn machine() -> Machine {
    Machine {
        cpus: 2,
        memory: 4 << 30,
        swap: 1 << 30,
        hugepages: [(2 << 20, 0)].into(),
        storage: Some(1 << 40),
        machine_id: "m1".into(),
        system_uuid: "u1".into(),
        boot_id: "b1".into(),
        kernel: "6.12.1".into(),
        os_image: "Debian GNU/Linux 13 (trixie)".into(),
    }
}

fn settings(flags: &NodeFlags, is_virtual: bool) -> NodeSettings {
    settle(flags, is_virtual, &KubeletConfiguration::default()).0
}

/// The object as it should be for these facts, whole.
fn initial(
    machine: &Machine,
    settings: &NodeSettings,
    ips: &[IpAddr],
    verdict: &Verdict,
    second: i64,
) -> Node {
    let (resources, _) = resources(machine, PodLimits { most: 110, per_core: None }, &settings.reserved);
    let runtime = RuntimeFacts {
        version: Some("containerd://2.2.0".into()),
        handlers: Some(vec![RuntimeHandler::default()]),
        supplemental_groups_policy: Some(true),
    };
    let image = ContainerImage { names: None, size_bytes: Some(5) };
    object::initial(&Facts {
        name: "node1",
        settings,
        told: &[],
        machine,
        resources: &resources,
        addresses: Some(ips),
        runtime: &runtime,
        images: Some(&Arc::new(vec![image])),
        pressure: Pressure::default(),
        verdict,
        now: Timestamp::from_second(second).unwrap(),
    })
}

fn ready(second: i64) -> Node {
    let ip = "192.0.2.7".parse().unwrap();
    initial(&machine(), &settings(&NodeFlags::default(), false), &[ip], &Verdict::Ready, second)
}

fn applied(node: &Node, patch: &Value) -> Node {
    let mut value = serde_json::to_value(node).unwrap();
    merge(&mut value, patch, "");
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_new_node_is_complete() {
    let node = ready(1_000_000_000);
    let value = serde_json::to_value(&node).unwrap();
    assert_eq!(value["metadata"]["labels"]["kubernetes.io/hostname"], "node1");
    assert_eq!(value["metadata"]["labels"].as_object().unwrap().len(), 5);
    let annotation = "volumes.kubernetes.io/controller-managed-attach-detach";
    assert_eq!(value["metadata"]["annotations"], json!({ annotation: "true" }));
    assert_eq!(value["spec"], json!({}));
    let status = &value["status"];
    assert_eq!(
        status["addresses"],
        json!([{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "Hostname", "address": "node1"}])
    );
    assert_eq!(status["daemonEndpoints"], json!({"kubeletEndpoint": {"Port": 10_250}}));
    assert_eq!(status["conditions"][3]["type"], "Ready");
    assert_eq!(status["features"], json!({"supplementalGroupsPolicy": true}));
    assert_eq!(status["runtimeHandlers"][0]["features"]["userNamespaces"], false);
    let info = &status["nodeInfo"];
    let version = concat!("v1.36.3+pinnace.", env!("CARGO_PKG_VERSION"));
    assert_eq!((&info["kubeletVersion"], &info["operatingSystem"]), (&json!(version), &json!("linux")));
    assert_eq!((&info["kubeProxyVersion"], &info["machineID"]), (&json!(""), &json!("m1")));
    assert_eq!(info["swap"], json!({"capacity": 1 << 30}));
    assert!(status.get("declaredFeatures").is_none() && value["spec"].get("podCIDR").is_none());
}

#[test]
fn a_virtual_node_carries_its_label_and_taint() {
    let node = initial(&machine(), &settings(&NodeFlags::default(), true), &[], &Verdict::Ready, 5);
    assert_eq!(node.metadata.labels.unwrap()["type"], "virtual-kubelet");
    let taint = &node.spec.unwrap().taints.unwrap()[0];
    assert_eq!(
        (taint.key.as_str(), taint.value.as_deref(), taint.effect.as_str()),
        ("virtual-kubelet.io/provider", Some("pinnace"), "NoSchedule")
    );
}

#[test]
fn an_unchanged_node_has_nothing_to_write() {
    let (before, later) = (ready(1_000), ready(2_000));
    // The transition times of a fresh object are its own; those of a kept one are the API's.
    let mut later = later;
    later.status.as_mut().unwrap().conditions = before.status.clone().unwrap().conditions;
    assert_eq!(patch::changes(&before, &later, true), None);
}

#[test]
fn a17_addresses_are_replaced_as_a_whole() {
    let node = ready(1_000);
    let foreign = json!({"status": {"addresses": [{"type": "InternalIP", "address": "203.0.113.66"}]}});
    let patch = patch::changes(&applied(&node, &foreign), &node, true).unwrap();
    let list = patch["status"]["addresses"].as_array().unwrap();
    assert_eq!(list.last(), Some(&json!({"$patch": "replace"})));
    assert_eq!(applied(&applied(&node, &foreign), &patch), node);
    // A cloud controller's addresses stay.
    assert_eq!(patch::changes(&applied(&node, &foreign), &node, false), None);
}

#[test]
fn what_a_kubelet_left_is_put_right() {
    let node = ready(1_000);
    let old = json!({"status": {
        "declaredFeatures": ["RestartAllContainersOnContainerExits"],
        "capacity": {"hugepages-1Gi": "1Gi", "example.com/gpu": "2"},
        "allocatable": {"hugepages-1Gi": "1Gi", "example.com/gone": "1"},
        "nodeInfo": {"kubeletVersion": "v1.36.3"}}});
    let patch = patch::changes(&applied(&node, &old), &node, true).unwrap();
    let status = &patch["status"];
    assert_eq!(status["declaredFeatures"], Value::Null);
    assert_eq!(status["capacity"], json!({"hugepages-1Gi": null}));
    let allocatable = json!({"hugepages-1Gi": null, "example.com/gone": null, "example.com/gpu": "2"});
    assert_eq!(status["allocatable"], allocatable);
    assert_eq!(status["nodeInfo"], json!({"kubeletVersion": object::KUBELET_VERSION}));
}

#[test]
fn at_a_start_labels_and_the_annotation_are_reconciled() {
    let flags = NodeFlags {
        node_labels: vec!["topology.kubernetes.io/zone=a".into(), "rack=1".into()],
        ..NodeFlags::default()
    };
    let wanted = initial(&machine(), &settings(&flags, false), &[], &Verdict::Ready, 5);
    let mut existing = ready(1_000);
    existing.metadata.annotations = None;
    existing.metadata.labels.as_mut().unwrap().insert("kubernetes.io/arch".into(), "s390x".into());
    let patch = patch::at_start(&existing, &wanted, false).unwrap();
    let labels = patch["metadata"]["labels"].as_object().unwrap();
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["kubernetes.io/arch", "topology.kubernetes.io/zone"]);
    assert_eq!(patch["metadata"]["annotations"][object::ATTACH_ANNOTATION], "true");
    assert!(patch.get("status").is_none());
    let patched = applied(&existing, &patch);
    assert_eq!(patch::at_start(&patched, &wanted, false), None);
    let gpu = applied(&patched, &json!({"status": {"capacity": {"example.com/gpu": "2"}}}));
    let zeroed = patch::at_start(&gpu, &wanted, true).unwrap();
    assert_eq!(zeroed["status"]["capacity"], json!({"example.com/gpu": "0"}));
}

/// What others may have written into the object.
fn of_others() -> impl Strategy<Value = Value> {
    let condition = "[A-Z][a-z]{2,6}".prop_map(|kind| json!({"type": kind, "status": "True", "reason": "X"}));
    let labels = prop::collection::btree_map("example.com/[a-z]{1,4}", "[a-z]{0,4}", 0..4);
    (prop::collection::vec(condition, 0..4), labels.clone(), labels, 0_u8..3).prop_map(
        |(conditions, labels, annotations, gpus)| {
            json!({
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"unschedulable": true, "podCIDR": "10.0.0.0/24"},
                "status": {"conditions": conditions, "volumesAttached": [{"name": "v", "devicePath": "d"}],
                    "capacity": {"example.com/gpu": gpus.to_string()}},
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The difference, applied, leaves nothing to write; what others wrote is as it was.
    #[test]
    fn b27_what_is_applied_is_complete_and_touches_nothing_of_others(
        theirs in of_others(), cpus in 1_u32..9, last_byte in 1_u8..255, is_ready in any::<bool>(), swap in 0_i64..2,
    ) {
        let machine = Machine { cpus, swap, ..machine() };
        let verdict = if is_ready { Verdict::Ready } else { Verdict::NotReady("x".into()) };
        let ip = IpAddr::from([192, 0, 2, last_byte]);
        let settings = settings(&NodeFlags::default(), false);
        let mut wanted = initial(&machine, &settings, &[ip], &verdict, 2_000);
        wanted.metadata.annotations = None;
        let existing = applied(&ready(1_000), &theirs);
        let after = match patch::changes(&existing, &wanted, true) {
            Some(patch) => applied(&existing, &patch),
            None => existing.clone(),
        };
        prop_assert_eq!(patch::changes(&after, &wanted, true), None);
        let (mut before, mut left) = (serde_json::to_value(&existing).unwrap(), serde_json::to_value(&after).unwrap());
        prop_assert_eq!(&before["metadata"], &left["metadata"]);
        prop_assert_eq!(&before["spec"], &left["spec"]);
        prop_assert_eq!(&before["status"]["volumesAttached"], &left["status"]["volumesAttached"]);
        for value in [&mut before, &mut left] {
            let conditions = value["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|condition| {
                !super::conditions::OURS.iter().any(|ours| condition["type"] == *ours)
            });
        }
        prop_assert_eq!(&before["status"]["conditions"], &left["status"]["conditions"]);
        let gpus = "example.com/gpu";
        prop_assert_eq!(&left["status"]["allocatable"][gpus], &left["status"]["capacity"][gpus]);
    }
}
