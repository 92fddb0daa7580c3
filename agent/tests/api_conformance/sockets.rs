//! The fake over TCP and the proxy before it, in real time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::time::timeout;

use crate::fake_api::FakeApi;
use crate::fake_api::serve::{Served, kubeconfig};
use crate::tcp_proxy::Proxy;
use crate::wire::Wire;

/// Long enough for a loaded machine, short enough for a test that waits for nothing to happen.
const SOON: Duration = Duration::from_millis(300);

async fn client(address: SocketAddr) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&kubeconfig(address)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn start() -> (FakeApi, Served, Proxy, Wire) {
    let api = FakeApi::new();
    let served = api.listen().await;
    let proxy = Proxy::to(served.address).await;
    let wire = Wire { client: client(proxy.address).await };
    (api, served, proxy, wire)
}

fn pod(api: &FakeApi, name: &str) {
    api.create(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": { "nodeName": "node1", "containers": [] } }));
}

#[tokio::test]
async fn a_kubeconfig_leads_over_plain_http() {
    let (api, served, _proxy, _wire) = start().await;
    let direct = Wire { client: client(served.address).await };
    pod(&api, "p");
    let mut watch = direct.watch("/api/v1/pods?resourceVersion=0").await;
    watch.event("ADDED", "p").await;
    let changed = direct
        .patch("/api/v1/namespaces/default/pods/p/status", json!({ "status": { "phase": "Running" } }))
        .await
        .expect(200);
    assert_eq!(changed["status"]["phase"], "Running");
    watch.event("MODIFIED", "p").await;
}

#[tokio::test]
async fn http_2_with_prior_knowledge_works() {
    let (_api, served, _proxy, _wire) = start().await;
    let mut builder = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = builder.http2_only(true).build_http::<http_body_util::Empty<bytes::Bytes>>();
    let answer = client.get(format!("http://{}/version", served.address).parse().unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_watch() {
    let (api, served, _proxy, _wire) = start().await;
    let direct = Wire { client: client(served.address).await };
    let watch = direct.watch("/api/v1/pods?resourceVersion=0").await;
    drop((watch, direct));
    let gone = timeout(Duration::from_secs(10), async {
        while api.count(|request| request.ended.is_none()) > 0 {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("the server still has the watch after 10 s");
}

#[tokio::test]
async fn the_proxy_delays_each_way() {
    let (_api, _served, proxy, wire) = start().await;
    wire.get("/api/v1/nodes").await.expect(200);
    proxy.delay(Duration::from_millis(40), Duration::from_millis(60));
    let began = tokio::time::Instant::now();
    wire.get("/api/v1/nodes").await.expect(200);
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_proxy_swallows_without_a_word_and_heals_for_new_connections() {
    let (api, served, proxy, wire) = start().await;
    let mut watch = wire.watch("/api/v1/pods?resourceVersion=0").await;
    proxy.black_hole();
    pod(&api, "p");
    assert!(watch.try_next(SOON).await.is_err(), "the watch neither hears nor ends");
    assert!(timeout(SOON, wire.get("/api/v1/nodes")).await.is_err());
    proxy.heal();
    assert!(watch.try_next(SOON).await.is_err(), "what was lost stays lost");
    let fresh = Wire { client: client(proxy.address).await };
    fresh.get("/api/v1/nodes").await.expect(200);
    drop(served);
}

#[tokio::test]
async fn the_proxy_loses_answers_of_what_was_done() {
    let (api, _served, proxy, wire) = start().await;
    pod(&api, "p");
    wire.get("/api/v1/nodes").await.expect(200);
    proxy.drop_answers();
    let patch = json!({ "status": { "phase": "Running" } });
    assert!(timeout(SOON, wire.patch("/api/v1/namespaces/default/pods/p/status", patch)).await.is_err());
    assert_eq!(api.get("pods", "default", "p").unwrap()["status"]["phase"], "Running");
}

#[tokio::test]
async fn the_proxy_resets_and_refuses_and_comes_back_at_the_same_place() {
    let (_api, _served, proxy, wire) = start().await;
    let mut watch = wire.watch("/api/v1/pods?resourceVersion=0").await;
    proxy.refuse();
    let ended = watch.try_next(Duration::from_secs(5)).await.expect("no reset in 5 s");
    assert!(ended.is_none_or(|event| event.is_null()));
    let waited = wait_for(|| std::net::TcpStream::connect(proxy.address).is_err()).await;
    assert!(waited, "connecting is still possible");
    proxy.heal();
    assert!(wait_for(|| std::net::TcpStream::connect(proxy.address).is_ok()).await, "the door stays closed");
    let fresh = Wire { client: client(proxy.address).await };
    fresh.get("/api/v1/nodes").await.expect(200);
}

#[expect(clippy::disallowed_methods, reason = "sockets live in real time")]
async fn wait_for(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > Duration::from_secs(5) {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}
