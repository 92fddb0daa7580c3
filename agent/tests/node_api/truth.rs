//! What is written is true, is ours, and is allowed.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::fake_api::FakeApi;
use crate::harness::{Make, NODE};
use crate::rig::Whole;

#[tokio::test(start_paused = true)]
async fn b27_conditions_labels_and_taints_of_others_stay() {
    let (make, api) = (Make::new(), FakeApi::new());
    let whole = Whole::start(&make, &api, &[]);
    whole.until_ready(Duration::from_secs(1)).await;
    let theirs = json!({"type": "KernelDeadlock", "status": "False", "reason": "KernelHasNoDeadlock",
        "message": "kernel has no deadlock"});
    let taints = json!([{"key": "example.com/t", "value": "v", "effect": "NoSchedule"}]);
    for count in 0..100 {
        api.update("nodes", "", NODE, |node| {
            let conditions = node["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|condition| condition["type"] != "KernelDeadlock");
            conditions.insert(count % 5, theirs.clone());
            // Something to put right each time.
            node["status"]["addresses"] = json!([]);
            node["metadata"]["labels"]["example.com/count"] = json!(count.to_string());
            node["spec"]["taints"] = taints.clone();
        });
        sleep(Duration::from_secs(11)).await;
        let node = whole.node().unwrap();
        assert_eq!(whole.condition("KernelDeadlock").as_ref(), Some(&theirs), "after {count} syncs");
        assert_eq!(node["metadata"]["labels"]["example.com/count"], json!(count.to_string()));
        assert_eq!(node["spec"]["taints"], taints);
        assert_eq!(node["status"]["addresses"][0]["address"], "192.0.2.7");
    }
    assert!(whole.status_writes() >= 100);
    whole.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a17_a_foreign_address_is_gone_within_ten_seconds() {
    let (make, api) = (Make::new(), FakeApi::new());
    let whole = Whole::start(&make, &api, &[]);
    whole.until_ready(Duration::from_secs(1)).await;
    let ours = json!([{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "Hostname", "address": NODE}]);
    let wrong = [
        json!([{"type": "InternalIP", "address": "203.0.113.1"}]),
        json!([{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "Hostname", "address": NODE},
            {"type": "InternalIP", "address": "127.0.0.1"}]),
        json!([{"type": "ExternalDNS", "address": "apiserver.example.com"}]),
        json!([]),
    ];
    for wrong in wrong {
        api.update("nodes", "", NODE, |node| node["status"]["addresses"] = wrong.clone());
        api.watch_until("our addresses are back", Duration::from_secs(10), |_| {
            whole.node().unwrap()["status"]["addresses"] == ours
        })
        .await;
    }
    whole.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a81_nothing_is_refused_and_nothing_beyond_the_nodes_own_is_written() {
    let (make, api) = (Make::new(), FakeApi::new());
    let whole = Whole::start(&make, &api, &[]);
    whole.until_ready(Duration::from_secs(1)).await;
    sleep(Duration::from_secs(700)).await;
    whole.stop().await;
    let whole = Whole::start(&make, &api, &[]);
    sleep(Duration::from_secs(60)).await;
    whole.stop().await;
    for request in api.requests() {
        assert_ne!(request.status, Some(403), "{request:?}");
        if !request.is_write() {
            continue;
        }
        assert_eq!(request.name, NODE, "{request:?}");
        let is_lease = request.resource == "leases.coordination.k8s.io";
        assert!(is_lease || request.resource == "nodes", "{request:?}");
        assert!(is_lease || request.body["metadata"].get("ownerReferences").is_none(), "{request:?}");
        assert!(!request.body.to_string().contains("node-restriction"), "{request:?}");
    }
    let lease = api.get("leases.coordination.k8s.io", "kube-node-lease", NODE).unwrap();
    assert_eq!(lease["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(1));
}
