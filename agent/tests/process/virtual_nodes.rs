//! Virtual nodes beside each other and beside one that is not, on one runtime: none touches what is another's.

use std::collections::BTreeSet;
use std::path::Path;

use pinnace_cri::fake::{Call, Fake};
use pinnace_cri::labels::{OWNER, POD_NAME, POD_NAMESPACE, POD_UID};
use serde_json::json;

use crate::fake_api::FakeApi;
use crate::machine::{Machine, PATIENCE, sleeper};

/// A node on the runtime of others.
async fn beside(fake: &Fake, name: &str, is_virtual: bool) -> Machine {
    let mut machine = Machine::on(fake.clone());
    machine.node = name.to_owned();
    if is_virtual {
        machine.more.push("--virtual".to_owned());
        let text = std::fs::read_to_string(machine.path("config.yaml")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config.as_object_mut().unwrap().remove("podLogsDir");
        std::fs::write(machine.path("config.yaml"), config.to_string()).unwrap();
    }
    machine.serve().await;
    machine.start();
    machine
}

/// Ids of all that is this node's: sandboxes and running containers.
fn own(fake: &Fake, node: &str) -> BTreeSet<String> {
    let snapshot = fake.snapshot();
    let sandboxes: BTreeSet<String> = snapshot
        .sandboxes
        .values()
        .filter(|sandbox| sandbox.config.labels.get(OWNER).is_some_and(|owner| owner == node))
        .map(|sandbox| sandbox.id.clone())
        .collect();
    let containers =
        snapshot.running().into_iter().filter(|container| sandboxes.contains(&container.sandbox_id));
    let containers: BTreeSet<String> = containers.map(|container| container.id.clone()).collect();
    assert_eq!(sandboxes.len(), containers.len(), "one container in each sandbox");
    sandboxes.union(&containers).cloned().collect()
}

fn entries(path: &Path) -> usize {
    path.read_dir().map(Iterator::count).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_virtual_nodes_and_a_plain_one_share_a_runtime_and_nothing_else() {
    let plain = Machine::new();
    let fake = plain.fake.clone();
    drop(plain);
    let mut nodes = Vec::new();
    for (name, is_virtual) in [("plain", false), ("v1", true), ("v2", true)] {
        nodes.push(beside(&fake, name, is_virtual).await);
    }
    for machine in &nodes {
        machine.write("web.json", &sleeper("web"));
    }
    for machine in &nodes {
        machine.until_running("web").await;
        assert_eq!(machine.ask(&["pods"]).await.out.matches("web-").count(), 1, "it shows its own pod alone");
    }
    let before: Vec<_> = nodes.iter().map(|machine| own(&fake, &machine.node)).collect();
    assert!(before.iter().all(|ids| ids.len() == 2), "{before:?}");
    assert_eq!(entries(&nodes[1].root().join("logs")), 1);
    assert_eq!(entries(&nodes[2].root().join("pods")), 1);

    // Each is killed and started again, and stopped and started again, while the others go on.
    for node in &mut nodes {
        node.kill().await;
        node.start();
        node.until_running("web").await;
        assert_eq!(node.terminate().await.0, Some(0));
        node.start();
        node.until_running("web").await;
    }
    for (machine, ids) in nodes.iter().zip(&before) {
        assert_eq!(&own(&fake, &machine.node), ids, "{}: {}", machine.node, machine.log());
    }

    // What one removes is its own.
    for index in 0..nodes.len() {
        nodes[index].remove("web.json");
        let name = nodes[index].node.clone();
        let is_gone = |fake: &Fake| {
            let of = |labels: &std::collections::BTreeMap<String, String>| labels.get(OWNER) == Some(&name);
            !fake.snapshot().sandboxes.values().any(|sandbox| of(&sandbox.config.labels))
        };
        assert!(fake.wait_until(PATIENCE, is_gone).await, "{}", nodes[index].log());
        let told = |said: &crate::machine::Said| said.code == Some(0) && !said.out.contains("web-");
        nodes[index].until(&["pods"], "the pod is gone", told).await;
        assert_eq!(entries(&nodes[index].root().join("pods")), 0);
        for (machine, ids) in nodes.iter().zip(&before).skip(index + 1) {
            assert_eq!(&own(&fake, &machine.node), ids, "{} after {name}", machine.node);
            assert_eq!(entries(&machine.root().join("pods")), 1);
        }
    }
    assert_eq!(
        fake.count_calls(|record| record.call == Call::RemoveImage),
        0,
        "images may be in use elsewhere"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelets_pods_in_the_runtime_are_told_at_start_and_by_check() {
    let mut machine = Machine::new();
    machine.more.push("--virtual".to_owned());
    machine.serve().await;
    let labels = [(POD_UID, "stranger"), (POD_NAME, "web"), (POD_NAMESPACE, "default")];
    let config = pinnace_cri::v1::PodSandboxConfig {
        metadata: Some(pinnace_cri::v1::PodSandboxMetadata {
            name: "web".into(),
            uid: "stranger".into(),
            namespace: "default".into(),
            attempt: 0,
        }),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        log_directory: machine.path("elsewhere").display().to_string(),
        ..Default::default()
    };
    let id = machine.fake.client().run_sandbox(config, "").await.unwrap().to_string();
    let flags = machine.flags();
    let arguments: Vec<&str> = std::iter::once("check").chain(flags.iter().map(String::as_str)).collect();
    let said = machine.ask(&arguments).await;
    assert!(said.out.contains("pods of a kubelet") && said.out.contains("1 sandbox"), "{said:?}");
    machine.start();
    machine.until(&["pods"], "it warns", |_| machine.log().contains("holds pods of a kubelet")).await;
    machine.write("own.json", &sleeper("own"));
    machine.until_running("own").await;
    assert!(machine.fake.snapshot().sandboxes.contains_key(&id), "what is not its own is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_virtual_is_not_taken_and_the_start_fails() {
    let api = FakeApi::new();
    api.create(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node1" } }));
    let served = api.listen().await;
    let mut machine = Machine::new();
    std::fs::write(machine.path("kubeconfig"), served.kubeconfig()).unwrap();
    machine.more.push(format!("--kubeconfig={}", machine.path("kubeconfig").display()));
    machine.write("web.json", &sleeper("web"));
    machine.serve().await;
    machine.more.push("--virtual".to_owned());
    machine.start();
    let status = tokio::time::timeout(PATIENCE, machine.agent.as_mut().unwrap().wait()).await;
    let code = status.unwrap_or_else(|_| panic!("it goes on\n{}", machine.log())).unwrap().code();
    assert_eq!(code, Some(8), "{}", machine.log());
    let log = machine.log();
    let words =
        ["exists without the taint virtual-kubelet.io/provider=pinnace:NoSchedule", "serves no HTTPS"];
    assert!(words.iter().all(|word| log.contains(word)), "{log}");
    let stops = |call| call == Call::StopContainer || call == Call::StopPodSandbox;
    assert_eq!(machine.fake.count_calls(|record| stops(record.call)), 0, "containers live on");
    let node = api.get("nodes", "", "node1").unwrap();
    assert!(node["status"]["nodeInfo"]["machineID"].as_str().is_none_or(str::is_empty), "{node}");
}
