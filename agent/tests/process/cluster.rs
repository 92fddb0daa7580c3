//! The way to the API server as people meet it: a kubeconfig that cannot be used, is corrected, and leads elsewhere.

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
    for number in 0..3 {
        two.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("n{number}") } }));
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

    // Another server: its pods come, though the old one lives and its watch is silent.
    std::fs::write(&kubeconfig, at_two.kubeconfig()).unwrap();
    until_shown_running(&machine, "second").await;
    machine.until_running("web").await;
}
