//! A shim that dies takes its pod's processes out of the runtime's sight.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::manifest::{WAIT, pod, waiter};
use crate::node::Node;
use crate::runtime::Runtime;
use crate::say;
use crate::traces::shims;

/// SIGKILL to the shim of a pod.
fn kill_shim(node: &Node, name: &str) {
    let uid = node.pod(name).expect("a pod").uid;
    let listed = node.runtime.sandboxes(&node.name);
    let sandbox =
        listed.iter().find(|sandbox| sandbox["metadata"]["uid"] == uid.as_str()).expect("a sandbox");
    let id = sandbox["id"].as_str().expect("an id");
    let shim = shims().into_iter().find(|(_, of)| of == id).expect("a shim of the sandbox").0;
    kill(Pid::from_raw(i32::try_from(shim).unwrap()), Signal::SIGKILL).expect("the shim is killed");
}

/// The exit is never 0 and follows within 10 s; then the policy decides.
pub(crate) fn b58_a_killed_shim_is_an_exit(runtime: &Runtime) {
    let node = Node::start(runtime);
    node.put(&waiter("again"));
    node.put(&pod("once", "Never", WAIT));
    node.until_running("again");
    node.until_running("once");
    let first = node.container("again", "main").and_then(|main| main.id);
    let ids = ["again", "once"].map(|pod| node.container(pod, "main").and_then(|main| main.id).unwrap());
    let pids = ids.map(|id| Pid::from_raw(i32::try_from(runtime.pid(&id)).unwrap()));
    kill_shim(&node, "again");
    kill_shim(&node, "once");
    let killed = Instant::now();
    let limit = Duration::from_secs(10);
    node.until("the end is seen", limit, |node| {
        node.container("once", "main").is_some_and(|main| main.state == "Terminated")
    });
    let ended = node.container("once", "main").unwrap();
    assert!(ended.exit_code.is_some_and(|code| code != 0), "an end unseen is no success: {ended:?}");
    assert_eq!(node.pod("once").unwrap().phase, "Failed");
    node.until("it runs again", limit.saturating_sub(killed.elapsed()), |node| {
        node.container("again", "main").is_some_and(|main| main.state == "Running" && main.id != first)
    });
    let again = node.container("again", "main").unwrap();
    assert!(again.last_exit_code.is_some_and(|code| code != 0), "{again:?}");
    end_survivors(runtime, &pids);
}

/// A runtime may call a container ended whose process it only lost sight of; CRI has no way to reach it any more.
fn end_survivors(runtime: &Runtime, pids: &[Pid]) {
    // A zombie has no command line.
    let runs = |pid: &&Pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    let start = Instant::now();
    while pids.iter().any(|pid| runs(&pid)) && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let survivors = pids.iter().filter(runs).filter(|pid| kill(**pid, Signal::SIGKILL).is_ok()).count();
    if survivors > 0 {
        let version = &runtime.version;
        say(&format!(
            "left running by containerd {version} after their shims were killed: {survivors} processes"
        ));
    }
}
