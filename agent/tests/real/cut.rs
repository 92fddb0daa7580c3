//! Pods whose making is cut short leave nothing behind (B56, small).

use std::time::Duration;

use crate::manifest::waiter;
use crate::node::{Node, SOON};
use crate::own::{Ledger, Own};
use crate::runtime::Runtime;

/// Milliseconds from the manifest to the kill: before, in and after the making of the sandbox.
const CUTS: [u64; 6] = [30, 90, 150, 220, 300, 400];

/// Two pods per cut, which must run in the end, and then leave the machine as it was.
fn cut(own: &Own, node: &mut Node, kill: fn(&Own, &mut Node)) {
    for (round, after) in CUTS.iter().enumerate() {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            node.put(&waiter(name));
        }
        std::thread::sleep(Duration::from_millis(*after));
        kill(own, node);
        for name in &names {
            node.until_running(name);
        }
        let ledger = own.ledger();
        assert_eq!((ledger.namespaces.len(), ledger.addresses.len(), ledger.links.len()), (2, 2, 2), "{ledger:?} after a kill at {after} ms\n{}", node.describe());
        for name in &names {
            node.remove(name);
        }
        for name in &names {
            node.until_gone(name);
        }
        node.until("everything is as before", SOON, |_| own.ledger() == Ledger::default());
    }
    assert_eq!(own.runtime.sandboxes(&node.name).len(), 0);
}

pub(crate) fn b56_kill_9_of_the_agent_in_the_making_leaks_nothing(runtime: &Runtime) {
    let own = Own::start(&runtime.version, "b56a");
    let mut node = Node::start(&own.runtime);
    cut(&own, &mut node, |_, node| {
        node.kill();
        node.launch();
    });
}

pub(crate) fn b56_kill_9_of_containerd_in_the_making_leaks_nothing(runtime: &Runtime) {
    let own = Own::start(&runtime.version, "b56c");
    let mut node = Node::start(&own.runtime);
    cut(&own, &mut node, |own, _| {
        own.kill();
        own.start_again();
    });
}
