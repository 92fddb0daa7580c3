use serde_json::{Value, json};

use super::*;
use crate::objects;

/// The volume that ServiceAccount admission adds to every pod.
pub(crate) fn admitted() -> Value {
    json!({ "name": "kube-api-access-x7k2p", "projected": { "defaultMode": 420, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [
            { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }
        ] } },
    ] } })
}

/// A pod of namespace `ns` with these volumes and one container.
pub(crate) fn pod_with(volumes: Value) -> Pod {
    let spec = json!({ "containers": [{ "name": "c", "image": "i" }], "volumes": volumes,
        "serviceAccountName": "default" });
    let metadata = json!({ "name": "web", "namespace": "ns", "uid": "u1" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

/// One volume whose files are written.
pub(crate) fn rendered(volume: Value) -> Rendered {
    let volume = volumes(&pod_with(json!([volume]))).unwrap().remove(0);
    volume.rendered().unwrap().clone()
}

fn kind(mut volume: Value) -> Option<Kind> {
    volume["name"] = "v".into();
    volumes(&pod_with(json!([volume]))).ok().map(|mut all| all.remove(0).kind)
}

#[test]
fn the_volume_that_every_pod_gets_is_understood() {
    let volume = rendered(admitted());
    let token = TokenSource { path: "token".into(), audience: None, seconds: 3607 };
    let item = Item { key: "ca.crt".into(), path: "ca.crt".into(), mode: None };
    let name = "kube-root-ca.crt".to_owned();
    let ca = ObjectSource { kind: objects::Kind::ConfigMap, name, optional: false, items: vec![item] };
    let shown = Shown::Field("metadata.namespace".into());
    let namespace = FieldSource { shown, path: "namespace".into(), mode: None };
    let sources = vec![Source::Token(token), Source::Object(ca), Source::Field(namespace)];
    assert_eq!((volume.plugin, volume.mode), (Plugin::Projected, 0o644));
    assert_eq!(volume.sources, sources);
    let files: Vec<_> = volume.certain_files().collect();
    assert_eq!(files, ["token", "ca.crt", "namespace"].map(PathBuf::from).each_ref());
    assert!(!volume.shows_the_pod());
}

#[test]
fn directories_and_paths_of_the_host() {
    let empty = |medium, limit| Some(Kind::EmptyDir(EmptyDir { medium, limit }));
    assert_eq!(kind(json!({ "emptyDir": {} })), empty(Medium::Disk, None));
    assert_eq!(kind(json!({ "emptyDir": { "sizeLimit": "1Mi" } })), empty(Medium::Disk, Some(1 << 20)));
    let memory = json!({ "emptyDir": { "medium": "Memory", "sizeLimit": "0" } });
    assert_eq!(kind(memory), empty(Medium::Memory, None));
    let huge = json!({ "emptyDir": { "medium": "HugePages-2Mi" } });
    assert_eq!(kind(huge), empty(Medium::HugePages(Some(2 << 20)), None));
    assert_eq!(kind(json!({ "emptyDir": { "medium": "HugePages" } })), empty(Medium::HugePages(None), None));
    assert_eq!(kind(json!({ "emptyDir": { "medium": "Floppy" } })), None);
    let host = |expected| Some(Kind::HostPath(HostPath { path: "/x".into(), expected }));
    assert_eq!(kind(json!({ "hostPath": { "path": "/x" } })), host(Expected::Anything));
    let made = json!({ "hostPath": { "path": "/x", "type": "FileOrCreate" } });
    assert_eq!(kind(made), host(Expected::File { create: true }));
    assert_eq!(kind(json!({ "hostPath": { "path": "/x", "type": "Door" } })), None);
}

#[test]
fn each_kind_of_files_has_its_place_and_medium() {
    for (volume, plugin, in_memory) in [
        (json!({ "configMap": { "name": "o" } }), Plugin::ConfigMap, false),
        (json!({ "secret": { "secretName": "o", "defaultMode": 0o400 } }), Plugin::Secret, true),
        (json!({ "downwardAPI": { "items": [] } }), Plugin::DownwardApi, true),
        (json!({ "projected": { "sources": [] } }), Plugin::Projected, true),
    ] {
        let Some(Kind::Rendered(rendered)) = kind(volume) else { panic!("{plugin:?}") };
        assert_eq!((rendered.plugin, rendered.plugin.is_in_memory()), (plugin, in_memory));
        assert_eq!(rendered.mode, if plugin == Plugin::Secret { 0o400 } else { 0o644 });
        assert!(rendered.objects().all(|object| object.name == "o"));
    }
}

#[test]
fn what_is_not_built_is_named() {
    let bundle = json!({ "path": "p" });
    for other in [
        json!({ "name": "v", "nfs": { "path": "/", "server": "s" } }),
        json!({ "name": "v", "gitRepo": { "repository": "r" } }),
        json!({ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }),
        json!({ "name": "v", "projected": { "sources": [{ "podCertificate": { "keyType": "ED25519",
            "signerName": "s" } }] } }),
        json!({ "name": "v", "projected": { "sources": [{ "clusterTrustBundle": bundle }] } }),
        json!({ "name": "v", "downwardAPI": { "items": [{ "path": "n" }] } }),
    ] {
        assert_eq!(volumes(&pod_with(json!([admitted(), other]))), Err("v".to_owned()));
    }
    assert_eq!(volumes(&pod_with(json!([]))), Ok(Vec::new()));
}

#[test]
fn what_may_change_with_the_pod_is_known() {
    let shows = |path: &str| {
        let items = json!([{ "path": "f", "fieldRef": { "fieldPath": path } }]);
        rendered(json!({ "name": "v", "downwardAPI": { "items": items } })).shows_the_pod()
    };
    assert!(shows("metadata.labels") && shows("metadata.annotations['a']"));
    assert!(!shows("metadata.name"));
}
