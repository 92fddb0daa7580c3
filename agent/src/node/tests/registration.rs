//! How the object comes to be.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_new_node_is_ready_within_a_second_and_has_its_lease() {
    let rig = healthy();
    let took = rig.until(1, "Ready node", Rig::is_ready).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    rig.until(1, "lease", |rig| rig.api.object(LEASE).is_some()).await;
    sleep(Duration::from_secs(1)).await;
    let (node, lease) = (rig.api.node(), rig.api.object(LEASE).unwrap());
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "containerd://2.2.0");
    assert_eq!(node["status"]["addresses"][0], json!({"type": "InternalIP", "address": "192.0.2.7"}));
    assert_eq!(lease["spec"]["holderIdentity"], "node1");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    let owner =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": node["metadata"]["uid"]}]);
    assert_eq!(lease["metadata"]["ownerReferences"], owner);
    let reasons = rig.reasons();
    assert_eq!(reasons.first().map(String::as_str), Some("Starting"));
    assert!(reasons.contains(&"NodeReady".to_owned()), "{reasons:?}");
    let ready = rig.events.list().into_iter().find(|event| event.reason == "NodeReady").unwrap();
    assert_eq!(
        (ready.object.as_str(), ready.message.as_str()),
        ("node", "Node node1 status is now: NodeReady")
    );
    assert!(rig.handle.node.borrow().is_some() && rig.handle.problem.borrow().is_none());
    let resources = rig.handle.resources.borrow().clone().unwrap();
    assert_eq!(resources.allocatable["memory"].0, "3996Mi");
    rig.end().await;
}

fn node_of(machine_id: &str, taints: &Value) -> Value {
    let info = json!({"machineID": machine_id, "systemUUID": "other", "bootID": "b0", "kernelVersion": "",
        "osImage": "", "containerRuntimeVersion": "", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
        "operatingSystem": "linux", "architecture": "amd64"});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}, "spec": {"taints": taints},
        "status": {"nodeInfo": info}})
}

#[tokio::test(start_paused = true)]
async fn the_api_server_of_another_cluster_is_named_and_left_alone() {
    let api = FakeApi::default();
    api.put(NODE, node_of("another", &json!([])));
    let rig = rig(&api, well(), false, json!({}));
    sleep(Duration::from_secs(120)).await;
    let problem = rig.handle.problem.borrow().clone().unwrap();
    assert!(problem.contains("its machine id is another, this machine's is m1"), "{problem}");
    assert!(!rig.handle.refused.borrow().clone().unwrap().is_fatal());
    assert_eq!((rig.patches().len(), rig.api.object(LEASE)), (0, None));
    rig.api.delete(NODE);
    rig.until(8, "Ready node", Rig::is_ready).await;
    rig.until(1, "no problem", |rig| rig.handle.problem.borrow().is_none()).await;
    assert!(rig.handle.refused.borrow().is_none());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_virtual_node_that_lacks_its_taint_is_a_start_error() {
    let api = FakeApi::default();
    api.put(NODE, node_of("m1", &json!([])));
    let rig = rig(&api, well(), true, json!({}));
    rig.until(5, "refusal", |rig| rig.handle.refused.borrow().is_some()).await;
    assert!(rig.handle.refused.borrow().clone().unwrap().is_fatal());
    assert_eq!(rig.patches().len(), 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rebooted_node_says_so_once() {
    let api = FakeApi::default();
    api.put(NODE, node_of("m1", &json!([])));
    let rig = rig(&api, well(), false, json!({}));
    sleep(Duration::from_secs(60)).await;
    let rebooted: Vec<_> = rig.events.list().into_iter().filter(|event| event.reason == "Rebooted").collect();
    assert_eq!((rebooted.len(), rebooted[0].count, rebooted[0].kind.as_str()), (1, 1, "Warning"));
    assert_eq!(rebooted[0].message, "Node node1 has been rebooted, boot id: b1");
    assert_eq!(rig.api.node()["status"]["nodeInfo"]["bootID"], "b1");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_register_itself_waits_to_be_made() {
    let api = FakeApi::default();
    let rig = rig(&api, well(), false, json!({"registerNode": false}));
    sleep(Duration::from_secs(30)).await;
    assert!(rig.handle.problem.borrow().clone().unwrap().contains("registerNode is false"));
    assert!(rig.api.seen().iter().all(|seen| seen.method == Method::GET));
    rig.api.put(NODE, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}));
    rig.until(8, "Ready node", Rig::is_ready).await;
    rig.until(1, "lease", |rig| rig.api.object(LEASE).is_some()).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    let api = FakeApi::default();
    api.fault(Fault::Code(503));
    let rig = rig(&api, well(), false, json!({}));
    sleep(Duration::from_secs(300)).await;
    assert!(rig.handle.problem.borrow().clone().unwrap().contains("failed to register the node"));
    rig.api.fault(Fault::None);
    rig.until(8, "Ready node", Rig::is_ready).await;
    rig.until(8, "lease", |rig| rig.api.object(LEASE).is_some()).await;
    rig.until(8, "node in the watch", |rig| rig.handle.node.borrow().is_some()).await;
    rig.end().await;
}
