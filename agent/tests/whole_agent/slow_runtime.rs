//! A runtime that is slow (B52), hangs (B53), takes as long as a grace allows (B54), or lists what is not so (B57).
//!
//! Probes and the node lease, which B52 and B53 also speak of, come with what makes them.

use std::time::Duration;

use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{FaultKind, FaultRule, OnTerm, Outcome, Script, Select, Times};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Make, Node, running, sleeper};

const LIMIT: Duration = Duration::from_secs(30);

async fn thirty_run(node: &Node, limit: Duration) -> Duration {
    let began = Instant::now();
    let pods: Vec<_> = (0..30).map(|index| sleeper(&format!("web{index}"))).collect();
    node.want(&pods);
    node.until("all 30 run", limit, |node| (0..30).all(|index| node.is_running(&format!("web{index}"))))
        .await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn b52_every_call_takes_two_seconds_more() {
    let baseline = {
        let node = Make::new().start(&[]);
        let took = thirty_run(&node, LIMIT).await;
        node.stop().await;
        took
    };
    let node = Make::new().start(&[]);
    node.fake.fault(FaultRule::on_any(FaultKind::Delay(Duration::from_secs(2))));
    thirty_run(&node, 3 * baseline + Duration::from_secs(60)).await;
    assert_eq!(node.board.health(), Ok(()));
    assert_eq!(node.board.problems(), Vec::<String>::new());
    let began = Instant::now();
    node.want(&[]);
    node.until("all are gone", Duration::from_secs(120), Node::is_empty).await;
    assert!(began.elapsed() < Duration::from_secs(120));
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b53_one_hung_container_holds_up_no_other_pod() {
    for call in [Call::ContainerStatus, Call::StopContainer, Call::StartContainer, Call::CreateContainer] {
        let node = Make::new().start(&[]);
        let rule = FaultRule::on(call, FaultKind::Hang).of(Select::any().pod("sick-node1"));
        let fault = node.fake.fault(rule);
        node.want(&[sleeper("sick"), sleeper("well")]);
        node.until_running("well").await;
        node.want(&[sleeper("well"), sleeper("next")]);
        node.until("the next pod runs", Duration::from_secs(3), |node| node.is_running("next")).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(node.board.health(), Ok(()), "{call}");
        node.fake.kill(&node.container("well", "main").unwrap().id.unwrap());
        node.until("its exit is seen", Duration::from_secs(2), |node| {
            node.pod("well").unwrap().restarts == 1
        })
        .await;
        node.fake.remove_fault(fault);
        node.until(&format!("{call}: the sick one is gone"), LIMIT, |node| node.pod("sick").is_none()).await;
        node.at_rest().await;
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b53_a_hung_list_is_told_within_three_minutes_and_recovered_from() {
    for everything in [false, true] {
        let node = Make::new().start(&[sleeper("web"), sleeper("gone")]);
        node.until_running("web").await;
        node.until_running("gone").await;
        let calls =
            [Call::ListContainers, Call::ListPodSandbox, Call::StreamContainers, Call::StreamPodSandboxes];
        let faults: Vec<_> = if everything {
            vec![node.fake.fault(FaultRule::on_any(FaultKind::Hang))]
        } else {
            calls.iter().map(|call| node.fake.fault(FaultRule::on(*call, FaultKind::Hang))).collect()
        };
        let before: Vec<_> = node.runtime().containers.into_keys().collect();
        node.until("not healthy", Duration::from_secs(185), |node| node.board.health().is_err()).await;
        assert!(!node.board.problems().is_empty());
        node.want(&[sleeper("web"), sleeper("next")]);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(node.fake.in_flight() < 64, "{} calls in flight", node.fake.in_flight());
        let now: Vec<_> = node.runtime().containers.into_keys().collect();
        assert!(now.contains(&before[0]) || now.contains(&before[1]));
        for fault in faults {
            node.fake.remove_fault(fault);
        }
        node.until(&format!("recovered, everything: {everything}"), LIMIT, |node| {
            node.board.health().is_ok() && node.is_running("next") && node.pod("gone").is_none()
        })
        .await;
        node.at_rest().await;
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b54_a_stop_is_given_its_whole_grace() {
    let make = Make::new();
    let after = Duration::from_secs(3_590);
    make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Exit { code: 0, after }));
    let mut slow = sleeper("slow");
    slow["spec"]["terminationGracePeriodSeconds"] = json!(3_600);
    let node = make.start(&[slow]);
    node.until_running("slow").await;
    node.want(&[]);
    tokio::time::sleep(after - Duration::from_secs(5)).await;
    assert_eq!(node.runtime().running().len(), 1, "killed before its grace was over");
    node.until("it ended by itself", LIMIT, |node| node.is_empty()).await;
    let stops = calls_of(&node, Call::StopContainer);
    assert_eq!(stops, [Outcome::Answered], "one stop, never cancelled");
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b54_a_hung_stop_is_given_up_after_grace_and_margin_and_tried_again() {
    let node = Make::new().start(&[sleeper("web")]);
    node.until_running("web").await;
    let hang = FaultRule::on(Call::StopContainer, FaultKind::Hang).once();
    node.fake.fault(hang);
    let began = Instant::now();
    node.want(&[]);
    node.until("it was stopped after all", Duration::from_secs(160), |node| {
        node.runtime().running().is_empty()
    })
    .await;
    let limit = Duration::from_secs(5 + 120);
    let took = began.elapsed();
    assert!(took >= limit && took < limit + Duration::from_secs(3), "{took:?}");
    node.at_rest().await;
    node.stop().await;
}

fn calls_of(node: &Node, call: Call) -> Vec<Outcome> {
    let calls = node.fake.calls().into_iter();
    calls.filter(|record| record.call == call).map(|record| record.outcome).collect()
}

const LISTS: [Call; 4] =
    [Call::ListContainers, Call::ListPodSandbox, Call::StreamContainers, Call::StreamPodSandboxes];

#[tokio::test(start_paused = true)]
async fn b57_no_absence_in_a_list_kills_or_restarts() {
    let node = Make::new().start(&[sleeper("web"), sleeper("other")]);
    node.until_running("web").await;
    node.until_running("other").await;
    let snapshot = node.runtime();
    let ids: Vec<_> = snapshot.containers.keys().cloned().collect();
    let (container, sandbox) = (ids[0].clone(), snapshot.containers[&ids[0]].sandbox_id.clone());
    let lies = [
        FaultKind::PartialList(vec![container.clone()]),
        FaultKind::PartialList(vec![sandbox.clone()]),
        FaultKind::PartialList(vec![container, sandbox]),
        FaultKind::EmptyList,
        FaultKind::StaleList(Duration::from_secs(30)),
        FaultKind::FrozenList,
    ];
    let mutations = node.mutations();
    for lie in lies {
        for times in [Times::Once, Times::Count(2), Times::Probability { seed: 1, p: 0.3 }] {
            let rules = LISTS.map(|call| node.fake.fault(FaultRule::on(call, lie.clone()).times(times)));
            tokio::time::sleep(Duration::from_secs(40)).await;
            for rule in rules {
                node.fake.remove_fault(rule);
            }
            assert_eq!(mutations, node.mutations(), "{lie:?} {times:?}\n{}", node.describe());
        }
    }
    assert_eq!(ids, node.runtime().containers.into_keys().collect::<Vec<_>>());
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b57_a_list_that_stays_partial_starts_no_second_instance() {
    let node = Make::new().start(&[sleeper("web")]);
    node.until_running("web").await;
    let id = running(&node.runtime(), "main").id.clone();
    let mutations = node.mutations();
    for call in LISTS {
        node.fake.fault(FaultRule::on(call, FaultKind::PartialList(vec![id.clone()])));
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(mutations, node.mutations(), "{}", node.describe());
    node.fake.clear_faults();
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b57_a_really_dead_one_is_seen_within_five_seconds() {
    for dead_stream in [false, true] {
        let make = Make::new();
        make.fake.configure(|switches| switches.events = !dead_stream);
        let node = make.start(&[sleeper("web")]);
        node.until_running("web").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        for call in LISTS {
            make.fake.fault(FaultRule::on(call, FaultKind::StaleList(Duration::from_secs(30))).once());
        }
        make.fake.kill(&running(&node.runtime(), "main").id.clone());
        node.until("the restart is under way", Duration::from_secs(5), |node| {
            node.pod("web").unwrap().restarts == 1
        })
        .await;
        node.stop_anyhow().await;
    }
}
