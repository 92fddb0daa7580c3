use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::objects::Bundle;
use crate::source::desired::Origin;
use crate::volume::plan::tests::{admitted, pod_with, rendered};

fn map(value: Value) -> Arc<Data> {
    Arc::new(serde_json::from_value::<ConfigMap>(value).unwrap().into())
}

fn secret(value: Value) -> Arc<Data> {
    Arc::new(serde_json::from_value::<Secret>(value).unwrap().into())
}

fn volume(config_map: Value) -> Rendered {
    let sources = json!([{ "configMap": config_map }]);
    rendered(json!({ "name": "v", "projected": { "sources": sources, "defaultMode": 0o600 } }))
}

fn pod() -> DesiredPod {
    let mut pod = pod_with(json!([]));
    pod.metadata.labels = Some([("app".to_owned(), "a \"b\"".to_owned())].into());
    DesiredPod {
        uid: pinnace_cri::id::PodUid::new("u1").unwrap(),
        namespace: "ns".into(),
        name: "web".into(),
        origin: Origin::Api,
        pod: Arc::new(pod),
        held: Vec::new(),
    }
}

/// Path, mode and bytes.
type Shown = (String, u32, Vec<u8>);

fn built_for(volume: &Rendered, gathered: &Gathered, owner: Owner) -> Result<Vec<Shown>, Vec<String>> {
    let (pod, allocatable) = (pod(), BTreeMap::from([("memory".to_owned(), 1 << 30)]));
    let around = Around { pod: &pod, owner, allocatable: &allocatable, gathered };
    let shown = |(path, file): (&PathBuf, &Wanted)| {
        (path.to_string_lossy().into_owned(), file.attributes.mode, file.bytes.bytes().to_vec())
    };
    Ok(payload(volume, &around)?.files.iter().map(shown).collect())
}

fn built(volume: &Rendered, gathered: &Gathered) -> Result<Vec<Shown>, Vec<String>> {
    built_for(volume, gathered, Owner::default())
}

fn with(kind: Kind, name: &str, data: Option<Arc<Data>>) -> Gathered {
    let reference = Reference { kind, namespace: "ns".into(), name: name.into() };
    Gathered { objects: [(reference, Ok(data))].into(), ..Gathered::default() }
}

fn with_map(data: Option<Arc<Data>>) -> Gathered {
    with(Kind::ConfigMap, "m", data)
}

fn file(name: &str, mode: u32, text: &str) -> Shown {
    (name.to_owned(), mode, text.as_bytes().to_vec())
}

#[test]
fn the_volume_that_every_pod_gets() {
    let volume = rendered(admitted());
    let ca = map(json!({ "data": { "ca.crt": "CA", "other": "x" } }));
    let token = volume.tokens().next().unwrap().clone();
    let mut gathered = with(Kind::ConfigMap, "kube-root-ca.crt", Some(ca));
    gathered.tokens.insert((volume.name.clone(), token), Ok("T".into()));
    assert_eq!(
        built(&volume, &gathered).unwrap(),
        [file("ca.crt", 0o644, "CA"), file("namespace", 0o644, "ns"), file("token", 0o644, "T")]
    );
    let missing = built(&volume, &Gathered::default()).unwrap_err();
    assert_eq!(missing[1], "configmap \"kube-root-ca.crt\" not found");
}

#[test]
fn keys_items_and_modes_of_a_config_map() {
    let content = || map(json!({ "data": { "a": "1" }, "binaryData": { "b": "/w==" } }));
    let all = built(&volume(json!({ "name": "m" })), &with_map(Some(content()))).unwrap();
    assert_eq!(all, [("a".into(), 0o600, b"1".to_vec()), ("b".into(), 0o600, vec![0xff])]);
    let items = json!([{ "key": "b", "path": "d//./e", "mode": 0o400 }]);
    let some = built(&volume(json!({ "name": "m", "items": items })), &with_map(Some(content()))).unwrap();
    assert_eq!(some, [("d/e".into(), 0o400, vec![0xff])]);
}

#[test]
fn a_secret_and_what_is_missing_of_it() {
    let volume = |items: Value, optional: bool| {
        let secret = json!({ "secretName": "s", "items": items, "optional": optional, "defaultMode": 0o400 });
        rendered(json!({ "name": "v", "secret": secret }))
    };
    let content = || with(Kind::Secret, "s", Some(secret(json!({ "data": { "k": "eA==" } }))));
    let path = json!([{ "key": "k", "path": "d/f" }]);
    assert_eq!(built(&volume(path, false), &content()).unwrap(), [file("d/f", 0o400, "x")]);
    let grouped = Owner { user: None, group: Some(7) };
    let opened = built_for(&volume(json!([]), false), &content(), grouped).unwrap();
    assert_eq!(opened, [file("k", 0o440, "x")]);
    let other = json!([{ "key": "x", "path": "x" }]);
    let error = built(&volume(other.clone(), false), &content()).unwrap_err();
    assert_eq!(error, ["references non-existent secret key: x"]);
    assert_eq!(built(&volume(other.clone(), true), &content()), Ok(Vec::new()));
    let error = built(&volume(other.clone(), false), &Gathered::default()).unwrap_err();
    assert_eq!(error, ["secret \"s\" not found"]);
    assert_eq!(built(&volume(other, true), &Gathered::default()), Ok(Vec::new()));
}

#[test]
fn what_a_pod_is_told_about_itself() {
    let items = json!([
        { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" }, "mode": 0o400 },
        { "path": "app", "fieldRef": { "fieldPath": "metadata.labels['app']" } },
        { "path": "mem", "resourceFieldRef": { "containerName": "c", "resource": "limits.memory", "divisor": "1Mi" } },
    ]);
    let volume = rendered(json!({ "name": "v", "downwardAPI": { "items": items } }));
    assert_eq!(
        built(&volume, &Gathered::default()).unwrap(),
        [
            file("app", 0o644, "a \"b\""),
            file("labels", 0o400, "app=\"a \\\"b\\\"\""),
            file("mem", 0o644, "1024")
        ]
    );
    let items =
        json!([{ "path": "f", "resourceFieldRef": { "containerName": "x", "resource": "limits.cpu" } }]);
    let volume = rendered(json!({ "name": "v", "downwardAPI": { "items": items } }));
    assert_eq!(built(&volume, &Gathered::default()).unwrap_err(), ["container x not found"]);
}

#[test]
fn only_what_is_optional_may_be_missing() {
    let items = json!([{ "key": "x", "path": "x" }]);
    let content = || map(json!({ "data": { "a": "1" } }));
    for optional in [true, false] {
        let volume = volume(json!({ "name": "m", "items": items, "optional": optional }));
        let (absent, lacking) = (built(&volume, &with_map(None)), built(&volume, &with_map(Some(content()))));
        if optional {
            assert_eq!((absent, lacking), (Ok(Vec::new()), Ok(Vec::new())));
        } else {
            assert_eq!(absent.unwrap_err(), ["configmap \"m\" not found"]);
            assert_eq!(lacking.unwrap_err(), ["configmap references non-existent config key: x"]);
        }
    }
}

#[test]
fn certificates_that_the_cluster_vouches_for() {
    let volume = |mut chosen: Value, optional: bool| {
        chosen["path"] = json!("ca.pem");
        chosen["optional"] = json!(optional);
        rendered(json!({ "name": "v", "projected": { "sources": [{ "clusterTrustBundle": chosen }] } }))
    };
    let named = || json!({ "name": "b" });
    let signed = || json!({ "signerName": "x/s", "labelSelector": {} });
    let pem = "-----BEGIN CERTIFICATE-----\nQg==\n-----END CERTIFICATE-----\n";
    let bundle = Bundle { signer: "x/s".into(), labels: BTreeMap::new(), text: pem.into() };
    let with = |bundles: Result<Bundles, String>| Gathered {
        bundles: Some(bundles.map(Arc::new)),
        ..Gathered::default()
    };
    let there = with(Ok([("b".to_owned(), bundle)].into()));
    let absent = with(Ok(Bundles::new()));
    for chosen in [named(), signed()] {
        let (must, may) = (volume(chosen.clone(), false), volume(chosen, true));
        assert_eq!(built(&must, &there).unwrap(), [file("ca.pem", 0o644, pem)]);
        // The file is there whatever comes of it.
        assert_eq!(built(&may, &absent).unwrap(), [file("ca.pem", 0o644, "")]);
        let away = with(Err("away".to_owned()));
        assert!(built(&may, &away).is_err(), "optional is what is not there, not what is not known");
        assert_eq!(must.certain_files().count(), 1);
        assert_eq!(may.certain_files().count(), 1);
    }
    let error = |chosen: Value| built(&volume(chosen, false), &absent).unwrap_err().remove(0);
    assert_eq!(error(named()), "clustertrustbundle \"b\" not found");
    assert!(error(signed()).starts_with("combination of signerName and labelSelector matched zero"));
}

#[test]
fn a23_paths_stay_inside() {
    for bad in ["", "/x", "../x", "a/../b", "..x", "..data", ".", "a\0b"] {
        let items = json!([{ "key": "a", "path": bad }]);
        let volume = volume(json!({ "name": "m", "items": items }));
        assert!(built(&volume, &with_map(Some(map(json!({ "data": { "a": "1" } }))))).is_err(), "{bad:?}");
    }
    let items = json!([{ "key": "a", "path": "f" }, { "key": "a", "path": "f/g" }]);
    let volume = volume(json!({ "name": "m", "items": items }));
    assert!(built(&volume, &with_map(Some(map(json!({ "data": { "a": "1" } }))))).is_err());
}

#[test]
fn other_volumes_are_mounted_beside_files_only() {
    let content = with_map(Some(map(json!({ "data": { "a": "1" } }))));
    for (nested, good) in [("b/c", true), ("a", false), ("a/c", false), ("..data/c", false), ("../c", false)]
    {
        let mut volume = volume(json!({ "name": "m" }));
        volume.nested.insert(nested.into());
        assert_eq!(built(&volume, &content).is_ok(), good, "{nested}");
    }
}

proptest! {
    #[test]
    fn a_clean_path_is_relative_and_never_climbs(path in "[./a]{0,8}") {
        if let Ok(clean) = clean(Path::new(&path)) {
            prop_assert!(clean.components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(!clean.to_string_lossy().starts_with(".."));
        }
    }
}
