//! Edits of manifests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::manifest::{WAIT, pod, waiter};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

pub(crate) fn a_broken_edit_changes_nothing(runtime: &Runtime) {
    let node = Node::start(runtime);
    node.put(&waiter("steady"));
    node.until_running("steady");
    let id = node.container("steady", "main").and_then(|main| main.id).unwrap();
    for broken in [
        "{ this is: [no yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: steady}\nspec: {containers: []}\n",
    ] {
        node.put_text("steady", broken);
        node.until("the fault is told", SOON, |node| {
            node.problems().iter().any(|problem| problem.contains("steady.yaml"))
        });
        // A second look at the manifests and two at the runtime have gone by.
        std::thread::sleep(Duration::from_secs(2));
        let main = node.container("steady", "main").unwrap();
        assert_eq!((main.id.as_ref(), main.state.as_str(), main.restarts), (Some(&id), "Running", 0));
    }
    node.put(&waiter("steady"));
    node.until("the fault is over", SOON, |node| node.problems().is_empty());
    assert_eq!(node.container("steady", "main").unwrap().id, Some(id));
}

pub(crate) fn an_edit_replaces_the_pod_and_never_runs_two(runtime: &Runtime) {
    let node = Node::start(runtime);
    // It takes two seconds to end, so that an overlap would be long.
    let slow = |word: &str| format!("echo {word}; trap 'sleep 2; exit 0' TERM; sleep 100000 & wait");
    node.put(&pod("edited", "Always", &slow("before")));
    node.until_running("edited");
    let old = node.container("edited", "main").and_then(|main| main.id).unwrap();
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(running(&node));
            }
            most
        });
        node.put(&pod("edited", "Always", &format!("echo after; {WAIT}")));
        let replaced = |node: &Node| {
            let main = node.container("edited", "main");
            main.is_some_and(|main| main.state == "Running" && main.id.as_ref() != Some(&old))
        };
        let over = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            node.until("the new pod runs", SOON, replaced);
        }));
        done.store(true, Ordering::Relaxed);
        let most = watch.join().expect("the watcher");
        over.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        most
    });
    assert_eq!(most, 1, "running containers at once");
    node.until("its log is the new one's", SOON, |node| node.logs(&["edited"]) == "after\n");
    node.until("the old one is gone", SOON, |node| node.runtime.sandboxes(&node.name).len() == 1);
}

fn running(node: &Node) -> usize {
    let listed = node.runtime.containers(&node.name);
    listed.iter().filter(|container| container["state"] == "CONTAINER_RUNNING").count()
}
