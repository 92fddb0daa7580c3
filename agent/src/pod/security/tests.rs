//! Every field of both contexts, against the two messages that a pod becomes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as api;
use pinnace_cri::v1::IdMapping;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::example::{self, field_names};

type Messages = (LinuxSandboxSecurityContext, BTreeMap<String, String>, LinuxContainerSecurityContext);

fn defaults() -> Defaults {
    Defaults { masked: vec!["/sys/x".to_owned()], ..Defaults::bare("/r/seccomp".into()) }
}

fn pod(pods: &Value, own: &Value) -> DesiredPod {
    let spec = json!({ "securityContext": pods, "containers": [{ "name": "c", "securityContext": own }] });
    example::manifest("u1", "ns", "web", json!({ "metadata": {}, "spec": spec }))
}

fn of_pod(pod: &DesiredPod, userns: UserNamespace) -> Result<Messages, Refusal> {
    let (defaults, spec) = (defaults(), pod.pod.spec.as_ref().unwrap());
    let container = &spec.containers[0];
    // The image runs as 1000.
    let user = user::asked(spec, container).map_or(User::Id(1000), User::Id);
    user::check(pod, spec, container, &user)?;
    let sandbox = of_sandbox(spec, userns.clone(), &defaults)?;
    let asked = Asked { pod, spec, container, user, userns };
    Ok((sandbox, sysctl::of_sandbox(spec)?, of_container(asked, &defaults)?))
}

fn messages(pods: &Value, own: &Value) -> Messages {
    of_pod(&pod(pods, own), of_the_host()).unwrap_or_else(|refusal| panic!("{pods} {own}: {refusal}"))
}

/// Values of each field of a container's context that must be told apart.
fn container_fields() -> Vec<(&'static str, Vec<Value>)> {
    let profile = |file: &str| json!({ "type": "Localhost", "localhostProfile": file });
    let label = |part: &str| json!({ part: "x" });
    vec![
        ("allowPrivilegeEscalation", vec![json!(false)]),
        ("appArmorProfile", vec![json!({ "type": "RuntimeDefault" }), profile("a"), profile("b")]),
        (
            "capabilities",
            vec![
                json!({ "add": ["A"] }),
                json!({ "add": ["B"] }),
                json!({ "add": ["A", "B"] }),
                json!({ "drop": ["A"] }),
                json!({ "drop": ["ALL"] }),
            ],
        ),
        ("privileged", vec![json!(true)]),
        ("procMount", vec![json!("Unmasked")]),
        ("readOnlyRootFilesystem", vec![json!(true)]),
        ("runAsGroup", vec![json!(0), json!(7)]),
        ("runAsUser", vec![json!(0), json!(7)]),
        ("seLinuxOptions", vec![label("user"), label("role"), label("type"), label("level")]),
        ("seccompProfile", vec![json!({ "type": "RuntimeDefault" }), profile("a"), profile("b")]),
    ]
}

/// The same for a pod's context.
fn pod_fields() -> Vec<(&'static str, Vec<Value>)> {
    let inherited = ["appArmorProfile", "runAsGroup", "runAsUser", "seLinuxOptions", "seccompProfile"];
    let own = container_fields().into_iter().filter(|(name, _)| inherited.contains(name));
    let sysctl = |name: &str, value: &str| json!([{ "name": name, "value": value }]);
    let pods = vec![
        ("fsGroup", vec![json!(0), json!(7)]),
        ("supplementalGroups", vec![json!([5]), json!([9]), json!([9, 8])]),
        ("supplementalGroupsPolicy", vec![json!("Strict")]),
        ("sysctls", vec![sysctl("net.a", "1"), sysctl("net.a", "2"), sysctl("net.b", "1")]),
    ];
    own.chain(pods).collect()
}

/// Fields that change no message, and why that is right.
const NO_MESSAGE: [(&str, &str); 4] = [
    ("fsGroupChangePolicy", "concerns how the agent changes owners on volumes"),
    ("runAsNonRoot", "refuses a container or does not"),
    ("seLinuxChangePolicy", "concerns volumes"),
    ("windowsOptions", "holds the pod"),
];

#[test]
fn a43_every_field_of_the_api_is_tried() {
    let tried = |fields: Vec<(&'static str, Vec<Value>)>| -> BTreeSet<&str> {
        fields.into_iter().map(|(name, _)| name).collect()
    };
    for (all, tried) in [
        (field_names::<api::SecurityContext>(), tried(container_fields())),
        (field_names::<api::PodSecurityContext>(), tried(pod_fields())),
    ] {
        for name in all {
            let exempt = NO_MESSAGE.iter().any(|(known, _)| known == name);
            assert_ne!(exempt, tried.contains(name), "{name}");
        }
    }
}

/// Fails if two of these contexts make one message.
fn all_differ(contexts: Vec<(Value, Value)>) {
    let mut seen: Vec<((Value, Value), Messages)> = Vec::new();
    for context in contexts {
        let message = messages(&context.0, &context.1);
        let same = seen.iter().find(|(_, other)| *other == message);
        assert!(same.is_none(), "{context:?} and {:?} are one message", same.unwrap().0);
        seen.push((context, message));
    }
}

#[test]
fn a43_each_value_of_each_field_makes_a_message_of_its_own() {
    let each = |fields: Vec<(&'static str, Vec<Value>)>| {
        let of_field = |(name, values): (&'static str, Vec<Value>)| {
            values.into_iter().map(move |value| json!({ name: value })).collect::<Vec<_>>()
        };
        std::iter::once(json!({})).chain(fields.into_iter().flat_map(of_field)).collect::<Vec<_>>()
    };
    all_differ(each(container_fields()).into_iter().map(|own| (json!({}), own)).collect());
    all_differ(each(pod_fields()).into_iter().map(|pods| (pods, json!({}))).collect());
}

#[test]
fn a43_namespaces_of_the_pod_change_the_message() {
    let built = |more: Value| {
        let mut spec = json!({ "containers": [{ "name": "c" }] });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let pod = example::manifest("u1", "ns", "web", json!({ "metadata": {}, "spec": spec }));
        of_pod(&pod, of_the_host()).unwrap()
    };
    let plain = built(json!({}));
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        let changed = built(json!({ field: true }));
        assert_ne!(changed.0, plain.0, "{field}");
        assert_ne!(changed.2, plain.2, "{field}");
    }
    let run = IdMapping { host_id: 65_536, container_id: 0, length: 65_536 };
    let own = UserNamespace { mode: NamespaceMode::Pod.into(), uids: vec![run], gids: vec![run] };
    let mapped = of_pod(&pod(&json!({}), &json!({})), own).unwrap();
    assert!(mapped.0 != plain.0 && mapped.2 != plain.2);
    let mut mounts = [Mount { container_path: "/a".into(), ..Mount::default() }];
    map_ids(&mut mounts, &plain.2);
    assert!(mounts[0].uid_mappings.is_empty());
    map_ids(&mut mounts, &mapped.2);
    assert_eq!((&mounts[0].uid_mappings, &mounts[0].gid_mappings), (&vec![run], &vec![run]));
}

#[test]
fn a_privileged_container_of_any_kind_is_told_to_the_sandbox() {
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let mut spec = json!({ "containers": [{ "name": "c" }] });
        spec[list] = json!([{ "name": "p", "securityContext": { "privileged": true } }]);
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert!(of_sandbox(&spec, of_the_host(), &defaults()).unwrap().privileged, "{list}");
    }
    assert!(!messages(&json!({}), &json!({ "privileged": false })).0.privileged);
}

#[test]
fn the_users_of_images_are_sent() {
    let (_, _, container) = messages(&json!({}), &json!({}));
    assert_eq!(container.run_as_user, number(Some(1000)));
    let pod = pod(&json!({}), &json!({}));
    let spec = pod.pod.spec.as_ref().unwrap();
    let user = User::Name("www".to_owned());
    let asked = Asked { pod: &pod, spec, container: &spec.containers[0], user, userns: of_the_host() };
    let container = of_container(asked, &defaults()).unwrap();
    assert_eq!((container.run_as_user, container.run_as_username.as_str()), (None, "www"));
}

#[test]
fn what_is_not_known_makes_no_message() {
    for own in [
        json!({ "procMount": "All" }),
        json!({ "seccompProfile": { "type": "x" } }),
        json!({ "appArmorProfile": { "type": "x" } }),
    ] {
        assert!(of_pod(&pod(&json!({}), &own), of_the_host()).is_err(), "{own}");
    }
    let policy = json!({ "supplementalGroupsPolicy": "Other" });
    assert!(of_pod(&pod(&policy, &json!({})), of_the_host()).is_err());
}

#[test]
fn golden_a_hardened_pod() {
    let pods = json!({ "runAsNonRoot": true, "runAsUser": 5, "runAsGroup": 6, "fsGroup": 7, "supplementalGroups": [8, 9],
        "supplementalGroupsPolicy": "Strict", "seccompProfile": { "type": "RuntimeDefault" },
        "seLinuxOptions": { "level": "s0:c1" }, "sysctls": [{ "name": "net/ipv4/tcp_syncookies", "value": "0" }] });
    let own = json!({ "allowPrivilegeEscalation": false, "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
        "readOnlyRootFilesystem": true });
    insta::assert_debug_snapshot!(messages(&pods, &own));
}

fn any_of(fields: Vec<(&'static str, Vec<Value>)>) -> impl Strategy<Value = Value> {
    let one = |(name, values): (&'static str, Vec<Value>)| {
        proptest::option::of(proptest::sample::select(values)).prop_map(move |value| (name, value))
    };
    let fields: Vec<_> = fields.into_iter().map(one).collect();
    fields.prop_map(|chosen| {
        let given = chosen.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(given.collect())
    })
}

proptest! {
    /// Whatever else is set: taking one field of the container away changes the container's message, unless the pod says
    /// the same.
    #[test]
    fn a43_no_field_is_lost_among_others(pods in any_of(pod_fields()), own in any_of(container_fields())) {
        let whole = messages(&pods, &own);
        for (name, value) in own.as_object().unwrap() {
            let mut less = own.clone();
            less.as_object_mut().unwrap().remove(name);
            let lost = messages(&pods, &less).2 == whole.2;
            prop_assert!(!lost || pods.get(name) == Some(value), "{name} is lost in {own}");
        }
        for name in ["fsGroup", "supplementalGroups", "supplementalGroupsPolicy", "sysctls", "seLinuxOptions", "runAsUser"] {
            let mut less = pods.clone();
            if less.as_object_mut().unwrap().remove(name).is_some() {
                prop_assert_ne!((&messages(&less, &own).0, &messages(&less, &own).1), (&whole.0, &whole.1), "{}", name);
            }
        }
        prop_assert!(whole.0.seccomp.is_some() && whole.0.apparmor.is_some());
        prop_assert!(whole.2.seccomp.is_some() && whole.2.apparmor.is_some());
    }
}
