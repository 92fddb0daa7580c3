//! WATCH: continuity, selection, bookmarks, expiry.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::{text, uid, version};

/// How a server whose storage cannot report progress refuses a streamed list.
const NO_PROGRESS: &str = "the required storage feature RequestWatchProgress is disabled";

cases! {
    a_watch_goes_on_where_a_list_ended,
    an_object_that_leaves_the_selection_is_deleted_for_the_watcher,
    a_watch_without_a_version_begins_with_what_is_there,
    a_streamed_list_ends_with_its_bookmark,
    a_streamed_list_may_be_refused,
    a_short_watch_gets_a_bookmark_and_ends,
    a_version_that_is_too_old_is_an_error_event,
    a_write_that_changes_nothing_is_no_event,
}

async fn watch_from(cluster: &Cluster, version: &str) -> crate::wire::Watch {
    let mine = format!("spec.nodeName={}", cluster.node);
    let parameters = [("fieldSelector", &*mine), ("resourceVersion", version), ("timeoutSeconds", "60")];
    cluster.wire.watch(&Cluster::with("/api/v1/pods", &parameters)).await
}

async fn list_version(cluster: &Cluster) -> String {
    version(&cluster.wire.get(&cluster.path("pods")).await.expect(200)).to_owned()
}

async fn a_watch_goes_on_where_a_list_ended(cluster: &Cluster) {
    cluster.pod("before", json!({})).await;
    let from = list_version(cluster).await;
    let made = cluster.pod("after", json!({})).await;
    let mut watch = watch_from(cluster, &from).await;
    assert_eq!(watch.event("ADDED", "after").await, made);
    let patch = json!({ "metadata": { "labels": { "k": "v" } } });
    let patched = cluster.wire.patch(&cluster.path("pods/after"), patch).await.expect(200);
    assert_eq!(watch.event("MODIFIED", "after").await, patched);
    assert!(version(&patched).parse::<u64>().unwrap() > version(&made).parse::<u64>().unwrap());
}

async fn an_object_that_leaves_the_selection_is_deleted_for_the_watcher(cluster: &Cluster) {
    let pod = cluster.pod("leaver", json!({ "metadata": { "labels": { "in": "yes" } } })).await;
    let parameters =
        [("labelSelector", "in=yes"), ("resourceVersion", version(&pod)), ("timeoutSeconds", "60")];
    let mut watch = cluster.wire.watch(&Cluster::with(&cluster.path("pods"), &parameters)).await;
    let left = cluster
        .wire
        .patch(&cluster.path("pods/leaver"), json!({ "metadata": { "labels": { "in": "no" } } }))
        .await
        .expect(200);
    let seen = watch.event("DELETED", "leaver").await;
    assert_eq!(seen["metadata"]["labels"]["in"], "yes", "the last state that was selected");
    assert_eq!(version(&seen), version(&left), "at the version of the change");
    cluster
        .wire
        .patch(&cluster.path("pods/leaver"), json!({ "metadata": { "labels": { "in": "yes" } } }))
        .await
        .expect(200);
    watch.event("ADDED", "leaver").await;
}

async fn a_watch_without_a_version_begins_with_what_is_there(cluster: &Cluster) {
    let pod = cluster.pod("there", json!({})).await;
    let parameters = [("resourceVersion", "0"), ("timeoutSeconds", "60")];
    let mut watch = cluster.wire.watch(&Cluster::with(&cluster.path("pods"), &parameters)).await;
    let seen = watch.event("ADDED", "there").await;
    assert_eq!(uid(&seen), uid(&pod));
}

async fn a_streamed_list_ends_with_its_bookmark(cluster: &Cluster) {
    cluster.pod("one", json!({})).await;
    cluster.pod("two", json!({})).await;
    let parameters = [
        ("sendInitialEvents", "true"),
        ("resourceVersionMatch", "NotOlderThan"),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", "60"),
    ];
    let mut watch = cluster.wire.watch(&Cluster::with(&cluster.path("pods"), &parameters)).await;
    let mut seen = Vec::new();
    let bookmark = loop {
        let event = watch.next().await.unwrap();
        if event["type"] == "BOOKMARK" {
            break event["object"].clone();
        }
        if event["type"] == "ERROR" {
            assert!(!can_stream(&event["object"]), "{event}");
            return;
        }
        assert_eq!(event["type"], "ADDED");
        seen.push(text(&event, "/object/metadata/name").to_owned());
    };
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    assert_eq!(bookmark["kind"], "Pod");
    assert_eq!(bookmark["metadata"]["annotations"], json!({ "k8s.io/initial-events-end": "true" }));
    let later = cluster.pod("three", json!({})).await;
    assert!(version(&later).parse::<u64>().unwrap() > version(&bookmark).parse::<u64>().unwrap());
    watch.event("ADDED", "three").await;
    let bad = Cluster::with(&cluster.path("pods"), &[("watch", "true"), ("sendInitialEvents", "true")]);
    let refused = cluster.wire.get(&bad).await;
    assert_eq!((refused.code, text(&refused.body, "/reason")), (422, "Invalid"), "{}", refused.body);
}

/// False, with a message, for the one refusal that is allowed: of a server whose etcd is older than 3.4.25.
pub(crate) fn can_stream(status: &Value) -> bool {
    let refused = status["message"].as_str().is_some_and(|text| text.ends_with(NO_PROGRESS));
    if refused {
        assert_eq!((status["code"].as_u64(), status["reason"].as_str()), (Some(500), Some("InternalError")));
        eprintln!("this server's etcd is too old for streamed lists");
    }
    !refused
}

async fn a_streamed_list_may_be_refused(cluster: &Cluster) {
    let Some(fake) = &cluster.fake else { return };
    fake.without_streamed_lists();
    a_streamed_list_ends_with_its_bookmark(cluster).await;
}

async fn a_short_watch_gets_a_bookmark_and_ends(cluster: &Cluster) {
    let from = list_version(cluster).await;
    let parameters = [("resourceVersion", &*from), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "5")];
    let mut watch = cluster.wire.watch(&Cluster::with(&cluster.path("pods"), &parameters)).await;
    let mut bookmarks = 0;
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "BOOKMARK");
        assert!(version(&event["object"]).parse::<u64>().unwrap() >= from.parse().unwrap());
        bookmarks += 1;
    }
    assert!(bookmarks >= 1);
}

async fn a_version_that_is_too_old_is_an_error_event(cluster: &Cluster) {
    let parameters = [("resourceVersion", "1"), ("timeoutSeconds", "3")];
    let mut watch = cluster.wire.watch(&Cluster::with("/api/v1/pods", &parameters)).await;
    let event = watch.next().await.unwrap_or_default();
    if cluster.fake.is_none() && event["type"] != "ERROR" {
        eprintln!("this server still remembers its first version: restart it to see it forget");
        return;
    }
    assert_eq!(event["type"], "ERROR");
    let status: &Value = &event["object"];
    assert_eq!((status["kind"].as_str(), status["code"].as_u64()), (Some("Status"), Some(410)));
    assert_eq!(status["reason"], "Expired");
    assert!(text(status, "/message").starts_with("too old resource version: 1 ("), "{status}");
    assert_eq!(watch.next().await, None);
}

async fn a_write_that_changes_nothing_is_no_event(cluster: &Cluster) {
    let pod = cluster.pod("same", json!({ "metadata": { "labels": { "a": "1" } } })).await;
    let same = cluster
        .wire
        .patch(&cluster.path("pods/same"), json!({ "metadata": { "labels": { "a": "1" } } }))
        .await
        .expect(200);
    assert_eq!(version(&same), version(&pod));
}
