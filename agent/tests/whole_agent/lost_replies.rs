//! Calls whose effect outlives their answer (B51), names that stay reserved (B55), and creates that take longer
//! than the client waits (beyond 16).

use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, FaultKind, FaultRule, Lose, Outcome, Select};
use serde_json::{Value, json};

use crate::harness::{Make, Node, running, sleeper};

const LIMIT: Duration = Duration::from_secs(30);

const MUTATING: [Call; 8] = [
    Call::PullImage,
    Call::RunPodSandbox,
    Call::CreateContainer,
    Call::StartContainer,
    Call::StopContainer,
    Call::StopPodSandbox,
    Call::RemoveContainer,
    Call::RemovePodSandbox,
];

fn pulling(name: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    pod
}

async fn lives_and_leaves(node: &Node, limit: Duration) {
    node.want(&[pulling("web")]);
    node.until("the pod runs", limit, |node| node.is_running("web")).await;
    assert_eq!(node.runtime().containers.len(), 1, "{}", node.describe());
    assert_eq!(node.runtime().sandboxes.len(), 1, "{}", node.describe());
    node.want(&[]);
    node.until("nothing is left", limit, |node| node.is_empty() && node.pod("web").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn b51_a_reply_lost_after_the_effect_makes_no_duplicate_and_no_leak() {
    for call in MUTATING {
        for code in
            [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Unknown, Code::Cancelled]
        {
            let node = Make::new().start(&[]);
            let rule = FaultRule::on(call, FaultKind::CommitThenLose(Lose::Code(code))).once();
            let fault = node.fake.fault(rule);
            lives_and_leaves(&node, LIMIT).await;
            assert_eq!(node.fake.fault_hits(fault), 1, "{call} was not met");
            node.at_rest().await;
            node.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b51_an_answer_that_never_comes_makes_no_duplicate_and_no_leak() {
    for call in MUTATING {
        let node = Make::new().start(&[]);
        let rule = FaultRule::on(call, FaultKind::CommitThenLose(Lose::Hang)).once();
        let fault = node.fake.fault(rule);
        let longest = if call == Call::PullImage { 1_900 } else { 300 };
        lives_and_leaves(&node, Duration::from_secs(longest)).await;
        assert_eq!(node.fake.fault_hits(fault), 1, "{call} was not met");
        node.at_rest().await;
        // A stop whose effect was seen may still wait for its answer.
        node.stop_anyhow().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b51_lost_replies_of_every_second_call_and_restarts_of_the_agent() {
    let make = Make::new();
    for call in MUTATING {
        make.fake.fault(
            FaultRule::on(call, FaultKind::CommitThenLose(Lose::Code(Code::Unavailable)))
                .times(pinnace_cri::fake::Times::Probability { seed: 7, p: 0.5 }),
        );
    }
    let pods: Vec<_> = (0..5).map(|index| pulling(&format!("web{index}"))).collect();
    let mut node = make.start(&pods);
    for step in 0..10 {
        tokio::time::sleep(Duration::from_millis(150 * step)).await;
        node.stop_anyhow().await;
        node = make.start(&pods);
    }
    for index in 0..5 {
        node.until_running(&format!("web{index}")).await;
    }
    node.want(&[]);
    node.until("nothing is left", Duration::from_secs(120), Node::is_empty).await;
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b55_a_sandbox_that_appears_after_its_call_timed_out_is_adopted() {
    let node = Make::new().start(&[]);
    // The client waits 4 min; the runtime needs 6.
    let rule = FaultRule::on(Call::RunPodSandbox, FaultKind::Delay(Duration::from_secs(360))).once();
    node.fake.fault(rule);
    node.want(&[sleeper("web")]);
    node.until("the pod runs", Duration::from_secs(365), |node| node.is_running("web")).await;
    let snapshot = node.runtime();
    assert_eq!(snapshot.sandboxes.len(), 1);
    let attempts: Vec<_> =
        snapshot.sandboxes.values().filter_map(|s| Some(s.config.metadata.as_ref()?.attempt)).collect();
    assert_eq!(attempts, [0], "the sandbox that was in doubt is the one in use");
    assert_eq!(effective(&node, Call::RunPodSandbox), 1);
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b55_a_reserved_name_is_waited_for_and_not_stormed() {
    let node = Make::new().start(&[]);
    let text = "failed to reserve sandbox name \"x\": name \"x\" is reserved for \"1f\"".to_owned();
    let fault = node.fake.fault(FaultRule::on(Call::RunPodSandbox, FaultKind::Error(Code::Unknown, text)));
    node.want(&[sleeper("web")]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let tries = node.fake.count_calls(|record| record.call == Call::RunPodSandbox);
    assert_eq!(tries, 3, "at once, after 10 s and after 4 min");
    node.fake.remove_fault(fault);
    node.until("the pod runs", Duration::from_secs(240), |node| node.is_running("web")).await;
    let attempt = node.runtime().sandboxes.values().next().unwrap().config.metadata.clone().unwrap().attempt;
    assert_eq!(attempt, 0, "a name in doubt is no reason for a new attempt");
    node.stop().await;
}

fn effective(node: &Node, call: Call) -> usize {
    node.fake.count_calls(|record| record.call == call && record.took_effect.is_some())
}

/// The client gives up after 2 min (B54), and no look tells a create that is slow from one that was dropped: only
/// another try does. So there is one, which the runtime refuses as reserved, one more soon after it, and then none
/// before the container shows.
#[tokio::test(start_paused = true)]
async fn beyond16_a_create_that_ends_after_five_minutes_is_adopted() {
    for restart in [false, true] {
        let make = Make::new();
        let mut node = make.start(&[]);
        let rule = FaultRule::on(Call::CreateContainer, FaultKind::Delay(Duration::from_secs(300))).once();
        node.fake.fault(rule);
        node.want(&[sleeper("web")]);
        let began = tokio::time::Instant::now();
        if restart {
            tokio::time::sleep(Duration::from_secs(60)).await;
            node.stop_anyhow().await;
            node = make.start(&[sleeper("web")]);
        }
        node.until("the container exists", Duration::from_secs(310), |node| {
            !node.runtime().containers.is_empty()
        })
        .await;
        assert!(began.elapsed() >= Duration::from_secs(300));
        node.until("it is adopted and started", Duration::from_secs(2), |node| {
            node.is_running("web") && running(&node.runtime(), "main").metadata().attempt == 0
        })
        .await;
        assert_eq!(effective(&node, Call::CreateContainer), 1);
        let reserved = node.fake.count_calls(|record| {
            record.call == Call::CreateContainer
                && matches!(&record.outcome, Outcome::Failed(_, text) if text.contains("reserved"))
        });
        assert!(reserved <= 2, "{reserved} calls were refused as reserved, restart {restart}");
        node.at_rest().await;
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_in_doubt_of_a_deleted_pod_is_waited_for_and_taken_down() {
    for call in [Call::RunPodSandbox, Call::CreateContainer] {
        let node = Make::new().start(&[sleeper("witness")]);
        node.until_running("witness").await;
        let delay = FaultKind::Delay(Duration::from_secs(20));
        node.fake.fault(FaultRule::on(call, delay).of(Select::any().pod("web-node1")).once());
        node.want(&[sleeper("witness"), sleeper("web")]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        node.want(&[sleeper("witness")]);
        node.until("only the witness is left", LIMIT, |node| {
            node.pod("web").is_none() && node.runtime().sandboxes.len() == 1
        })
        .await;
        assert!(node.runtime().containers.len() == 1);
        node.at_rest().await;
        node.stop().await;
    }
}
