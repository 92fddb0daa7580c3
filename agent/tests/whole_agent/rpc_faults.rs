//! B50: every call may fail, with every code, once, half of the time, or always for a minute.
//!
//! Calls that the agent does not make yet (exec, statistics, the API server's) are added with what makes them.

use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, FaultKind, FaultRule, Times};
use serde_json::{Value, json};

use crate::harness::{Make, Node, history, pod, running, sleeper};

const CALLS: [Call; 18] = [
    Call::Version,
    Call::Status,
    Call::RunPodSandbox,
    Call::StopPodSandbox,
    Call::RemovePodSandbox,
    Call::PodSandboxStatus,
    Call::ListPodSandbox,
    Call::StreamPodSandboxes,
    Call::CreateContainer,
    Call::StartContainer,
    Call::StopContainer,
    Call::RemoveContainer,
    Call::ContainerStatus,
    Call::ListContainers,
    Call::StreamContainers,
    Call::GetContainerEvents,
    Call::ImageStatus,
    Call::PullImage,
];

const CODES: [Code; 8] = [
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Internal,
    Code::NotFound,
    Code::AlreadyExists,
    Code::ResourceExhausted,
    Code::Unimplemented,
    Code::Unknown,
];

const FAULTY: Duration = Duration::from_secs(60);
const RECOVERY: Duration = Duration::from_secs(30);

fn late() -> Value {
    let mut late = sleeper("late");
    late["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    late
}

fn job() -> Value {
    pod("job", "Never", &["sh", "-c", "sleep 3; exit 7"])
}

/// What must hold soon after the fault is over.
fn recovered(node: &Node) -> bool {
    let job = node.container("job", "main").and_then(|job| job.exit_code) == Some(7);
    let snapshot = node.runtime();
    let pods = snapshot.sandboxes.values().filter_map(|s| Some(s.config.metadata.as_ref()?.name.clone()));
    job && node.is_running("keep")
        && node.is_running("late")
        && node.pod("gone").is_none()
        && !pods.into_iter().any(|name| name.starts_with("gone"))
}

/// A witness that runs throughout, a pod that goes, one that comes, and a job that ends during the fault.
async fn one_fault(call: Call, code: Code, times: Times) {
    let case = format!("{call} {code:?} {times:?}");
    // The name of the case under way, for a run that does not end.
    println!("{case}");
    let node = Make::new().start(&[sleeper("keep"), sleeper("gone")]);
    node.until_running("keep").await;
    node.until_running("gone").await;
    let keep = node.container("keep", "main").unwrap().id.unwrap();
    node.fake.forget_calls();
    let fault =
        node.fake.fault(FaultRule::on(call, FaultKind::Error(code, "made up".to_owned())).times(times));
    node.want(&[sleeper("keep"), late(), job()]);
    tokio::time::sleep(FAULTY).await;
    let tries = node.fake.count_calls(|record| record.call == call && history::mutates(call));
    assert!(tries <= 60 + 10, "{case}: {tries} tries in a minute\n{}", node.describe());
    node.fake.remove_fault(fault);
    node.until(&format!("recovered: {case}"), RECOVERY, recovered).await;
    assert_eq!(node.container("keep", "main").unwrap().id, Some(keep), "{case}: the witness was restarted");
    node.at_rest().await;
    node.stop().await;
}

/// Every call with every code takes minutes: without `PINNACE_TEST_ALL` each call gets one code, another with each
/// `turn`, so that the three tests together see three codes of each call.
async fn all(times: Times, turn: usize) {
    let whole = std::env::var_os("PINNACE_TEST_ALL").is_some();
    if !whole {
        println!("b50: scaled, one of {} codes for each of {} calls", CODES.len(), CALLS.len());
    }
    for (row, call) in CALLS.into_iter().enumerate() {
        for (column, code) in CODES.into_iter().enumerate() {
            if whole || (row + turn) % CODES.len() == column {
                one_fault(call, code, times).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b50_each_call_fails_once() {
    all(Times::Once, 0).await;
}

#[tokio::test(start_paused = true)]
async fn b50_each_call_fails_half_of_the_time() {
    all(Times::Probability { seed: 3, p: 0.5 }, 3).await;
}

#[tokio::test(start_paused = true)]
async fn b50_each_call_always_fails_for_a_minute() {
    all(Times::Always, 6).await;
}

#[tokio::test(start_paused = true)]
async fn b50_all_calls_fail_for_a_minute() {
    for code in CODES {
        let node = Make::new().start(&[sleeper("keep"), sleeper("gone")]);
        node.until_running("keep").await;
        node.until_running("gone").await;
        let before = running_ids(&node);
        let fault = node.fake.fault(FaultRule::on_any(FaultKind::Error(code, "made up".to_owned())));
        node.want(&[sleeper("keep"), late(), job()]);
        tokio::time::sleep(FAULTY).await;
        assert_eq!(before, running_ids(&node), "{code:?}");
        node.fake.remove_fault(fault);
        node.until(&format!("recovered: {code:?}"), RECOVERY, recovered).await;
        node.at_rest().await;
        node.stop().await;
    }
}

fn running_ids(node: &Node) -> Vec<String> {
    node.runtime().running().iter().map(|container| container.id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn b50_a_start_that_fails_backs_off() {
    let node = Make::new().start(&[]);
    let error = FaultKind::Error(Code::Unavailable, "made up".to_owned());
    let fault = node.fake.fault(FaultRule::on(Call::StartContainer, error));
    node.want(&[sleeper("web")]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let tries = node.fake.count_calls(|record| record.call == Call::StartContainer);
    assert!((5..=25).contains(&tries), "{tries} tries in 5 min");
    assert_eq!(node.runtime().containers.len(), 1, "one container, not started");
    node.fake.remove_fault(fault);
    node.until_running("web").await;
    assert_eq!(running(&node.runtime(), "main").metadata().attempt, 0);
    node.stop().await;
}
