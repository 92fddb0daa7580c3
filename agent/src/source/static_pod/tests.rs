use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn manifest(patch: &[(&str, Value)]) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    for (pointer, value) in patch {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn seen(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn built(patch: &[(&str, Value)]) -> DesiredPod {
    desired(manifest(patch), Path::new("/m/web.yaml"), "Node1", seen(5))
        .unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn faults(patch: &[(&str, Value)]) -> Vec<String> {
    let faults = desired(manifest(patch), Path::new("/m/web.yaml"), "n", seen(5)).err().unwrap_or_default();
    faults.into_iter().map(|fault| format!("{}: {}", fault.field.unwrap_or_default(), fault.reason)).collect()
}

#[test]
fn a_manifest_becomes_a_pod_of_this_node() {
    let pod = built(&[]);
    assert_eq!(pod.full_name(), "default/web-node1");
    assert_eq!(pod.origin, Origin::File("/m/web.yaml".into()));
    assert_eq!(pod.held, []);
    let uid = pod.uid.as_str();
    assert!(uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uid}");
    let metadata = &pod.pod.metadata;
    assert_eq!(metadata.uid.as_deref(), Some(uid));
    let expected =
        [(HASH_ANNOTATION, uid), (SEEN_ANNOTATION, "1970-01-01T00:00:05Z"), (SOURCE_ANNOTATION, "file")];
    let annotations: Vec<_> =
        metadata.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(annotations, expected);
    let spec = pod.pod.spec.as_ref().unwrap();
    assert_eq!(spec.node_name.as_deref(), Some("Node1"));
    assert_eq!(
        serde_json::to_value(&spec.tolerations).unwrap(),
        json!([{"effect": "NoExecute", "operator": "Exists"}])
    );
}

#[test]
fn the_uid_follows_manifest_node_and_file_only() {
    let uid = |patch: &[(&str, Value)]| built(patch).uid;
    let plain = uid(&[]);
    assert_eq!(
        plain.as_str(),
        "11a568961ec8818c001ad09a16049d17",
        "a changed hash would restart every static pod"
    );
    let at = |file: &str, node: &str, when: i64| {
        desired(manifest(&[]), Path::new(file), node, seen(when)).unwrap().uid
    };
    assert_eq!(at("/m/web.yaml", "Node1", 99), plain);
    assert_ne!(at("/m/other.yaml", "Node1", 5), plain);
    assert_ne!(at("/m/web.yaml", "Node2", 5), plain);
    assert_ne!(uid(&[("/spec/restartPolicy", json!("Never"))]), plain);
    // What only a cluster knows does not matter.
    for patch in [
        ("/status", json!({"phase": "Running"})),
        ("/metadata/creationTimestamp", json!("2026-01-01T00:00:00Z")),
        ("/metadata/resourceVersion", json!("5")),
        ("/metadata/uid", json!("")),
    ] {
        assert_eq!(uid(std::slice::from_ref(&patch)), plain, "{patch:?}");
    }
    let own = json!({SEEN_ANNOTATION: "x", HASH_ANNOTATION: "y", SOURCE_ANNOTATION: "api"});
    let exported = built(&[("/metadata/annotations", own)]);
    assert_eq!(exported.pod.metadata.annotations.as_ref().unwrap()[SOURCE_ANNOTATION], "file");
}

#[test]
fn a_given_uid_stays_and_the_hash_still_follows_the_content() {
    let uid = ("/metadata/uid", json!("my-uid"));
    let one = built(std::slice::from_ref(&uid));
    let other = built(&[uid, ("/spec/restartPolicy", json!("Never"))]);
    assert_eq!((one.uid.as_str(), other.uid.as_str()), ("my-uid", "my-uid"));
    assert!(!same_manifest(&one, &other));
    assert!(same_manifest(&one, &one));
}

#[test]
fn a67_tricks_with_names_are_refused() {
    assert_eq!(faults(&[("/metadata/uid", json!("../../etc"))]).len(), 1);
    assert_eq!(faults(&[("/metadata/namespace", json!("a/b"))]).len(), 1);
    assert_eq!(faults(&[("/metadata/name", json!("a/b"))]).len(), 1);
    assert_eq!(faults(&[("/metadata/name", json!("a".repeat(252)))]).len(), 1, "the suffix counts");
    assert_eq!(faults(&[("/metadata/name", json!(""))]), ["metadata.name: is missing"]);
    assert_eq!(
        faults(&[("/spec/serviceAccountName", json!("x"))]),
        ["spec.serviceAccountName: static pods may not reference serviceaccounts"]
    );
}

#[test]
fn a_pod_of_another_node_and_one_with_unbuilt_fields_are_held() {
    let held = built(&[("/spec/nodeName", json!("other"))]).held;
    assert_eq!(
        held[0],
        Held { field: "spec.nodeName".into(), reason: "names \"other\", this node is \"Node1\"".into() }
    );
    assert_eq!(built(&[("/spec/nodeName", json!("Node1"))]).held, []);
    let volumes = json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}]);
    assert_eq!(built(&[("/spec/volumes", volumes)]).held[0].field, "spec.volumes[0].nfs");
    let volumes = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    assert_eq!(built(&[("/spec/volumes", volumes)]).held, []);
}

proptest! {
    #[test]
    fn the_uid_is_stable_under_serialisation_and_time(
        name in "[a-z]{1,10}", image in "[a-z/:]{1,20}x", grace in proptest::option::of(0_i64..100), when in 0_i64..1_000_000,
    ) {
        let pod = manifest(&[
            ("/metadata/name", json!(name)),
            ("/spec/terminationGracePeriodSeconds", json!(grace)),
            ("/spec/containers", json!([{"image": image, "name": "c"}])),
        ]);
        let again: Pod = serde_json::from_str(&serde_json::to_string(&pod).unwrap()).unwrap();
        let file = Path::new("/m/x");
        let one = desired(pod, file, "n", seen(0));
        let other = desired(again, file, "n", seen(when));
        match (one, other) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(&one.uid, &other.uid);
                prop_assert!(same_manifest(&one, &other));
                // What was admitted once is read back from the journal as it was.
                let journal: DesiredPod = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
                prop_assert_eq!(journal, one);
            }
            (one, other) => prop_assert_eq!(one, other),
        }
    }
}
