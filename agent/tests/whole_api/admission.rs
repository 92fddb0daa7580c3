//! Pods that this node does not take, not yet, or took before.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{NODE, sleeper};
use crate::rig::{Rig, SOON};

const MINUTE: Duration = Duration::from_secs(60);

fn asking(name: &str, cpu: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": cpu } });
    pod
}

fn selecting(name: &str, key: &str, value: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["nodeSelector"] = json!({ key: value });
    pod
}

fn label(rig: &Rig, key: &str, value: Option<&str>) {
    rig.api.update("nodes", "", NODE, |node| {
        let labels = node["metadata"]["labels"].as_object_mut().unwrap();
        match value {
            Some(value) => drop(labels.insert(key.to_owned(), json!(value))),
            None => drop(labels.remove(key)),
        }
    });
}

async fn until_node(rig: &Rig) {
    rig.api.watch_until("the node is there", SOON, |api| api.get("nodes", "", NODE).is_some()).await;
}

fn events_of(rig: &Rig, name: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = rig.api.list("events").into_iter().chain(rig.api.list("events.events.k8s.io"));
    events
        .filter(|event| event["involvedObject"]["name"] == name || event["regarding"]["name"] == name)
        .map(|event| (text(&event["reason"]), text(&event["message"]) + &text(&event["note"])))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_refused_is_failed_with_reason_message_and_event() {
    let rig = Rig::new();
    let agent = rig.start();
    until_node(&rig).await;
    let uid = rig.create(&asking("greedy", "400"));
    rig.create(&selecting("elsewhere", "kubernetes.io/hostname", "other"));
    rig.until_phase("greedy", "Failed", SOON).await;
    let status = rig.pod("greedy").unwrap()["status"].clone();
    assert_eq!(status["reason"], "OutOfcpu");
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("Pod was rejected: Node didn't have enough resource: cpu"), "{message}");
    assert_eq!(rig.phase("elsewhere"), "Pending");
    rig.until_phase("elsewhere", "Failed", MINUTE).await;
    assert_eq!(rig.pod("elsewhere").unwrap()["status"]["reason"], "NodeAffinity");
    rig.until("it is told", SOON, || {
        events_of(&rig, "greedy").iter().any(|(reason, _)| reason == "OutOfcpu")
    })
    .await;
    agent.stop().await;

    // A refusal is for ever, whatever becomes of the node, and takes no room.
    let agent = rig.start();
    sleep(MINUTE).await;
    assert_eq!((rig.phase("greedy").as_str(), rig.sandboxes_made()), ("Failed", 0));
    rig.api.delete("pods", "default", "greedy").unwrap();
    rig.until_gone("greedy", SOON).await;
    rig.until("only the other is left", SOON, || agent.cards() == 1).await;
    assert!(!rig.api.history(&uid).is_empty());
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn p25_a_label_that_comes_late_is_waited_for() {
    let rig = Rig::new();
    let agent = rig.start();
    until_node(&rig).await;
    rig.create(&selecting("web", "example.com/role", "x"));
    sleep(Duration::from_secs(12)).await;
    assert_eq!((rig.phase("web").as_str(), rig.sandboxes_made()), ("Pending", 0));
    label(&rig, "example.com/role", Some("x"));
    rig.until_ready_within("web", Duration::from_secs(25)).await;
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn p25_room_that_a_leaving_pod_has_is_waited_for() {
    let rig = Rig::new();
    let agent = rig.start();
    until_node(&rig).await;
    rig.create(&asking("old", "3"));
    rig.until_ready("old").await;
    rig.api.delete("pods", "default", "old").unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.create(&asking("new", "3"));
    rig.until_gone("old", MINUTE).await;
    rig.until_ready_within("new", SOON).await;
    rig.create(&asking("third", "3"));
    rig.until_phase("third", "Failed", SOON).await;
    assert_eq!(rig.phase("new"), "Running");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn p25_a_pod_that_waits_can_be_deleted_and_a_restart_does_not_let_it_in() {
    let rig = Rig::new();
    let agent = rig.start();
    until_node(&rig).await;
    rig.create(&selecting("web", "example.com/role", "x"));
    rig.create(&selecting("other", "example.com/role", "x"));
    sleep(Duration::from_secs(5)).await;
    rig.api.update("pods", "default", "web", |pod| pod["metadata"]["annotations"] = json!({ "a": "b" }));
    sleep(Duration::from_secs(5)).await;
    rig.api.delete("pods", "default", "other").unwrap();
    rig.until_gone("other", SOON).await;
    agent.stop().await;
    let agent = rig.start();
    sleep(Duration::from_secs(15)).await;
    assert_eq!((rig.phase("web").as_str(), rig.sandboxes_made()), ("Pending", 0));
    rig.until_phase("web", "Failed", MINUTE).await;
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b37_a_pod_that_runs_is_not_judged_again() {
    let rig = Rig::new();
    let agent = rig.start();
    until_node(&rig).await;
    label(&rig, "example.com/role", Some("x"));
    let mut pod = selecting("web", "example.com/role", "x");
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "3" } });
    let uid = rig.create(&pod);
    rig.until_ready_within("web", MINUTE).await;
    agent.stop().await;
    label(&rig, "example.com/role", None);
    rig.api.update("nodes", "", NODE, |node| {
        node["spec"]["taints"] = json!([{ "key": "k", "value": "v", "effect": "NoExecute" }]);
        node["status"]["allocatable"]["cpu"] = json!("0");
    });
    let mutations = rig.mutations();
    let agent = rig.start();
    sleep(Duration::from_secs(300)).await;
    assert_eq!((rig.phase("web").as_str(), rig.running(&uid), rig.mutations()), ("Running", 1, mutations));
    rig.create(&sleeper("late"));
    rig.until_phase("late", "Failed", MINUTE).await;
    assert_eq!(rig.pod("late").unwrap()["status"]["reason"], "TaintToleration");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b13_a_critical_pod_makes_room_for_itself() {
    let rig = Rig::new();
    let agent = rig.start();
    until_node(&rig).await;
    let mut guaranteed = asking("guaranteed", "1");
    let all = json!({ "cpu": "1", "memory": "64Mi" });
    guaranteed["spec"]["containers"][0]["resources"] = json!({ "requests": all, "limits": all });
    for pod in [guaranteed, asking("burstable", "1"), sleeper("modest")] {
        rig.create(&pod);
    }
    for name in ["guaranteed", "burstable", "modest"] {
        rig.until_ready(name).await;
    }
    let mut critical = asking("critical", "4");
    critical["spec"]["priority"] = json!(2_000_001_000);
    rig.create(&critical);
    rig.until_ready_within("critical", MINUTE).await;
    let victims = || ["guaranteed", "burstable"].map(|name| rig.pod(name).unwrap()["status"].clone());
    for status in victims() {
        assert_eq!(
            (&status["phase"], &status["reason"]),
            (&json!("Failed"), &json!("Preempting")),
            "{status}"
        );
        assert_eq!(status["message"], "Preempted in order to admit critical pod");
        let conditions = status["conditions"].as_array().unwrap();
        let disrupted = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
        assert_eq!(
            (&disrupted["status"], &disrupted["reason"]),
            (&json!("True"), &json!("TerminationByKubelet"))
        );
    }
    assert!(rig.is_ready("modest"), "what asks for nothing frees nothing");
    rig.until("it is told", SOON, || {
        let told = |name| events_of(&rig, name).iter().any(|(reason, _)| reason == "Preempting");
        told("guaranteed") && told("burstable") && !told("modest")
    })
    .await;
    let (before, made) = (victims(), rig.sandboxes_made());
    agent.stop().await;

    let agent = rig.start();
    sleep(MINUTE).await;
    assert_eq!((victims(), rig.sandboxes_made(), rig.is_ready("critical")), (before, made, true));
    agent.stop().await;
    rig.check_manners();
}
