//! PUT of leases, and events.

use serde_json::json;

use crate::cluster::Cluster;
use crate::objects::{lease, text, uid, version};

cases! {
    a_lease_is_renewed_at_the_version_that_was_read,
    a_lease_of_another_uid_is_refused,
    a_lease_needs_microseconds,
    a_renewal_by_merge_patch_needs_no_version,
    an_event_is_made_and_counted_up,
}

async fn a_lease_is_renewed_at_the_version_that_was_read(cluster: &Cluster) {
    let made = cluster.wire.post(&cluster.leases(), lease("n", "n")).await.expect(201);
    let path = format!("{}/n", cluster.leases());
    let mut renewed = made.clone();
    renewed["spec"]["renewTime"] = json!("2026-01-02T03:04:15.000000Z");
    let stored = cluster.wire.put(&path, renewed.clone()).await.expect(200);
    assert_eq!(stored["spec"]["renewTime"], "2026-01-02T03:04:15.000000Z");
    assert_ne!(version(&stored), version(&made));
    renewed["spec"]["renewTime"] = json!("2026-01-02T03:04:25.000000Z");
    let refused = cluster.wire.put(&path, renewed.clone()).await;
    let message = "Operation cannot be fulfilled on leases.coordination.k8s.io \"n\": the object has been modified; please \
                   apply your changes to the latest version and try again";
    refused.refused(409, "Conflict", message);
    renewed["metadata"]["resourceVersion"] = json!("");
    let refused = cluster.wire.put(&path, renewed).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (422, "Invalid"), "{}", refused.body);
    assert!(
        text(&refused.body, "/message").contains("metadata.resourceVersion: Invalid value: "),
        "{}",
        refused.body
    );
    assert!(
        text(&refused.body, "/message").ends_with(": must be specified for an update"),
        "{}",
        refused.body
    );
}

async fn a_lease_of_another_uid_is_refused(cluster: &Cluster) {
    let mut made = cluster.wire.post(&cluster.leases(), lease("n", "n")).await.expect(201);
    let held = uid(&made).to_owned();
    made["metadata"]["uid"] = json!("not-the-one");
    let refused = cluster.wire.put(&format!("{}/n", cluster.leases()), made).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (409, "Conflict"));
    let ending = format!("Precondition failed: UID in precondition: not-the-one, UID in object meta: {held}");
    assert!(text(&refused.body, "/message").ends_with(&ending), "{}", refused.body);
}

async fn a_lease_needs_microseconds(cluster: &Cluster) {
    let mut wrong = lease("n", "n");
    wrong["spec"]["renewTime"] = json!("2026-01-02T03:04:05Z");
    let refused = cluster.wire.post(&cluster.leases(), wrong).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (400, "BadRequest"), "{}", refused.body);
}

async fn a_renewal_by_merge_patch_needs_no_version(cluster: &Cluster) {
    cluster.wire.post(&cluster.leases(), lease("n", "n")).await.expect(201);
    let patch = json!({ "spec": { "renewTime": "2026-01-02T03:05:05.000000Z" } });
    let stored = cluster.wire.merge(&format!("{}/n", cluster.leases()), patch).await.expect(200);
    assert_eq!(stored["spec"]["holderIdentity"], "n");
    assert_eq!(stored["spec"]["renewTime"], "2026-01-02T03:05:05.000000Z");
}

async fn an_event_is_made_and_counted_up(cluster: &Cluster) {
    let about =
        json!({ "kind": "Pod", "apiVersion": "v1", "name": "p", "namespace": cluster.namespace, "uid": "u" });
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "p.1", "namespace": cluster.namespace },
        "involvedObject": about, "reason": "Started", "message": "Started container main", "type": "Normal", "count": 1,
        "source": { "component": "kubelet", "host": cluster.node },
        "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:05Z",
    });
    cluster.wire.post(&cluster.path("events"), event).await.expect(201);
    let patch = json!({ "count": 2, "lastTimestamp": "2026-01-02T03:05:05Z" });
    let stored = cluster.wire.patch(&cluster.path("events/p.1"), patch).await.expect(200);
    assert_eq!((stored["count"].as_u64(), stored["reason"].as_str()), (Some(2), Some("Started")));
}
