//! Containers outlive both the agent and the runtime's daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::manifest::{WAIT, container, pod, waiter};
use crate::node::{Node, SOON};
use crate::own::{Ledger, Own};
use crate::runtime::Runtime;

const KILLS: u64 = 20;

/// Ids of the containers of pods that begin so, from crictl, with their states.
fn ids(node: &Node, prefix: &str) -> BTreeMap<String, String> {
    let listed = node.runtime.containers(&node.name);
    let ours = listed.iter().filter(|container| {
        container["labels"]["io.kubernetes.pod.name"].as_str().is_some_and(|name| name.starts_with(prefix))
    });
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    ours.map(|container| (text(&container["id"]), text(&container["state"]))).collect()
}

pub(crate) fn kill_9_of_the_agent_during_churn_changes_no_container(runtime: &Runtime) {
    let mut node = Node::start(runtime);
    for number in 0..3 {
        let mut witness = waiter(&format!("witness{number}"));
        witness["spec"]["containers"].as_array_mut().unwrap().push(container("side", WAIT));
        node.put(&witness);
    }
    for number in 0..3 {
        node.until_running(&format!("witness{number}"));
    }
    let before = ids(&node, "witness");
    assert_eq!(before.len(), 6);
    for round in 0..KILLS {
        churn(&node, round);
        // The kill meets every stage of a start and of an end: 20 to 590 ms, in no order.
        std::thread::sleep(Duration::from_millis(20 + (round * 7 % KILLS) * 30));
        node.kill();
        node.launch();
        assert_eq!(ids(&node, "witness"), before, "after kill {round}\n{}", node.describe());
    }
    for number in 0..3 {
        let view = node.until_running(&format!("witness{number}"));
        assert_eq!(view.restarts, 0);
    }
    assert_eq!(ids(&node, "witness"), before);
    settle_churn(&node);
}

/// Each round one pod comes, one goes and one that crashes is among them.
fn churn(node: &Node, round: u64) {
    let script = if round.is_multiple_of(3) { "sleep 0.3; exit 1" } else { WAIT };
    node.put(&pod(&format!("churn{round}"), "Always", script));
    if round >= 2 {
        node.remove(&format!("churn{}", round - 2));
    }
}

/// Of the churn only what is wanted is left.
fn settle_churn(node: &Node) {
    let wanted: Vec<_> = [KILLS - 2, KILLS - 1].map(|round| format!("churn{round}-{}", node.name)).into();
    node.until("the churn has settled", Duration::from_secs(60), |node| {
        let sandboxes = node.runtime.sandboxes(&node.name);
        let names = sandboxes.iter().filter_map(|sandbox| sandbox["metadata"]["name"].as_str());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("churn")).map(str::to_owned).collect();
        names.sort();
        names == wanted
    });
    for name in ["churn18", "churn19"] {
        node.remove(name);
        node.until_gone(name);
    }
    let pods = std::fs::read_dir(node.root().join("pods")).unwrap().count();
    assert_eq!(pods, 3, "directories of pods");
}

pub(crate) fn b01_kill_9_of_containerd_is_harmless_and_leaks_nothing(runtime: &Runtime) {
    let own = Own::start(&runtime.version, "b01");
    let node = Node::start(&own.runtime);
    assert_eq!(own.ledger(), Ledger::default());
    let names: Vec<_> = (0..5).map(|number| format!("pod{number}")).collect();
    for name in &names {
        node.put(&waiter(name));
    }
    for name in &names {
        node.until_running(name);
    }
    let before = ids(&node, "pod");
    let ledger = own.ledger();
    assert_eq!(
        (before.len(), ledger.namespaces.len(), ledger.addresses.len(), ledger.links.len()),
        (5, 5, 5, 5)
    );

    own.kill();
    std::thread::sleep(Duration::from_secs(2));
    own.start_again();
    until_recovered(&node, &names, 0);
    assert_eq!(ids(&node, "pod"), before, "{}", node.describe());

    end_while_down(&own, &node);
    until_recovered(&node, &names, 1);
    let after = ids(&node, "pod");
    let kept = before.iter().filter(|(id, state)| after.get(*id) == Some(state)).count();
    assert_eq!(kept, 4, "{before:?}\n{after:?}");

    for name in &names {
        node.remove(name);
    }
    for name in &names {
        node.until_gone(name);
    }
    own.until("by five pods", |now| *now == Ledger::default());
    assert_eq!(own.runtime.sandboxes(&node.name).len(), 0);
}

/// A container that ends while the daemon is dead, and only that one, is started again.
fn end_while_down(own: &Own, node: &Node) {
    let victim = node.container("pod0", "main").and_then(|main| main.id).unwrap();
    let pid = own.runtime.pid(&victim);
    own.kill();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    own.start_again();
    node.until("the ended one is restarted", SOON, |node| {
        node.container("pod0", "main").is_some_and(|main| main.restarts == 1 && main.state == "Running")
    });
    // The code is the runtime's: 137, or 255 where it could not learn it.
    let code = node.container("pod0", "main").and_then(|main| main.last_exit_code);
    let runtimes = own.runtime.container(&victim)["status"]["exitCode"].as_i64();
    assert_eq!(code.map(i64::from), runtimes);
    assert!(code.is_some_and(|code| code != 0));
}

/// The agent sees the runtime again: pods made anew run, all run, and so many were restarted.
fn until_recovered(node: &Node, names: &[String], restarts: u32) {
    node.put(&pod("probe", "Never", "exit 0"));
    node.until("a new pod runs to its end", SOON, |node| {
        node.pod("probe").is_some_and(|pod| pod.phase == "Succeeded")
    });
    node.remove("probe");
    node.until_gone("probe");
    for name in names {
        node.until_running(name);
    }
    let all = node.pods();
    assert_eq!(all.iter().map(|pod| pod.restarts).sum::<u32>(), restarts, "{}", node.describe());
}
