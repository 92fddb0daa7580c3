//! The API server can be taken away and brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::admin::{condition, is_ready, restarts, text};
use crate::case::{Case, WAIT, deployment, pod};
use crate::control_plane::ControlPlane;
use crate::namespace::fake_node;
use crate::say;

pub(crate) fn the_api_server_goes_and_comes_back_with_its_objects(_shared: &ControlPlane) {
    let cluster = ControlPlane::own("outage");
    let _node = fake_node(&cluster, "node-of-outage", "outage");
    let before = cluster.get(&["node", "node-of-outage"]).expect("a node");

    cluster.apiserver_stop();
    let error = cluster.get(&["node", "node-of-outage"]).expect_err("nobody serves");
    assert!(error.contains("refused"), "{error}");

    cluster.apiserver_start();
    let after = cluster.get(&["node", "node-of-outage"]).expect("a node");
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
}

/// How long nobody serves.
const OUTAGE: Duration = Duration::from_secs(30);
/// Within this time after its return the API shows what is.
const RIGHT: Duration = Duration::from_secs(30);

pub(crate) fn b60_b61_pods_go_on_without_the_api_server(_shared: &ControlPlane) {
    let cluster = ControlPlane::own("absent");
    let mut case = Case::start(&cluster, "absent");
    case.namespace.create(&deployment("steady", 3, WAIT));
    case.namespace.create(&pod("mortal", "Always", WAIT));
    case.namespace.create(&pod("mayfly", "Never", "while [ ! -e /end ]; do sleep 0.2; done; exit 4"));
    case.agent.put_static(&fixed(&case, "100001"));
    case.until_pods("six pods", Instant::now(), |pods| {
        (pods.len() == 6 && pods.iter().all(is_ready)).then_some(())
    });
    let fixed_before = running(&case, "fixed");
    let node = case.admin.node(&case.agent.name).unwrap();

    cluster.apiserver_stop();
    let (began, gone) = (Instant::now(), Timestamp::now());
    std::thread::sleep(Duration::from_secs(2));
    // Killed without its API server, it knows from its journal what to run.
    let steady = running(&case, "steady");
    assert_eq!(steady.len(), 3);
    case.agent.kill();
    case.agent.launch();
    let mortal = running(&case, "mortal");
    for id in &mortal {
        case.agent.runtime.crictl(&["stop", "-t", "0", id]);
    }
    for id in running(&case, "mayfly") {
        case.agent.runtime.crictl(&["exec", &id, "touch", "/end"]);
    }
    let (again, restarted) = case.agent.until("a restart", began, OUTAGE, || {
        let now = running(&case, "mortal");
        if now.len() == 1 && now != mortal { Ok(now) } else { Err(format!("{now:?}")) }
    });
    // A manifest is obeyed whoever is away.
    case.agent.put_static(&fixed(&case, "100002"));
    let (edited, _) = case.agent.until("the edited manifest's pod", began, OUTAGE, || {
        let now = running(&case, "fixed");
        if now.len() == 1 && now != fixed_before { Ok(now) } else { Err(format!("{now:?}")) }
    });
    std::thread::sleep(OUTAGE.saturating_sub(began.elapsed()));
    assert_eq!(running(&case, "steady"), steady, "{}", case.agent.describe());
    cluster.apiserver_start();
    let back = Instant::now();

    let is_right = |pods: &[Value]| {
        let of = |name: &str| pods.iter().find(|pod| pod["metadata"]["name"] == name);
        let (mortal, mayfly) = (of("mortal")?, of("mayfly")?);
        let fixed = pods.iter().find(|pod| text(&pod["metadata"]["name"]).starts_with("fixed"))?;
        let shown = text(&fixed["status"]["containerStatuses"][0]["containerID"]);
        let is_edited = edited.iter().all(|id| shown.ends_with(id)) && is_ready(fixed);
        let ended = &mayfly["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"];
        let right =
            restarts(mortal) == 1 && is_ready(mortal) && mayfly["status"]["phase"] == "Failed" && *ended == 4;
        (right && is_edited && pods.len() == 6).then(|| pods.iter().map(restarts).sum::<u64>())
    };
    let (restarts, took) = case.until_pods("what is", back, is_right);
    assert!(took <= RIGHT, "{took:?}");
    assert_eq!(restarts, 1);
    assert_eq!((running(&case, "mortal"), running(&case, "steady")), (again, steady));
    // The node's Ready may not have changed unless the controllers missed it, who waited for 50 s at least.
    let now = case.admin.node(&case.agent.name).unwrap();
    assert_eq!(
        condition(&now, "Ready")["lastTransitionTime"],
        condition(&node, "Ready")["lastTransitionTime"]
    );
    case.agent.a80_was_never_refused();
    let mut writes = status_writes(&cluster, &case.agent.name, gone);
    // The mirror is another object.
    writes.retain(|name, _| !name.starts_with("fixed"));
    assert_eq!(writes, [("mayfly", 1), ("mortal", 1)].map(|(name, count)| (name.to_owned(), count)).into());
    say(&format!(
        "API server gone for {OUTAGE:?}: a restart after {restarted:.1?}, all right {took:.1?} after its return"
    ));
}

/// The static pod, of which an edit changes the command.
fn fixed(case: &Case<'_>, seconds: &str) -> Value {
    let mut manifest = pod("fixed", "Always", &WAIT.replace("100000", seconds));
    manifest["metadata"]["namespace"] = case.namespace.name.as_str().into();
    manifest
}

/// How often the node wrote the status of each pod since then.
fn status_writes(cluster: &ControlPlane, node: &str, since: Timestamp) -> BTreeMap<String, usize> {
    let mut writes = BTreeMap::new();
    for request in cluster.requests_of(node) {
        let target = &request["objectRef"];
        let is_write =
            request["verb"] == "patch" && target["resource"] == "pods" && target["subresource"] == "status";
        let at: Timestamp = text(&request["requestReceivedTimestamp"]).parse().unwrap();
        if is_write && at > since {
            let count: &mut usize = writes.entry(text(&target["name"]).to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }
    writes
}

/// Ids of the running containers of pods whose name begins so.
fn running(case: &Case<'_>, prefix: &str) -> BTreeSet<String> {
    let listed = case.agent.runtime.containers(&case.agent.name);
    let ours = listed.iter().filter(|container| {
        let name = &container["labels"]["io.kubernetes.pod.name"];
        container["state"] == "CONTAINER_RUNNING" && text(name).starts_with(prefix)
    });
    ours.filter_map(|container| container["id"].as_str().map(str::to_owned)).collect()
}
