//! What happened while the agent was down, with and without an API server at its start.

use std::time::Duration;

use pinnace_cri::fake::{OnTerm, Script, Select};
use tokio::time::sleep;

use crate::harness::{pod, sleeper};
use crate::rig::{Rig, SOON, all_of, exit_of, held, let_go, main_of, scaled};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn b04_a_pod_that_came_and_was_deleted_meanwhile_never_runs() {
    let rig = Rig::new();
    let agent = rig.start();
    rig.api.watch_until("the node is there", SOON, |api| api.get("nodes", "", "node1").is_some()).await;
    agent.stop().await;
    let mut greedy = sleeper("greedy");
    greedy["spec"]["containers"][0]["resources"] = serde_json::json!({ "requests": { "cpu": "400" } });
    for pod in [sleeper("web"), greedy, held(sleeper("held"))] {
        rig.create(&pod);
    }
    for name in ["web", "greedy", "held"] {
        rig.api.delete("pods", "default", name).unwrap();
    }
    let agent = rig.start();
    rig.until_gone("web", MINUTE).await;
    rig.until_gone("greedy", MINUTE).await;
    rig.until_phase("held", "Failed", MINUTE).await;
    let_go(&rig, "held");
    rig.until("no worker is left", SOON, || agent.cards() == 0).await;
    assert_eq!(rig.sandboxes_made(), 0);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b05_orphans_of_a_downtime_leave_nothing() {
    let rig = Rig::new();
    let agent = rig.start_with(&[sleeper("static")]);
    for n in 0..5 {
        rig.create(&sleeper(&format!("p{n}")));
    }
    rig.create(&pod("job", "Never", &["sh", "-c", "exit 0"]));
    rig.until_ready("p4").await;
    rig.until_phase("job", "Succeeded", SOON).await;
    agent.stop().await;
    for name in ["p0", "p1", "p2", "p3", "p4", "job"] {
        rig.api.force_delete("pods", "default", name);
    }
    let agent = rig.start();
    rig.until_empty(MINUTE).await;
    rig.until_gone("static-node1", MINUTE).await;
    rig.until("no worker is left", SOON, || agent.cards() == 0).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b32_ends_during_a_downtime_are_told_to_the_api_within_ten_seconds() {
    let rig = Rig::new();
    let agent = rig.start();
    let job = rig.create(&pod("job", "Never", &["sleep", "infinity"]));
    let web = rig.create(&sleeper("web"));
    rig.until_ready("job").await;
    rig.until_ready("web").await;
    agent.stop().await;
    rig.make.fake.exit_now(&rig.container_id(&job), 7);
    rig.make.fake.exit_now(&rig.container_id(&web), 8);
    sleep(Duration::from_secs(300)).await;
    let agent = rig.start();
    rig.until_phase("job", "Failed", SOON).await;
    assert_eq!(exit_of(&rig.pod("job").unwrap()), Some(7));
    rig.api
        .watch_until("web runs again", SOON, |_| {
            let pod = rig.pod("web").unwrap();
            main_of(&pod)["lastState"]["terminated"]["exitCode"] == 8 && rig.is_ready("web")
        })
        .await;
    sleep(Duration::from_secs(600)).await;
    agent.stop().await;
    let agent = rig.start();
    sleep(MINUTE).await;
    assert_eq!(
        (rig.phase("job").as_str(), rig.sandboxes_made()),
        ("Failed", 2),
        "a finished pod is not run again"
    );
    rig.api.delete("pods", "default", "job").unwrap();
    rig.until("only web is left", MINUTE, || {
        agent.cards() == 1 && rig.make.fake.snapshot().containers.len() <= 2
    })
    .await;
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b34_restarts_with_the_api_up_change_nothing() {
    let rig = Rig::new();
    let mut agent = rig.start();
    let uids: Vec<_> = (0..50).map(|n| rig.create(&sleeper(&format!("p{n}")))).collect();
    rig.until_ready("p49").await;
    rig.until("all are ready", SOON, all_of(50, |n| rig.is_ready(&format!("p{n}")))).await;
    let (mutations, from) = (rig.mutations(), rig.api.requests_so_far());
    let restarts = scaled("b34", "restarts", 5, 20);
    for pause in [0, 30, 400, 2].into_iter().cycle().take(restarts) {
        agent.stop().await;
        sleep(Duration::from_secs(pause)).await;
        agent = rig.start();
        sleep(MINUTE).await;
    }
    assert_eq!(rig.mutations(), mutations, "restarts");
    for uid in &uids {
        assert_eq!(rig.api.transitions(uid, "Ready").last().map(String::as_str), Some("True"));
        assert!(rig.api.transitions(uid, "Ready").len() <= 2, "{:?}", rig.api.transitions(uid, "Ready"));
    }
    assert_eq!(rig.pod_writes(from).len(), 0, "{:?}", rig.pod_writes(from).first());
    assert_eq!(node_transitions(&rig), ["True"]);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn p20_with_the_api_down_the_journals_pods_run_on_and_what_was_deleted_stops_at_its_return() {
    let rig = Rig::new();
    let agent = rig.start();
    let uids: Vec<_> = (0..50).map(|n| rig.create(&sleeper(&format!("p{n}")))).collect();
    rig.until("all are ready", MINUTE, all_of(50, |n| rig.is_ready(&format!("p{n}")))).await;
    let before: Vec<_> = uids.iter().map(|uid| rig.api.transitions(uid, "Ready").len()).collect();
    rig.api.down();
    agent.stop().await;
    rig.api.force_delete("pods", "default", "p0");
    rig.api.delete("pods", "default", "p1").unwrap();
    sleep(MINUTE).await;
    let (mutations, from) = (rig.mutations(), rig.api.requests_so_far());
    let agent = rig.start();
    sleep(Duration::from_secs(600)).await;
    assert_eq!((rig.mutations(), agent.cards()), (mutations, 50), "restarts");
    // One that ends meanwhile is started again.
    rig.make.fake.kill(&rig.container_id(&uids[2]));
    rig.until("p2 runs again", MINUTE, || rig.running(&uids[2]) == 1).await;
    rig.api.up();
    rig.until_gone("p1", Duration::from_secs(45)).await;
    rig.until("p0 and p1 are gone", Duration::from_secs(45), || agent.cards() == 48).await;
    assert_eq!(rig.running(&uids[0]) + rig.running(&uids[1]), 0);
    rig.api
        .watch_until("p2's end is told", Duration::from_secs(45), |_| {
            main_of(&rig.pod("p2").unwrap())["restartCount"] == 1 && rig.is_ready("p2")
        })
        .await;
    sleep(MINUTE).await;
    for n in 3..50 {
        assert_eq!(rig.api.transitions(&uids[n], "Ready").len(), before[n], "p{n}");
        assert_eq!(rig.running(&uids[n]), 1);
    }
    let writes = rig.pod_writes(from);
    let others: Vec<_> = writes
        .iter()
        .filter(|write| write.committed && !["p1", "p2"].contains(&write.name.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(node_transitions(&rig), ["True"]);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn p20_a_reboot_without_an_api_server_starts_the_journals_pods() {
    let rig = Rig::new();
    let agent = rig.start();
    let uid = rig.create(&sleeper("web"));
    rig.create(&pod("job", "Never", &["sh", "-c", "exit 0"]));
    rig.until_ready("web").await;
    rig.until_phase("job", "Succeeded", SOON).await;
    agent.stop().await;
    rig.api.down();
    rig.make.fake.restart_with_amnesia();
    let agent = rig.start();
    rig.until("web runs", MINUTE, || rig.running(&uid) == 1).await;
    sleep(MINUTE).await;
    assert_eq!(rig.make.fake.snapshot().containers.len(), 1, "a finished pod is not run again");
    rig.api.up();
    rig.api
        .watch_until("its restart is told", MINUTE, |_| {
            main_of(&rig.pod("web").unwrap())["restartCount"] == 1
        })
        .await;
    assert_eq!(rig.phase("job"), "Succeeded");
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b05_a_termination_that_a_restart_cut_goes_on() {
    let rig = Rig::new();
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    for up in [true, false] {
        let agent = rig.start();
        let mut slow = sleeper("slow");
        slow["spec"]["terminationGracePeriodSeconds"] = serde_json::json!(40);
        let uid = rig.create(&slow);
        rig.until_ready("slow").await;
        rig.api.delete("pods", "default", "slow").unwrap();
        sleep(Duration::from_secs(5)).await;
        if !up {
            rig.api.down();
        }
        agent.stop().await;
        let agent = rig.start();
        rig.until("it is killed", Duration::from_secs(60), || rig.running(&uid) == 0).await;
        rig.api.up();
        rig.until_gone("slow", MINUTE).await;
        let history = rig.api.history(&uid);
        assert_eq!(exit_of(&history[history.len() - 2].object), Some(137), "API up: {up}");
        rig.until_empty(SOON).await;
        rig.until("no worker is left", SOON, || agent.cards() == 0).await;
        agent.stop().await;
    }
}

fn node_transitions(rig: &Rig) -> Vec<String> {
    let node = rig.api.get("nodes", "", "node1").unwrap();
    rig.api.transitions(node["metadata"]["uid"].as_str().unwrap(), "Ready")
}
