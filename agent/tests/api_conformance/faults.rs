//! The faults that the fake commits by order, in virtual time.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::fake_api::requests::Verb;
use crate::fake_api::{FakeApi, Fault, On};

fn node(api: &FakeApi, pods: &[&str]) -> Api<Pod> {
    for name in pods {
        let spec = json!({ "nodeName": "node1", "containers": [{ "name": "main", "image": "i" }] });
        api.create(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec }));
    }
    of(api.client())
}

fn of(client: Client) -> Api<Pod> {
    Api::namespaced(client, "default")
}

async fn patch(pods: &Api<Pod>, name: &str, phase: &str) -> Result<Pod, Error> {
    let patch = json!({ "status": { "phase": phase } });
    pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await
}

fn code(result: Result<Pod, Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Error::Api(status)) => status.code,
        Err(_) => 0,
    }
}

fn phase(api: &FakeApi, name: &str) -> Value {
    api.get("pods", "default", name).unwrap()["status"]["phase"].clone()
}

#[tokio::test(start_paused = true)]
async fn latency_takes_virtual_time_and_calls_overlap() {
    let api = FakeApi::new();
    let pods = node(&api, &["a", "b"]);
    api.fault(On::writes().resource("pods"), Fault::Latency(Duration::from_millis(20)));
    let began = Instant::now();
    let (one, two, three) =
        tokio::join!(patch(&pods, "a", "Running"), patch(&pods, "b", "Running"), patch(&pods, "a", "Failed"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(began.elapsed().as_millis(), 20);
    assert_eq!(api.most_writes_at_once("pods"), 2, "two writes of a were under way");
    assert_eq!(api.writes_by_name("pods")["default/a"], 2);
    assert_eq!(api.count(|request| request.verb == Verb::Get), 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_count_their_requests() {
    let api = FakeApi::new();
    let pods = node(&api, &["a"]);
    let second = api.fault(On::verb(Verb::Patch).sub("status").name("a").nth(2), Fault::conflict());
    let codes = [
        code(patch(&pods, "a", "Running").await),
        code(patch(&pods, "a", "Running").await),
        code(patch(&pods, "a", "Running").await),
    ];
    assert_eq!(codes, [200, 409, 200]);
    assert_eq!(api.hits(second), 1);
    api.fault(On::any().lasting(Duration::from_secs(10)), Fault::too_many(3));
    assert_eq!(code(patch(&pods, "a", "Running").await), 429);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(code(patch(&pods, "a", "Running").await), 200);
}

#[tokio::test(start_paused = true)]
async fn a_chance_is_near_its_share_and_repeats_with_its_seed() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let api = FakeApi::new();
        let pods = node(&api, &["a"]);
        api.fault(On::writes().chance(0.3, 7), Fault::internal());
        let mut codes = Vec::new();
        for _ in 0..500 {
            codes.push(code(patch(&pods, "a", "Running").await));
        }
        let failed = codes.iter().filter(|code| **code == 500).count();
        assert!((110..190).contains(&failed), "{failed} of 500");
        seen.push(codes);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_a_commit_that_nobody_heard_of() {
    let api = FakeApi::new();
    let pods = node(&api, &["a", "b"]);
    api.fault(On::verb(Verb::Patch).name("a"), Fault::LoseReply);
    api.fault(On::verb(Verb::Patch).name("b"), Fault::HoldReply);
    assert_eq!(code(patch(&pods, "a", "Running").await), 0);
    assert!(timeout(Duration::from_secs(10), patch(&pods, "b", "Running")).await.is_err());
    assert_eq!((phase(&api, "a"), phase(&api, "b")), (json!("Running"), json!("Running")));
    let log = api.requests();
    assert!(
        log.iter().all(|request| request.committed && request.status.is_none() && request.ended.is_some())
    );
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_answers_nothing_and_does_nothing() {
    let api = FakeApi::new();
    let pods = node(&api, &["a"]);
    api.fault(On::any().times(1), Fault::BlackHole);
    assert!(timeout(Duration::from_secs(60), patch(&pods, "a", "Running")).await.is_err());
    assert_eq!(phase(&api, "a"), "Pending");
    assert_eq!(code(patch(&pods, "a", "Running").await), 200);
}

#[tokio::test(start_paused = true)]
async fn lists_can_be_empty_old_or_cut() {
    let api = FakeApi::new();
    let pods = node(&api, &["a"]);
    let old = api.version();
    node(&api, &["b"]);
    let count = async || pods.list(&ListParams::default()).await.map(|list| list.items.len());
    let rule = api.fault(On::verb(Verb::List), Fault::EmptyList);
    assert_eq!(count().await.unwrap(), 0);
    api.take_back(rule);
    let rule = api.fault(On::verb(Verb::List), Fault::StaleList(old));
    let list = pods.list(&ListParams::default()).await.unwrap();
    assert_eq!((list.items.len(), list.metadata.resource_version), (1, Some(old.to_string())));
    api.take_back(rule);
    let rule = api.fault(On::verb(Verb::List), Fault::CutReply);
    assert!(count().await.is_err());
    api.take_back(rule);
    assert_eq!(count().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_compacted_version_expires_pages_in_the_middle() {
    let api = FakeApi::new();
    let pods = node(&api, &["a", "b", "c"]);
    let first = pods.list(&ListParams::default().limit(1)).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    api.compact();
    let second = pods.list(&ListParams::default().limit(1).continue_token(&token)).await;
    let Err(Error::Api(status)) = second else { panic!("{second:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    let token = status.metadata.unwrap().continue_.unwrap();
    let rest = pods.list(&ListParams::default().continue_token(&token)).await.unwrap();
    assert_eq!(rest.items.len(), 2, "the token of the refusal goes on with what is newest");
}
