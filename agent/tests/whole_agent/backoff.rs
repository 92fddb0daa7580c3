//! B17: when a container that always fails is started again.

use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{Script, Select};
use tokio::time::Instant;

use crate::harness::{Make, Node, pod};

/// When instances were started, in milliseconds since the first start.
fn starts(node: &Node) -> Vec<u64> {
    let calls = node.fake.calls();
    let began: Vec<Instant> = calls
        .iter()
        .filter(|record| record.call == Call::StartContainer && record.took_effect.is_some())
        .map(|record| record.began)
        .collect();
    let since = |at: &Instant| u64::try_from((*at - began[0]).as_millis()).unwrap();
    began.iter().map(since).collect()
}

fn assert_at_the_kubelets_times(starts: &[u64]) {
    let expected = [0, 0, 10, 30, 70, 150, 310];
    assert_eq!(starts.len(), expected.len(), "{starts:?}");
    for (start, expected) in starts.iter().zip(expected) {
        let (low, high) = (expected * 900, expected * 1_100 + 500);
        assert!((low..=high).contains(start), "expected {expected} s ± 10 %: {starts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn b17_an_always_failing_container_starts_at_the_kubelets_times() {
    let node = Make::new().start(&[pod("bad", "Always", &["sh", "-c", "exit 1"])]);
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_at_the_kubelets_times(&starts(&node));
    let view = node.container("bad", "main").unwrap();
    assert_eq!((view.reason.as_str(), view.restarts), ("CrashLoopBackOff", 6));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b17_restarts_of_the_agent_change_no_time() {
    let make = Make::new();
    let pods = [pod("bad", "Always", &["sh", "-c", "exit 1"])];
    let mut node = make.start(&pods);
    for pause in [3, 15, 2, 40, 77, 1] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        node.stop().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        node = make.start(&pods);
    }
    tokio::time::sleep(Duration::from_secs(250)).await;
    assert_at_the_kubelets_times(&starts(&node));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b17_a_restart_at_once_after_a_long_run_does_not_storm_after_downtime() {
    let make = Make::new();
    let pods = [pod("bad", "Always", &["sh", "-c", "exit 1"])];
    let node = make.start(&pods);
    tokio::time::sleep(Duration::from_secs(200)).await;
    node.stop().await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let node = make.start(&pods);
    let before = starts(&node).len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = starts(&node).len();
    assert_eq!(after - before, 1, "one start for the delay that passed meanwhile");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b17_ten_good_minutes_forget_the_delay() {
    let make = Make::new();
    let script = Script::exits(1).after(Duration::from_secs(660));
    make.fake.script(Select::any().container("main"), script);
    let node = make.start(&[pod("slow", "Always", &["x"])]);
    tokio::time::sleep(Duration::from_secs(4 * 660 + 60)).await;
    assert_eq!(starts(&node).len(), 5, "each restart is at once: {:?}", starts(&node));
    node.stop().await;
}
