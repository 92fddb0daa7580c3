//! Environments as upstream's own tests have them.

use serde_json::{Value, json};

use super::*;
use crate::source::desired::DesiredPod;
use crate::source::example;

fn pod() -> DesiredPod {
    let spec = json!({ "nodeName": "node1", "containers": [] });
    example::manifest("u1", "ns", "web", json!({ "metadata": { "labels": { "l": "v" } }, "spec": spec }))
}

fn data(values: Value) -> Result<Option<Arc<Data>>, String> {
    let values = values.as_object().unwrap().iter();
    let values = values.map(|(key, value)| (key.clone(), value.as_str().unwrap().into())).collect();
    Ok(Some(Arc::new(Data { values, ..Data::default() })))
}

fn objects() -> Fetched {
    let reference = |kind, name: &str| Reference { kind, namespace: "ns".to_owned(), name: name.to_owned() };
    let values = json!({ "A": "map-a", "B": "map-b", "no=name": "x", "ä": "x", "a b.c-1": "odd" });
    BTreeMap::from([
        (reference(Kind::ConfigMap, "map"), data(values)),
        (reference(Kind::Secret, "secret"), data(json!({ "B": "c4nary" }))),
        (reference(Kind::ConfigMap, "gone"), Ok(None)),
        (reference(Kind::Secret, "gone"), Ok(None)),
        (reference(Kind::Secret, "broken"), Err("failed to reach the API server".to_owned())),
    ])
}

fn assembled(container: Value) -> Result<(Environment, Vec<String>), EnvError> {
    let mut container = container;
    container["name"] = "c".into();
    let container: Container = serde_json::from_value(container).unwrap();
    let pod = pod();
    let services = BTreeMap::from([("S_HOST".to_owned(), "10.0.0.1".to_owned())]);
    let (pod_ips, host_ips) = (["10.0.0.9".parse().unwrap()], ["192.0.2.7".parse().unwrap()]);
    let sources = Sources {
        facts: Facts { pod: &pod, pod_ips: &pod_ips, host_ips: &host_ips },
        spec: pod.pod.spec.as_ref().unwrap(),
        allocatable: &BTreeMap::from([("cpu".to_owned(), 4000)]),
        objects: &objects(),
        files: &file::Files::new(),
        services: &services,
    };
    assemble(&container, sources)
}

fn lines(container: Value) -> Vec<String> {
    let (env, _) = assembled(container).unwrap();
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    env.into_variables().into_iter().map(|var| format!("{}={}", var.key, text(var.value))).collect()
}

fn error(container: Value) -> String {
    assembled(container).unwrap_err().to_string()
}

#[test]
fn later_sources_win_and_services_come_last() {
    let env_from = json!([
        { "configMapRef": { "name": "map" } },
        { "secretRef": { "name": "secret" } },
        { "prefix": "P_", "secretRef": { "name": "secret" } },
    ]);
    let env = json!([{ "name": "A", "value": "own" }, { "name": "X" }, { "name": "X", "value": "$(A)" }]);
    assert_eq!(
        lines(json!({ "env": env, "envFrom": env_from })),
        ["a b.c-1=odd", "B=c4nary", "P_B=c4nary", "A=own", "X=own", "S_HOST=10.0.0.1"]
    );
}

#[test]
fn keys_that_are_no_names_are_told_and_left_out() {
    let (_, complaints) = assembled(json!({ "envFrom": [{ "configMapRef": { "name": "map" } }] })).unwrap();
    assert_eq!(
        complaints,
        [
            "Keys [no=name, ä] from the EnvFrom configMap ns/map were skipped since they are considered invalid environment variable names."
        ]
    );
}

#[test]
fn values_from_everywhere() {
    let from = |from: Value| json!({ "name": "V", "valueFrom": from });
    for (source, wanted) in [
        (json!({ "fieldRef": { "fieldPath": "metadata.labels['l']" } }), "V=v"),
        (json!({ "fieldRef": { "fieldPath": "status.podIP" } }), "V=10.0.0.9"),
        (json!({ "fieldRef": { "fieldPath": "status.hostIP" } }), "V=192.0.2.7"),
        (json!({ "resourceFieldRef": { "resource": "limits.cpu" } }), "V=4"),
        (json!({ "configMapKeyRef": { "name": "map", "key": "A" } }), "V=map-a"),
        (json!({ "secretKeyRef": { "name": "secret", "key": "B" } }), "V=c4nary"),
    ] {
        assert_eq!(lines(json!({ "env": [from(source)] })), [wanted, "S_HOST=10.0.0.1"]);
    }
}

#[test]
fn what_is_missing_is_told_in_the_kubelets_words() {
    let key = |kind: &str, name: &str, key: &str| json!({ "env": [{ "name": "V", "valueFrom": { kind: { "name": name, "key": key } } }] });
    assert_eq!(error(key("configMapKeyRef", "gone", "A")), "configmap \"gone\" not found");
    assert_eq!(error(key("secretKeyRef", "gone", "A")), "secret \"gone\" not found");
    assert_eq!(error(key("configMapKeyRef", "map", "Z")), "couldn't find key Z in ConfigMap ns/map");
    assert_eq!(error(key("secretKeyRef", "secret", "Z")), "couldn't find key Z in Secret ns/secret");
    assert_eq!(error(key("secretKeyRef", "broken", "Z")), "failed to reach the API server");
    let all = |kind: &str| json!({ "envFrom": [{ kind: { "name": "gone" } }] });
    assert_eq!(error(all("configMapRef")), "configmap \"gone\" not found");
    assert_eq!(error(all("secretRef")), "secret \"gone\" not found");
}

#[test]
fn what_may_be_missing_leaves_an_earlier_value() {
    let env_from = json!([{ "secretRef": { "name": "secret" } },
        { "configMapRef": { "name": "gone", "optional": true } }]);
    let optional = |name: &str, kind: &str, object: &str| {
        let source = json!({ "name": object, "key": "Z", "optional": true });
        json!({ "name": name, "valueFrom": { kind: source } })
    };
    let env = json!([
        optional("B", "configMapKeyRef", "map"),
        optional("C", "secretKeyRef", "gone"),
        { "name": "D", "value": "$(C) $(B)" },
    ]);
    assert_eq!(
        lines(json!({ "env": env, "envFrom": env_from })),
        ["B=c4nary", "D=$(C) c4nary", "S_HOST=10.0.0.1"]
    );
    let broken = json!({ "envFrom": [{ "secretRef": { "name": "broken", "optional": true } }] });
    assert_eq!(error(broken), "failed to reach the API server");
}

#[test]
fn variables_see_those_before_them_and_services() {
    let env = json!([
        { "name": "A", "value": "$(B)" }, { "name": "B", "value": "$(S_HOST):$(A)$$(A)" },
        { "name": "S_HOST", "value": "own" }, { "name": "C", "value": "$(S_HOST)" },
    ]);
    assert_eq!(lines(json!({ "env": env })), ["A=$(B)", "B=10.0.0.1:$(B)$(A)", "S_HOST=own", "C=own"]);
}

#[test]
fn commands_see_all_of_it() {
    let (env, _) = assembled(json!({ "env": [{ "name": "A", "value": "1" }] })).unwrap();
    let words = ["$(A)$(S_HOST)$(ABSENT)$$(A)".to_owned()];
    assert_eq!(env.expand(&words, "args").unwrap(), ["110.0.0.1$(ABSENT)$(A)"]);
    assert_eq!(env.get("A"), Some(b"1".as_slice()));
    assert_eq!(env.get("S_HOST"), Some(b"10.0.0.1".as_slice()));
    assert_eq!(env.get("ABSENT"), None);
}

#[test]
fn a68_variables_that_double_each_other_end_in_an_error() {
    let mut env = vec![json!({ "name": "V0", "value": "x".repeat(1 << 10) })];
    for number in 1..40 {
        let last = number - 1;
        env.push(json!({ "name": format!("V{number}"), "value": format!("$(V{last})$(V{last})") }));
    }
    assert!(error(json!({ "env": env })).contains("longer than"));
}

#[test]
fn a48_values_are_never_shown() {
    let (env, _) = assembled(json!({ "envFrom": [{ "secretRef": { "name": "secret" } }] })).unwrap();
    assert!(!format!("{env:?}").contains("c4nary"));
    assert!(!format!("{:?}", env.into_variables()).contains("c4nary"));
}

#[test]
fn each_object_is_asked_for_once_and_none_in_vain() {
    let container = json!({ "name": "c",
        "envFrom": [{ "configMapRef": { "name": "b" } }, { "secretRef": { "name": "b" } }, {}],
        "env": [
            { "name": "A", "valueFrom": { "configMapKeyRef": { "name": "b", "key": "k" } } },
            { "name": "B", "valueFrom": { "secretKeyRef": { "name": "a", "key": "k" } } },
            { "name": "C", "value": "x", "valueFrom": { "secretKeyRef": { "name": "z", "key": "k" } } },
        ] });
    let (container, pod) = (serde_json::from_value(container).unwrap(), pod());
    let found = references(&container, Facts::of(&pod));
    let found: Vec<_> = found.iter().map(|found| (found.kind.word(), found.name.as_str())).collect();
    assert_eq!(found, [("configmap", "b"), ("secret", "a"), ("secret", "b")]);
}
