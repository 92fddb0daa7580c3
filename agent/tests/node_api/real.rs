//! The same node on a real API server, under the Node authorizer and NodeRestriction, in real time. Skipped, with a
//! word, where `PINNACE_TEST_CLUSTER` does not name the script of a cluster (`deploy/dev/cluster`).

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::DeleteParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use pinnace::clock::Clock;
use pinnace::config::effective;
use pinnace::events::EventLog;
use pinnace::node::{self, Clients, Parts};
use pinnace::runtime::watch::{PERIOD, RuntimeWatch};
use pinnace::supervise::Supervisor;
use pinnace_cri::fake::{Fake, Options};
use pinnace_pleg::health::Health;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

async fn client(script: &str, who: &str) -> Client {
    let name = std::env::var("PINNACE_TEST_CLUSTER_NAME").unwrap_or_else(|_| "dev".to_owned());
    let output = Command::new(script).args(["kubeconfig", &name, who]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout).unwrap();
    let kubeconfig = Kubeconfig::read_from(path.trim()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[tokio::test]
async fn b68_a_real_api_server_keeps_what_is_written_so_that_nothing_is_written_again() {
    let Ok(script) = std::env::var("PINNACE_TEST_CLUSTER") else {
        let required = std::env::var("PINNACE_TEST_REQUIRE_CLUSTER").is_ok_and(|value| value == "1");
        assert!(!required, "PINNACE_TEST_CLUSTER is not set, and PINNACE_TEST_REQUIRE_CLUSTER=1 asks for it");
        eprintln!("skipped: PINNACE_TEST_CLUSTER does not name the script of a cluster");
        return;
    };
    let name = format!("node-api-{}", std::process::id());
    let (api, lease) =
        (client(&script, &format!("node:{name}")).await, client(&script, &format!("node:{name}")).await);
    let stop = CancellationToken::new();
    let (supervisor, supervision) = Supervisor::new(stop.clone());
    let (fake, dir) = (Fake::new(Options::default()), tempfile::tempdir().unwrap());
    let config = effective::Config::defaults(&name, dir.path()).unwrap();
    let (runtime, state) = RuntimeWatch::new(fake.client(), "the fake".to_owned(), PERIOD);
    supervisor.spawn_core("runtime watch", runtime.run(supervisor.stop_token()));
    let (_list, list) = watch::channel(Health::starting(Instant::now()));
    let clients = Clients { api, lease, runtime: fake.client() };
    let (clock, events) = (Clock::of_this_machine().unwrap(), EventLog::default());
    let began = Instant::now();
    let handle = node::start(
        Parts::of_this_machine(&config, clients, state, list, clock, events.clone(), false),
        &supervisor,
    );

    let admin = client(&script, "admin").await;
    let nodes: Api<Node> = Api::all(admin.clone());
    let leases: Api<Lease> = Api::namespaced(admin, "kube-node-lease");
    let mut seen = handle.node.clone();
    let ready = seen.wait_for(|node| node.as_deref().is_some_and(is_ready));
    drop(tokio::time::timeout(Duration::from_secs(10), ready).await.expect("a ready node").unwrap());
    eprintln!("ready after {:?}", began.elapsed());
    // The controllers give the node its addresses of pods, and take their first taint back; images are named.
    sleep(Duration::from_secs(13)).await;
    let first = nodes.get(&name).await.unwrap();
    sleep(Duration::from_secs(22)).await;
    let (second, kept) = (nodes.get(&name).await.unwrap(), leases.get(&name).await.unwrap());
    assert_eq!(first.status, second.status, "a status that is kept is not written again");
    assert_eq!(*handle.problem.borrow(), None);
    let spec = kept.spec.unwrap();
    assert_eq!(
        (spec.holder_identity.as_deref(), spec.lease_duration_seconds),
        (Some(name.as_str()), Some(40))
    );
    assert_eq!(kept.metadata.owner_references.unwrap()[0].uid, second.metadata.uid.clone().unwrap());

    stop.cancel();
    supervision.wait().await.unwrap();
    eprintln!("{}", serde_json::to_string(&second).unwrap());
    nodes.delete(&name, &DeleteParams::default()).await.unwrap();
}
