use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn defaulted(spec: Value) -> Value {
    let mut pod: Pod =
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "spec": spec})).unwrap();
    apply(&mut pod);
    serde_json::to_value(pod.spec.unwrap()).unwrap()
}

#[test]
fn a_plain_pod_gets_what_the_kubelet_gives_it() {
    let spec =
        defaulted(json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}));
    let expected = json!({
        "containers": [{
            "name": "c", "image": "i", "imagePullPolicy": "Always",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }],
        "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
        "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
    });
    assert_eq!(spec, expected);
}

#[test]
fn what_is_given_stays() {
    let given = json!({
        "containers": [{
            "name": "c", "image": "i", "imagePullPolicy": "Never",
            "ports": [{"containerPort": 80, "protocol": "UDP"}],
            "terminationMessagePath": "/x", "terminationMessagePolicy": "FallbackToLogsOnError",
        }],
        "dnsPolicy": "Default", "enableServiceLinks": false, "restartPolicy": "Never",
        "schedulerName": "mine", "securityContext": {"runAsUser": 1}, "terminationGracePeriodSeconds": 0,
    });
    assert_eq!(defaulted(given.clone()), given);
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("registry:5000/busybox", "Always"),
        ("registry:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:0000", "IfNotPresent"),
        ("busybox:1@sha256:0000", "IfNotPresent"),
        ("busybox:latest@sha256:0000", "Always"),
    ] {
        assert_eq!(pull_policy(image), policy, "{image}");
    }
}

#[test]
fn host_ports_requests_probes_and_volumes() {
    let spec = defaulted(json!({
        "hostNetwork": true,
        "containers": [{
            "name": "c", "image": "i:1",
            "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}],
            "resources": {"limits": {"cpu": "1", "memory": "2"}, "requests": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3},
        }],
        "volumes": [{"name": "v"}, {"name": "h", "hostPath": {"path": "/x"}}, {"name": "s", "secret": {"secretName": "s"}}],
    }));
    let container = &spec["containers"][0];
    assert_eq!(container["ports"][0]["hostPort"], 80);
    assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "2"}));
    assert_eq!(
        container["livenessProbe"],
        json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 3, "timeoutSeconds": 1,
            "successThreshold": 1, "failureThreshold": 3,
        })
    );
    assert_eq!(spec["volumes"][0], json!({"name": "v", "emptyDir": {}}));
    assert_eq!(spec["volumes"][1]["hostPath"], json!({"path": "/x", "type": ""}));
    assert_eq!(spec["volumes"][2]["secret"]["defaultMode"], 420);
}

/// Specs of which any part may be missing or empty.
fn specs() -> impl Strategy<Value = Value> {
    let text =
        || prop_oneof![Just(Value::Null), Just(json!("")), Just(json!("x")), Just(json!("a/b:latest"))];
    let number = || prop_oneof![Just(Value::Null), Just(json!(0)), Just(json!(7))];
    let flag = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)];
    let quantities =
        || prop_oneof![Just(Value::Null), Just(json!({})), Just(json!({"cpu": "1", "memory": "1Gi"}))];
    (text(), text(), number(), number(), flag, quantities(), quantities()).prop_map(
        |(one, other, number, port, flag, limits, requests)| {
            json!({
                "dnsPolicy": one, "restartPolicy": other, "hostNetwork": flag,
                "terminationGracePeriodSeconds": number,
                "volumes": [{"name": "v"}, {"name": "w", "projected": {"sources": [{"serviceAccountToken": {"path": "p"}}]}}],
                "containers": [{
                    "name": "c", "image": other, "imagePullPolicy": one,
                    "ports": [{"containerPort": 5, "hostPort": port}],
                    "resources": {"limits": limits, "requests": requests},
                    "readinessProbe": {"periodSeconds": number, "grpc": {"port": 5}},
                    "lifecycle": {"preStop": {"httpGet": {"port": 5, "path": one}}},
                }],
            })
        },
    )
}

proptest! {
    #[test]
    fn defaults_twice_are_defaults_once(spec in specs()) {
        let once = defaulted(spec);
        prop_assert_eq!(defaulted(once.clone()), once);
    }
}
