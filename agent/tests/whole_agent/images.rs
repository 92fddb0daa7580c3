//! Images that go away between their being fetched and the start of their container.

use std::path::Path;
use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::content::Ingest;
use pinnace_cri::fake::{Code, Fake, FaultId, FaultKind, FaultRule, PullScript, Select, Times};
use pinnace_cri::v1::ImageSpec;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Make, Node, entries, sleeper};

const IMAGE: &str = "example.test/app:1";
const LIMIT: Duration = Duration::from_secs(30);

fn with_policy(policy: &str) -> Value {
    let mut pod = sleeper("web");
    pod["spec"]["containers"][0]["image"] = json!(IMAGE);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
    pod
}

fn pulls(node: &Node) -> usize {
    node.fake.count_calls(|record| record.call == Call::PullImage)
}

fn reason(node: &Node) -> String {
    node.container("web", "main").map(|container| container.reason).unwrap_or_default()
}

async fn remove(node: &Node) {
    let image = ImageSpec { image: IMAGE.to_owned(), ..ImageSpec::default() };
    node.fake.client().remove_image(image).await.expect("the image is removed");
}

/// A pod whose image is there, on a runtime that makes no container yet.
async fn before_its_container(policy: &str) -> (Node, FaultId) {
    let make = Make::new();
    make.fake.seed_image(IMAGE, 1024);
    let refusal = FaultKind::Error(Code::Unavailable, "made up".to_owned());
    let fault = make.fake.fault(FaultRule::on(Call::CreateContainer, refusal).times(Times::Always));
    let node = make.start(&[with_policy(policy)]);
    node.until("a create was refused", LIMIT, |node| node.fake.fault_hits(fault) > 0).await;
    (node, fault)
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_removed_before_its_container_is_made_is_pulled_again() {
    for policy in ["IfNotPresent", "Always"] {
        let (node, fault) = before_its_container(policy).await;
        remove(&node).await;
        let before = pulls(&node);
        node.fake.remove_fault(fault);
        node.until_running("web").await;
        assert_eq!(pulls(&node), before + 1, "{policy}");
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_may_never_be_pulled_is_waited_for() {
    let (node, fault) = before_its_container("Never").await;
    remove(&node).await;
    node.fake.remove_fault(fault);
    node.until("it is shown", LIMIT, |node| reason(node) == "ErrImageNeverPull").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!node.is_running("web"));
    node.fake.seed_image(IMAGE, 1024);
    node.until_running("web").await;
    assert_eq!(pulls(&node), 0);
    node.stop().await;
}

/// As many pulls as there are tries, and none between them.
#[tokio::test(start_paused = true)]
async fn what_is_pulled_always_is_pulled_for_each_try_of_a_start_and_what_is_there_is_not() {
    for (policy, each) in [("Always", 1), ("IfNotPresent", 0)] {
        let (node, fault) = before_its_container(policy).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let tries = usize::try_from(node.fake.fault_hits(fault)).unwrap();
        assert!((4..=12).contains(&tries), "{policy}: {tries} tries in a minute");
        assert_eq!(pulls(&node), tries * each, "{policy}");
        node.fake.remove_fault(fault);
        node.until_running("web").await;
        node.stop().await;
    }
}

const DATA: &str = "example.test/data:1";

/// A pod with a volume that is an image, pulled always, and one that is a directory of the host.
fn with_volumes(name: &str, directory: &Path) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["volumes"] = json!([
        {"name": "data", "image": {"reference": DATA, "pullPolicy": "Always"}},
        {"name": "host", "hostPath": {"path": directory, "type": "Directory"}},
    ]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}, {"name": "host", "mountPath": "/host"}]);
    pod
}

/// Also where the set-up is tried again for another volume's sake, and where the agent starts anew.
#[tokio::test(start_paused = true)]
async fn the_image_of_a_volume_is_pulled_once_in_the_start_of_each_pod() {
    let make = Make::new();
    let directory = make.dir.path().join("late");
    let pods = |names: &[&str]| names.iter().map(|name| with_volumes(name, &directory)).collect::<Vec<_>>();
    let node = make.start(&pods(&["one"]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!node.is_running("one"));
    assert_eq!(pulls(&node), 1, "while its other volume is not there");
    std::fs::create_dir(&directory).unwrap();
    node.until_running("one").await;
    node.want(&pods(&["one", "two"]));
    node.until_running("two").await;
    assert_eq!(pulls(&node), 2, "one for each pod");
    node.stop().await;
    let node = make.start(&pods(&["one", "two"]));
    for container in node.runtime().running() {
        node.fake.exit_now(&container.id, 1);
    }
    node.until("both were restarted", LIMIT, |node| {
        ["one", "two"]
            .iter()
            .all(|name| node.container(name, "main").is_some_and(|found| found.restarts == 1))
            && node.is_running("one")
            && node.is_running("two")
    })
    .await;
    assert_eq!(pulls(&node), 2, "none after the agent's restart");
    node.stop().await;
}

/// Records of images that somebody removed from the runtime go some minutes later, and no other's.
#[tokio::test(start_paused = true)]
async fn records_of_images_that_are_gone_go_too() {
    let make = Make::new();
    let mut other = with_policy("IfNotPresent");
    other["metadata"]["name"] = json!("other");
    other["spec"]["containers"][0]["image"] = json!("example.test/other:1");
    let node = make.start(&[with_policy("IfNotPresent"), other]);
    node.until_running("web").await;
    node.until_running("other").await;
    let records = node.dir.path().join("root/image_manager/pulled");
    assert_eq!(entries(&records).len(), 2);
    tokio::time::sleep(Duration::from_secs(1_300)).await;
    assert_eq!(entries(&records).len(), 2);
    remove(&node).await;
    node.until("its record is gone", Duration::from_secs(1_300), |_| entries(&records).len() == 1).await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(entries(&records).len(), 1);
    node.stop().await;
}

/// A runtime that takes an hour for each pull, and tells what it receives.
fn slow() -> Make {
    let make = Make::new();
    let hour = PullScript { takes: Duration::from_secs(3_600), error: None };
    make.fake.script_pull(Select::any().image(IMAGE), hour);
    receives(&make.fake, None);
    make
}

/// So many bytes of a layer have come.
fn receives(fake: &Fake, offset: Option<u64>) {
    let layer = |offset| Ingest { key: "layer-sha256:a".to_owned(), offset, total: 100 << 20 };
    fake.configure(|switches| switches.ingests = Some(offset.map(layer).into_iter().collect()));
}

fn under_way(node: &Node) -> usize {
    node.fake.in_flight_of(Call::PullImage)
}

async fn until_pulling(node: &Node) {
    node.until("it is pulled", LIMIT, |node| under_way(node) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn b54_a_pull_goes_on_while_bytes_come_and_is_tried_again_after_a_minute_without() {
    let node = slow().start(&[with_policy("IfNotPresent")]);
    until_pulling(&node).await;
    for bytes in 1..=20 {
        receives(&node.fake, Some(bytes << 20));
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!((under_way(&node), pulls(&node)), (1, 1), "after {bytes} MiB");
    }
    receives(&node.fake, Some(21 << 20));
    let silent = Instant::now();
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!(under_way(&node), 1);
    node.until("it is given up", Duration::from_secs(20), |node| reason(node) == "ErrImagePull").await;
    assert!(silent.elapsed() < Duration::from_secs(70), "{:?}", silent.elapsed());
    let why = node.container("web", "main").unwrap().message;
    assert!(why.contains("no bytes came from the registry"), "{why}");
    assert_eq!(under_way(&node), 0, "the runtime goes on with it");
    node.fake.script_pull(Select::any().image(IMAGE), PullScript::default());
    node.until_running("web").await;
    assert_eq!(pulls(&node), 2);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b54_a_deleted_pods_pull_ends_unless_another_pod_waits_for_it() {
    let mut other = with_policy("IfNotPresent");
    other["metadata"]["name"] = json!("other");
    let node = slow().start(&[with_policy("IfNotPresent"), other.clone()]);
    until_pulling(&node).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pulls(&node), 1, "two pods share it");
    node.want(&[other]);
    node.until("the pod is gone", LIMIT, |node| node.pod("web").is_none()).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((under_way(&node), pulls(&node)), (1, 1), "the other's pull was ended");
    node.want(&[]);
    node.until("the pull is ended", Duration::from_secs(2), |node| under_way(node) == 0).await;
    node.until("all is gone", LIMIT, Node::is_empty).await;
    assert_eq!(pulls(&node), 1);
    node.stop().await;
}
