//! Pods are taken down from wherever they are, and their objects go last.

use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, FaultKind, FaultRule, OnTerm, PullScript, Script, Select};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{pod, sleeper};
use crate::rig::{Rig, SOON, all_of, exit_of, phase_of, scaled};

#[tokio::test(start_paused = true)]
async fn i5_the_object_goes_after_its_exit_codes_are_told_and_nothing_is_left() {
    let rig = Rig::new();
    let after = Duration::from_secs(2);
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Exit { code: 0, after }));
    let agent = rig.start();
    let uid = rig.create(&sleeper("web"));
    rig.until_ready("web").await;
    let began = Instant::now();
    rig.api.delete("pods", "default", "web").unwrap();
    rig.until_gone("web", SOON).await;
    assert!(
        began.elapsed() >= after && began.elapsed() < after + Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert!(rig.is_empty(), "the object went before everything else had");
    let history = rig.api.history(&uid);
    let last = &history[history.len() - 2].object;
    assert_eq!((exit_of(last), phase_of(last).as_str()), (Some(0), "Succeeded"), "{last}");
    let deletes = rig.deletes_of("web");
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0].body["gracePeriodSeconds"], 0);
    rig.until("no worker is left", SOON, || agent.cards() == 0).await;
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn p7_a_shorter_grace_that_comes_later_counts() {
    let rig = Rig::new();
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let agent = rig.start();
    let mut slow = sleeper("web");
    slow["spec"]["terminationGracePeriodSeconds"] = json!(600);
    let uid = rig.create(&slow);
    rig.until_ready("web").await;
    rig.api.delete("pods", "default", "web").unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.running(&uid), 1);
    let began = Instant::now();
    rig.api.delete_within("pods", "default", "web", 4).unwrap();
    rig.until_gone("web", SOON).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let deleted = rig.api.history(&uid);
    assert_eq!(exit_of(&deleted[deleted.len() - 2].object), Some(137));
    rig.until_empty(SOON).await;
    agent.stop().await;
}

/// Pods in every state in which a deletion may meet them, by name.
fn in_all_states(rig: &Rig) -> Vec<(&'static str, Value)> {
    let fake = &rig.make.fake;
    let image = |name: &str, image: &str| {
        let mut pod = sleeper(name);
        pod["spec"]["containers"][0]["image"] = json!(image);
        pod
    };
    let slow = PullScript { takes: Duration::from_secs(600), error: None };
    fake.script_pull(Select::any().image("registry.example/slow:1"), slow);
    let missing = Some((Code::NotFound, "no such image".to_owned()));
    let missing = PullScript { takes: Duration::from_secs(1), error: missing };
    fake.script_pull(Select::any().image("registry.example/missing:1"), missing);
    let delay = FaultKind::Delay(Duration::from_secs(6));
    fake.fault(FaultRule::on(Call::RunPodSandbox, delay.clone()).of(Select::any().pod("sandboxing")));
    fake.fault(FaultRule::on(Call::CreateContainer, delay.clone()).of(Select::any().pod("creating")));
    fake.fault(FaultRule::on(Call::StartContainer, delay).of(Select::any().pod("starting")));
    let error = FaultKind::Error(Code::Unknown, "no network".to_owned());
    fake.fault(FaultRule::on(Call::RunPodSandbox, error).of(Select::any().pod("failing")));
    fake.script(Select::any().pod("deaf"), Script::forever().on_term(OnTerm::Ignore));
    vec![
        ("pulling", image("pulling", "registry.example/slow:1")),
        ("backing-off", image("backing-off", "registry.example/missing:1")),
        ("sandboxing", sleeper("sandboxing")),
        ("creating", sleeper("creating")),
        ("starting", sleeper("starting")),
        ("failing", sleeper("failing")),
        ("crashing", pod("crashing", "Always", &["sh", "-c", "exit 3"])),
        ("ended", pod("ended", "Never", &["sh", "-c", "exit 3"])),
        ("deaf", sleeper("deaf")),
    ]
}

#[tokio::test(start_paused = true)]
async fn p7_a_deletion_meets_a_pod_in_any_state() {
    for pause in [0, 1, 3, 45] {
        let rig = Rig::new();
        let states = in_all_states(&rig);
        let agent = rig.start();
        rig.api.watch_until("the node is there", SOON, |api| api.get("nodes", "", "node1").is_some()).await;
        for (_, pod) in &states {
            rig.create(pod);
        }
        sleep(Duration::from_secs(pause)).await;
        for (name, _) in &states {
            rig.api.delete("pods", "default", name);
        }
        for (name, _) in &states {
            rig.until_gone(name, Duration::from_secs(30)).await;
        }
        rig.until_empty(SOON).await;
        rig.until("no worker is left", SOON, || agent.cards() == 0).await;
        agent.stop().await;
        rig.check_manners();
    }
}

#[tokio::test(start_paused = true)]
async fn b67_a_force_delete_leaves_nothing_whatever_the_pod_is_at() {
    for pause in [0, 1, 3, 45] {
        let rig = Rig::new();
        let states = in_all_states(&rig);
        let agent = rig.start();
        rig.api.watch_until("the node is there", SOON, |api| api.get("nodes", "", "node1").is_some()).await;
        for (_, pod) in &states {
            rig.create(pod);
        }
        sleep(Duration::from_secs(pause)).await;
        for (name, _) in &states {
            rig.api.force_delete("pods", "default", name);
        }
        rig.until("no container runs", Duration::from_secs(12), || {
            rig.make.fake.snapshot().running().is_empty()
        })
        .await;
        rig.until_empty(SOON).await;
        rig.until("no worker is left", SOON, || agent.cards() == 0).await;
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b67_a_force_delete_while_the_api_is_down_is_obeyed_at_its_return() {
    let pods = scaled("b67", "pods", 100, 1_000);
    let rig = Rig { max_pods: 1_100, ..Rig::new() };
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let agent = rig.start();
    for n in 0..pods {
        rig.create(&sleeper(&format!("p{n}")));
    }
    let all = all_of(pods, |n| rig.is_ready(&format!("p{n}")));
    rig.until("all are ready", Duration::from_secs(300), all).await;
    rig.api.down();
    for n in 0..pods {
        rig.api.force_delete("pods", "default", &format!("p{n}"));
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!(rig.make.fake.snapshot().running().len(), pods);
    rig.api.up();
    // 30 s until the watch is tried again, 1 s for the second list, the pods' own grace of 5 s.
    // Of a thousand that ignore TERM, 256 are waited for at a time.
    let groups = u64::try_from(pods.div_ceil(256)).unwrap();
    let limit = Duration::from_secs(37 + 5 * groups);
    rig.until("no container runs", limit, || rig.make.fake.snapshot().running().is_empty()).await;
    rig.until_empty(SOON).await;
    agent.stop().await;
}
