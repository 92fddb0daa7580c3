//! The way to the API server as people meet it: a kubeconfig that cannot be used, is corrected, and leads elsewhere.

use pinnace_cri::labels::POD_NAME;
use pinnace_cri::v1::PodSandboxState;
use serde_json::{Value, json};

use crate::fake_api::FakeApi;
use crate::machine::{IMAGE, Machine, sleeper};

fn bound(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "nodeName": "node1",
            "containers": [{ "name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"] }],
        },
    })
}

async fn until_shown_running(machine: &Machine, name: &str) {
    let runs = |line: &str| line.contains(name) && line.contains("Running");
    machine.until(&["pods"], &format!("{name} runs"), |said| said.out.lines().any(runs)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_is_taken_up_once_it_is_right_and_again_when_it_leads_elsewhere() {
    let (one, two) = (FakeApi::new(), FakeApi::new());
    let (at_one, at_two) = (one.listen().await, two.listen().await);
    one.create(bound("first"));
    // Uids of a fake server are numbers in a row: those of the two must not be the same.
    for number in 0..100 {
        two.create(
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("n{number}") } }),
        );
    }
    two.create(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node1" } }));
    two.create(bound("second"));

    let mut machine = Machine::new();
    let kubeconfig = machine.path("kubeconfig");
    std::fs::write(&kubeconfig, "apiVersion: v1\nkind: Config\n").unwrap();
    machine.more.push(format!("--kubeconfig={}", kubeconfig.display()));
    machine.serve().await;
    machine.write("web.json", &sleeper("web"));
    machine.start();
    machine.until_running("web").await;
    let missing = "current-context: is missing";
    let told = |said: &crate::machine::Said| said.err.contains(missing) || said.out.contains(missing);
    machine.until(&["pods"], "the fault is told", told).await;
    let flags = machine.flags();
    let arguments: Vec<&str> = std::iter::once("check").chain(flags.iter().map(String::as_str)).collect();
    let said = machine.ask(&arguments).await;
    assert!(said.out.contains(missing) && said.code == Some(7), "{said:?}");

    std::fs::write(&kubeconfig, at_one.kubeconfig()).unwrap();
    until_shown_running(&machine, "first").await;
    assert!(!told(&machine.ask(&["pods"]).await), "the fault is gone");
    assert!(one.get("nodes", "", "node1").is_some());

    // Another cluster's server: nothing of it is obeyed, and what was goes on.
    std::fs::write(&kubeconfig, at_two.kubeconfig()).unwrap();
    let another = |said: &crate::machine::Said| said.err.contains("is another cluster's");
    machine.until(&["pods"], "the other cluster is told of", another).await;
    // The same cluster at another address: its pods come from there.
    let elsewhere = one.listen().await;
    std::fs::write(&kubeconfig, elsewhere.kubeconfig()).unwrap();
    machine.until(&["pods"], "all is well again", |said| !another(said)).await;
    drop(at_one);
    one.create(bound("third"));
    until_shown_running(&machine, "third").await;
    assert!(!machine.ask(&["pods"]).await.out.contains("second"));
    machine.until_running("web").await;
}

/// Sandboxes of a pod that are up.
fn up(machine: &Machine, name: &str) -> Vec<String> {
    let snapshot = machine.fake.snapshot();
    let is_up = |sandbox: &&pinnace_cri::fake::Sandbox| {
        sandbox.config.labels.get(POD_NAME).is_some_and(|label| label == name)
            && sandbox.state == PodSandboxState::SandboxReady
    };
    snapshot.sandboxes.values().filter(is_up).map(|sandbox| sandbox.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_past_its_age_waits_for_the_api_server_and_others_do_not() {
    let api = FakeApi::new();
    let served = api.listen().await;
    let aged = |name: &str| {
        let mut pod = bound(name);
        pod["metadata"]["annotations"] = json!({ "pinnace.dev/max-offline-age": "0s" });
        pod
    };
    api.create(aged("aged"));
    api.create(aged("running"));
    api.create(bound("kept"));
    let mut machine = Machine::new();
    let kubeconfig = machine.path("kubeconfig");
    std::fs::write(&kubeconfig, served.kubeconfig()).unwrap();
    machine.more.push(format!("--kubeconfig={}", kubeconfig.display()));
    machine.serve().await;
    machine.start();
    for name in ["aged", "running", "kept"] {
        until_shown_running(&machine, name).await;
    }
    let heard = machine.root().join("pinnace").join("api-heard");
    machine.until(&["pods"], "the API server's word is noted", |_| heard.exists()).await;

    // Two pods end while neither the agent nor the API server is there, as they do when a machine is switched off.
    assert_eq!(machine.terminate().await.0, Some(0));
    drop(served);
    let lived_on = up(&machine, "running");
    for id in ["aged", "kept"].iter().flat_map(|name| up(&machine, name)) {
        machine.fake.kill_sandbox(&id);
    }
    machine.start();
    until_shown_running(&machine, "kept").await;
    until_shown_running(&machine, "running").await;
    let told = |line: &str| line.contains("aged") && !line.contains("Running");
    machine.until(&["pods"], "the pod waits", |said| said.out.lines().any(told)).await;
    let explained = machine.ask(&["explain", "aged"]).await;
    assert!(explained.out.contains("the API server was last heard"), "{explained:?}");
    assert_eq!((up(&machine, "aged"), up(&machine, "running")), (Vec::new(), lived_on.clone()));

    let again = api.listen().await;
    std::fs::write(&kubeconfig, again.kubeconfig()).unwrap();
    until_shown_running(&machine, "aged").await;
    assert_eq!(up(&machine, "running"), lived_on);
}
