//! A network that drops packets without a word, between the agent and the API server (B62).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::admin::is_ready;
use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::ControlPlane;
use crate::say;
use crate::tcp_proxy::Proxy;
use crate::witness::Witness;

/// A dead connection is noticed within this time.
const NOTICED: Duration = Duration::from_secs(30);

pub(crate) fn b62_a_black_holed_watch_is_noticed_and_nothing_is_missed(cluster: &ControlPlane) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = cluster.status("server");
    let target: SocketAddr = server.trim_start_matches("https://").parse().unwrap();
    let proxy = runtime.block_on(Proxy::to(target));
    let mut case = Case::prepared("debian", cluster, "hole");
    let through = case.agent.kubeconfig().replace(server, &format!("https://{}", proxy.address));
    case.agent.set_kubeconfig(&through);
    case.agent.launch();
    case.until_node_ready(Instant::now(), SOON);
    case.namespace.create(&pod("before", "Always", WAIT));
    case.until_phase("before", "Running");
    let witness = Witness::of(cluster, &case.namespace.name, &case.agent.name);

    // What the watch says in these seconds is lost; later connections are good, and the old ones stay silent.
    let began = Instant::now();
    proxy.black_hole();
    case.namespace.create(&pod("during", "Always", WAIT));
    std::thread::sleep(Duration::from_secs(3));
    proxy.heal();
    let is_up = |pods: &[serde_json::Value]| (pods.len() == 2 && pods.iter().all(is_ready)).then_some(());
    let (_, short) = case.until_pods("the pod that came in the hole", began, is_up);
    assert!(short <= NOTICED + Duration::from_secs(5), "{short:?}");

    // A hole that lasts is told in the log, and what came in it runs soon after its end.
    let began = Instant::now();
    proxy.black_hole();
    let count = || case.agent.log().matches("does not tell of this node's pods").count();
    let told = count();
    case.namespace.create(&pod("later", "Always", WAIT));
    let (_, noticed) = case.agent.until("the hole in the log", began, NOTICED, || {
        if count() > told { Ok(()) } else { Err("nothing".to_owned()) }
    });
    proxy.heal();
    let healed = Instant::now();
    let is_up = |pods: &[serde_json::Value]| (pods.len() == 3 && pods.iter().all(is_ready)).then_some(());
    let (_, late) = case.until_pods("the pod that came in the long hole", healed, is_up);
    let changes = witness.changes();
    assert!(!changes.contains_key("before") && !changes.contains_key(&case.agent.name), "{changes:#?}");
    assert!(late <= NOTICED, "{late:?}");
    say(&format!(
        "black hole: a pod of it is Ready after {short:.1?}; told after {noticed:.1?}, Ready {late:.1?} after its end"
    ));
}
