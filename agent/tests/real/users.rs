//! Pods with users of their own (`hostUsers: false`): whose ids their processes and files have, inside and outside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::manifest::{WAIT, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

/// Ids of one pod, as `pkg/kubelet/userns` gives them.
const LENGTH: u32 = 65_536;
/// Who the containers are, in the pod's own counting, and the group of their volumes.
const USER: u32 = 1000;
const GROUP: u32 = 3000;

pub(crate) fn pods_have_users_of_their_own_or_are_refused(runtime: &Runtime) {
    let mut node = Node::start(runtime);
    node.put(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "k": "v" } }));
    node.put(&of_own_users("one"));
    if !has_user_namespaces(runtime) {
        assert_eq!(runtime.version, "debian", "the pinned runc has user namespaces");
        is_refused(&node);
        return;
    }
    node.put(&of_own_users("two"));
    let firsts = ["one", "two"].map(|name| {
        let uid = node.until_running(name).uid;
        node.until(&format!("{name} has told of its files"), SOON, |node| files(node, name).len() == 4);
        files_are_the_containers(&node, name, &uid);
        first(&node, name)
    });
    assert!(disjoint(&firsts), "{firsts:?}");

    // The same after a restart of the agent, of a container and of the sandbox; and given to nobody else.
    node.kill();
    node.launch();
    node.put(&of_own_users("three"));
    node.until_running("three");
    let three = first(&node, "three");
    assert!(disjoint(&[firsts[0], firsts[1], three]), "{firsts:?} {three}");
    let id = |node: &Node| node.container("one", "main").and_then(|main| main.id);
    let before = id(&node).expect("a container");
    runtime.crictl(&["stop", "--timeout=0", &before]);
    node.until("the next container of one", SOON, |node| id(node).is_some_and(|now| now != before));
    node.until_running("one");
    let sandbox = sandbox_of(&node, "two");
    runtime.crictl(&["stopp", &sandbox]);
    node.until("the next sandbox of two", SOON, |node| sandbox_of(node, "two") != sandbox);
    node.until_running("two");
    assert_eq!(["one", "two"].map(|name| first(&node, name)), firsts);

    // Given back with the pod.
    let uid = node.pod("one").expect("a pod").uid;
    node.remove("one");
    node.until_gone("one");
    node.until("its record is gone", SOON, |node| !node.root().join("pods").join(&uid).exists());
}

/// A pod that makes a file in each volume that it may write to, and says whose each is.
fn of_own_users(name: &str) -> Value {
    let script = format!(
        "touch /disk/f /memory/f; for f in /disk/f /memory/f /secret/k /down/n; do stat -Lc '%n %u %g' $f; done; {WAIT}"
    );
    let mut pod = pod(name, "Always", &script);
    pod["spec"]["hostUsers"] = json!(false);
    pod["spec"]["securityContext"] = json!({ "runAsUser": USER, "runAsGroup": USER, "fsGroup": GROUP });
    let field = json!({ "path": "n", "fieldRef": { "fieldPath": "metadata.name" } });
    pod["spec"]["volumes"] = json!([
        { "name": "disk", "emptyDir": {} }, { "name": "memory", "emptyDir": { "medium": "Memory" } },
        { "name": "secret", "secret": { "secretName": "s", "defaultMode": 0o440 } },
        { "name": "down", "downwardAPI": { "items": [field] } },
    ]);
    let mounts = ["disk", "memory", "secret", "down"]
        .map(|volume| json!({ "name": volume, "mountPath": format!("/{volume}") }));
    main(&mut pod)["volumeMounts"] = mounts.into_iter().collect();
    pod
}

/// Owner and group of each file, as the container's first words say.
fn files(node: &Node, name: &str) -> BTreeMap<String, (u32, u32)> {
    let log = node.logs(&[name]);
    let line = |line: &str| {
        let mut words = line.split(' ');
        let file = words.next()?.to_owned();
        Some((file, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
    };
    log.lines().filter_map(line).collect()
}

/// Inside, files are the container's and its group's. On the node they have the same numbers: what shifts them is the
/// mount, so that a volume outlives the ids of one pod.
fn files_are_the_containers(node: &Node, name: &str, uid: &str) {
    let (own, roots) = ((USER, GROUP), (0, GROUP));
    let wanted = [("/disk/f", own), ("/memory/f", own), ("/secret/k", roots), ("/down/n", roots)];
    let wanted: BTreeMap<_, _> = wanted.into_iter().map(|(file, ids)| (file.to_owned(), ids)).collect();
    assert_eq!(files(node, name), wanted, "{name}");
    let volumes = node.root().join("pods").join(uid).join("volumes");
    for (file, ids) in [
        ("empty-dir/disk/f", own),
        ("empty-dir/memory/f", own),
        ("secret/secret/k", roots),
        ("downward-api/down/n", roots),
    ] {
        let path = volumes.join(format!("kubernetes.io~{file}"));
        let seen = fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!((seen.uid(), seen.gid()), ids, "{}", path.display());
    }
}

/// The first id on the node of a running pod: of its users, its groups, its process and its record alike.
fn first(node: &Node, name: &str) -> u32 {
    let id = node.container(name, "main").and_then(|main| main.id).expect("a container");
    let process = PathBuf::from(format!("/proc/{}", node.runtime.pid(&id)));
    let read = |file: &str| fs::read_to_string(process.join(file)).expect("a running process");
    let numbers =
        |text: &str| -> Vec<u32> { text.split_whitespace().filter_map(|word| word.parse().ok()).collect() };
    let map = numbers(&read("uid_map"));
    assert_eq!((map[0], map[2], map.len()), (0, LENGTH, 3), "{name}: {map:?}");
    assert_eq!(numbers(&read("gid_map")), map, "{name}");
    let first = map[1];
    assert!(first >= LENGTH && first.is_multiple_of(LENGTH), "{name}: {first}");
    let status = read("status");
    let of = |key: &str| numbers(status.lines().find_map(|line| line.strip_prefix(key)).expect("a line"));
    assert_eq!((of("Uid:"), of("Gid:")), (vec![first + USER; 4], vec![first + USER; 4]), "{name}");
    assert!(of("Groups:").contains(&(first + GROUP)), "{name}: {:?}", of("Groups:"));
    assert_eq!(recorded(&node.root().join("pods").join(node.pod(name).expect("a pod").uid)), first, "{name}");
    first
}

fn recorded(pod: &Path) -> u32 {
    let text = fs::read_to_string(pod.join("userns")).expect("the kubelet's record of it");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    let first = record["uidMappings"][0]["hostId"].as_u64().expect("a number");
    u32::try_from(first).expect("an id")
}

fn disjoint(firsts: &[u32]) -> bool {
    let apart = |at: usize| firsts[..at].iter().all(|other| other.abs_diff(firsts[at]) >= LENGTH);
    (0..firsts.len()).all(apart)
}

/// Id of a pod's newest sandbox.
fn sandbox_of(node: &Node, name: &str) -> String {
    let uid = node.pod(name).expect("a pod").uid;
    let all = node.runtime.sandboxes(&node.name);
    let own = all.iter().filter(|sandbox| sandbox["metadata"]["uid"] == uid.as_str());
    let newest = own.max_by_key(|sandbox| sandbox["metadata"]["attempt"].as_u64());
    newest.expect("a sandbox")["id"].as_str().expect("an id").to_owned()
}

/// What the runtime itself says of its handlers.
fn has_user_namespaces(runtime: &Runtime) -> bool {
    let info: Value = serde_json::from_str(&runtime.crictl(&["info"])).expect("crictl prints JSON");
    let handlers = info["runtimeHandlers"].as_array().cloned().unwrap_or_default();
    handlers.iter().any(|handler| handler["features"]["user_namespaces"] == true)
}

/// The pod waits, says why in the kubelet's words, and the runtime never hears of it.
fn is_refused(node: &Node) {
    let why = "can't set `spec.hostUsers: false`, runtime does not support user namespaces";
    node.until("it is refused", SOON, |node| node.pod("one").is_some_and(|pod| pod.reason.contains(why)));
    assert!(node.runtime.sandboxes(&node.name).is_empty());
    assert!(node.runtime.containers(&node.name).is_empty());
    let uid = node.pod("one").expect("a pod").uid;
    assert!(!node.root().join("pods").join(uid).join("userns").exists(), "no ids are given to it");
    node.remove("one");
    node.until_gone("one");
}
