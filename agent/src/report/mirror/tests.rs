//! The loop against an API server in memory that admits what NodeRestriction does, on a paused clock.

mod rig;

use http::Method;
use serde_json::json;

use super::*;
use rig::*;

const NAME: &str = "kube-system/web-n1";

#[tokio::test(start_paused = true)]
async fn b07_an_edited_pod_gets_a_new_mirror_once_the_old_one_is_down() {
    let run = start();
    run.want(&["a"]);
    assert!(run.shows(Some("a")).await < Duration::from_millis(100));
    let old = static_pod("a");
    run.cards.put(card(&old));
    run.want(&["b"]);
    assert_eq!(run.idle().await, 0, "the old pod is still there, and its mirror shows its end");
    run.cards.remove(&old.uid);
    assert!(run.shows(Some("b")).await < Duration::from_secs(1));
    assert_eq!(run.mirror().unwrap().0, "mirror-2", "a mirror of another pod is another pod");
    assert_eq!(run.idle().await, 0, "nothing more is written");
    let translation = run.translation.borrow().clone();
    let expected = [(PodUid::new("b").unwrap(), PodUid::new("mirror-2").unwrap())].into();
    assert_eq!(*translation, expected);
}

#[tokio::test(start_paused = true)]
async fn b07_a_deleted_mirror_comes_back() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.change(|server| {
        server.pods.remove(NAME);
    });
    assert!(run.shows(Some("a")).await < Duration::from_secs(1), "after a forced deletion");
    run.change(|server| {
        server.pods.get_mut(NAME).unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.mirror().unwrap().0, "mirror-3", "after a graceful deletion");
    assert_eq!(run.idle().await, 0);
}

#[tokio::test(start_paused = true)]
async fn b07_a_file_that_is_removed_and_put_back_keeps_its_mirror() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    let pod = static_pod("a");
    run.cards.put(card(&pod));
    run.want(&[]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    run.want(&["a"]);
    assert_eq!(run.idle().await, 0);
    assert_eq!(run.mirror().unwrap().0, "mirror-1");
}

#[tokio::test(start_paused = true)]
async fn b08_of_three_hundred_edits_the_last_one_is_shown() {
    let run = start();
    for edit in 0..300 {
        run.want(&[&format!("edit-{edit}")]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(run.shows(Some("edit-299")).await < Duration::from_secs(1));
    assert_eq!(run.idle().await, 0);
}

#[tokio::test(start_paused = true)]
async fn b09_a_removed_pods_mirror_stays_until_the_pod_is_down() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    let pod = static_pod("a");
    run.cards.put(card(&pod));
    run.want(&[]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(run.mirror().is_some(), "the runtime is down: nobody knows that the pod is");
    run.cards.remove(&pod.uid);
    assert!(run.shows(None).await < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn b09_nothing_is_removed_before_the_runtime_was_asked_or_on_a_single_absence() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.runtime.send_replace(Arc::default());
    run.want(&[]);
    assert_eq!(run.idle().await, 0, "the agent has just started and the runtime is down");
    run.runtime.send_replace(Arc::new(Snapshot { listed: 1, ..Snapshot::default() }));
    tokio::time::sleep(Duration::from_millis(900)).await;
    let pod = static_pod("a");
    run.cards.put(card(&pod));
    assert_eq!(run.idle().await, 0, "the pod was found in the runtime a moment later");
    run.cards.remove(&pod.uid);
    run.shows(None).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_the_sources_are_read_or_made_before_the_node_is_there() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.desired.send_replace(Arc::default());
    assert_eq!(run.idle().await, 0);
    run.node.send_replace(None);
    run.change(|server| server.pods.clear());
    run.want(&["a"]);
    assert_eq!(run.idle().await, 0);
    run.node.send_replace(node());
    assert!(run.shows(Some("a")).await < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn beyond27_after_an_outage_the_mirror_is_right_within_a_second() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.change(|server| server.up = false);
    run.want(&["b"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = run.server.lock().unwrap().requests.len();
    assert!(tries < 700, "{tries} tries in ten minutes");
    run.change(|server| server.up = true);
    let took = run.shows(Some("b")).await;
    assert!(took <= Duration::from_millis(1_100), "took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_namespace_is_told_and_waited_for() {
    let run = start();
    run.change(|server| server.namespaces.clear());
    run.want(&["a"]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let events = run.events.list();
    assert_eq!((events.len(), events[0].reason.as_str(), events[0].object.as_str()), (1, REASON, NAME));
    assert!(events[0].message.contains("not found"), "{}", events[0].message);
    run.change(|server| {
        server.namespaces.insert("kube-system".into());
    });
    assert!(run.shows(Some("a")).await <= Duration::from_secs(16));
}

#[tokio::test(start_paused = true)]
async fn another_pod_of_the_same_name_is_left_alone_and_told_of() {
    let run = start();
    let foreign = json!({ "metadata": { "namespace": "kube-system", "name": "web-n1", "uid": "theirs" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "theirs" }] } });
    run.change(|server| {
        server.pods.insert(NAME.into(), foreign);
    });
    run.want(&["a"]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(run.mirror().unwrap().0, "theirs");
    assert!(run.events.list()[0].message.contains("delete or rename it"));
    let deletions =
        run.server.lock().unwrap().requests.iter().filter(|(method, _)| method == Method::DELETE).count();
    assert_eq!(deletions, 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_mirror_that_the_watch_does_not_show_yet_is_found() {
    let run = start();
    run.change(|server| server.lags = true);
    run.want(&["a"]);
    run.shows(Some("a")).await;
    // Longer than an answer is believed without the watch: it is asked again, and nothing changes.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(run.mirror().unwrap().0, "mirror-1");
    let requests = run.server.lock().unwrap().requests.clone();
    assert_eq!(requests, [(Method::POST, 201), (Method::POST, 409), (Method::GET, 200)]);
}
