//! Parts of volumes, and volumes that are images.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::manifest::{IMAGE, WAIT, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;
use crate::traces::Traces;

fn volumes(pod: &mut Value, volumes: &Value) {
    pod["spec"]["volumes"] = volumes.clone();
}

fn mounts(pod: &mut Value, mounts: Value) {
    main(pod)["volumeMounts"] = mounts;
}

/// Mount points of this machine under a directory.
fn mounted(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(dir)).map(str::to_owned).collect()
}

pub(crate) fn parts_of_volumes_are_shown_as_the_spec_asks(runtime: &Runtime) {
    let node = Node::start(runtime);
    let host = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(host.path().join("sub/dir")).expect("directories");
    fs::write(host.path().join("sub/file"), "one\n").expect("a file");
    let volume = json!([
        { "name": "host", "hostPath": { "path": host.path() } }, { "name": "empty", "emptyDir": {} },
    ]);

    let script = format!(
        "cat /m/file; echo mine > /m/own/x; stat -c %a /m/own; (echo y > /m/read-only/y) 2>/dev/null || echo refused; {WAIT}"
    );
    let mut parts = pod("parts", "Always", &script);
    volumes(&mut parts, &volume);
    main(&mut parts)["env"] = json!([{ "name": "WHO", "value": "web" }]);
    mounts(
        &mut parts,
        json!([
            { "name": "host", "mountPath": "/m/file", "subPath": "sub/file" },
            { "name": "empty", "mountPath": "/m/own", "subPathExpr": "logs/$(WHO)" },
            { "name": "host", "mountPath": "/m/read-only", "subPath": "sub/dir", "readOnly": true },
        ]),
    );
    node.put(&parts);
    let view = node.until_running("parts");
    node.until("its log", SOON, |node| node.logs(&["parts"]).ends_with("refused\n"));
    let log = node.logs(&["parts"]);
    assert!(log.starts_with("one\n777\n"), "{log}");
    let dir = node.root().join("pods").join(&view.uid);
    let own = dir.join("volumes/kubernetes.io~empty-dir/empty/logs/web/x");
    assert_eq!(fs::read_to_string(own).expect("what it wrote"), "mine\n");
    assert!(dir.join("volume-subpaths/host/main/2").is_dir(), "in the kubelet's place");
    assert_eq!(mounted(&dir).len(), 3);

    // What the host has in the place of a part is seen by the next instance, not by this one.
    fs::write(host.path().join("new"), "two\n").expect("a file");
    fs::rename(host.path().join("new"), host.path().join("sub/file")).expect("another file");
    let id = node.container("parts", "main").and_then(|main| main.id).expect("a container");
    assert_eq!(runtime.crictl(&["exec", &id, "cat", "/m/file"]), "one\n");
    runtime.crictl(&["stop", "--timeout=0", &id]);
    node.until("the next instance", SOON, |node| node.logs(&["parts"]).starts_with("two\n"));
    assert_eq!(mounted(&dir).len(), 3, "one mount per part");

    refused_parts(&node, host.path(), &volume);

    let traces = Traces::of(&node, "parts");
    node.remove("parts");
    node.until_gone("parts");
    traces.until_gone(&node);
    assert_eq!(mounted(&dir), [""; 0]);
    assert_eq!(fs::read_to_string(host.path().join("sub/file")).expect("the host's file"), "two\n");
}

fn refused_parts(node: &Node, host: &Path, volume: &Value) {
    std::os::unix::fs::symlink("/", host.join("out")).expect("a link");
    for (name, mount, why) in [
        (
            "escapes",
            json!({ "subPath": "out/etc" }),
            "failed to prepare subPath for volumeMount \"host\" of container",
        ),
        ("unset", json!({ "subPathExpr": "$(NOBODY)" }), "missing value for NOBODY"),
    ] {
        let mut refused = pod(name, "Always", WAIT);
        volumes(&mut refused, volume);
        let mut mount = mount;
        mount["name"] = "host".into();
        mount["mountPath"] = "/m".into();
        mounts(&mut refused, json!([mount]));
        node.put(&refused);
        node.until_main(name, "is refused", |main| {
            main.reason == "CreateContainerConfigError" && main.message.contains(why)
        });
        node.remove(name);
        node.until_gone(name);
    }
}

pub(crate) fn an_image_is_a_volume_where_the_runtime_can_mount_it(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut pod = pod("shows", "Always", &format!("ls /image/bin/busybox; ls /part/busybox; {WAIT}"));
    volumes(&mut pod, &json!([{ "name": "i", "image": { "reference": IMAGE, "pullPolicy": "Never" } }]));
    mounts(
        &mut pod,
        json!([
            { "name": "i", "mountPath": "/image" }, { "name": "i", "mountPath": "/part", "subPath": "bin" },
        ]),
    );
    node.put(&pod);
    if runtime.version == "debian" {
        node.until("the reason is told", SOON, |node| {
            let told =
                node.pod("shows").map(|_| serde_json::to_string(&node.explain("shows")).expect("JSON"));
            told.is_some_and(|told| told.contains("cannot mount images"))
        });
    } else {
        node.until_running("shows");
        node.until("what is in the image", SOON, |node| {
            node.logs(&["shows"]) == "/image/bin/busybox\n/part/busybox\n"
        });
        let id = node.container("shows", "main").and_then(|main| main.id).expect("a container");
        let write = runtime.try_crictl(&["exec", &id, "touch", "/image/x"]).expect_err("it is read-only");
        assert!(write.contains("Read-only file system"), "{write}");
    }
    node.remove("shows");
    node.until_gone("shows");
}
