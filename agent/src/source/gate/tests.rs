use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;
use serde::Deserialize;
use serde::de::value::Error as NoValue;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

use super::fields::entry;
use super::*;
use crate::source::defaults;

/// Learns which fields a type has from what it asks its deserializer for.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("only structs are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        Err(NoValue::custom("the names are enough"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn field_names<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    assert!(T::deserialize(FieldNames(&mut names)).is_err());
    assert!(!names.is_empty());
    names
}

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

/// A volume projected from one source.
fn projected(source: Value) -> Value {
    json!([{"name": "v", "projected": {"sources": [source]}}])
}

/// For every field a value that is not its default; for harmless ones first the harmless values.
fn examples() -> Vec<(&'static str, Vec<Value>, Vec<Value>)> {
    let probe = json!({"exec": {"command": ["true"]}});
    let free = |path, value| (path, vec![value], vec![]);
    let held = |path, value| (path, vec![], vec![value]);
    let at = |path: &'static str, ok: Vec<Value>, held: Vec<Value>| (path, ok, held);
    let expandable = |path| {
        let held = ["$(A)", "a$(A", "$$(A)", "$$"].map(|word| json!([word])).to_vec();
        (path, vec![json!(["a", "$A", "${A}"])], held)
    };
    vec![
        at(
            "metadata.annotations[]",
            vec![json!({"a": "b"})],
            vec![json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"})],
        ),
        free("spec.activeDeadlineSeconds", json!(5)),
        free("spec.affinity", json!({"nodeAffinity": {}, "podAffinity": {}, "podAntiAffinity": {}})),
        free("spec.automountServiceAccountToken", json!(true)),
        held("spec.dnsConfig", json!({"nameservers": ["1.1.1.1"]})),
        at(
            "spec.dnsPolicy",
            vec![json!("Default"), json!("ClusterFirst"), json!("ClusterFirstWithHostNet")],
            vec![json!("None")],
        ),
        free("spec.enableServiceLinks", json!(false)),
        held("spec.ephemeralContainers", json!([{"name": "e"}])),
        held("spec.hostAliases", json!([{"ip": "1.1.1.1"}])),
        free("spec.hostIPC", json!(true)),
        free("spec.hostNetwork", json!(true)),
        free("spec.hostPID", json!(true)),
        at("spec.hostUsers", vec![json!(true)], vec![json!(false)]),
        free("spec.hostname", json!("h")),
        held("spec.hostnameOverride", json!("h")),
        free("spec.imagePullSecrets", json!([{"name": "s"}])),
        held("spec.initContainers", json!([{"name": "n", "image": "i"}])),
        free("spec.nodeName", json!("n")),
        free("spec.nodeSelector", json!({"a": "b"})),
        free("spec.os", json!({"name": "linux"})),
        held("spec.overhead", json!({"cpu": "1"})),
        free("spec.preemptionPolicy", json!("Never")),
        free("spec.priority", json!(5)),
        free("spec.priorityClassName", json!("system-node-critical")),
        free("spec.readinessGates", json!([{"conditionType": "x"}])),
        held("spec.resourceClaims", json!([{"name": "r"}])),
        held("spec.resources", json!({"limits": {"cpu": "1"}})),
        free("spec.restartPolicy", json!("Never")),
        held("spec.runtimeClassName", json!("kata")),
        free("spec.schedulerName", json!("mine")),
        held("spec.schedulingGates", json!([{"name": "g"}])),
        held("spec.schedulingGroup", json!({"podGroupName": "g"})),
        free("spec.serviceAccount", json!("a")),
        free("spec.serviceAccountName", json!("a")),
        at("spec.setHostnameAsFQDN", vec![json!(false)], vec![json!(true)]),
        free("spec.shareProcessNamespace", json!(true)),
        held("spec.subdomain", json!("d")),
        free("spec.terminationGracePeriodSeconds", json!(0)),
        free("spec.tolerations", json!([{"operator": "Exists"}])),
        free(
            "spec.topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
        at(
            "spec.volumes[]",
            vec![json!([crate::volume::plan::tests::admitted()])],
            vec![
                json!([{"name": "v", "hostPath": {"path": "/x"}}]),
                projected(json!({"secret": {"name": "s"}})),
                projected(json!({"clusterTrustBundle": {"path": "p"}})),
                projected(json!({"podCertificate": {"signerName": "s", "keyType": "k"}})),
                projected(
                    json!({"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}),
                ),
                projected(json!({"downwardAPI": {"items": [
                    {"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}
                ]}})),
            ],
        ),
        held("spec.securityContext.appArmorProfile", json!({"type": "Unconfined"})),
        free("spec.securityContext.fsGroup", json!(5)),
        free("spec.securityContext.fsGroupChangePolicy", json!("OnRootMismatch")),
        free("spec.securityContext.runAsGroup", json!(5)),
        at("spec.securityContext.runAsNonRoot", vec![json!(false)], vec![json!(true)]),
        free("spec.securityContext.runAsUser", json!(5)),
        free("spec.securityContext.seLinuxChangePolicy", json!("Recursive")),
        held("spec.securityContext.seLinuxOptions", json!({"level": "s0"})),
        free("spec.securityContext.seccompProfile", json!({"type": "Localhost", "localhostProfile": "p"})),
        free("spec.securityContext.supplementalGroups", json!([5])),
        at("spec.securityContext.supplementalGroupsPolicy", vec![json!("Merge")], vec![json!("Strict")]),
        held("spec.securityContext.sysctls", json!([{"name": "a", "value": "b"}])),
        held("spec.securityContext.windowsOptions", json!({"hostProcess": true})),
        expandable("spec.containers[].args"),
        expandable("spec.containers[].command"),
        free("spec.containers[].env[].name", json!("N")),
        at("spec.containers[].env[].value", vec![json!("v$A")], vec![json!("$(A)"), json!("$$")]),
        held("spec.containers[].env[].valueFrom", json!({"fieldRef": {"fieldPath": "metadata.name"}})),
        held("spec.containers[].envFrom", json!([{"configMapRef": {"name": "m"}}])),
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
            vec![json!({"cpu": "1", "memory": "1Gi"})],
            vec![
                json!({"hugepages-2Mi": "2Mi"}),
                json!({"ephemeral-storage": "1Gi"}),
                json!({"nvidia.com/gpu": "1"}),
            ],
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
        at(
            "spec.containers[].volumeMounts[].mountPropagation",
            vec![json!("None")],
            vec![json!("HostToContainer"), json!("Bidirectional")],
        ),
        free("spec.containers[].volumeMounts[].name", json!("w")),
        free("spec.containers[].volumeMounts[].readOnly", json!(true)),
        at(
            "spec.containers[].volumeMounts[].recursiveReadOnly",
            vec![json!("Disabled")],
            vec![json!("IfPossible"), json!("Enabled")],
        ),
        held("spec.containers[].volumeMounts[].subPath", json!("a")),
        held("spec.containers[].volumeMounts[].subPathExpr", json!("a")),
        free("spec.containers[].workingDir", json!("/x")),
        free("spec.containers[].securityContext.allowPrivilegeEscalation", json!(false)),
        held("spec.containers[].securityContext.appArmorProfile", json!({"type": "RuntimeDefault"})),
        free("spec.containers[].securityContext.capabilities.add", json!(["NET_ADMIN"])),
        free("spec.containers[].securityContext.capabilities.drop", json!(["ALL"])),
        free("spec.containers[].securityContext.privileged", json!(true)),
        at("spec.containers[].securityContext.procMount", vec![json!("Default")], vec![json!("Unmasked")]),
        free("spec.containers[].securityContext.readOnlyRootFilesystem", json!(true)),
        free("spec.containers[].securityContext.runAsGroup", json!(5)),
        at("spec.containers[].securityContext.runAsNonRoot", vec![json!(false)], vec![json!(true)]),
        free("spec.containers[].securityContext.runAsUser", json!(5)),
        held("spec.containers[].securityContext.seLinuxOptions", json!({"level": "s0"})),
        free("spec.containers[].securityContext.seccompProfile", json!({"type": "Unconfined"})),
        held("spec.containers[].securityContext.windowsOptions", json!({"hostProcess": true})),
    ]
}

#[test]
fn every_field_of_the_api_has_been_decided_about() {
    let structs: [(&str, &[&str]); 10] = [
        ("spec", field_names::<api::PodSpec>()),
        ("spec.securityContext", field_names::<api::PodSecurityContext>()),
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
        for name in
            names.iter().filter(|name| !opened.contains(name) || (parent == "spec" && **name == "resources"))
        {
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
    let pod =
        pod_with("spec.containers[].env[].valueFrom", &json!({"fieldRef": {"fieldPath": "metadata.name"}}));
    let expected = Held {
        field: "spec.containers[0].env[0].valueFrom".into(),
        reason: "variables from other sources are not built yet".into(),
    };
    assert_eq!(held(&pod), [expected]);
    let pod = pod_with("spec.volumes[]", &json!([{"name": "v", "hostPath": {"path": "/x"}}]));
    assert_eq!(held(&pod)[0].field, "spec.volumes[0].hostPath");
    let pod = pod_with("spec.volumes[]", &projected(json!({"secret": {"name": "s"}})));
    assert_eq!(held(&pod)[0].field, "spec.volumes[0].projected.sources[0].secret");
}

#[test]
fn a_volume_of_the_api_holds_a_static_pod() {
    let pod = pod_with("spec.volumes[]", &projected(json!({"configMap": {"name": "m"}})));
    let expected = Held {
        field: "spec.volumes[0].projected".into(),
        reason: "projected volumes of a static pod are not built yet".into(),
    };
    assert_eq!((held(&pod), held_as_static(&pod)), (Vec::new(), vec![expected]));
}

#[test]
fn run_as_non_root_is_built_when_the_user_is_given() {
    let mut pod = pod_with("spec.securityContext.runAsNonRoot", &json!(true));
    assert_eq!(held(&pod)[0].field, "spec.securityContext.runAsNonRoot");
    let spec = pod.spec.as_mut().unwrap();
    spec.containers[0].security_context.as_mut().unwrap().run_as_user = Some(5);
    assert_eq!(held(&pod), []);
    let mut pod = pod_with("spec.containers[].securityContext.runAsNonRoot", &json!(true));
    assert_eq!(held(&pod)[0].field, "spec.containers[0].securityContext.runAsNonRoot");
    pod.spec.as_mut().unwrap().security_context.as_mut().unwrap().run_as_user = Some(5);
    assert_eq!(held(&pod), []);
}
