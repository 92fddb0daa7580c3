//! A pod that nobody wants leaves nothing (invariant I6).

use std::fs;

use crate::manifest::{WAIT, container, pod, waiter};
use crate::node::Node;
use crate::runtime::Runtime;
use crate::traces::Traces;

pub(crate) fn i6_a_removed_manifest_leaves_nothing(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut manifest = pod("leaver", "Always", WAIT);
    manifest["spec"]["containers"].as_array_mut().unwrap().push(container("second", WAIT));
    node.put(&manifest);
    node.put(&waiter("stayer"));
    node.until_running("leaver");
    let stays = node.until_running("stayer").uid;
    let kept = node.container("stayer", "main").and_then(|main| main.id);
    let traces = Traces::of(&node, "leaver");
    node.remove("leaver");
    node.until_gone("leaver");
    traces.until_gone(&node);
    let names = |dir| -> Vec<_> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(node.root().join("pods")), [stays.as_str()]);
    assert_eq!(names(node.pod_logs()).len(), 1);
    assert_eq!(node.container("stayer", "main").and_then(|main| main.id), kept);
}

pub(crate) fn b05_a_manifest_removed_while_the_agent_is_down(runtime: &Runtime) {
    let mut node = Node::start(runtime);
    node.put(&waiter("unwanted"));
    node.put(&waiter("wanted"));
    node.until_running("unwanted");
    node.until_running("wanted");
    let kept = node.container("wanted", "main").and_then(|main| main.id);
    let traces = Traces::of(&node, "unwanted");
    node.kill();
    node.remove("unwanted");
    node.launch();
    node.until_gone("unwanted");
    traces.until_gone(&node);
    node.until_running("wanted");
    assert_eq!(node.container("wanted", "main").and_then(|main| main.id), kept);
}
