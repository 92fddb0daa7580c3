use serde_json::{Value, json};

use super::*;

/// The mount of this volume at `/m`, with these further fields, on a node without SELinux.
fn with(volume: Value, fields: Value, supported: bool) -> Result<Mount, String> {
    on_node(volume, fields, supported, false)
}

fn on_node(volume: Value, fields: Value, supported: bool, se_linux: bool) -> Result<Mount, String> {
    let (mut volume, mut mount) = (volume, fields);
    volume["name"] = "v".into();
    mount["name"] = "v".into();
    mount["mountPath"] = "m".into();
    let container = json!({ "name": "c", "volumeMounts": [mount] });
    let spec: PodSpec =
        serde_json::from_value(json!({ "containers": [container], "volumes": [volume] })).unwrap();
    let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
    let uid = PodUid::new("u1").unwrap();
    let none = BTreeMap::new();
    let images = [("v".to_owned(), "sha256:1".to_owned())].into();
    let around = Around {
        uid: &uid,
        dirs: &dirs,
        sub_paths: &none,
        images: &images,
        recursive_read_only: supported,
        se_linux,
    };
    of_volumes(&spec, &spec.containers[0], &around).map(|mut mounts| mounts.remove(0))
}

fn mount(host_path: &str, readonly: bool) -> Mount {
    Mount { container_path: "/m".into(), host_path: host_path.into(), readonly, ..Mount::default() }
}

#[test]
fn a23_what_the_agent_writes_is_mounted_read_only_and_all_else_as_asked() {
    for read_only in [true, false] {
        for (volume, path, always) in [
            (json!({ "projected": { "sources": [] } }), "kubernetes.io~projected/v", true),
            (json!({ "configMap": { "name": "m" } }), "kubernetes.io~configmap/v", true),
            (json!({ "secret": { "secretName": "s" } }), "kubernetes.io~secret/v", true),
            (json!({ "downwardAPI": {} }), "kubernetes.io~downward-api/v", true),
            (json!({ "emptyDir": {} }), "kubernetes.io~empty-dir/v", false),
            (json!({ "emptyDir": { "medium": "Memory" } }), "kubernetes.io~empty-dir/v", false),
        ] {
            let expected = mount(&format!("/r/pods/u1/volumes/{path}"), always || read_only);
            assert_eq!(with(volume, json!({ "readOnly": read_only }), false), Ok(expected));
        }
        let host = json!({ "hostPath": { "path": "/a/link" } });
        assert_eq!(with(host, json!({ "readOnly": read_only }), false), Ok(mount("/a/link", read_only)));
    }
}

/// The kubelet's table: `SELinuxRelabel` of each plugin's attributes, and only where SELinux is enabled.
#[test]
fn where_selinux_is_enabled_a_pods_own_volumes_get_its_label() {
    for (volume, wanted) in [
        (json!({ "projected": { "sources": [] } }), true),
        (json!({ "configMap": { "name": "m" } }), true),
        (json!({ "secret": { "secretName": "s" } }), true),
        (json!({ "downwardAPI": {} }), true),
        (json!({ "emptyDir": {} }), true),
        (json!({ "emptyDir": { "medium": "Memory" } }), true),
        (json!({ "hostPath": { "path": "/a" } }), false),
        (json!({ "image": { "reference": "i:1" } }), false),
    ] {
        for read_only in [false, true] {
            let of = |enabled| {
                let fields = json!({ "readOnly": read_only });
                on_node(volume.clone(), fields, false, enabled).unwrap().selinux_relabel
            };
            assert_eq!((of(true), of(false)), (wanted, false), "{volume}");
        }
    }
}

#[test]
fn an_image_is_mounted_by_the_runtime() {
    let made = with(json!({ "image": { "reference": "i:1" } }), json!({}), false).unwrap();
    let image = made.image.unwrap();
    assert_eq!((image.image.as_str(), image.user_specified_image.as_str()), ("sha256:1", "i:1"));
    assert_eq!((made.image_sub_path.as_str(), made.host_path.as_str(), made.readonly), ("", "", true));
}

#[test]
fn a_part_is_mounted_in_the_place_of_the_whole() {
    let spec = json!({ "volumes": [{ "name": "v", "emptyDir": {} }], "containers": [{ "name": "c",
        "volumeMounts": [{ "name": "v", "mountPath": "/a" }, { "name": "v", "mountPath": "/b", "subPath": "s" }] }] });
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
    let (uid, images) = (PodUid::new("u1").unwrap(), BTreeMap::new());
    let sub_paths = [(1, PathBuf::from("/r/part"))].into();
    let around = Around {
        uid: &uid,
        dirs: &dirs,
        sub_paths: &sub_paths,
        images: &images,
        recursive_read_only: false,
        se_linux: true,
    };
    let mounts = of_volumes(&spec, &spec.containers[0], &around).unwrap();
    let paths: Vec<_> =
        mounts.iter().map(|mount| (mount.host_path.as_str(), mount.selinux_relabel)).collect();
    assert_eq!(paths, [("/r/pods/u1/volumes/kubernetes.io~empty-dir/v", true), ("/r/part", true)]);
}

#[test]
fn propagation_is_passed_on() {
    let of = |mode: &str| with(json!({ "emptyDir": {} }), json!({ "mountPropagation": mode }), false);
    for (mode, expected) in [
        ("None", MountPropagation::PropagationPrivate),
        ("HostToContainer", MountPropagation::PropagationHostToContainer),
        ("Bidirectional", MountPropagation::PropagationBidirectional),
    ] {
        assert_eq!(of(mode).unwrap().propagation, i32::from(expected));
    }
    assert_eq!(of("Sideways").unwrap_err(), "invalid MountPropagation mode: \"Sideways\"");
}

#[test]
fn recursive_read_only_is_what_the_runtime_can_do() {
    let host = || json!({ "hostPath": { "path": "/x" } });
    let of = |mode: &str, supported| {
        with(host(), json!({ "readOnly": true, "recursiveReadOnly": mode }), supported)
            .map(|mount| mount.recursive_read_only)
    };
    for (mode, supported, expected) in [
        ("Disabled", true, false),
        ("IfPossible", false, false),
        ("IfPossible", true, true),
        ("Enabled", true, true),
    ] {
        assert_eq!(of(mode, supported), Ok(expected), "{mode}");
    }
    let why = |fields: Value, supported| with(host(), fields, supported).unwrap_err();
    let begin = "failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode, but it is";
    let enabled = json!({ "readOnly": true, "recursiveReadOnly": "Enabled" });
    assert_eq!(why(enabled.clone(), false), format!("{begin} not supported by the runtime"));
    assert_eq!(why(json!({ "recursiveReadOnly": "Enabled" }), true), format!("{begin} not read-only"));
    let mut shared = enabled;
    shared["mountPropagation"] = "HostToContainer".into();
    let expected = format!("{begin} not compatible with propagation \"HostToContainer\"");
    assert_eq!(why(shared, true), expected);
}

#[test]
fn a_volume_that_is_missing_is_named() {
    let spec =
        json!({ "containers": [{ "name": "c", "volumeMounts": [{ "name": "v", "mountPath": "/m" }] }] });
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
    let (uid, parts, images) = (PodUid::new("u1").unwrap(), BTreeMap::new(), BTreeMap::new());
    let around = Around {
        uid: &uid,
        dirs: &dirs,
        sub_paths: &parts,
        images: &images,
        recursive_read_only: false,
        se_linux: false,
    };
    assert!(of_volumes(&spec, &spec.containers[0], &around).unwrap_err().contains("\"v\""));
}
