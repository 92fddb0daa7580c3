//! Two virtual nodes on one containerd, in the real control plane: only pods that tolerate them come, each node runs its
//! own, and what becomes of one leaves the other as it is.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::admin::{condition, is_ready, restarts, text};
use crate::agent::Agent;
use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::ControlPlane;

/// The taint of virtual nodes.
const TAINT: &str = "virtual-kubelet.io/provider";

pub(crate) fn two_virtual_nodes_share_a_runtime_and_nothing_else(cluster: &ControlPlane) {
    let mut case = Case::prepared("debian", cluster, "virtual-nodes");
    let mut second = Agent::prepared(cluster, &case.agent.runtime, &case.namespace.name);
    for agent in [&mut case.agent, &mut second] {
        agent.be_virtual();
        agent.launch();
    }
    case.until_node_ready(Instant::now(), SOON);
    for node in [&case.agent.name, &second.name] {
        let look = || {
            case.admin
                .node(node)
                .and_then(|node| if is_ready(&node) { Ok(node) } else { Err(node.to_string()) })
        };
        let (node, _) = second.until("a virtual node that is Ready", Instant::now(), SOON, look);
        assert_eq!(node["metadata"]["labels"]["type"], "virtual-kubelet");
        let taints = node["spec"]["taints"].as_array().unwrap();
        assert!(
            taints.iter().any(|taint| taint["key"] == TAINT && taint["value"] == "pinnace"),
            "{taints:?}"
        );
    }

    case.namespace.create(&pod("stranger", "Always", WAIT));
    case.namespace.create(&tolerant("first", &case.agent.name));
    case.namespace.create(&tolerant("second", &second.name));
    let (shown, _) =
        case.until_pods("two pods that run and one that finds no node", Instant::now(), |pods| {
            let of = |name: &str| pods.iter().find(|pod| pod["metadata"]["name"] == name);
            let refused = condition(of("stranger")?, "PodScheduled")["reason"] == "Unschedulable";
            let ready = ["first", "second"].iter().all(|name| of(name).is_some_and(is_ready));
            (refused && ready).then(|| pods.to_vec())
        });
    assert_eq!(of(&shown, "first")["spec"]["nodeName"], case.agent.name.as_str());
    let before = [containers(&case.agent), containers(&second)];
    assert!(before.iter().all(|ids| ids.len() == 1) && before[0].is_disjoint(&before[1]), "{before:?}");

    // One is killed and started again while the other goes on; then a pod of the one goes.
    case.agent.kill();
    case.agent.launch();
    case.agent.until("its pod is shown again", Instant::now(), SOON, || {
        let shown = case.agent.pods();
        if shown.contains("first") && shown.contains("Running") { Ok(()) } else { Err(shown) }
    });
    assert_eq!([containers(&case.agent), containers(&second)], before);
    case.namespace.kubectl(&["delete", "pod", "first", "stranger", "--timeout=40s"]);
    let (left, _) = case.until_pods("the second's pod alone", Instant::now(), |pods| match pods {
        [pod] if is_ready(pod) => Some(pod.clone()),
        _ => None,
    });
    assert_eq!((text(&left["metadata"]["name"]), restarts(&left)), ("second", 0));
    assert_eq!(containers(&second), before[1]);
    second.a80_was_never_refused();
    case.agent.a80_was_never_refused();
}

fn of<'a>(pods: &'a [Value], name: &str) -> &'a Value {
    pods.iter().find(|pod| pod["metadata"]["name"] == name).unwrap()
}

/// A pod for one virtual node.
fn tolerant(name: &str, node: &str) -> Value {
    let mut made = pod(name, "Always", WAIT);
    made["spec"]["tolerations"] = json!([{ "key": TAINT, "operator": "Exists" }]);
    made["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
    made
}

/// The running containers that are this node's.
fn containers(agent: &Agent<'_>) -> BTreeSet<String> {
    let listed = agent.runtime.containers(&agent.name);
    let running = listed.iter().filter(|container| container["state"] == "CONTAINER_RUNNING");
    running.map(|container| text(&container["id"]).to_owned()).collect()
}
