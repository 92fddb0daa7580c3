//! Volumes read back from inside: each kind, for root, another user and a group, with modes, owners and medium; what
//! survives a container and what follows its pod; and what the events say of volumes that cannot be had.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use serde_json::{Value, json};

use crate::admin::text;
use crate::case::{Case, SOON, pod};
use crate::control_plane::ControlPlane;
use crate::say;

/// Shows each file with mode, owner and text; each directory with what a new file in it gets; each mount's medium.
const LOOK: &str = r#"
for f in /map/plain /items/d/e /secret/key /down/labels /down/memory /all/map /all/key /all/name /all/token; do
    t=`cat $f 2>/dev/null` || t=DENIED
    [ $f = /all/token ] && [ "$t" != DENIED ] && t=TOKEN
    echo "$f `stat -L -c '%a %u:%g' $f 2>/dev/null` $t"
done
for d in /map /items /secret /down /all; do
    touch $d/new 2>/dev/null && echo "$d WRITTEN" || echo "$d closed"
done
for d in /disk /memory /host; do
    touch $d/new 2>/dev/null && n=`stat -c '%u:%g' $d/new` || n=closed
    echo "$d `stat -c '%a %u:%g' $d` $n"
done
for m in /map /secret /down /all /disk /memory; do
    grep -q " $m tmpfs " /proc/mounts && echo "$m in memory" || echo "$m on disk"
done
grep " /memory " /proc/mounts | grep -q size=1024k && echo "1024k of memory"
touch /map/nested/file && echo "nested mount"
"#;

fn volumes(host: &str) -> Value {
    let item = |key: &str, path: &str, mode: Value| json!([{ "key": key, "path": path, "mode": mode }]);
    json!([
        { "name": "map", "configMap": { "name": "map" } },
        { "name": "items", "configMap": { "name": "map", "items": item("plain", "d/e", json!(0o600)) } },
        { "name": "secret", "secret": { "secretName": "hidden", "defaultMode": 0o400 } },
        { "name": "down", "downwardAPI": { "items": [
            { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
            { "path": "memory", "resourceFieldRef": { "containerName": "main", "resource": "limits.memory",
                "divisor": "1Mi" } },
        ] } },
        { "name": "all", "projected": { "sources": [
            { "configMap": { "name": "map", "items": item("plain", "map", json!(0o640)) } },
            { "secret": { "name": "hidden", "items": item("key", "key", json!(0o444)) } },
            { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
            { "serviceAccountToken": { "path": "token" } },
            { "secret": { "name": "absent", "optional": true } },
        ] } },
        { "name": "disk", "emptyDir": { "sizeLimit": "1Gi" } },
        { "name": "nested", "emptyDir": {} },
        { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
        { "name": "host", "hostPath": { "path": host, "type": "DirectoryOrCreate" } },
    ])
}

fn looking(name: &str, security: Value, host: &str) -> Value {
    let mut pod = pod(name, "Never", LOOK);
    let mount = |name: &str| json!({ "name": name, "mountPath": format!("/{name}") });
    let mut mounts: Vec<_> =
        ["map", "items", "secret", "down", "all", "disk", "memory", "host"].map(mount).to_vec();
    mounts.push(json!({ "name": "nested", "mountPath": "/map/nested" }));
    pod["spec"]["volumes"] = volumes(host);
    pod["spec"]["securityContext"] = security;
    pod["spec"]["containers"][0]["volumeMounts"] = mounts.into();
    pod["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "64Mi" } });
    pod
}

/// What the pod is to see: (its name, modes and owners of files in the order of the script, of directories, and what is
/// denied to it).
struct Seen {
    name: &'static str,
    files: [&'static str; 9],
    directories: [&'static str; 3],
}

const SEEN: [Seen; 3] = [
    Seen {
        name: "root",
        files: [
            "644 0:0 x",
            "600 0:0 x",
            "400 0:0 s",
            "644 0:0 app=\"root\"",
            "644 0:0 64",
            "640 0:0 x",
            "444 0:0 s",
            "644 0:0 root",
            "644 0:0 TOKEN",
        ],
        directories: ["777 0:0 0:0", "1777 0:0 0:0", "755 0:0 0:0"],
    },
    Seen {
        name: "user",
        files: [
            "644 0:0 x",
            "600 0:0 DENIED",
            "400 0:0 DENIED",
            "644 0:0 app=\"user\"",
            "644 0:0 64",
            "640 0:0 DENIED",
            "444 0:0 s",
            "644 0:0 user",
            "600 1000:0 TOKEN",
        ],
        directories: ["777 0:0 1000:1000", "1777 0:0 1000:1000", "755 0:0 closed"],
    },
    Seen {
        name: "group",
        files: [
            "644 0:2000 x",
            "640 0:2000 x",
            "440 0:2000 s",
            "644 0:2000 app=\"group\"",
            "644 0:2000 64",
            "640 0:2000 x",
            "444 0:2000 s",
            "644 0:2000 group",
            "640 1000:2000 TOKEN",
        ],
        directories: ["2777 0:2000 1000:2000", "3777 0:2000 1000:2000", "755 0:0 closed"],
    },
];

fn expected(seen: &Seen) -> String {
    let paths = [
        "/map/plain",
        "/items/d/e",
        "/secret/key",
        "/down/labels",
        "/down/memory",
        "/all/map",
        "/all/key",
        "/all/name",
        "/all/token",
    ];
    let mut lines: Vec<String> =
        paths.iter().zip(seen.files).map(|(path, file)| format!("{path} {file}")).collect();
    lines.extend(["/map", "/items", "/secret", "/down", "/all"].map(|path| format!("{path} closed")));
    let directories = ["/disk", "/memory", "/host"].iter().zip(seen.directories);
    lines.extend(directories.map(|(path, directory)| format!("{path} {directory}")));
    let media = ["/map on disk", "/secret in memory", "/down in memory", "/all in memory", "/disk on disk"];
    lines.extend(media.map(str::to_owned));
    lines.extend(["/memory in memory", "1024k of memory", "nested mount"].map(str::to_owned));
    lines.join("\n") + "\n"
}

pub(crate) fn a23_a33_each_kind_has_its_files_modes_and_owners(cluster: &ControlPlane) {
    let case = Case::start(cluster, "volumes");
    case.namespace.create(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "map" },
        "data": { "plain": "x" } }));
    case.namespace.create(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hidden" },
        "stringData": { "key": "s" } }));
    let host = case.agent.path("of-the-host/made");
    let began = Instant::now();
    for (seen, security) in SEEN.iter().zip([
        json!({}),
        json!({ "runAsUser": 1000 }),
        json!({ "runAsUser": 1000, "fsGroup": 2000 }),
    ]) {
        case.namespace.create(&looking(seen.name, security, &host.to_string_lossy()));
    }
    for seen in &SEEN {
        case.until_phase(seen.name, "Succeeded");
        assert_eq!(case.namespace.kubectl(&["logs", seen.name]), expected(seen), "{}", seen.name);
    }
    let took = began.elapsed();
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "--all"]);
    case.until_nothing_is_left();
    // What is the host's stays as it was left.
    assert!(host.join("new").is_file());
    assert_eq!(std::fs::metadata(&host).unwrap().permissions().mode() & 0o7777, 0o755);
    case.agent.a80_was_never_refused();
    say(&format!("volumes: three pods of nine volumes each were read back after {took:.1?}"));
}

pub(crate) fn a_directory_outlives_containers_and_the_agent_and_labels_are_followed(cluster: &ControlPlane) {
    let mut case = Case::start(cluster, "lasting");
    let script = "[ -e /disk/seen ] || { touch /disk/seen /memory/seen; exit 1; }
        ls /disk/seen /memory/seen || exit 0
        for i in `seq 300`; do grep -q new /down/labels && { echo followed; exit 0; }; sleep 0.1; done";
    let mut lasting = pod("lasting", "OnFailure", script);
    lasting["spec"]["volumes"] = json!([
        { "name": "disk", "emptyDir": {} }, { "name": "memory", "emptyDir": { "medium": "Memory" } },
        { "name": "down", "downwardAPI": { "items": [
            { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
    ]);
    let mount = |name: &str| json!({ "name": name, "mountPath": format!("/{name}") });
    lasting["spec"]["containers"][0]["volumeMounts"] = ["disk", "memory", "down"].map(mount).to_vec().into();
    case.namespace.create(&lasting);
    case.until_pods("a second instance that runs", Instant::now(), |pods| {
        let status = &pods.first()?["status"]["containerStatuses"][0];
        (status["restartCount"] == 1 && status["state"]["running"].is_object()).then_some(())
    });
    // The change comes while nobody is there to hear of it.
    case.agent.kill();
    case.namespace.kubectl(&["label", "pod", "lasting", "age=new"]);
    case.agent.launch();
    case.until_node_ready(Instant::now(), SOON);
    case.until_phase("lasting", "Succeeded");
    let log = case.namespace.kubectl(&["logs", "lasting"]);
    assert_eq!(log, "/disk/seen\n/memory/seen\nfollowed\n");
    case.namespace.kubectl(&["delete", "--wait=false", "pod", "lasting"]);
    case.until_nothing_is_left();
}

pub(crate) fn a31_what_cannot_be_mounted_is_told_and_comes_when_it_can(cluster: &ControlPlane) {
    let case = Case::start(cluster, "unmounted");
    let with = |name: &str, volume: Value| {
        let mut pod = pod(name, "Never", "exit 0");
        let mut volume = volume;
        volume["name"] = "v".into();
        pod["spec"]["volumes"] = json!([volume]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
        case.namespace.create(&pod);
    };
    let wrong = case.agent.path("config.yaml");
    with("late", json!({ "secret": { "secretName": "late" } }));
    with("wrong", json!({ "hostPath": { "path": wrong, "type": "Directory" } }));
    with("git", json!({ "gitRepo": { "repository": "https://example.invalid/r" } }));
    with("nfs", json!({ "nfs": { "server": "192.0.2.1", "path": "/" } }));
    let begin = "MountVolume.SetUp failed for volume \"v\" : ";
    let unsupported = "Unable to attach or mount volumes: spec.volumes[0]";
    for (pod, message) in [
        ("late", format!("{begin}secret \"late\" not found")),
        ("wrong", format!("{begin}hostPath type check failed: {} is not a directory", wrong.display())),
        ("git", format!("{unsupported}.gitRepo: unsupported volume type")),
        ("nfs", format!("{unsupported}.nfs: unsupported volume type")),
    ] {
        let told = || {
            let events = case.namespace.get(&["events"])?;
            let of_pod =
                |event: &&Value| event["involvedObject"]["name"] == pod && event["reason"] == "FailedMount";
            let events = events["items"].as_array().cloned().unwrap_or_default();
            let told: Vec<_> = events.iter().filter(of_pod).map(|event| text(&event["message"])).collect();
            if told.iter().any(|told| told.starts_with(&message)) { Ok(()) } else { Err(told.join("; ")) }
        };
        case.agent.until(&message, Instant::now(), SOON, told);
        let pod = case.namespace.get(&["pod", pod]).unwrap();
        assert_eq!(pod["status"]["phase"], "Pending", "{pod}");
    }
    case.namespace.create(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "late" } }));
    case.until_phase("late", "Succeeded");
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "--all"]);
    case.until_nothing_is_left();
}
