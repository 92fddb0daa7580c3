//! The time between TERM and KILL (invariant I11).

use std::time::{Duration, Instant};

use crate::manifest::{WAIT, pod};
use crate::node::Node;
use crate::runtime::Runtime;

/// From the removal of a manifest until the process of its container is gone.
fn time_to_die(node: &Node, name: &str) -> Duration {
    let id = node.container(name, "main").and_then(|main| main.id).expect("a container");
    let process = format!("/proc/{}", node.runtime.pid(&id));
    let start = Instant::now();
    node.remove(name);
    node.until("the process is gone", Duration::from_secs(60), |_| !std::path::Path::new(&process).exists());
    start.elapsed()
}

pub(crate) fn a_deaf_container_is_killed_after_its_grace(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut deaf = pod("deaf", "Always", "trap '' TERM; while :; do sleep 1; done");
    deaf["spec"]["terminationGracePeriodSeconds"] = 4.into();
    node.put(&deaf);
    node.until_running("deaf");
    let took = time_to_die(&node, "deaf").as_secs_f64();
    assert!((4.0..=6.0).contains(&took), "killed after {took:.2} s, the grace is 4 s\n{}", node.describe());
    node.until_gone("deaf");
}

pub(crate) fn a_container_that_honours_term_ends_at_once(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut polite = pod("polite", "Always", WAIT);
    polite["spec"]["terminationGracePeriodSeconds"] = 30.into();
    node.put(&polite);
    node.until_running("polite");
    let took = time_to_die(&node, "polite").as_secs_f64();
    assert!(took < 5.0, "ended after {took:.2} s\n{}", node.describe());
    node.until_gone("polite");
}
