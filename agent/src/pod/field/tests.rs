//! Fields and resources as upstream's own tests have them, and beside them what holds of any.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::example;

fn pod() -> DesiredPod {
    let metadata = json!({
        "labels": { "b": "2", "a": "1", "x.io/k": "v" },
        "annotations": { "note": "two\nlines \"quoted\"", "UP.io/Key": "" },
    });
    let spec = json!({ "nodeName": "node1", "serviceAccountName": "robot", "containers": [] });
    example::manifest("u1", "ns", "web", json!({ "metadata": metadata, "spec": spec }))
}

fn told(path: &str) -> Result<String, FieldError> {
    let (pod_ips, host_ips) = (["10.0.0.9", "fd00::9"], ["192.0.2.7", "2001:db8::7"]);
    let parse = |ips: [&str; 2]| ips.map(|ip| ip.parse().unwrap());
    of_pod(path, &Facts { pod: &pod(), pod_ips: &parse(pod_ips), host_ips: &parse(host_ips) })
}

#[test]
fn every_field_has_its_value() {
    for (path, wanted) in [
        ("metadata.name", "web"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u1"),
        ("metadata.labels['a']", "1"),
        ("metadata.labels['x.io/k']", "v"),
        ("metadata.labels['absent']", ""),
        ("metadata.annotations['note']", "two\nlines \"quoted\""),
        ("metadata.labels", "a=\"1\"\nb=\"2\"\nx.io/k=\"v\""),
        ("metadata.annotations", "UP.io/Key=\"\"\nnote=\"two\\nlines \\\"quoted\\\"\""),
        ("spec.nodeName", "node1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.0.0.9"),
        ("status.podIPs", "10.0.0.9,fd00::9"),
        ("status.hostIP", "192.0.2.7"),
        ("status.hostIPs", "192.0.2.7,2001:db8::7"),
    ] {
        assert_eq!(told(path).as_deref(), Ok(wanted), "{path}");
    }
}

#[test]
fn other_paths_are_named_in_the_error() {
    let error = |path| told(path).unwrap_err().to_string();
    assert_eq!(error("spec.restartPolicy"), "unsupported fieldPath: spec.restartPolicy");
    assert_eq!(error("metadata.name['a']"), "field label does not support subscript: metadata.name['a']");
    assert_eq!(error("['a']"), "unsupported fieldPath: ['a']");
    assert_eq!(error("metadata.labels['a'"), "unsupported fieldPath: metadata.labels['a'");
    assert_eq!(of_pod("status.hostIP", &Facts::of(&pod())), Err(FieldError::HostIp));
    assert_eq!(of_pod("status.podIPs", &Facts::of(&pod())).as_deref(), Ok(""));
}

fn resource(selector: Value) -> Result<String, String> {
    let spec = json!({ "containers": [
        { "name": "c", "resources": {
            "limits": { "cpu": "1500m", "memory": "100Mi", "hugepages-2Mi": "4Mi" },
            "requests": { "cpu": "1m", "memory": "1", "ephemeral-storage": "3G" } } },
        { "name": "bare", "resources": { "limits": { "memory": "0" } } },
    ], "resources": { "limits": { "memory": "2Gi" } } });
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let selector: ResourceFieldSelector = serde_json::from_value(selector).unwrap();
    let allocatable = [("cpu", 3_850), ("memory", 1 << 33), ("hugepages-2Mi", 1 << 30)];
    let allocatable = allocatable.map(|(name, amount)| (name.to_owned(), amount)).into();
    of_resource(&selector, spec.containers.first(), &spec, &allocatable).map_err(|error| error.to_string())
}

#[test]
fn amounts_are_divided_and_rounded_up() {
    let own = |name: &str, divisor: &str| resource(json!({ "resource": name, "divisor": divisor })).unwrap();
    assert_eq!(own("limits.cpu", "0"), "2");
    assert_eq!(own("limits.cpu", "1m"), "1500");
    assert_eq!(own("requests.cpu", "1"), "1");
    assert_eq!(own("limits.memory", "1Mi"), "100");
    assert_eq!(own("limits.memory", "1M"), "105");
    assert_eq!(own("requests.memory", "1Ki"), "1");
    assert_eq!(own("limits.hugepages-2Mi", "1Mi"), "4");
    assert_eq!(own("requests.ephemeral-storage", "1Gi"), "3");
    assert_eq!(resource(json!({ "resource": "limits.cpu" })).unwrap(), "2");
}

#[test]
fn what_is_missing_is_the_pods_or_the_nodes_or_nothing() {
    let bare = |name: &str| resource(json!({ "containerName": "bare", "resource": name })).unwrap();
    assert_eq!(bare("limits.cpu"), "4");
    assert_eq!(bare("limits.memory"), (2_i64 << 30).to_string());
    assert_eq!(bare("limits.ephemeral-storage"), "0");
    assert_eq!(bare("limits.hugepages-2Mi"), "0");
    assert_eq!(bare("requests.cpu"), "0");
}

#[test]
fn what_cannot_be_is_told() {
    let error = |selector| resource(selector).unwrap_err();
    assert_eq!(error(json!({ "containerName": "no", "resource": "limits.cpu" })), "container no not found");
    for name in ["limits.gpu", "cpu", "limit.cpu", "limits.", ""] {
        assert_eq!(error(json!({ "resource": name })), format!("unsupported container resource : {name}"));
    }
    assert!(error(json!({ "resource": "limits.cpu", "divisor": "-1" })).contains("divisor"));
    assert!(error(json!({ "resource": "limits.cpu", "divisor": "x" })).contains("divisor"));
}

proptest! {
    #[test]
    fn rounding_up_is_the_least_that_suffices(amount in 0..i64::MAX, divisor in 1..i64::MAX) {
        let (parts, amount, divisor) =
            (i128::from(ceil_div(amount, divisor)), i128::from(amount), i128::from(divisor));
        prop_assert!(parts * divisor >= amount && (parts - 1) * divisor < amount.max(1));
    }

    #[test]
    fn no_path_panics(path in "\\PC{0,40}") {
        let _ = told(&path);
        let _ = resource(json!({ "resource": path, "divisor": path }));
    }
}
