//! Watches and calls while the whole network fails, in virtual time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::fake_api::requests::Verb;
use crate::fake_api::{FakeApi, Fault, On};
use crate::wire::{Watch, Wire};

const PATH: &str = "/api/v1/pods?allowWatchBookmarks=true&resourceVersion=";

fn pod(api: &FakeApi, name: &str) {
    api.create(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": { "nodeName": "node1", "containers": [] } }));
}

async fn start() -> (FakeApi, Wire, Watch) {
    let api = FakeApi::new();
    let wire = Wire { client: api.client() };
    let watch = wire.watch(&format!("{PATH}{}", api.version())).await;
    (api, wire, watch)
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_gets_bookmarks_and_a_silenced_one_nothing() {
    let (api, wire, mut watch) = start().await;
    api.bookmark_every(Duration::from_secs(10));
    let began = Instant::now();
    assert_eq!(watch.try_next(Duration::from_secs(61)).await.unwrap().unwrap()["type"], "BOOKMARK");
    assert_eq!(watch.try_next(Duration::from_secs(11)).await.unwrap().unwrap()["type"], "BOOKMARK");
    assert_eq!(began.elapsed().as_secs(), 70, "the first period was set before the change");
    api.silence_watches("pods");
    pod(&api, "unseen");
    assert!(watch.try_next(Duration::from_secs(3_600)).await.is_err());
    let mut fresh = wire.watch(&format!("{PATH}0")).await;
    fresh.event("ADDED", "unseen").await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_resets_and_refuses_and_comes_back() {
    let (api, wire, mut watch) = start().await;
    api.down();
    assert!(watch.try_next(Duration::from_secs(1)).await.unwrap().is_none_or(|event| event == Value::Null));
    assert!(wire.client.apiserver_version().await.is_err());
    let call = wire.client.request_text(http::Request::get("/api/v1/nodes").body(Vec::new()).unwrap());
    assert!(call.await.is_err());
    let tried = api.requests().pop().unwrap();
    assert_eq!(
        (tried.verb, tried.status, tried.ended.is_some()),
        (Verb::List, None, true),
        "attempts are counted"
    );
    api.up();
    assert_eq!(wire.client.apiserver_version().await.unwrap().minor, "36");
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_swallows_old_watches_for_ever_and_new_calls_until_it_ends() {
    let (api, wire, mut watch) = start().await;
    api.black_hole();
    pod(&api, "p");
    assert!(timeout(Duration::from_secs(60), wire.get("/api/v1/nodes")).await.is_err());
    api.up();
    wire.get("/api/v1/nodes").await.expect(200);
    assert!(watch.try_next(Duration::from_secs(600)).await.is_err());
    let watches =
        api.requests().into_iter().filter(|request| request.verb == Verb::Watch && request.ended.is_none());
    assert_eq!(watches.count(), 1, "the server does not know that nobody hears it");
    drop(watch);
    assert_eq!(api.count(|request| request.ended.is_none()), 0);
}

#[tokio::test(start_paused = true)]
async fn watches_can_expire_end_and_be_cut_in_the_middle() {
    let (api, wire, mut watch) = start().await;
    api.expire_watches("pods");
    assert_eq!(watch.next().await.unwrap()["object"]["code"], 410);
    assert_eq!(watch.next().await, None);
    let mut watch = wire.watch(&format!("{PATH}{}", api.version())).await;
    api.end_watches("pods");
    assert_eq!(watch.next().await, None);
    api.fault(On::verb(Verb::Watch), Fault::CutWatch(1));
    let mut watch = wire.watch(&format!("{PATH}{}", api.version())).await;
    pod(&api, "whole");
    pod(&api, "half");
    watch.event("ADDED", "whole").await;
    assert!(watch.try_next(Duration::from_secs(1)).await.unwrap().is_none_or(|event| event == Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_lagging_watch_shows_everything_later() {
    let (api, wire, watch) = start().await;
    drop(watch);
    api.fault(On::verb(Verb::Watch), Fault::Lag(Duration::from_secs(5)));
    let mut watch = wire.watch(&format!("{PATH}{}", api.version())).await;
    pod(&api, "p");
    let began = Instant::now();
    watch.event("ADDED", "p").await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_repeating_watch_tells_everything_twice() {
    let (api, wire, watch) = start().await;
    drop(watch);
    api.fault(On::verb(Verb::Watch), Fault::Repeat);
    let mut watch = wire.watch(&format!("{PATH}{}", api.version())).await;
    pod(&api, "p");
    assert_eq!(watch.event("ADDED", "p").await, watch.event("ADDED", "p").await);
}

#[tokio::test(start_paused = true)]
async fn a_lost_version_is_an_error_event_for_an_old_watch() {
    let (api, wire, watch) = start().await;
    drop(watch);
    let old = api.version();
    pod(&api, "p");
    api.compact();
    let mut watch = wire.watch(&format!("{PATH}{old}")).await;
    assert_eq!(watch.next().await.unwrap()["object"]["reason"], "Expired");
}
