//! What is asked of a runtime for one container is the same each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pinnace::view::ContainerView;
use serde_json::{Value, json};

use crate::manifest::{WAIT, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;
use crate::say;

/// An image whose user is 1000.
const SOMEBODY: &str = "pinnace.local/busybox-user:1.35";
/// Crashes of the first pod.
const CRASHES: usize = 5;

/// CVE-2019-11245: the user of an image was forgotten when it was there already, or when a container was made again.
pub(crate) fn a40_the_images_user_is_the_same_every_time(runtime: &Runtime) {
    let mut node = Node::restless(runtime);
    let seen = tempfile::tempdir().expect("a directory");
    let somebody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(seen.path(), somebody).expect("a directory for everybody");
    let asked = RefCell::new(BTreeMap::new());

    node.put(&crashing("first", seen.path()));
    node.until("it has crashed often enough", SOON, |node| {
        note(node, "first", &mut asked.borrow_mut());
        node.container("first", "main")
            .is_some_and(|main| main.restarts as usize == CRASHES && main.state == "Running")
    });
    // The image is there, and nobody has to pull it.
    node.put(&crashing("cached", seen.path()));
    node.until_running("first");
    let cached = RefCell::new(BTreeMap::new());
    node.until("the second runs", SOON, |node| {
        note(node, "cached", &mut cached.borrow_mut());
        cached.borrow().len() >= 2 && users(seen.path(), "cached").len() >= 2
    });
    node.kill();
    node.launch();
    for restarts in [CRASHES + 1, CRASHES + 2] {
        node.until_running("first");
        let id = node.container("first", "main").and_then(|main| main.id);
        runtime.crictl(&["stop", "--timeout=0", &id.expect("a container")]);
        node.until("it runs again", SOON, |node| {
            note(node, "first", &mut asked.borrow_mut());
            let again = |main: ContainerView| main.restarts as usize == restarts && main.state == "Running";
            node.container("first", "main").is_some_and(again) && users(seen.path(), "first").len() > restarts
        });
    }

    let (asked, cached) = (asked.into_inner(), cached.into_inner());
    // Also the very first: each look has noted what there was.
    assert!(asked.len() > CRASHES && asked.contains_key(&(CRASHES as u64 + 2)), "{:?}", asked.keys());
    for (of, all) in [("first", &asked), ("cached", &cached)] {
        let (attempt, wanted) = all.iter().next().expect("one at least");
        assert_eq!(
            wanted["linux"]["security_context"]["run_as_user"]["value"], 1000,
            "{of} {attempt}: {wanted:#}"
        );
        for (attempt, config) in all {
            assert_eq!(config, wanted, "{of}, attempt {attempt}");
        }
    }
    for name in ["first", "cached"] {
        let users = users(seen.path(), name);
        assert!(users.iter().all(|user| user == "1000 1000 1000 1000"), "{name}: {users:?}");
    }
    let starts = users(seen.path(), "first").len();
    assert_eq!(starts, CRASHES + 3);
    say(&format!(
        "A40 on containerd {}: uid 1000 in {} starts, the same request in the {} that were looked at",
        runtime.version,
        starts,
        asked.len()
    ));
}

/// Who the containers of a pod were, one line for each.
fn users(seen: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(seen.join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A pod that notes who it is and crashes, the first times.
fn crashing(name: &str, seen: &Path) -> Value {
    let script = format!(
        "sed -n 's/^Uid:.//p' /proc/self/status | tr '\\t' ' ' >>/seen/{name}
        [ `wc -l </seen/{name}` -gt {CRASHES} ] || exit 1
        {WAIT}"
    );
    let mut pod = pod(name, "Always", &script);
    main(&mut pod)["image"] = SOMEBODY.into();
    main(&mut pod)["volumeMounts"] = json!([{ "name": "seen", "mountPath": "/seen" }]);
    pod["spec"]["volumes"] = json!([{ "name": "seen", "hostPath": { "path": seen } }]);
    pod
}

/// What containerd was asked for, by attempt, without what belongs to one attempt.
fn note(node: &Node, name: &str, asked: &mut BTreeMap<u64, Value>) {
    let full = format!("{name}-{}", node.name);
    for container in node.runtime.containers(&node.name) {
        let attempt = container["metadata"]["attempt"].as_u64().unwrap_or(0);
        if container["labels"]["io.kubernetes.pod.name"] != full.as_str() || asked.contains_key(&attempt) {
            continue;
        }
        // It may have gone meanwhile.
        let id = container["id"].as_str().expect("an id");
        let Ok(text) = node.runtime.try_crictl(&["inspect", "-o", "json", id]) else { continue };
        let status: Value = serde_json::from_str(&text).expect("crictl prints JSON");
        let mut config = status["info"]["config"].clone();
        assert_eq!(config["log_path"], format!("main/{attempt}.log"));
        // Not there at all where it is 0.
        config["metadata"]["attempt"] = Value::Null;
        config["log_path"] = Value::Null;
        config["annotations"]["io.kubernetes.container.restartCount"] = Value::Null;
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        let message = mounts.iter_mut().find(|mount| mount["container_path"] == "/dev/termination-log");
        message.expect("a file for its last words")["host_path"] = Value::Null;
        asked.insert(attempt, config);
    }
}
