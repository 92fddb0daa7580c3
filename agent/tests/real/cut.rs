//! Pods whose making is cut short leave nothing behind (B56, small).

use std::time::Duration;

use crate::manifest::waiter;
use crate::node::Node;
use crate::own::{Ledger, Own};
use crate::runtime::Runtime;
use crate::say;

/// Milliseconds from the manifest to the kill: before, in and after the making of the sandbox.
const CUTS: [u64; 4] = [30, 120, 220, 350];
/// Pods in the making at each kill.
const PODS: usize = 2;

/// Two pods per cut, which must run in the end; and when they have left, at most `excess` of each kind of thing more
/// than before. What is left in the end.
fn cut(own: &Own, node: &mut Node, excess: usize, kill: fn(&Own, &mut Node)) -> Ledger {
    let mut before = Ledger::default();
    for (round, after) in CUTS.iter().enumerate() {
        let names: Vec<_> = (0..PODS).map(|number| format!("cut{round}-{number}")).collect();
        for name in &names {
            node.put(&waiter(name));
        }
        std::thread::sleep(Duration::from_millis(*after));
        kill(own, node);
        for name in &names {
            node.until_running(name);
        }
        for name in &names {
            node.remove(name);
        }
        for name in &names {
            node.until_gone(name);
        }
        assert_eq!(own.runtime.sandboxes(&node.name).len(), 0, "{}", node.describe());
        own.until(&format!("after a kill at {after} ms"), |now| now.is_within(&before, excess));
        before = own.ledger();
    }
    before
}

pub(crate) fn b56_kill_9_of_the_agent_in_the_making_leaks_nothing(runtime: &Runtime) {
    let own = Own::start(&runtime.version, "b56a");
    let mut node = Node::start(&own.runtime);
    let left = cut(&own, &mut node, 0, |_, node| {
        node.kill();
        node.launch();
    });
    assert_eq!(left, Ledger::default());
}

/// What containerd makes before it writes the sandbox down, it forgets when it is killed there: CRI shows it to
/// nobody. So a network namespace, an address or a bundle may stay of each pod that was in the making; what the agent
/// makes afterwards, and all that the runtime lists, has to go.
pub(crate) fn b56_kill_9_of_containerd_in_the_making_leaves_nothing_listed(runtime: &Runtime) {
    let own = Own::start(&runtime.version, "b56c");
    let mut node = Node::start(&own.runtime);
    let left = cut(&own, &mut node, PODS, |own, _| {
        own.kill();
        own.start_again();
    });
    let version = &runtime.version;
    say(&format!("forgotten by containerd {version} in {} kills while it made pods: {left}", CUTS.len()));
}
