//! Pods whose making is cut short, or whose network fails, leave nothing behind (B56).
//!
//! 300 cycles in all with `PINNACE_TEST_ALL=1`, a third each for kills of the agent, kills of containerd and faults of
//! the network; without it a few of each.

use std::time::Duration;

use crate::manifest::waiter;
use crate::node::{Node, SOON};
use crate::own::{Ledger, Own};
use crate::runtime::Runtime;
use crate::say;

/// Cycles of each of the three cases.
const CYCLES: usize = 100;
/// The same without `PINNACE_TEST_ALL`: every moment and every fault at least once.
const FEW_CYCLES: usize = 4;
/// Milliseconds from the manifest to the kill: before, in and after the making of the sandbox.
const CUTS: [u64; 4] = [30, 120, 220, 350];
/// Pods in the making at each kill.
const PODS: usize = 2;

/// What becomes of the network of one pod after the other.
const ADDS: [&str; 7] = ["refuse", "half", "ok", "slow 0.6", "late 0.6", "refuse", "half"];
const DELS: [&str; 6] = ["ok", "refuse", "slow 0.3", "half", "ok", "late 0.3"];
/// How long what a fault left may stay.
const BASELINE: Duration = Duration::from_secs(300);

fn cycles(case: &str) -> usize {
    let cycles = if std::env::var_os("PINNACE_TEST_ALL").is_some() { CYCLES } else { FEW_CYCLES };
    if cycles < CYCLES {
        say(&format!("b56 {case}: scaled, {cycles} of {CYCLES} cycles of {PODS} pods"));
    }
    cycles
}

/// Two pods per cut, which must run in the end; and when they have left, at most `excess` of each kind of thing more
/// than before. What is left in the end.
fn cut(own: &Own, node: &mut Node, excess: usize, kill: fn(&Own, &mut Node)) -> Ledger {
    let mut before = Ledger::default();
    let rounds = CUTS.iter().cycle().take(cycles(if excess == 0 { "agent" } else { "containerd" }));
    for (round, after) in rounds.enumerate() {
        let names: Vec<_> = (0..PODS).map(|number| format!("cut{round}-{number}")).collect();
        for name in &names {
            node.put(&waiter(name));
        }
        std::thread::sleep(Duration::from_millis(*after));
        kill(own, node);
        for name in &names {
            node.until_running(name);
        }
        leave(own, node, &names);
        own.until(&format!("after a kill at {after} ms"), |now| now.is_within(&before, excess));
        before = own.ledger();
    }
    before
}

/// The pods go, and the runtime lists nothing of them any more.
fn leave(own: &Own, node: &Node, names: &[String]) {
    for name in names {
        node.remove(name);
    }
    node.until("the pods are gone or held", SOON, |node| {
        let held = node.stuck();
        node.is_up() && node.pods().iter().all(|pod| held.contains(&pod.name))
    });
    let stuck = node.stuck();
    if !stuck.is_empty() {
        say(&format!("held on to by containerd {} until its restart: {stuck:?}", own.runtime.version));
        own.kill();
        own.start_again();
    }
    for name in names {
        node.until_gone(name);
    }
    assert_eq!(own.runtime.sandboxes(&node.name).len(), 0, "{}", node.describe());
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
    say(&format!("forgotten by containerd {version} while it was killed making pods: {left}"));
}

/// Networks that are refused, half made, slow to come and slow to be told of, and the same for their end; in every
/// fourth cycle the agent is killed meanwhile.
pub(crate) fn b56_a_network_that_fails_and_dawdles_leaks_nothing(runtime: &Runtime) {
    let own = Own::with_faulty_network(&runtime.version, "b56n");
    let mut node = Node::start(&own.runtime);
    own.network("ADD", &ADDS);
    own.network("DEL", &DELS);
    let cycles = cycles("network");
    for cycle in 0..cycles {
        let names: Vec<_> = (0..PODS).map(|number| format!("net{cycle}-{number}")).collect();
        for name in &names {
            node.put(&waiter(name));
        }
        if cycle % 4 == 3 {
            std::thread::sleep(Duration::from_millis(500));
            node.kill();
            node.launch();
        }
        for name in &names {
            node.until_running(name);
        }
        leave(&own, &node, &names);
    }
    let (adds, dels) = (own.network_calls("ADD"), own.network_calls("DEL"));
    assert!(adds > cycles * PODS && dels >= cycles * PODS, "{adds} ADD, {dels} DEL: no fault was met");
    own.until_within("by faults of the network", BASELINE, |now| *now == Ledger::default());
    say(&format!("b56 network: {adds} ADD and {dels} DEL on containerd {}, nothing left", runtime.version));
}
