//! PATCH of pods, nodes and their statuses.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::{running, terminated, text, uid, version};

cases! {
    a_status_patch_changes_the_status_alone,
    a_patch_of_the_object_leaves_the_status_alone,
    conditions_are_merged_and_container_statuses_replaced,
    an_ip_must_be_taken_out_by_name,
    another_uid_in_a_patch_is_refused,
    another_version_in_a_patch_is_refused,
    an_ended_container_stays_ended_unless_its_policy_restarts_it,
    the_quality_of_service_cannot_change,
    the_server_writes_less_than_it_was_given,
    a_node_keeps_conditions_of_others,
    a_changed_spec_raises_the_generation,
    a_patch_of_nothing_is_not_found,
}

async fn a_status_patch_changes_the_status_alone(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let patch = json!({ "spec": { "nodeName": "another" }, "metadata": { "labels": { "l": "1" } }, "status": { "phase": "Running" } });
    let pod = cluster.wire.patch(&cluster.path("pods/p/status"), patch).await.expect(200);
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    assert_eq!(pod["spec"]["nodeName"], *cluster.node);
    assert_eq!(pod["metadata"]["generation"], 1);
    assert_eq!(pod["metadata"]["labels"]["l"], "1", "the status of a pod may carry labels");
}

async fn a_patch_of_the_object_leaves_the_status_alone(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let patch = json!({ "metadata": { "annotations": { "a": "1" } }, "status": { "phase": "Failed" } });
    let pod = cluster.wire.patch(&cluster.path("pods/p"), patch).await.expect(200);
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["metadata"]["annotations"]["a"], "1");
}

async fn conditions_are_merged_and_container_statuses_replaced(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let path = cluster.path("pods/p/status");
    let first = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "R", "lastTransitionTime": "2026-01-02T03:04:05Z" }, { "type": "example.com/Theirs", "status": "True" }], "containerStatuses": [running("main"), running("more")] } });
    cluster.wire.patch(&path, first).await.expect(200);
    let second = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": null }], "containerStatuses": [running("main")] } });
    let pod = cluster.wire.patch(&path, second).await.expect(200);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2, "{pod}");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
    assert_eq!((ready["status"].as_str(), ready.get("reason")), (Some("True"), None));
    assert_eq!(ready["lastTransitionTime"], "2026-01-02T03:04:05Z", "fields that are not given stay");
    assert_eq!(pod["status"]["containerStatuses"].as_array().unwrap().len(), 1);
    let gone = json!({ "status": { "conditions": [{ "$patch": "delete", "type": "example.com/Theirs" }] } });
    let pod = cluster.wire.patch(&path, gone).await.expect(200);
    assert_eq!(pod["status"]["conditions"].as_array().unwrap().len(), 1);
}

async fn an_ip_must_be_taken_out_by_name(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let path = cluster.path("pods/p/status");
    let status = |ip: &str, list: Value| json!({ "status": { "podIP": ip, "podIPs": list } });
    let pod = cluster.wire.patch(&path, status("10.0.0.1", json!([{ "ip": "10.0.0.1" }]))).await.expect(200);
    assert_eq!(pod["status"]["podIPs"], json!([{ "ip": "10.0.0.1" }]));
    let swap = json!([{ "ip": "10.0.0.1", "$patch": "delete" }, { "ip": "10.0.0.2" }]);
    let pod = cluster.wire.patch(&path, status("10.0.0.2", swap)).await.expect(200);
    assert_eq!(pod["status"]["podIPs"], json!([{ "ip": "10.0.0.2" }]));
    let whole = json!([{ "$patch": "replace" }, { "ip": "10.0.0.3" }]);
    let pod = cluster.wire.patch(&path, status("10.0.0.3", whole)).await.expect(200);
    assert_eq!(pod["status"]["podIPs"], json!([{ "ip": "10.0.0.3" }]));
}

/// Not 409: the patch is applied first, and then validation finds a field that may not change.
async fn another_uid_in_a_patch_is_refused(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({})).await;
    let wrong = json!({ "metadata": { "uid": "not-the-one" }, "status": { "phase": "Running" } });
    let refused = cluster.wire.patch(&cluster.path("pods/p/status"), wrong).await;
    let text = "Pod \"p\" is invalid: metadata.uid: Invalid value: \"not-the-one\": field is immutable";
    refused.refused(422, "Invalid", text);
    let right = json!({ "metadata": { "uid": uid(&pod) }, "status": { "phase": "Running" } });
    let pod = cluster.wire.patch(&cluster.path("pods/p/status"), right).await.expect(200);
    assert_eq!(pod["status"]["phase"], "Running");
}

async fn another_version_in_a_patch_is_refused(cluster: &Cluster) {
    let old = cluster.pod("p", json!({})).await;
    let path = cluster.path("pods/p/status");
    cluster.wire.patch(&path, json!({ "status": { "phase": "Running" } })).await.expect(200);
    let stale = json!({ "metadata": { "resourceVersion": version(&old) }, "status": { "phase": "Failed" } });
    let text = "Operation cannot be fulfilled on pods \"p\": the object has been modified; please apply your changes to \
                the latest version and try again";
    let body = cluster.wire.patch(&path, stale).await.refused(409, "Conflict", text);
    assert_eq!(body["details"], json!({ "name": "p", "kind": "pods" }));
}

async fn an_ended_container_stays_ended_unless_its_policy_restarts_it(cluster: &Cluster) {
    cluster.pod("never", json!({ "spec": { "restartPolicy": "Never" } })).await;
    cluster.pod("always", json!({})).await;
    for (name, code) in [("never", 422), ("always", 200)] {
        let path = cluster.path(&format!("pods/{name}/status"));
        cluster
            .wire
            .patch(&path, json!({ "status": { "containerStatuses": [terminated("main", 1)] } }))
            .await
            .expect(200);
        let again =
            cluster.wire.patch(&path, json!({ "status": { "containerStatuses": [running("main")] } })).await;
        let body = again.expect(code);
        if code == 422 {
            let wanted = "Pod \"never\" is invalid: status.containerStatuses[0].state: Forbidden: may not be transitioned to \
                          non-terminated state";
            assert_eq!(text(&body, "/message"), wanted);
        }
    }
}

async fn the_quality_of_service_cannot_change(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let refused = cluster
        .wire
        .patch(&cluster.path("pods/p/status"), json!({ "status": { "qosClass": "Burstable" } }))
        .await;
    refused.refused(
        422,
        "Invalid",
        "Pod \"p\" is invalid: status.qosClass: Invalid value: \"Burstable\": field is immutable",
    );
}

async fn the_server_writes_less_than_it_was_given(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let status = json!({ "message": "", "startTime": "2026-01-02T03:04:05.678Z", "hostIPs": [], "containerStatuses": [running("main")] });
    let pod =
        cluster.wire.patch(&cluster.path("pods/p/status"), json!({ "status": status })).await.expect(200);
    assert_eq!(pod["status"]["startTime"], "2026-01-02T03:04:05Z");
    assert_eq!(pod["status"].get("message"), None);
    assert_eq!(pod["status"].get("hostIPs"), None);
    assert_eq!(pod["status"]["containerStatuses"][0]["imageID"], "");
    let wrong = cluster.wire.patch(&cluster.path("pods/p/status"), json!({ "status": { "phase": 7 } })).await;
    assert!(matches!(wrong.code, 400 | 422), "{} {}", wrong.code, wrong.body);
}

async fn a_node_keeps_conditions_of_others(cluster: &Cluster) {
    let path = format!("/api/v1/nodes/{}/status", cluster.node);
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": "R", "message": "m", "lastHeartbeatTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z" });
    cluster
        .wire
        .patch(&path, json!({ "status": { "conditions": [condition("KernelDeadlock")] } }))
        .await
        .expect(200);
    let addresses =
        json!([{ "type": "Hostname", "address": "h" }, { "type": "InternalIP", "address": "10.0.0.9" }]);
    let node = cluster
        .wire
        .patch(
            &path,
            json!({ "status": { "conditions": [condition("PIDPressure")], "addresses": addresses } }),
        )
        .await
        .expect(200);
    let kinds: Vec<&str> = node["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| text(condition, "/type"))
        .collect();
    assert!(kinds.contains(&"KernelDeadlock") && kinds.contains(&"PIDPressure"), "{kinds:?}");
    assert_eq!(node["status"]["addresses"], addresses);
}

async fn a_changed_spec_raises_the_generation(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let pod = cluster
        .wire
        .patch(&cluster.path("pods/p"), json!({ "spec": { "activeDeadlineSeconds": 1000 } }))
        .await
        .expect(200);
    assert_eq!(pod["metadata"]["generation"], 2);
    let pod = cluster
        .wire
        .patch(&cluster.path("pods/p"), json!({ "metadata": { "labels": { "a": "b" } } }))
        .await
        .expect(200);
    assert_eq!(pod["metadata"]["generation"], 2);
    let observed = json!({ "status": { "observedGeneration": 2 } });
    cluster.wire.patch(&cluster.path("pods/p/status"), observed).await.expect(200);
    let cleared = json!({ "status": { "observedGeneration": null } });
    let pod = cluster.wire.patch(&cluster.path("pods/p/status"), cleared).await.expect(200);
    assert_eq!(pod["status"]["observedGeneration"], 2, "it cannot be cleared");
}

async fn a_patch_of_nothing_is_not_found(cluster: &Cluster) {
    let patch = json!({ "metadata": { "uid": "u" }, "status": { "phase": "Running" } });
    let refused = cluster.wire.patch(&cluster.path("pods/none/status"), patch).await;
    refused.refused(404, "NotFound", "pods \"none\" not found");
}
