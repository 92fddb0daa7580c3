//! LIST: pages, selectors, versions.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::{text, version};

cases! {
    a_list_in_pages_shows_one_version,
    a_list_is_selected_by_field_and_label,
    a_list_at_an_exact_version_shows_what_was,
    a_list_of_a_version_to_come_times_out,
    an_unknown_field_and_an_unknown_name_are_refused,
    a_namespace_that_is_not_there_takes_nothing,
    a_second_object_of_a_name_is_refused,
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| text(item, "/metadata/name")).collect()
}

async fn a_list_in_pages_shows_one_version(cluster: &Cluster) {
    for name in ["a", "b", "c", "d", "e"] {
        cluster.pod(name, json!({})).await;
    }
    let path = cluster.path("pods");
    let first = cluster.wire.get(&Cluster::with(&path, &[("limit", "2")])).await.expect(200);
    assert_eq!(first["kind"], "PodList");
    assert_eq!(first["items"][0].get("kind"), None, "items of a list do not say their kind");
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    cluster.pod("bb", json!({})).await;
    let token = text(&first, "/metadata/continue").to_owned();
    let second =
        cluster.wire.get(&Cluster::with(&path, &[("limit", "2"), ("continue", &token)])).await.expect(200);
    assert_eq!(names(&second), ["c", "d"], "what came later is not in the next page");
    assert_eq!(version(&second), version(&first));
    let token = text(&second, "/metadata/continue").to_owned();
    let last =
        cluster.wire.get(&Cluster::with(&path, &[("limit", "2"), ("continue", &token)])).await.expect(200);
    assert_eq!(names(&last), ["e"]);
    assert_eq!(last["metadata"].get("continue"), None);
    let refused = cluster.wire.get(&Cluster::with(&path, &[("limit", "2"), ("continue", "nonsense")])).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (400, "BadRequest"));
}

async fn a_list_is_selected_by_field_and_label(cluster: &Cluster) {
    cluster.pod("mine", json!({ "metadata": { "labels": { "app": "x" } } })).await;
    cluster
        .pod("theirs", json!({ "spec": { "nodeName": "another" }, "metadata": { "labels": { "app": "y" } } }))
        .await;
    let selected = |key: &'static str, value: String| async move {
        let list =
            cluster.wire.get(&Cluster::with(&cluster.path("pods"), &[(key, &value)])).await.expect(200);
        names(&list).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(selected("fieldSelector", format!("spec.nodeName={}", cluster.node)).await, ["mine"]);
    assert_eq!(selected("fieldSelector", "metadata.name=theirs".to_owned()).await, ["theirs"]);
    assert_eq!(selected("fieldSelector", format!("spec.nodeName!={}", cluster.node)).await, ["theirs"]);
    assert_eq!(selected("labelSelector", "app=x".to_owned()).await, ["mine"]);
    assert_eq!(selected("labelSelector", "app=z".to_owned()).await, [""; 0]);
}

async fn a_list_at_an_exact_version_shows_what_was(cluster: &Cluster) {
    let first = cluster.pod("first", json!({})).await;
    cluster.pod("second", json!({})).await;
    let path = Cluster::with(
        &cluster.path("pods"),
        &[("resourceVersion", version(&first)), ("resourceVersionMatch", "Exact")],
    );
    let list = cluster.wire.get(&path).await.expect(200);
    assert_eq!(names(&list), ["first"]);
    assert_eq!(version(&list), version(&first));
    let at_least = Cluster::with(
        &cluster.path("pods"),
        &[("resourceVersion", version(&first)), ("resourceVersionMatch", "NotOlderThan")],
    );
    assert!(names(&cluster.wire.get(&at_least).await.expect(200)).contains(&"first"));
}

async fn a_list_of_a_version_to_come_times_out(cluster: &Cluster) {
    let path = Cluster::with(
        &cluster.path("pods"),
        &[("resourceVersion", "999999999"), ("resourceVersionMatch", "NotOlderThan")],
    );
    let refused = cluster.wire.get(&path).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (504, "Timeout"), "{}", refused.body);
    assert!(
        text(&refused.body, "/message")
            .starts_with("Timeout: Too large resource version: 999999999, current: ")
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

async fn an_unknown_field_and_an_unknown_name_are_refused(cluster: &Cluster) {
    let path = Cluster::with(&cluster.path("pods"), &[("fieldSelector", "spec.bogus=1")]);
    let refused = cluster.wire.get(&path).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (400, "BadRequest"), "{}", refused.body);
    let body = cluster.wire.get(&cluster.path("pods/none")).await.refused(
        404,
        "NotFound",
        "pods \"none\" not found",
    );
    assert_eq!(body["details"], json!({ "name": "none", "kind": "pods" }));
    let leases = cluster.wire.get(&format!("{}/none", cluster.leases())).await;
    let body = leases.refused(404, "NotFound", "leases.coordination.k8s.io \"none\" not found");
    assert_eq!(body["details"], json!({ "name": "none", "group": "coordination.k8s.io", "kind": "leases" }));
}

async fn a_namespace_that_is_not_there_takes_nothing(cluster: &Cluster) {
    let pod = crate::objects::pod("lost", &cluster.node, json!({}));
    let refused = cluster.wire.post("/api/v1/namespaces/nowhere-at-all/pods", pod).await;
    refused.refused(404, "NotFound", "namespaces \"nowhere-at-all\" not found");
}

async fn a_second_object_of_a_name_is_refused(cluster: &Cluster) {
    let first = cluster.pod("twice", json!({})).await;
    assert_eq!(first["metadata"]["generation"], 1);
    assert_eq!(first["status"], json!({ "phase": "Pending", "qosClass": "BestEffort" }));
    let pod = crate::objects::pod("twice", &cluster.node, json!({}));
    let body = cluster.wire.post(&cluster.path("pods"), pod).await.refused(
        409,
        "AlreadyExists",
        "pods \"twice\" already exists",
    );
    assert_eq!(body["details"], json!({ "name": "twice", "kind": "pods" }));
}
