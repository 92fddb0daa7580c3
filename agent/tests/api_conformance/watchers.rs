//! kube's own watcher on this server, by list and watch and by a streamed list.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::Cluster;
use crate::watches::can_stream;

cases! {
    a_watcher_lists_in_pages_and_follows,
    a_watcher_streams_its_list_and_follows,
}

async fn a_watcher_lists_in_pages_and_follows(cluster: &Cluster) {
    follow(cluster, watcher::Config::default().page_size(1)).await;
}

async fn a_watcher_streams_its_list_and_follows(cluster: &Cluster) {
    follow(cluster, watcher::Config::default().streaming_lists()).await;
}

async fn follow(cluster: &Cluster, config: watcher::Config) {
    cluster.pod("a", json!({})).await;
    cluster.pod("b", json!({})).await;
    let config = config.fields(&format!("spec.nodeName={}", cluster.node));
    let pods: Api<Pod> = Api::all(cluster.wire.client.clone());
    let mut events = watcher::watcher(pods, config).boxed();
    let mut told = Vec::new();
    let mut next = async || {
        let event =
            tokio::time::timeout(Duration::from_secs(15), events.try_next()).await.expect("no event in 15 s");
        let event = match event {
            Err(watcher::Error::WatchError(status)) if cluster.fake.is_none() => {
                assert!(!can_stream(&serde_json::to_value(&status).unwrap()), "{status}");
                return "refused".to_owned();
            }
            event => event.unwrap().unwrap(),
        };
        match event {
            Event::Init => "init".to_owned(),
            Event::InitApply(pod) => format!("has {}", pod.name_any()),
            Event::InitDone => "done".to_owned(),
            Event::Apply(pod) => format!("apply {}", pod.name_any()),
            Event::Delete(pod) => format!("delete {}", pod.name_any()),
        }
    };
    for _ in 0..4 {
        told.push(next().await);
        if told.iter().any(|event| event == "refused") {
            return;
        }
    }
    told.get_mut(1..3).unwrap().sort();
    assert_eq!(told, ["init", "has a", "has b", "done"]);
    cluster.pod("c", json!({})).await;
    assert_eq!(next().await, "apply c");
    cluster.wire.delete(&cluster.path("pods/a"), json!({ "gracePeriodSeconds": 0 })).await.expect(200);
    assert_eq!(next().await, "apply a");
    assert_eq!(next().await, "delete a");
}
