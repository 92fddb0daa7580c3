//! How long after its end an exit is seen.

use std::time::Duration;

use crate::manifest::pod;
use crate::node::Node;
use crate::runtime::Runtime;
use crate::say;

const PODS: usize = 6;
/// The fall-back is a list every second; two of them and a busy machine.
const BOUND_MS: i64 = 3_000;
/// With lists alone the middle one is about 500 ms late; with events (CRI's, or containerd's own on 1.6) some tens, and
/// some hundreds where containerd itself waits for a CPU.
const MIDDLE_MS: i64 = 250;
/// A busy machine gets so many chances.
const ROUNDS: usize = 4;

/// Printed for people; `make bench` measures it properly. The bounds only catch a loop that sleeps, and a lost stream.
pub(crate) fn an_exit_is_seen_soon(runtime: &Runtime) {
    let node = Node::start(runtime);
    let is_soon = |round: usize| {
        let names: Vec<_> = (0..PODS).map(|number| format!("short{round}-{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            node.put(&pod(name, "Never", &format!("sleep 2.{number}7; exit 5")));
        }
        let mut late: Vec<i64> = names.iter().map(|name| latency_ms(&node, name)).collect();
        late.sort_unstable();
        let (middle, last) = (late[PODS / 2], late[PODS - 1]);
        let version = &runtime.version;
        say(&format!("exit seen on containerd {version}: median {middle} ms, worst {last} ms of {PODS}"));
        assert!(last <= BOUND_MS, "{late:?}\n{}", node.describe());
        middle <= MIDDLE_MS
    };
    assert!(
        (0..ROUNDS).any(is_soon),
        "no round had its middle one within {MIDDLE_MS} ms\n{}",
        node.describe()
    );
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
