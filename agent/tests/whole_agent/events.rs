//! What people read of a pod: the kubelet's reasons and messages, in the order in which things happen.

use std::time::Duration;

use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, FaultKind, FaultRule, PullScript, Select};
use serde_json::{Value, json};

use crate::harness::{IMAGE, Make, NODE, Node, pod, sleeper};

const LIMIT: Duration = Duration::from_secs(60);

fn with_policy(mut pod: Value, policy: &str) -> Value {
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
    pod
}

/// Type, reason and message of each series of the pod, in the order of their latest occurrence.
fn told(node: &Node) -> Vec<String> {
    let events = node.board.events();
    let of_pod = events.iter().filter(|event| event.object == format!("default/web-{NODE}"));
    of_pod.map(|event| format!("{} {}: {}", event.kind, event.reason, event.message)).collect()
}

async fn until_told(node: &Node, reason: &str) {
    node.until(reason, LIMIT, |node| node.board.events().iter().any(|event| event.reason == reason)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_a_present_image_from_start_to_end() {
    let node = Make::new().start(&[sleeper("web")]);
    node.until_running("web").await;
    node.want(&[]);
    node.until("it is gone", LIMIT, |node| node.pod("web").is_none()).await;
    let expected = [
        format!(
            "Normal Pulled: Container image {IMAGE:?} already present on machine and can be accessed by the pod"
        ),
        "Normal Created: Container created".to_owned(),
        "Normal Started: Container started".to_owned(),
        "Normal Killing: Stopping container main".to_owned(),
    ];
    assert_eq!(told(&node), expected);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_told_with_its_times_and_the_images_size() {
    let make = Make::new();
    make.fake.seed_image(IMAGE, 4_321);
    make.fake.script_pull(Select::any(), PullScript { takes: Duration::from_millis(1_250), error: None });
    let node = make.start(&[with_policy(sleeper("web"), "Always")]);
    node.until_running("web").await;
    let told = told(&node);
    assert_eq!(told[0], format!("Normal Pulling: Pulling image {IMAGE:?}"));
    let pulled = format!(
        "Normal Pulled: Successfully pulled image {IMAGE:?} in 1.25s (1.25s including waiting). Image size: "
    );
    assert!(told[1].starts_with(&pulled) && told[1].ends_with(" bytes."), "{}", told[1]);
    assert_eq!(told[2..], ["Normal Created: Container created", "Normal Started: Container started"]);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_backs_off() {
    let make = Make::new();
    let error = Some((Code::NotFound, "no such manifest".to_owned()));
    make.fake.script_pull(Select::any(), PullScript { takes: Duration::ZERO, error });
    let node = make.start(&[with_policy(sleeper("web"), "Always")]);
    until_told(&node, "BackOff").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = told(&node);
    assert_eq!(told[0], format!("Normal Pulling: Pulling image {IMAGE:?}"));
    assert!(told[1].starts_with(&format!("Warning Failed: Failed to pull image {IMAGE:?}: ")), "{}", told[1]);
    assert!(told[1].contains("no such manifest"));
    let rest = [
        "Warning Failed: Error: ErrImagePull".to_owned(),
        format!("Normal BackOff: Back-off pulling image {IMAGE:?}"),
        "Warning Failed: Error: ImagePullBackOff".to_owned(),
    ];
    assert_eq!(told[2..], rest);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_may_not_be_pulled_is_told() {
    let mut pod = with_policy(sleeper("web"), "Never");
    pod["spec"]["containers"][0]["image"] = json!("absent:1");
    let node = Make::new().start(&[pod]);
    until_told(&node, "Failed").await;
    let expected = [
        "Warning ErrImageNeverPull: Container image \"absent:1\" is not present with pull policy of Never",
        "Warning Failed: Error: ErrImageNeverPull",
    ];
    assert_eq!(told(&node), expected);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_told_once_a_delay() {
    let node = Make::new().start(&[pod("web", "Always", &["sh", "-c", "exit 1"])]);
    tokio::time::sleep(Duration::from_secs(25)).await;
    let events = node.board.events();
    let count = |reason: &str| events.iter().find(|event| event.reason == reason).map(|event| event.count);
    assert_eq!((count("Started"), count("BackOff")), (Some(3), Some(2)), "{events:?}");
    let uid = node.pod("web").unwrap().uid;
    let message = format!("Back-off restarting failed container main in pod web-{NODE}_default({uid})");
    assert!(events.iter().any(|event| event.message == message), "{events:?}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_with_sandboxes_is_told() {
    let make = Make::new();
    let refused = FaultKind::Error(Code::Unknown, "no address left".to_owned());
    make.fake.fault(FaultRule::on(Call::RunPodSandbox, refused).once());
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let failed =
        told(&node).into_iter().find(|event| event.starts_with("Warning FailedCreatePodSandBox: ")).unwrap();
    assert!(
        failed.contains("Failed to create pod sandbox: ") && failed.contains("no address left"),
        "{failed}"
    );
    assert!(!told(&node).iter().any(|event| event.contains("SandboxChanged")), "there was none to change");
    let sandbox = node.runtime().sandboxes.keys().next().unwrap().clone();
    node.fake.kill_sandbox(&sandbox);
    until_told(&node, "SandboxChanged").await;
    let changed = "Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created.";
    assert!(told(&node).iter().any(|event| event == changed));
    node.until_running("web").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_pod_has_no_changed_sandbox() {
    let node = Make::new().start(&[pod("web", "Never", &["sh", "-c", "exit 0"])]);
    node.until("it succeeded", LIMIT, |node| node.pod("web").is_some_and(|pod| pod.phase == "Succeeded"))
        .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(!told(&node).iter().any(|event| event.contains("SandboxChanged")), "{:?}", told(&node));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_not_ready_is_told_once() {
    let make = Make::new();
    make.fake.configure(|switches| switches.network_ready = false);
    let node = make.start(&[sleeper("web")]);
    until_told(&node, "NetworkNotReady").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let events = node.board.events();
    assert_eq!((events.len(), events[0].count), (1, 1), "{events:?}");
    let told = "network is not ready: container runtime network not ready: NetworkReady is false";
    assert!(events[0].message.starts_with(told), "{}", events[0].message);
    make.fake.configure(|switches| switches.network_ready = true);
    node.until_running("web").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn i13_what_the_environment_holds_is_in_no_event() {
    const CANARY: &str = "canary-7f3a9c";
    let make = Make::new();
    for call in [Call::CreateContainer, Call::StartContainer, Call::RunPodSandbox, Call::StopContainer] {
        make.fake.fault(FaultRule::on(call, FaultKind::Error(Code::Unknown, "it broke".to_owned())).once());
    }
    let mut pod = sleeper("web");
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "PASSWORD", "value": CANARY }]);
    let node = make.start(&[pod]);
    node.until_running("web").await;
    node.want(&[]);
    node.until("it is gone", LIMIT, |node| node.pod("web").is_none()).await;
    assert!(told(&node).len() > 6, "{:?}", told(&node));
    assert!(!told(&node).iter().any(|event| event.contains(CANARY)), "{:?}", told(&node));
    node.stop().await;
}
