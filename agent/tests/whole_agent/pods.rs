//! Takeover, orphans, owners, held pods, deadlines, dead sandboxes, terminations that meet trouble, a full disk.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use pinnace::disk::{Failing, MemoryDisk};
use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{
    Code, FaultKind, FaultRule, OnTerm, PodShape, Script, SeedPhase, Select, Times, container_config,
    sandbox_config,
};
use pinnace_cri::labels;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{IMAGE, Make, NODE, Node, pod, running, sleeper};

const LIMIT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

/// A pod as a kubelet left it: its sandbox and one running container.
fn seed(make: &Make, name: &str, uid: &str) -> String {
    let shape = PodShape::static_pod(&format!("{name}-{NODE}"), uid);
    let sandbox = make.fake.seed_sandbox(sandbox_config(&shape), HOUR);
    let config = container_config(&shape, "main", IMAGE, 2);
    make.fake.seed_container(&sandbox, config, SeedPhase::Running, HOUR).unwrap()
}

fn with_uid(mut pod: Value, uid: &str) -> Value {
    pod["metadata"]["uid"] = json!(uid);
    pod
}

#[tokio::test(start_paused = true)]
async fn what_a_kubelet_left_is_taken_over_without_a_restart() {
    let make = Make::new();
    let uids: Vec<_> = (0..5).map(|index| format!("0c5d1fd7-6d8a-4b0f-9c0e-00000000000{index}")).collect();
    let ids: Vec<_> =
        uids.iter().enumerate().map(|(index, uid)| seed(&make, &format!("web{index}"), uid)).collect();
    let pods: Vec<_> =
        uids.iter().enumerate().map(|(index, uid)| with_uid(sleeper(&format!("web{index}")), uid)).collect();
    let node = make.start(&pods);
    for index in 0..5 {
        node.until_running(&format!("web{index}")).await;
    }
    node.at_rest().await;
    assert_eq!(node.mutations(), 0, "a takeover made mutating calls");
    for (index, id) in ids.iter().enumerate() {
        let view = node.container(&format!("web{index}"), "main").unwrap();
        assert_eq!((view.id.as_ref(), view.restarts), (Some(id), 2));
    }
    // A restart that comes later continues the kubelet's count.
    make.fake.kill(&ids[0]);
    node.until("restarted", LIMIT, |node| node.is_running("web0") && node.pod("web0").unwrap().restarts == 3)
        .await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orphans_are_taken_down_once_the_sources_have_answered_and_not_before() {
    let make = Make::new();
    seed(&make, "orphan", "0c5d1fd7-6d8a-4b0f-9c0e-0000000000aa");
    let node = make.start_unsynced();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(node.mutations(), 0);
    node.want(&[sleeper("web")]);
    node.until("the orphan is gone", LIMIT, |node| {
        node.runtime().sandboxes.len() == 1 && node.is_running("web")
    })
    .await;
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_carries_another_owners_label_is_never_touched() {
    let make = Make::new();
    let shape = PodShape::static_pod("theirs-other", "0c5d1fd7-6d8a-4b0f-9c0e-0000000000bb");
    let (mut sandbox, mut container) = (sandbox_config(&shape), container_config(&shape, "main", IMAGE, 0));
    sandbox.labels.insert(labels::OWNER.to_owned(), "other".to_owned());
    container.labels.insert(labels::OWNER.to_owned(), "other".to_owned());
    let sandbox = make.fake.seed_sandbox(sandbox, HOUR);
    let id = make.fake.seed_container(&sandbox, container, SeedPhase::Running, HOUR).unwrap();
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    node.want(&[]);
    node.until("ours is gone", LIMIT, |node| node.runtime().containers.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(running(&node.runtime(), "main").id, id);
    assert!(node.board.pods().is_empty());
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_pod_stays_pending_and_names_the_field() {
    let mut held = sleeper("held");
    held["spec"]["containers"][0]["livenessProbe"] = json!({ "exec": { "command": ["true"] } });
    let node = Make::new().start(&[held, sleeper("web")]);
    node.until_running("web").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let view = node.pod("held").unwrap();
    assert_eq!(view.phase, "Pending");
    assert!(view.reason.contains("livenessProbe"), "{}", view.reason);
    let explained = node.board.explain("held").unwrap();
    assert!(explained.held.iter().any(|held| held.contains("livenessProbe")), "{:?}", explained.held);
    assert_eq!(node.runtime().sandboxes.len(), 1);
    node.want(&[]);
    node.until("both are gone", LIMIT, |node| node.board.pods().is_empty()).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_pod_as_failed() {
    let mut timed = sleeper("timed");
    timed["spec"]["activeDeadlineSeconds"] = json!(60);
    let make = Make::new();
    let mut node = make.start(std::slice::from_ref(&timed));
    node.until_running("timed").await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(20)).await;
    node.stop().await;
    node = make.start(&[timed]);
    node.until("DeadlineExceeded", Duration::from_secs(70), |node| {
        node.pod("timed").is_some_and(|pod| pod.phase == "Failed" && pod.status == "DeadlineExceeded")
    })
    .await;
    assert!((59..=62).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    node.until("nothing runs", LIMIT, |node| node.runtime().running().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(node.runtime().running().is_empty());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_sandbox_is_replaced_and_its_containers_start_by_policy() {
    for policy in ["Always", "OnFailure", "Never"] {
        let node = Make::new().start(&[pod("web", policy, &["sleep", "infinity"])]);
        node.until_running("web").await;
        let sandbox = node.runtime().sandboxes.into_keys().next().unwrap();
        node.fake.kill_sandbox(&sandbox);
        if policy == "Never" {
            node.until("Failed", LIMIT, |node| node.pod("web").unwrap().phase == "Failed").await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            let made = node.fake.count_calls(|record| record.call == Call::RunPodSandbox);
            assert_eq!(made, 1, "a second sandbox for a pod that never restarts");
            assert_eq!(node.container("web", "main").unwrap().exit_code, Some(137));
        } else {
            node.until("runs again", LIMIT, |node| {
                node.is_running("web") && node.pod("web").unwrap().restarts == 1
            })
            .await;
            let now = node.runtime();
            let container = running(&now, "main");
            assert_eq!(container.metadata().attempt, 1);
            let attempt = now.sandboxes[&container.sandbox_id].config.metadata.as_ref().unwrap().attempt;
            assert_eq!(attempt, 1);
        }
        node.at_rest().await;
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ignores_term_is_killed_when_its_grace_is_over() {
    let make = Make::new();
    make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let began = Instant::now();
    node.want(&[]);
    node.until("killed", LIMIT, |node| node.runtime().running().is_empty()).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5) && took <= Duration::from_secs(7), "grace 5 s: {took:?}");
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_does_not_lengthen_the_grace() {
    let make = Make::new();
    make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let mut slow = sleeper("web");
    slow["spec"]["terminationGracePeriodSeconds"] = json!(40);
    let node = make.start(&[slow]);
    node.until_running("web").await;
    let began = Instant::now();
    // The first stop is lost with the agent; the runtime never heard of it.
    let hang = node.fake.fault(FaultRule::on(Call::StopContainer, FaultKind::Hang));
    node.want(&[]);
    tokio::time::sleep(Duration::from_secs(25)).await;
    node.stop_anyhow().await;
    make.fake.remove_fault(hang);
    let node = make.start(&[]);
    node.until("killed", Duration::from_secs(60), |node| node.runtime().running().is_empty()).await;
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(42), "{took:?}");
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_teardown_that_meets_errors_goes_on_where_it_was() {
    let calls = [Call::StopContainer, Call::StopPodSandbox, Call::RemoveContainer, Call::RemovePodSandbox];
    let make = Make::new();
    for call in calls {
        let error = FaultKind::Error(Code::Unknown, "made up".to_owned());
        make.fake.fault(FaultRule::on(call, error).times(Times::Count(3)));
    }
    let mut node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    node.want(&[]);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.stop_anyhow().await;
        node = make.start(&[]);
    }
    node.until("nothing is left", Duration::from_secs(90), Node::is_empty).await;
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_no_pod_and_keeps_exits_that_are_not_written() {
    let disk = Arc::new(MemoryDisk::default());
    let make = Make { disk: disk.clone(), ..Make::new() };
    let node = make.start(&[sleeper("web"), pod("job", "OnFailure", &["sh", "-c", "sleep 30; exit 7"])]);
    node.until_running("web").await;
    let full =
        Failing { from: 0, calls: u64::MAX, kind: ErrorKind::StorageFull, partial: 0, after_rename: false };
    disk.set_failing(Some(full));
    node.until("the condition is told", Duration::from_secs(90), |node| {
        node.board.problems().iter().any(|said| said.contains("journal"))
    })
    .await;
    assert!(node.is_running("web"));
    // The pod goes: its container ends, but is not removed while its end is only in memory.
    node.want(&[pod("job", "OnFailure", &["sh", "-c", "sleep 30; exit 7"])]);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let web: Vec<_> = node
        .runtime()
        .containers
        .values()
        .filter(|c| c.config.labels.get(labels::POD_NAME).is_some_and(|name| name.starts_with("web")))
        .map(|container| container.exit_code())
        .collect();
    assert_eq!(web, [Some(143)], "ended, and kept\n{}", node.describe());
    disk.set_failing(None);
    node.until("gone once the disk is mended", Duration::from_secs(60), |node| node.pod("web").is_none())
        .await;
    node.until("the condition is over", Duration::from_secs(60), |node| node.board.problems().is_empty())
        .await;
    node.stop_anyhow().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_lost_everything_gets_its_pods_anew() {
    let node = Make::new().start(&[sleeper("web"), pod("job", "Never", &["sleep", "infinity"])]);
    node.until_running("web").await;
    node.until_running("job").await;
    node.fake.restart_with_amnesia();
    node.until("web runs again", LIMIT, |node| {
        node.is_running("web") && node.pod("job").unwrap().phase == "Failed"
    })
    .await;
    let job = node.container("job", "main").unwrap();
    assert_eq!((job.exit_code, job.reason.as_str()), (Some(137), "ContainerStatusUnknown"));
    assert_eq!(node.pod("web").unwrap().restarts, 1);
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_not_ready_is_waited_for() {
    let make = Make::new();
    make.fake.configure(|switches| switches.network_ready = false);
    let mut host = sleeper("host");
    host["spec"]["hostNetwork"] = json!(true);
    let node = make.start(&[sleeper("web"), host]);
    node.until_running("host").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(node.runtime().sandboxes.len(), 1);
    assert!(node.pod("web").unwrap().reason.contains("network"), "{:?}", node.pod("web"));
    make.fake.configure(|switches| switches.network_ready = true);
    node.until("runs", Duration::from_secs(10), |node| node.is_running("web")).await;
    node.stop().await;
}
