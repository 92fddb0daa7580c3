//! How long after its end an exit is seen.

use std::time::Duration;

use crate::manifest::pod;
use crate::node::Node;
use crate::runtime::Runtime;
use crate::say;

const PODS: usize = 6;
/// The fall-back is a list every second; two of them and a busy machine.
const BOUND_MS: i64 = 3_000;
/// With lists alone the middle one is about 500 ms late; with events (CRI's, or containerd's own on 1.6) some tens.
const MIDDLE_MS: i64 = 350;

/// Printed for people; `make bench` measures it properly. The bounds only catch a loop that sleeps, and a lost stream.
pub(crate) fn an_exit_is_seen_soon(runtime: &Runtime) {
    let node = Node::start(runtime);
    for number in 0..PODS {
        node.put(&pod(&format!("short{number}"), "Never", &format!("sleep 2.{number}7; exit 5")));
    }
    let mut late: Vec<i64> = (0..PODS).map(|number| latency_ms(&node, &format!("short{number}"))).collect();
    late.sort_unstable();
    let (middle, last) = (late[PODS / 2], late[PODS - 1]);
    say(&format!(
        "exit seen on containerd {}: median {middle} ms, worst {last} ms of {PODS}",
        runtime.version
    ));
    assert!(middle <= MIDDLE_MS && last <= BOUND_MS, "{late:?}\n{}", node.describe());
}

fn latency_ms(node: &Node, name: &str) -> i64 {
    let ended = node.until_main(name, "ended", |main| main.exit_code == Some(5));
    let explained = node.explain(name);
    let seen = explained.timeline.iter().find(|entry| entry.what.contains("ended with code 5"));
    let seen = seen.unwrap_or_else(|| panic!("the timeline tells of the end\n{}", node.describe())).at;
    let late = seen.duration_since(ended.finished.expect("a time of its end"));
    assert!(late.as_millis() >= 0, "seen before it ended: {late:?}");
    i64::try_from(Duration::try_from(late).unwrap().as_millis()).unwrap()
}
