//! B70: the wall clock steps, in the agent, in the runtime, or in both; the runtime lies about when it made things.
//! Tokens and certificates, which B70 also names, come with what makes them.

use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{FaultKind, FaultRule, Outcome};
use tokio::time::Instant;

use crate::harness::{Make, Node, pod, sleeper};

const YEAR: i64 = 365 * 24 * 3_600;
const SECOND: i64 = 1_000_000_000;

fn step(make: &Make, total: &mut i64, seconds: i64, both: bool) {
    *total += seconds;
    make.clock.step_wall(seconds * 1_000);
    if both {
        make.fake.set_clock_skew(*total * SECOND);
    }
}

fn assert_no_conflicts(node: &Node) {
    let conflicts = node.fake.count_calls(
        |record| matches!(&record.outcome, Outcome::Failed(_, text) if text.contains("reserved")),
    );
    assert_eq!(conflicts, 0, "name conflicts");
}

fn starts(node: &Node) -> Vec<u64> {
    let calls = node.fake.calls();
    let began: Vec<Instant> = calls
        .iter()
        .filter(|record| {
            record.call == Call::StartContainer && record.subject.pod_name.as_deref() == Some("bad-node1")
        })
        .map(|record| record.began)
        .collect();
    began.iter().map(|at| (*at - began[0]).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn b70_steps_restart_nothing_and_leave_the_backoff_alone() {
    for both in [false, true] {
        for steps in
            [[-YEAR, 0, 0], [-40, 0, 0], [600, 0, 0], [-YEAR, 2 * YEAR, -40], [3_600, -7_200, 10 * YEAR]]
        {
            let make = Make::new();
            let node = make.start(&[sleeper("web"), pod("bad", "Always", &["sh", "-c", "exit 1"])]);
            node.until_running("web").await;
            let id = node.container("web", "main").unwrap().id;
            let mut total = 0;
            for seconds in steps {
                tokio::time::sleep(Duration::from_secs(17)).await;
                step(&make, &mut total, seconds, both);
            }
            tokio::time::sleep(Duration::from_secs(200)).await;
            assert_eq!(node.container("web", "main").unwrap().id, id);
            let expected = [0, 0, 10, 30, 70, 150];
            let starts = starts(&node);
            assert_eq!(starts.len(), expected.len(), "steps {steps:?}, both {both}: {starts:?}");
            for (start, expected) in starts.iter().zip(expected) {
                assert!(
                    start.abs_diff(expected) <= 1 + expected / 10,
                    "steps {steps:?}, both {both}: {starts:?}"
                );
            }
            assert_no_conflicts(&node);
            node.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b70_a_loop_of_jumps_during_restarts_of_the_agent() {
    let make = Make::new();
    let pods = [sleeper("web"), pod("bad", "Always", &["sh", "-c", "exit 1"])];
    let mut node = make.start(&pods);
    node.until_running("web").await;
    let id = node.container("web", "main").unwrap().id;
    let mut total = 0;
    let jumps = [60, -60, 3_600, -3_600, -10 * YEAR, 10 * YEAR, -40, 40];
    for (index, seconds) in jumps.iter().cycle().take(60).enumerate() {
        tokio::time::sleep(Duration::from_secs(5)).await;
        step(&make, &mut total, *seconds, index % 2 == 0);
        if index % 7 == 3 {
            node.stop().await;
            node = make.start(&pods);
        }
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(node.container("web", "main").unwrap().id, id);
    assert_no_conflicts(&node);
    let starts = starts(&node);
    assert!(starts.len() <= 7, "a storm: {starts:?}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b70_the_newest_sandbox_is_the_one_with_the_highest_attempt() {
    for lie in [-YEAR * SECOND, -40 * SECOND, 600 * SECOND] {
        let make = Make::new();
        let node = make.start(&[sleeper("web")]);
        node.until_running("web").await;
        node.fake.fault(FaultRule::on_any(FaultKind::LieCreatedAt(lie)));
        for attempt in 1..5 {
            let snapshot = node.runtime();
            let ready =
                snapshot.sandboxes.values().max_by_key(|s| s.config.metadata.as_ref().map(|m| m.attempt));
            node.fake.kill_sandbox(&ready.unwrap().id.clone());
            node.until("the next sandbox is in use", Duration::from_secs(400), |node| {
                node.is_running("web")
                    && node.runtime().sandboxes.values().any(|sandbox| {
                        sandbox.ip.is_some() && sandbox.config.metadata.as_ref().unwrap().attempt == attempt
                    })
            })
            .await;
        }
        assert_no_conflicts(&node);
        node.at_rest().await;
        node.stop().await;
    }
}
