//! Pods of the API run, and what becomes of them is told.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::harness::{pod, sleeper};
use crate::rig::{Rig, SOON, exit_of, main_of};

#[tokio::test(start_paused = true)]
async fn pods_run_and_their_ends_are_told_with_exit_codes() {
    let rig = Rig::new();
    let agent = rig.start();
    let web = rig.create(&sleeper("web"));
    rig.create(&pod("right", "Never", &["sh", "-c", "sleep 3; exit 0"]));
    rig.create(&pod("wrong", "OnFailure", &["sh", "-c", "exit 7"]));
    rig.create(&pod("never", "Never", &["sh", "-c", "sleep 3; exit 7"]));
    rig.until_ready_within("web", SOON).await;
    rig.until_phase("right", "Succeeded", SOON).await;
    rig.until_phase("never", "Failed", SOON).await;
    assert_eq!(exit_of(&rig.pod("right").unwrap()), Some(0));
    assert_eq!(exit_of(&rig.pod("never").unwrap()), Some(7));
    rig.api
        .watch_until("wrong was restarted", Duration::from_secs(60), |_| {
            rig.pod("wrong").is_some_and(|pod| {
                main_of(&pod)["restartCount"].as_i64() >= Some(2)
                    && main_of(&pod)["lastState"]["terminated"]["exitCode"] == 7
            })
        })
        .await;
    assert_eq!(rig.api.transitions(&web, "Ready").last().map(String::as_str), Some("True"));
    let status = rig.pod("web").unwrap()["status"].clone();
    assert_eq!(status["hostIP"], "192.0.2.7", "{status}");
    assert!(status["podIP"].is_string() && status["startTime"].is_string(), "{status}");
    assert!(main_of(&rig.pod("web").unwrap())["containerID"].as_str().unwrap().contains("://"));
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b27_conditions_of_others_stay_and_ours_are_put_right() {
    let rig = Rig::new();
    let agent = rig.start();
    let uid = rig.create(&sleeper("web"));
    rig.until_ready("web").await;
    let theirs = json!({ "type": "example.com/Gate", "status": "True", "reason": "Theirs" });
    rig.api.update("pods", "default", "web", |pod| {
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(theirs.clone());
        conditions.iter_mut().find(|condition| condition["type"] == "Ready").unwrap()["status"] =
            json!("False");
    });
    rig.until_ready_within("web", SOON).await;
    for _ in 0..3 {
        rig.make.fake.kill(&rig.container_id(&uid));
        sleep(Duration::from_secs(120)).await;
        rig.until_ready("web").await;
    }
    let pod = rig.pod("web").unwrap();
    assert!(pod["status"]["conditions"].as_array().unwrap().contains(&theirs), "{pod}");
    assert_eq!(main_of(&pod)["restartCount"], 3);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b69_a_storm_of_annotations_holds_up_nobody() {
    let rig = Rig::new();
    let agent = rig.start();
    let uid = rig.create(&sleeper("stormy"));
    rig.until_ready("stormy").await;
    let (writes, mutations) = (rig.api.requests_so_far(), rig.mutations());
    for round in 0..10 {
        for n in 0..100 {
            rig.api.update("pods", "default", "stormy", |pod| {
                pod["metadata"]["annotations"] = json!({ "n": format!("{round}-{n}") });
            });
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((rig.pod_writes(writes).len(), rig.mutations()), (0, mutations));
    rig.create(&sleeper("other"));
    rig.until_ready_within("other", Duration::from_secs(2)).await;
    assert_eq!(rig.running(&uid), 1);
    agent.stop().await;
}
