//! Where pods' cgroups come from and where they go, in a tree in memory; a real kernel has its own tests (`cgroup_guest`).

use std::sync::Arc;
use std::time::Duration;

use pinnace::cgroup::amount::Host;
use pinnace::cgroup::tree::{MemoryTree, Tree};
use pinnace::cgroup::{Cgroups, Config, Mode};
use pinnace::config::effective::CgroupDriver;
use pinnace_cri::call::Call;
use pinnace_cri::v1::{self, LinuxContainerResources, LinuxPodSandboxConfig};
use serde_json::{Value, json};

use crate::harness::{Make, Node, pod, sleeper};

const LIMIT: Duration = Duration::from_secs(60);

/// A node that makes cgroups in the tree given back.
fn on_v2() -> (Make, Arc<MemoryTree>) {
    let tree = Arc::new(MemoryTree::default());
    (Make { cgroups: cgroups_in(&tree), ..Make::new() }, tree)
}

fn asking(name: &str, resources: Value) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

/// What the runtime was told of the only sandbox, and of the only container.
fn told(node: &Node) -> (LinuxPodSandboxConfig, LinuxContainerResources) {
    let snapshot = node.runtime();
    let sandbox = snapshot.sandboxes.values().next().unwrap().config.linux.clone().unwrap();
    let container = snapshot.containers.values().next().unwrap().config.linux.clone().unwrap();
    (sandbox, container.resources.unwrap())
}

fn uid(node: &Node) -> String {
    node.runtime().sandboxes.values().next().unwrap().config.metadata.clone().unwrap().uid
}

fn of_pods(tree: &MemoryTree) -> Vec<String> {
    tree.all().into_iter().filter(|cgroup| cgroup.contains("/pod")).collect()
}

#[tokio::test(start_paused = true)]
async fn each_class_has_its_place_and_its_score() {
    let limits = json!({ "limits": { "cpu": "500m", "memory": "64Mi" } });
    for (resources, parent, score) in [
        (json!({}), "/kubepods/besteffort/pod", 1000),
        (json!({ "requests": { "memory": "1Gi" } }), "/kubepods/burstable/pod", 750),
        (limits, "/kubepods/pod", -997),
    ] {
        let (make, tree) = on_v2();
        let mut wanted = asking("web", resources);
        wanted["spec"]["overhead"] = json!({ "cpu": "100m", "memory": "32Mi" });
        let node = make.start(&[wanted]);
        node.until_running("web").await;
        let (sandbox, container) = told(&node);
        let parent = format!("{parent}{}", uid(&node));
        assert_eq!((sandbox.cgroup_parent, of_pods(&tree)), (parent.clone(), vec![parent]));
        assert_eq!(container.oom_score_adj, score);
        let overhead = sandbox.overhead.unwrap();
        assert_eq!((overhead.cpu_shares, overhead.memory_limit_in_bytes), (102, 32 << 20));
        node.want(&[]);
        node.until("the cgroup is gone", LIMIT, |node| node.is_empty() && of_pods(&tree).is_empty()).await;
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pods_own_limits_need_a_cgroup_of_the_pod() {
    let mut wanted = sleeper("web");
    wanted["spec"]["resources"] = json!({ "limits": { "cpu": "1", "memory": "64Mi" } });
    let (make, tree) = on_v2();
    let node = make.start(std::slice::from_ref(&wanted));
    node.until_running("web").await;
    let cgroup = of_pods(&tree).remove(0);
    assert_eq!(cgroup.matches('/').count(), 2, "guaranteed: {cgroup}");
    assert_eq!(tree.value(&cgroup, "memory.max"), (64 << 20).to_string());
    assert_eq!(told(&node).1.memory_limit_in_bytes, 64 << 20);
    node.stop().await;

    // Where there is none, it waits and says why.
    let node = Make::new().start(&[wanted]);
    node.until("it says what it waits for", LIMIT, |node| {
        node.describe().contains("spec.resources: this node")
    })
    .await;
    assert!(node.runtime().sandboxes.is_empty());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn slices_carry_the_kubelets_names_under_the_systemd_driver() {
    let (make, tree) = on_v2();
    make.fake.configure(|switches| switches.cgroup_driver = Some(v1::CgroupDriver::Systemd));
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let slice = format!("kubepods-besteffort-pod{}.slice", uid(&node).replace('-', "_"));
    let (sandbox, _) = told(&node);
    assert_eq!(sandbox.cgroup_parent, format!("/kubepods.slice/kubepods-besteffort.slice/{slice}"));
    assert_eq!(tree.all(), Vec::<String>::new());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_ended_keeps_no_cgroup() {
    let (make, tree) = on_v2();
    let node = make.start(&[pod("job", "Never", &["sh", "-c", "exit 0"])]);
    node.until("it has ended", LIMIT, |node| node.pod("job").is_some_and(|pod| pod.phase == "Succeeded"))
        .await;
    node.until("its cgroup is gone", LIMIT, |_| of_pods(&tree).is_empty()).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn i6_what_is_left_in_a_pods_cgroup_is_killed_before_the_pod_is_forgotten() {
    let (make, tree) = on_v2();
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let left = of_pods(&tree).remove(0);
    // A process that the runtime lost sight of.
    tree.populate(&left, true);
    node.want(&[]);
    node.until("nothing is left", LIMIT, |node| node.is_empty() && of_pods(&tree).is_empty()).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b80_a_restarted_agent_sets_right_what_was_changed_and_touches_nothing_else() {
    let (make, tree) = on_v2();
    let limits = json!({ "limits": { "cpu": "500m", "memory": "64Mi" } });
    let wanted = [asking("web", limits)];
    let node = make.start(&wanted);
    node.until_running("web").await;
    let cgroup = of_pods(&tree).remove(0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.stop().await;
    let before = make.fake.count_calls(|record| record.call == Call::RunPodSandbox);
    tree.write(&cgroup, "memory.max", "max").unwrap();
    tree.write(&cgroup, "cgroup.freeze", "1").unwrap();

    let make = Make { cgroups: cgroups_in(&tree), ..make };
    let node = make.start(&wanted);
    node.until("the limit is back", LIMIT, |_| {
        tree.value(&cgroup, "memory.max") == (64 << 20).to_string()
            && tree.value(&cgroup, "cgroup.freeze") == "0"
    })
    .await;
    assert_eq!(make.fake.count_calls(|record| record.call == Call::RunPodSandbox), before);
    node.stop().await;
}

fn cgroups_in(tree: &Arc<MemoryTree>) -> Cgroups {
    let host = Host { cpus: 4, memory: 8 << 30, cfs_period: Some(100_000), ..Host::default() };
    let config = Config {
        mode: Mode::Whole(Box::new(host)),
        driver: CgroupDriver::Cgroupfs,
        root: "/".into(),
        needed_by: Vec::new(),
    };
    Cgroups::new(config, Arc::clone(tree) as Arc<dyn Tree>)
}
