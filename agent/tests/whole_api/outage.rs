//! The API server is gone for minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::harness::{pod, sleeper};
use crate::rig::{Agent, Rig, all_of, exit_of, main_of};

const RETURN: Duration = Duration::from_secs(30);

/// Things that happen to 30 pods while nobody hears of them.
async fn live_through(rig: &Rig, uids: &[String], agent: Agent, restart: bool) -> Agent {
    rig.api.down();
    sleep(Duration::from_secs(60)).await;
    for uid in &uids[..10] {
        rig.make.fake.kill(&rig.container_id(uid));
    }
    for uid in &uids[25..] {
        rig.make.fake.exit_now(&rig.container_id(uid), 9);
    }
    sleep(Duration::from_secs(60)).await;
    let mut edited = sleeper("static");
    edited["spec"]["containers"][0]["command"] = json!(["sleep", "1000000"]);
    let agent = if restart {
        agent.stop().await;
        rig.start_with(&[edited])
    } else {
        agent.want(&[edited]);
        agent
    };
    rig.until("the edited static pod runs alone", Duration::from_secs(60), || {
        let snapshot = rig.make.fake.snapshot();
        let running = snapshot.running();
        let command =
            |command: &str| running.iter().filter(|c| c.config.command == ["sleep", command]).count();
        command("1000000") == 1 && command("infinity") == 25
    })
    .await;
    sleep(Duration::from_secs(60)).await;
    for uid in &uids[..5] {
        rig.make.fake.kill(&rig.container_id(uid));
    }
    sleep(Duration::from_secs(420)).await;
    agent
}

#[tokio::test(start_paused = true)]
async fn b60_b61_ten_minutes_without_the_api_are_told_in_one_write_for_each_pod() {
    for restart in [false, true] {
        let rig = Rig::new();
        let agent = rig.start_with(&[sleeper("static")]);
        let mut uids: Vec<_> = (0..25).map(|n| rig.create(&sleeper(&format!("p{n}")))).collect();
        uids.extend((25..30).map(|n| rig.create(&pod(&format!("p{n}"), "Never", &["sleep", "infinity"]))));
        let all = all_of(30, |n| rig.is_ready(&format!("p{n}")));
        rig.until("all are ready", Duration::from_secs(60), all).await;
        rig.until_ready("static-node1").await;
        let agent = live_through(&rig, &uids, agent, restart).await;
        let from = rig.api.requests_so_far();
        rig.api.up();
        let right = |n: usize| {
            let pod = rig.pod(&format!("p{n}")).unwrap();
            let restarts = if n < 5 { 2 } else { i64::from(n < 10) };
            if n < 25 {
                main_of(&pod)["restartCount"] == restarts && rig.is_ready(&format!("p{n}"))
            } else {
                exit_of(&pod) == Some(9) && pod["status"]["phase"] == "Failed"
            }
        };
        let all_right = all_of(30, right);
        rig.api.watch_until("all are right", RETURN, |_| all_right()).await;
        rig.until_ready_within("static-node1", RETURN).await;
        sleep(Duration::from_secs(120)).await;
        let mut writes = BTreeMap::new();
        for write in rig.pod_writes(from).into_iter().filter(|write| write.committed && write.sub == "status")
        {
            *writes.entry(write.name).or_insert(0) += 1;
        }
        assert!(!writes.contains_key("p15"), "restart {restart}: nothing happened to it: {writes:?}");
        writes.remove("static-node1");
        assert!(writes.values().all(|count| *count == 1), "restart {restart}: {writes:?}");
        assert_eq!(writes.len(), 15, "restart {restart}: {writes:?}");
        assert_eq!(rig.pod_reads(), 0);
        agent.stop().await;
        rig.check_manners();
    }
}

#[tokio::test(start_paused = true)]
async fn p23_a_black_hole_keeps_nothing_from_running_and_all_is_right_after_it() {
    let rig = Rig::new();
    let agent = rig.start();
    let uid = rig.create(&sleeper("web"));
    rig.until_ready("web").await;
    rig.api.black_hole();
    rig.make.fake.kill(&rig.container_id(&uid));
    sleep(Duration::from_secs(300)).await;
    assert_eq!(rig.running(&uid), 1);
    rig.api.up();
    // The watch stays silent: noticing that is the connection's matter. What the node says does not wait for it.
    rig.api
        .watch_until("its restart is told", RETURN, |_| {
            main_of(&rig.pod("web").unwrap())["restartCount"] == 1 && rig.is_ready("web")
        })
        .await;
    agent.stop().await;
    rig.check_manners();
}
