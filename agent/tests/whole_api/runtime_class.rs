//! Pods that name a runtime class: the handler comes from the class, and a pod waits for one that is not there.

use std::time::Duration;

use pinnace_cri::fake::{Fake, Options};
use serde_json::{Value, json};

use crate::harness::{Make, sleeper};
use crate::rig::{Rig, SOON};

fn of_class(name: &str, class: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["runtimeClassName"] = json!(class);
    pod["spec"]["overhead"] = json!({ "cpu": "250m" });
    pod
}

fn class(name: &str, handler: &str) -> Value {
    json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": { "name": name }, "handler": handler,
        "overhead": { "podFixed": { "cpu": "250m" } },
    })
}

/// A runtime with the handler `boxed` beside its default one.
fn rig() -> Rig {
    let handlers = vec![String::new(), "boxed".to_owned()];
    let fake = Fake::new(Options { runtime_handlers: handlers, ..Options::default() });
    let rig = Rig::new();
    Rig { make: Make { fake, ..rig.make }, ..rig }
}

fn handlers(rig: &Rig) -> Vec<String> {
    let snapshot = rig.make.fake.snapshot();
    snapshot.sandboxes.values().map(|sandbox| sandbox.runtime_handler.clone()).collect()
}

fn has_event(rig: &Rig, message: &str) -> bool {
    let told = |event: &Value| {
        event["reason"] == "FailedCreatePodSandBox"
            && event["note"].as_str().or(event["message"].as_str()).is_some_and(|text| text.contains(message))
    };
    rig.api.list("events").iter().any(told)
}

#[tokio::test(start_paused = true)]
async fn the_handler_is_that_of_the_class_also_while_the_api_server_is_away() {
    let rig = rig();
    rig.api.create(class("secure", "boxed"));
    let agent = rig.start();
    let uid = rig.create(&of_class("web", "secure"));
    rig.until_ready("web").await;
    assert_eq!(handlers(&rig), ["boxed"]);
    let sandbox = rig.make.fake.snapshot().sandboxes.values().next().unwrap().clone();
    let overhead = sandbox.config.linux.and_then(|linux| linux.overhead).unwrap();
    assert_eq!((overhead.cpu_shares, overhead.cpu_quota), (256, 25_000));

    rig.api.down();
    rig.make.fake.kill_sandbox(&sandbox.id);
    rig.until("a new sandbox of the same handler", Duration::from_secs(120), || {
        rig.running(&uid) == 1 && rig.make.fake.snapshot().sandboxes.values().any(|new| new.id != sandbox.id)
    })
    .await;
    assert!(handlers(&rig).iter().all(|handler| handler == "boxed"), "{:?}", handlers(&rig));
    rig.api.up();
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_its_class_and_for_the_runtime_to_have_its_handler() {
    let rig = rig();
    let agent = rig.start();
    rig.create(&of_class("web", "secure"));
    rig.until("an event that names the class", SOON, || {
        has_event(&rig, "Failed to create pod sandbox: runtimeclass.node.k8s.io \"secure\" not found")
    })
    .await;
    assert_eq!(handlers(&rig), Vec::<String>::new());
    rig.api.create(class("secure", "boxed"));
    rig.until_ready_within("web", Duration::from_secs(60)).await;

    rig.api.create(class("strange", "none"));
    rig.create(&of_class("other", "strange"));
    rig.until("the runtime's own error", SOON, || has_event(&rig, "no runtime for \"none\" is configured"))
        .await;
    agent.stop().await;
}
