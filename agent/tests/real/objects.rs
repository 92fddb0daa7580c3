//! ConfigMaps and Secrets from files beside the pods that show them, without an API server.

use std::time::Instant;

use serde_json::json;

use crate::manifest::pod;
use crate::node::{Node, SOON};
use crate::runtime::Runtime;
use crate::say;

/// Prints what the two files hold whenever one has changed.
const SHOW: &str = "trap 'exit 0' TERM; last=; while :; do now=\"`cat /map/k` `cat /secret/k`\"; \
                    [ \"$now\" = \"$last\" ] || echo \"$now\"; last=\"$now\"; sleep 0.02; done";

pub(crate) fn a67_files_of_objects_are_the_source_of_volumes(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut web = pod("web", "Always", SHOW);
    web["spec"]["volumes"] = json!([
        { "name": "map", "configMap": { "name": "m" } }, { "name": "secret", "secret": { "secretName": "s" } },
    ]);
    web["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "map", "mountPath": "/map" }, { "name": "secret", "mountPath": "/secret" }]);
    let map = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": { "k": value } });
    let secret = |value: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "k": value } });
    node.put(&map("one"));
    node.put(&web);
    // The pod waits for what is not there, and comes up when it is.
    node.put(&secret("c4nary-1"));
    node.until_running("web");
    let shows = |node: &Node, line: &str| node.logs(&["web"]).lines().last() == Some(line);
    node.until("both are shown", SOON, |node| shows(node, "one c4nary-1"));
    let began = Instant::now();
    node.put(&map("two"));
    node.put(&secret("c4nary-2"));
    node.until("both changes are shown", SOON, |node| shows(node, "two c4nary-2"));
    say(&format!("files of objects: both changes seen in the container after {:?}", began.elapsed()));
    // A broken edit is told by its field and never by its value; what was good stays.
    node.put_text(
        "s",
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"c4nary!"}}"#,
    );
    node.until("the fault is told", SOON, |node| {
        node.problems().iter().any(|problem| problem.contains("s.yaml: data[k]: is not base64"))
    });
    assert!(shows(&node, "two c4nary-2"));
    assert!(!node.problems().concat().contains("c4nary"), "{:?}", node.problems());
}
