//! DELETE of pods, as a kubelet meets it.

use serde_json::json;

use crate::cluster::Cluster;
use crate::objects::{uid, version};
use crate::wire::Watch;

cases! {
    a_graceful_deletion_marks_first_and_ends_with_the_node,
    a_shorter_grace_is_taken_and_a_longer_one_not,
    a_forced_deletion_needs_nobody,
    a_pod_without_a_node_or_at_its_end_goes_at_once,
    a_finalizer_holds_the_object,
    a_grace_that_runs_is_not_ended_by_a_finalizer,
    another_uid_in_the_precondition_is_refused,
    a_mirror_pods_grace_can_be_given_in_the_query,
}

async fn watch(cluster: &Cluster, from: &str) -> Watch {
    let parameters = [("resourceVersion", from), ("timeoutSeconds", "60")];
    cluster.wire.watch(&Cluster::with(&cluster.path("pods"), &parameters)).await
}

async fn a_graceful_deletion_marks_first_and_ends_with_the_node(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({})).await;
    let mut watch = watch(cluster, version(&pod)).await;
    let marked = cluster.wire.delete(&cluster.path("pods/p"), json!({})).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["generation"], 2, "the mark counts as a change");
    assert_eq!(watch.event("MODIFIED", "p").await, marked);
    let again = cluster.wire.delete(&cluster.path("pods/p"), json!({})).await.expect(200);
    assert_eq!(version(&again), version(&marked), "a second request changes nothing");
    let last = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": uid(&pod) } });
    cluster.wire.delete(&cluster.path("pods/p"), last).await.expect(200);
    let zero = watch.event("MODIFIED", "p").await;
    assert_eq!(zero["metadata"]["deletionGracePeriodSeconds"], 0);
    let gone = watch.event("DELETED", "p").await;
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 0);
    assert!(version(&gone).parse::<u64>().unwrap() > version(&zero).parse::<u64>().unwrap());
    assert_eq!(cluster.wire.get(&cluster.path("pods/p")).await.code, 404);
    let refused = cluster.wire.delete(&cluster.path("pods/p"), json!({})).await;
    refused.refused(404, "NotFound", "pods \"p\" not found");
}

async fn a_shorter_grace_is_taken_and_a_longer_one_not(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let path = cluster.path("pods/p");
    let first = cluster.wire.delete(&path, json!({ "gracePeriodSeconds": 20 })).await.expect(200);
    let longer = cluster.wire.delete(&path, json!({ "gracePeriodSeconds": 25 })).await.expect(200);
    assert_eq!(version(&longer), version(&first));
    let shorter = cluster.wire.delete(&path, json!({ "gracePeriodSeconds": 5 })).await.expect(200);
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    assert_eq!(shorter["metadata"]["generation"], 2, "only the first mark counts");
    let time = |object: &serde_json::Value| {
        object["metadata"]["deletionTimestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    assert_eq!(time(&first).as_second() - time(&shorter).as_second(), 15);
}

async fn a_forced_deletion_needs_nobody(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({})).await;
    let mut watch = watch(cluster, version(&pod)).await;
    cluster.wire.delete(&cluster.path("pods/p"), json!({ "gracePeriodSeconds": 0 })).await.expect(200);
    watch.event("MODIFIED", "p").await;
    watch.event("DELETED", "p").await;
    let next = cluster.pod("p", json!({})).await;
    assert_ne!(uid(&next), uid(&pod));
}

async fn a_pod_without_a_node_or_at_its_end_goes_at_once(cluster: &Cluster) {
    cluster.pod("ended", json!({ "spec": { "restartPolicy": "Never" } })).await;
    cluster
        .wire
        .patch(&cluster.path("pods/ended/status"), json!({ "status": { "phase": "Succeeded" } }))
        .await
        .expect(200);
    let floating = json!({ "spec": { "nodeName": "", "schedulerName": "nobody" } });
    cluster.pod("floating", floating).await;
    for name in ["ended", "floating"] {
        let path = cluster.path(&format!("pods/{name}"));
        cluster.wire.delete(&path, json!({})).await.expect(200);
        assert_eq!(cluster.wire.get(&path).await.code, 404, "{name}");
    }
}

async fn a_finalizer_holds_the_object(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({ "metadata": { "finalizers": ["example.com/hold"] } })).await;
    let path = cluster.path("pods/p");
    let mut watch = watch(cluster, version(&pod)).await;
    let held = cluster.wire.delete(&path, json!({ "gracePeriodSeconds": 0 })).await.expect(200);
    assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 0);
    watch.event("MODIFIED", "p").await;
    cluster
        .wire
        .patch(&cluster.path("pods/p/status"), json!({ "status": { "phase": "Succeeded" } }))
        .await
        .expect(200);
    watch.event("MODIFIED", "p").await;
    let more = json!({ "metadata": { "finalizers": ["example.com/late"] } });
    let refused = cluster.wire.patch(&path, more).await;
    let text = "Pod \"p\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being \
                deleted, found new finalizers []string{\"example.com/late\"}";
    refused.refused(422, "Invalid", text);
    cluster.wire.merge(&path, json!({ "metadata": { "finalizers": null } })).await.expect(200);
    let gone = watch.event("DELETED", "p").await;
    assert_eq!(gone["status"]["phase"], "Succeeded");
    assert_eq!(cluster.wire.get(&path).await.code, 404);
}

async fn a_grace_that_runs_is_not_ended_by_a_finalizer(cluster: &Cluster) {
    cluster.pod("p", json!({ "metadata": { "finalizers": ["example.com/hold"] } })).await;
    let path = cluster.path("pods/p");
    cluster.wire.delete(&path, json!({})).await.expect(200);
    cluster.wire.merge(&path, json!({ "metadata": { "finalizers": null } })).await.expect(200);
    let pod = cluster.wire.get(&path).await.expect(200);
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 30, "the node has the last word");
    cluster.wire.delete(&path, json!({ "gracePeriodSeconds": 0 })).await.expect(200);
    assert_eq!(cluster.wire.get(&path).await.code, 404);
}

async fn another_uid_in_the_precondition_is_refused(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({})).await;
    let options = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": "not-the-one" } });
    let refused = cluster.wire.delete(&cluster.path("pods/p"), options).await;
    let text = format!(
        "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (not-the-one) does not match the UID in \
         record ({}). The object might have been deleted and then recreated",
        uid(&pod)
    );
    let body = refused.refused(409, "Conflict", &text);
    assert_eq!(body["details"], json!({ "name": "p", "kind": "Pod" }));
    assert_eq!(cluster.wire.get(&cluster.path("pods/p")).await.code, 200);
}

async fn a_mirror_pods_grace_can_be_given_in_the_query(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let path = Cluster::with(&cluster.path("pods/p"), &[("gracePeriodSeconds", "7")]);
    let marked = cluster.wire.delete(&path, serde_json::Value::Null).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 7);
}
