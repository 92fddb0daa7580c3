use serde_json::{Value, json};

use super::sandbox::completed;
use super::sums::{limits_in_all, requests_in_all};
use super::*;

fn node() -> Node {
    Node { memory: 4 << 30, cfs_period: Some(100_000), ..Node::default() }
}

fn pod(spec: Value) -> PodSpec {
    serde_json::from_value(spec).unwrap()
}

fn spec(resources: Value) -> PodSpec {
    pod(json!({ "containers": [{ "name": "c", "resources": resources }] }))
}

fn class(resources: Value) -> (Qos, i64) {
    let spec = spec(resources);
    (qos(&spec), oom_score_adj(&spec, &spec.containers[0], &node()))
}

fn first(spec: &PodSpec, node: &Node) -> LinuxContainerResources {
    of_container(spec, &spec.containers[0], node)
}

#[test]
fn class_and_oom_score_follow_requests_and_limits() {
    assert_eq!(class(json!({})), (Qos::BestEffort, 1000));
    assert_eq!(class(json!({ "limits": { "cpu": "1", "memory": "1Gi" } })), (Qos::Guaranteed, -997));
    assert_eq!(class(json!({ "requests": { "memory": "1Gi" } })), (Qos::Burstable, 750));
    assert_eq!(class(json!({ "requests": { "memory": "64Gi" } })), (Qos::Burstable, 3));
    assert_eq!(class(json!({ "requests": { "cpu": "1m" } })), (Qos::Burstable, 999));
    // Neither disks nor huge pages make a class.
    assert_eq!(class(json!({ "limits": { "ephemeral-storage": "1Gi" } })), (Qos::BestEffort, 1000));
}

#[test]
fn shares_quota_and_memory_are_the_kubelets() {
    let set = |resources| {
        let set = first(&spec(resources), &node());
        (set.cpu_shares, set.cpu_quota, set.memory_limit_in_bytes)
    };
    assert_eq!(set(json!({})), (2, 0, 0));
    assert_eq!(set(json!({ "limits": { "cpu": "500m", "memory": "64Mi" } })), (512, 50_000, 64 << 20));
    assert_eq!(set(json!({ "requests": { "cpu": "1m" }, "limits": { "cpu": "1m" } })), (2, 1_000, 0));
    assert_eq!(set(json!({ "requests": { "cpu": "100000" } })), (262_144, 0, 0));
    // More than a number holds is the most that there is, never nothing.
    assert_eq!(set(json!({ "requests": { "cpu": "1E" } })), (262_144, 0, 0));
}

#[test]
fn quotas_follow_the_nodes_period_or_are_off() {
    let spec = spec(json!({ "limits": { "cpu": "2" } }));
    let set = |period| {
        let set = first(&spec, &Node { cfs_period: period, ..node() });
        (set.cpu_period, set.cpu_quota)
    };
    assert_eq!(set(Some(5_000)), (5_000, 10_000));
    assert_eq!(set(None), (0, 0));
}

#[test]
fn only_what_the_node_depends_on_is_killed_last() {
    let mut spec = spec(json!({}));
    spec.priority = Some(CRITICAL);
    assert_eq!(oom_score_adj(&spec, &spec.containers[0], &node()), 1000);
    spec.priority_class_name = Some(NODE_CRITICAL.to_owned());
    assert_eq!(oom_score_adj(&spec, &spec.containers[0], &node()), -997);
}

#[test]
fn a_sidecar_is_not_killed_before_all_that_it_serves() {
    let asks = |memory: &str| json!({ "requests": { "memory": memory } });
    let spec = |whole: Value| {
        pod(json!({
            "containers": [{ "name": "a", "resources": asks("1Gi") }, { "name": "b", "resources": asks("2Gi") }],
            "initContainers": [
                { "name": "small", "resources": asks("512Mi"), "restartPolicy": "Always" },
                { "name": "large", "resources": asks("3Gi"), "restartPolicy": "Always" },
                { "name": "once", "resources": asks("512Mi") },
            ],
            "resources": whole,
        }))
    };
    let scores = |spec: &PodSpec| -> Vec<i64> {
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        all.map(|container| oom_score_adj(spec, container, &node())).collect()
    };
    assert_eq!(scores(&spec(json!({}))), [750, 250, 875, 750, 500]);
    // Together they ask for 6.5 GiB; of what the pod asks for beyond that each has a fifth.
    let spare = (1536_i64 << 20) / 5;
    let shifted = |memory: i64| (1000 - ((memory << 20) + spare) * 1000 / (4 << 30)).max(3);
    assert_eq!(
        scores(&spec(json!({ "requests": { "memory": "8Gi" } }))),
        [1024, 3072, 512, 1024, 2048].map(shifted)
    );
}

#[test]
fn every_page_size_of_the_machine_is_limited() {
    let machine = Node { hugepage_sizes: vec![1 << 30, 2 << 20, 64 << 10], ..node() };
    let set = first(&spec(json!({ "limits": { "hugepages-2Mi": "4Mi", "memory": "1Mi" } })), &machine);
    let shown: Vec<_> = set.hugepage_limits.iter().map(|set| (set.page_size.as_str(), set.limit)).collect();
    assert_eq!(shown, [("1GB", 0), ("2MB", 4 << 20), ("64KB", 0)]);
    assert_eq!((hugepage_size("hugepages-1Gi"), hugepage_size("hugepages-x")), (Some(1 << 30), None));
    assert_eq!((hugepage_unit(1), hugepage_unit(3 << 10)), ("1B".into(), "3KB".into()));
}

#[test]
fn containers_are_kept_from_swap_where_the_kernel_counts_it() {
    let burstable = json!({ "requests": { "memory": "1Gi" }, "limits": { "memory": "2Gi" } });
    let set = |swap| {
        let set = first(&spec(burstable.clone()), &Node { swap, ..node() });
        (set.memory_swap_limit_in_bytes, set.unified.get("memory.swap.max").cloned())
    };
    assert_eq!(set(Swap::Uncounted), (0, None));
    assert_eq!(set(Swap::Together), (2 << 30, None));
    assert_eq!(set(Swap::Never), (0, Some("0".into())));
    assert_eq!(set(Swap::Shared(8 << 30)), (0, Some((2_u64 << 30).to_string())));
}

#[test]
fn swap_is_shared_with_burstable_containers_only() {
    let none = Some("0");
    let shared = Node { swap: Swap::Shared(8 << 30), ..node() };
    let given = |spec: &PodSpec| first(spec, &shared).unified.get("memory.swap.max").cloned();
    for resources in [
        json!({}),
        json!({ "requests": { "cpu": "1" } }),
        json!({ "limits": { "memory": "1Gi" } }),
        json!({ "limits": { "memory": "1Gi", "cpu": "1" } }),
    ] {
        assert_eq!(given(&spec(resources.clone())).as_deref(), none, "{resources}");
    }
    let mut critical = spec(json!({ "requests": { "memory": "1Gi" } }));
    assert_ne!(given(&critical).as_deref(), none);
    critical.priority = Some(CRITICAL);
    assert_eq!(given(&critical).as_deref(), none);
}

#[test]
fn all_processes_of_a_container_are_killed_together_on_v2() {
    let group = |group_kill| {
        let set = first(&spec(json!({})), &Node { group_kill, ..node() });
        set.unified.get("memory.oom.group").cloned()
    };
    assert_eq!((group(true), group(false)), (Some("1".into()), None));
}

#[test]
fn a_pod_asks_for_its_containers_its_overhead_and_its_largest_init_container() {
    let asks = |cpu: &str| json!({ "requests": { "cpu": cpu } });
    let spec = pod(json!({
        "containers": [{ "name": "a", "resources": asks("1") }, { "name": "b", "resources": asks("2") }],
        "initContainers": [
            { "name": "s", "resources": asks("1"), "restartPolicy": "Always" },
            { "name": "i", "resources": asks("5") },
            { "name": "t", "resources": asks("500m"), "restartPolicy": "Always" },
        ],
        "overhead": { "cpu": "250m", "memory": "16Mi" },
    }));
    let all = requests_in_all(&spec);
    assert_eq!((all["cpu"], all["memory"]), (6_250, 16 << 20));
    // Nothing is limited, and overhead limits nothing.
    assert!(limits_in_all(&spec).is_empty());
}

#[test]
fn a_pods_own_requirements_stand_for_those_of_its_containers() {
    let whole = |resources: Value, containers: Value| {
        pod(json!({ "resources": resources, "containers": containers }))
    };
    let plain = json!([{ "name": "a" }, { "name": "b" }]);
    let spec = whole(json!({ "limits": { "cpu": "2", "memory": "1Gi" } }), plain.clone());
    assert_eq!(qos(&spec), Qos::Guaranteed);
    let set = first(&spec, &node());
    assert_eq!((set.cpu_shares, set.cpu_quota, set.memory_limit_in_bytes), (2048, 200_000, 1 << 30));
    let spec = whole(json!({ "requests": { "memory": "1Gi" } }), plain);
    assert_eq!((qos(&spec), requests_in_all(&spec)["memory"]), (Qos::Burstable, 1 << 30));
    // Half of what is not the containers' own is each one's.
    assert_eq!(oom_score_adj(&spec, &spec.containers[0], &node()), 875);
    let asking = json!([{ "name": "a", "resources": { "requests": { "cpu": "1" } } }]);
    let spec = whole(json!({ "limits": { "cpu": "2", "memory": "1Gi" } }), asking);
    assert_eq!((qos(&spec), requests_in_all(&spec)["cpu"]), (Qos::Burstable, 1_000));
    let set = first(&spec, &node());
    assert_eq!((set.cpu_shares, set.cpu_quota), (1024, 200_000));
}

#[test]
fn the_sandbox_is_told_the_sum_and_the_overhead() {
    let spec = pod(json!({
        "containers": [
            { "name": "a", "resources": { "limits": { "cpu": "500m", "memory": "64Mi" } } },
            { "name": "b", "resources": { "requests": { "cpu": "1" } } },
        ],
        "overhead": { "cpu": "100m", "memory": "32Mi" },
    }));
    let set = completed(Default::default(), &spec, &node(), "/kubepods/burstable/podu1").linux.unwrap();
    let shown = |set: Option<LinuxContainerResources>| {
        set.map(|set| (set.cpu_shares, set.cpu_quota, set.cpu_period, set.memory_limit_in_bytes))
    };
    assert_eq!(set.cgroup_parent, "/kubepods/burstable/podu1");
    assert_eq!(shown(set.resources), Some((1536, 50_000, 100_000, 64 << 20)));
    assert_eq!(shown(set.overhead), Some((102, 10_000, 100_000, 32 << 20)));
    let plain = completed(Default::default(), &pod(json!({ "containers": [] })), &node(), "").linux.unwrap();
    assert_eq!(plain.overhead, Some(LinuxContainerResources::default()));
}
