use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;
use serde_json::{Value, json};

use super::fields::entry;
use super::*;
use crate::source::defaults;
use crate::source::example::field_names;

/// A pod with defaults and `value` at `path`, where `[]` stands for the first element of a list.
fn pod_with(path: &str, value: &Value) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {}},
        "spec": {"containers": [{"name": "c", "image": "i:1", "securityContext": {}}], "securityContext": {}},
    });
    let mut at = &mut pod;
    let steps: Vec<&str> = path.split('.').collect();
    for step in &steps[..steps.len() - 1] {
        let name = step.trim_end_matches("[]");
        at = &mut at[name];
        if step.ends_with("[]") {
            if at.is_null() {
                *at = json!([{"name": "x", "containerPort": 1, "mountPath": "/x"}]);
            }
            at = &mut at[0];
        }
    }
    let last = steps[steps.len() - 1].trim_end_matches("[]");
    at[last] = value.clone();
    let mut pod: Pod = serde_json::from_value(pod).unwrap_or_else(|error| panic!("{path}: {error}"));
    defaults::apply(&mut pod);
    pod
}

/// Projected from one source.
fn projected(source: Value) -> Value {
    json!({"sources": [source]})
}

/// For every field a value that is not its default; for harmless ones first the harmless values.
fn examples() -> Vec<(&'static str, Vec<Value>, Vec<Value>)> {
    let probe = json!({"exec": {"command": ["true"]}});
    let free = |path, value| (path, vec![value], vec![]);
    let held = |path, value| (path, vec![], vec![value]);
    let at = |path: &'static str, ok: Vec<Value>, held: Vec<Value>| (path, ok, held);
    vec![
        free(
            "metadata.annotations[]",
            json!({"a": "b", "container.apparmor.security.beta.kubernetes.io/c": "runtime/default"}),
        ),
        free("spec.activeDeadlineSeconds", json!(5)),
        free("spec.affinity", json!({"nodeAffinity": {}, "podAffinity": {}, "podAntiAffinity": {}})),
        free("spec.automountServiceAccountToken", json!(true)),
        free("spec.dnsConfig", json!({"nameservers": ["1.1.1.1"], "options": [{"name": "a"}]})),
        free("spec.dnsPolicy", json!("None")),
        free("spec.enableServiceLinks", json!(false)),
        held("spec.ephemeralContainers", json!([{"name": "e"}])),
        free("spec.hostAliases", json!([{"ip": "1.1.1.1"}])),
        free("spec.hostIPC", json!(true)),
        free("spec.hostNetwork", json!(true)),
        free("spec.hostPID", json!(true)),
        free("spec.hostUsers", json!(false)),
        free("spec.hostname", json!("h")),
        free("spec.hostnameOverride", json!("h")),
        free("spec.imagePullSecrets", json!([{"name": "s"}])),
        held("spec.initContainers", json!([{"name": "n", "image": "i"}])),
        free("spec.nodeName", json!("n")),
        free("spec.nodeSelector", json!({"a": "b"})),
        free("spec.os", json!({"name": "linux"})),
        free("spec.overhead", json!({"cpu": "1"})),
        free("spec.preemptionPolicy", json!("Never")),
        free("spec.priority", json!(5)),
        free("spec.priorityClassName", json!("system-node-critical")),
        free("spec.readinessGates", json!([{"conditionType": "x"}])),
        held("spec.resourceClaims", json!([{"name": "r"}])),
        held("spec.resources.claims", json!([{"name": "r"}])),
        at("spec.resources.limits", vec![json!({"cpu": "1"})], vec![json!({"nvidia.com/gpu": "1"})]),
        at("spec.resources.requests", vec![json!({"memory": "1"})], vec![json!({"nvidia.com/gpu": "1"})]),
        free("spec.restartPolicy", json!("Never")),
        free("spec.runtimeClassName", json!("kata")),
        free("spec.schedulerName", json!("mine")),
        held("spec.schedulingGates", json!([{"name": "g"}])),
        held("spec.schedulingGroup", json!({"podGroupName": "g"})),
        free("spec.serviceAccount", json!("a")),
        free("spec.serviceAccountName", json!("a")),
        free("spec.setHostnameAsFQDN", json!(true)),
        free("spec.shareProcessNamespace", json!(true)),
        free("spec.subdomain", json!("d")),
        free("spec.terminationGracePeriodSeconds", json!(0)),
        free("spec.tolerations", json!([{"operator": "Exists"}])),
        free(
            "spec.topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
        free("spec.volumes[].configMap", json!({"name": "m", "items": [{"key": "k", "path": "p"}]})),
        held("spec.volumes[].csi", json!({"driver": "d"})),
        free(
            "spec.volumes[].downwardAPI",
            json!({"items": [
                {"path": "p", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "q", "resourceFieldRef": {"resource": "limits.cpu", "containerName": "c"}},
            ]}),
        ),
        at(
            "spec.volumes[].emptyDir",
            vec![
                json!({}),
                json!({"medium": "Memory", "sizeLimit": "1Mi"}),
                json!({"medium": "HugePages"}),
                json!({"medium": "HugePages-2Mi"}),
            ],
            vec![json!({"medium": "Floppy"})],
        ),
        held("spec.volumes[].ephemeral", json!({})),
        held("spec.volumes[].gitRepo", json!({"repository": "r"})),
        free("spec.volumes[].hostPath", json!({"path": "/x", "type": "Socket"})),
        free("spec.volumes[].image", json!({"reference": "i"})),
        held("spec.volumes[].persistentVolumeClaim", json!({"claimName": "c"})),
        at(
            "spec.volumes[].projected",
            vec![json!({"sources": [
                {"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "m"}}, {"secret": {"name": "s"}},
                {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                {"clusterTrustBundle": {"name": "b", "path": "c"}},
                {"clusterTrustBundle": {"signerName": "s", "labelSelector": {}, "path": "d"}},
            ]})],
            vec![
                projected(json!({"clusterTrustBundle": {"path": "p"}})),
                projected(json!({"podCertificate": {"signerName": "s", "keyType": "k"}})),
                projected(json!({"downwardAPI": {"items": [{"path": "p"}]}})),
            ],
        ),
        free("spec.volumes[].secret", json!({"secretName": "s", "optional": true})),
        at("spec.volumes[]", vec![], vec![json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}])]),
        free("spec.securityContext.appArmorProfile", json!({"type": "Localhost", "localhostProfile": "p"})),
        free("spec.securityContext.fsGroup", json!(5)),
        free("spec.securityContext.fsGroupChangePolicy", json!("OnRootMismatch")),
        free("spec.securityContext.runAsGroup", json!(5)),
        free("spec.securityContext.runAsNonRoot", json!(true)),
        free("spec.securityContext.runAsUser", json!(5)),
        free("spec.securityContext.seLinuxChangePolicy", json!("Recursive")),
        free("spec.securityContext.seLinuxOptions", json!({"level": "s0"})),
        free("spec.securityContext.seccompProfile", json!({"type": "Localhost", "localhostProfile": "p"})),
        free("spec.securityContext.supplementalGroups", json!([5])),
        free("spec.securityContext.supplementalGroupsPolicy", json!("Strict")),
        free("spec.securityContext.sysctls", json!([{"name": "a", "value": "b"}])),
        held("spec.securityContext.windowsOptions", json!({"hostProcess": true})),
        free("spec.containers[].args", json!(["$(A)"])),
        free("spec.containers[].command", json!(["$(A)"])),
        free("spec.containers[].env[].name", json!("N")),
        free("spec.containers[].env[].value", json!("$(A)")),
        at(
            "spec.containers[].env[].valueFrom",
            vec![
                json!({"fieldRef": {"fieldPath": "metadata.name"}}),
                json!({"resourceFieldRef": {"resource": "limits.cpu"}}),
                json!({"configMapKeyRef": {"name": "m", "key": "k"}}),
                json!({"secretKeyRef": {"name": "s", "key": "k"}}),
                json!({"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}),
            ],
            vec![],
        ),
        free("spec.containers[].envFrom", json!([{"configMapRef": {"name": "m"}}])),
        free("spec.containers[].image", json!("j")),
        free("spec.containers[].imagePullPolicy", json!("Never")),
        held("spec.containers[].lifecycle.postStart", probe.clone()),
        held("spec.containers[].lifecycle.preStop", probe.clone()),
        held("spec.containers[].lifecycle.stopSignal", json!("SIGUSR1")),
        held("spec.containers[].livenessProbe", probe.clone()),
        free("spec.containers[].name", json!("d")),
        free("spec.containers[].ports[].containerPort", json!(81)),
        free("spec.containers[].ports[].hostIP", json!("127.0.0.1")),
        free("spec.containers[].ports[].hostPort", json!(81)),
        free("spec.containers[].ports[].name", json!("web")),
        free("spec.containers[].ports[].protocol", json!("UDP")),
        held("spec.containers[].readinessProbe", probe.clone()),
        free(
            "spec.containers[].resizePolicy",
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
        ),
        held("spec.containers[].resources.claims", json!([{"name": "r"}])),
        at(
            "spec.containers[].resources.limits",
            vec![
                json!({"cpu": "1", "memory": "1Gi"}),
                json!({"hugepages-2Mi": "2Mi"}),
                json!({"ephemeral-storage": "1Gi"}),
            ],
            vec![json!({"nvidia.com/gpu": "1"})],
        ),
        at(
            "spec.containers[].resources.requests",
            vec![json!({"cpu": "1", "memory": "1Gi"})],
            vec![json!({"nvidia.com/gpu": "1"})],
        ),
        held("spec.containers[].restartPolicy", json!("Never")),
        held("spec.containers[].restartPolicyRules", json!([{"action": "Restart"}])),
        held("spec.containers[].startupProbe", probe),
        free("spec.containers[].stdin", json!(true)),
        free("spec.containers[].stdinOnce", json!(true)),
        free("spec.containers[].terminationMessagePath", json!("/x")),
        free("spec.containers[].terminationMessagePolicy", json!("FallbackToLogsOnError")),
        free("spec.containers[].tty", json!(true)),
        held("spec.containers[].volumeDevices", json!([{"name": "v", "devicePath": "/dev/x"}])),
        free("spec.containers[].volumeMounts[].mountPath", json!("/y")),
        free("spec.containers[].volumeMounts[].mountPropagation", json!("Bidirectional")),
        free("spec.containers[].volumeMounts[].name", json!("w")),
        free("spec.containers[].volumeMounts[].readOnly", json!(true)),
        free("spec.containers[].volumeMounts[].recursiveReadOnly", json!("Enabled")),
        free("spec.containers[].volumeMounts[].subPath", json!("a")),
        free("spec.containers[].volumeMounts[].subPathExpr", json!("a")),
        free("spec.containers[].workingDir", json!("/x")),
        free("spec.containers[].securityContext.allowPrivilegeEscalation", json!(false)),
        free("spec.containers[].securityContext.appArmorProfile", json!({"type": "RuntimeDefault"})),
        free("spec.containers[].securityContext.capabilities.add", json!(["NET_ADMIN"])),
        free("spec.containers[].securityContext.capabilities.drop", json!(["ALL"])),
        free("spec.containers[].securityContext.privileged", json!(true)),
        free("spec.containers[].securityContext.procMount", json!("Unmasked")),
        free("spec.containers[].securityContext.readOnlyRootFilesystem", json!(true)),
        free("spec.containers[].securityContext.runAsGroup", json!(5)),
        free("spec.containers[].securityContext.runAsNonRoot", json!(true)),
        free("spec.containers[].securityContext.runAsUser", json!(5)),
        free("spec.containers[].securityContext.seLinuxOptions", json!({"level": "s0"})),
        free("spec.containers[].securityContext.seccompProfile", json!({"type": "Unconfined"})),
        held("spec.containers[].securityContext.windowsOptions", json!({"hostProcess": true})),
    ]
}

#[test]
fn every_field_of_the_api_has_been_decided_about() {
    let structs: [(&str, &[&str]); 11] = [
        ("spec", field_names::<api::PodSpec>()),
        ("spec.securityContext", field_names::<api::PodSecurityContext>()),
        ("spec.resources", field_names::<api::ResourceRequirements>()),
        ("spec.volumes[]", field_names::<api::Volume>()),
        ("spec.containers[]", field_names::<api::Container>()),
        ("spec.containers[].env[]", field_names::<api::EnvVar>()),
        ("spec.containers[].lifecycle", field_names::<api::Lifecycle>()),
        ("spec.containers[].ports[]", field_names::<api::ContainerPort>()),
        ("spec.containers[].resources", field_names::<api::ResourceRequirements>()),
        ("spec.containers[].securityContext", field_names::<api::SecurityContext>()),
        ("spec.containers[].volumeMounts[]", field_names::<api::VolumeMount>()),
    ];
    // Fields whose own fields are decided about one by one.
    let opened = [
        "containers",
        "volumes",
        "securityContext",
        "env",
        "lifecycle",
        "ports",
        "resources",
        "capabilities",
        "volumeMounts",
    ];
    for (parent, names) in structs {
        for name in names.iter().filter(|name| !opened.contains(name)) {
            assert!(entry(&format!("{parent}.{name}")).is_some(), "{parent}.{name} is not in the table");
        }
    }
}

#[test]
fn the_table_and_the_examples_cover_the_same_fields() {
    let table: BTreeSet<&str> = FIELDS.iter().map(|field| field.path).collect();
    let tried: BTreeSet<&str> = examples().into_iter().map(|(path, ..)| path).collect();
    assert_eq!(table.len(), FIELDS.len(), "a field is listed twice");
    assert_eq!(table, tried);
}

#[test]
fn a_value_is_either_honoured_or_holds_the_pod() {
    for (path, free, holding) in examples() {
        for value in &free {
            assert_eq!(held(&pod_with(path, value)), [], "{path}: {value}");
        }
        for value in &holding {
            let held = held(&pod_with(path, value));
            let named = |held: &Held| entry(&held.field).is_some_and(|entry| entry.path == path);
            assert!(held.iter().any(named), "{path}: {value} holds {held:?}");
            for held in held {
                assert!(super::fields::held_reason(&held.field).is_some(), "{} has no reason", held.field);
            }
        }
        let state = entry(path).map(|entry| entry.state);
        let fits = match state {
            Some(State::Built | State::NothingToDo(_)) => !free.is_empty() && holding.is_empty(),
            Some(State::Harmless { .. }) => !free.is_empty() && !holding.is_empty(),
            Some(State::Holds(_)) => free.is_empty() && !holding.is_empty(),
            None => false,
        };
        assert!(fits, "{path} is {state:?}");
    }
}

#[test]
fn fields_are_named_where_they_are() {
    let pod = pod_with("spec.containers[].resources.limits", &json!({"nvidia.com/gpu": "1"}));
    let expected = Held {
        field: "spec.containers[0].resources.limits[nvidia.com/gpu]".into(),
        reason: "resources of device plugins are not built yet".into(),
    };
    assert_eq!(held(&pod)[0], expected);
    let source = json!({"podCertificate": {"signerName": "s", "keyType": "k"}});
    let pod = pod_with("spec.volumes[].projected", &projected(source));
    assert_eq!(held(&pod)[0].field, "spec.volumes[0].projected.sources[0].podCertificate");
}

#[test]
fn a31_a69_a_volume_that_cannot_be_had_is_told_as_one() {
    for (volume, told) in [
        (json!({"gitRepo": {"repository": "r"}}), "spec.volumes[0].gitRepo: unsupported volume type"),
        (
            json!({"iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t"}}),
            "spec.volumes[0].iscsi: unsupported volume type",
        ),
        (
            json!({"persistentVolumeClaim": {"claimName": "c"}}),
            "spec.volumes[0].persistentVolumeClaim: persistent",
        ),
    ] {
        let held = held(&pod_with("spec.volumes[]", &json!([volume])));
        let (reason, message) = held[0].event();
        assert_eq!((held.len(), reason), (1, "FailedMount"));
        let expected = format!("Unable to attach or mount volumes: {told}");
        assert!(message.starts_with(&expected), "{message}");
    }
    // A kind of a later version of the API: what the decoder knows of it is that there is a volume.
    let pod: Pod = serde_json::from_value(json!({
        "spec": {"containers": [], "volumes": [{"name": "v", "teleporter": {"to": "x"}}]},
    }))
    .unwrap();
    assert_eq!(held(&pod)[0].field, "spec.volumes[0]");
}
