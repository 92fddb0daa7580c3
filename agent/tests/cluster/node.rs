//! The node itself: how soon it is Ready, its objects, its configuration, and what every pod gets from it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::{condition, text};
use crate::case::{Case, SOON, pod};
use crate::control_plane::ControlPlane;
use crate::say;

/// From the start of the process to the Node that others see as Ready.
const READY: Duration = Duration::from_secs(1);
/// Starts of which one must keep [`READY`]: other tests load the machine.
const TRIES: usize = 3;

pub(crate) fn a_new_node_is_ready_within_a_second(cluster: &ControlPlane) {
    let mut times = Vec::new();
    for number in 0..TRIES {
        let mut case = Case::prepared("debian", cluster, &format!("ready{number}"));
        // So that the connection is there.
        case.admin.get("/version").unwrap();
        let began = Instant::now();
        case.agent.launch();
        times.push(case.until_node_ready(began, SOON));
        case.agent.a80_was_never_refused();
        if times.last().is_some_and(|time| *time <= READY) {
            break;
        }
    }
    say(&format!("node Ready after {times:.2?} from the start of the process"));
    assert!(times.iter().min().is_some_and(|best| *best <= READY), "{times:?}");
}

pub(crate) fn the_node_and_its_lease_are_as_a_kubelets(cluster: &ControlPlane) {
    let case = Case::start(cluster, "object");
    let name = case.agent.name.as_str();
    let untainted = || {
        let node = case.admin.node(name)?;
        if node["spec"]["taints"].is_null() { Ok(node) } else { Err(node["spec"].to_string()) }
    };
    let (node, _) = case.agent.until("a node without taints", Instant::now(), SOON, untainted);
    let kinds: Vec<_> =
        node["status"]["conditions"].as_array().unwrap().iter().map(|one| text(&one["type"])).collect();
    assert_eq!(kinds, ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]);
    for (kind, status, reason, message) in [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ] {
        let found = condition(&node, kind);
        assert_eq!(
            (text(&found["status"]), text(&found["reason"]), text(&found["message"])),
            (status, reason, message)
        );
    }
    let labels = &node["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/hostname"], name);
    assert_eq!(
        (text(&labels["kubernetes.io/os"]), text(&labels["beta.kubernetes.io/os"])),
        ("linux", "linux")
    );
    assert_eq!(labels["kubernetes.io/arch"], labels["beta.kubernetes.io/arch"]);
    assert_eq!(labels[crate::namespace::CASE], case.namespace.name.as_str());
    let attach = "volumes.kubernetes.io/controller-managed-attach-detach";
    assert_eq!(node["metadata"]["annotations"][attach], "true");
    let status = &node["status"];
    assert_eq!(status["capacity"]["pods"], "110");
    for room in ["capacity", "allocatable"] {
        for resource in ["cpu", "memory", "ephemeral-storage", "pods"] {
            assert!(status[room][resource].is_string(), "{room} has {resource}: {}", status[room]);
        }
    }
    let addresses: Vec<_> =
        status["addresses"].as_array().unwrap().iter().map(|one| text(&one["type"])).collect();
    assert_eq!(addresses, ["InternalIP", "Hostname"]);
    assert_eq!(status["daemonEndpoints"]["kubeletEndpoint"]["Port"], case.agent.port);
    let info = &status["nodeInfo"];
    assert!(text(&info["kubeletVersion"]).starts_with("v1.36."), "{info}");
    assert!(text(&info["containerRuntimeVersion"]).starts_with("containerd://1.6"), "{info}");
    for known in ["machineID", "bootID", "kernelVersion", "osImage"] {
        assert!(!text(&info[known]).is_empty(), "{known}: {info}");
    }
    the_lease(&case, &node);
    case.agent.a80_was_never_refused();
}

fn the_lease(case: &Case<'_>, node: &Value) {
    let name = &case.agent.name;
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}");
    let (lease, _) = case.agent.until("a lease", Instant::now(), SOON, || case.admin.get(&path));
    assert_eq!(
        (&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]),
        (&json!(name), &json!(40))
    );
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"]);
    let renewed = &lease["spec"]["renewTime"];
    let next = || {
        let next = case.admin.get(&path)?;
        if next["spec"]["renewTime"] == *renewed { Err("not renewed".to_owned()) } else { Ok(()) }
    };
    case.agent.until("a renewal", Instant::now(), Duration::from_secs(20), next);
}

pub(crate) fn configz_decodes_as_the_kubelets_configuration(cluster: &ControlPlane) {
    let case = Case::start(cluster, "configz");
    let path = format!("/api/v1/nodes/{}/proxy/configz", case.agent.name);
    let text = cluster.kubectl(&["get", "--raw", &path]);
    let all: Value = serde_json::from_str(&text).unwrap();
    let config = &all["kubeletconfig"];
    assert_eq!(config["kind"], "KubeletConfiguration");
    assert_eq!(config["apiVersion"], "kubelet.config.k8s.io/v1beta1");
    assert_eq!(config["port"], case.agent.port);
    assert_eq!(config["authentication"]["x509"]["clientCAFile"], cluster.status("ca"));
    assert_eq!(config["authentication"]["anonymous"]["enabled"], false);
    assert_eq!((&config["maxPods"], &config["syncFrequency"]), (&json!(110), &json!("1m0s")));
    assert_eq!(config["staticPodPath"], case.agent.path("manifests").to_str().unwrap());
    case.agent.a80_was_never_refused();
}

pub(crate) fn a_pod_finds_its_token_authority_and_namespace(cluster: &ControlPlane) {
    let case = Case::start(cluster, "token");
    let script = "cd /var/run/secrets/kubernetes.io/serviceaccount && ls && cat namespace && echo && cat token && echo && cat ca.crt";
    case.namespace.create(&pod("reader", "Never", script));
    case.until_phase("reader", "Succeeded");
    let log = case.namespace.kubectl(&["logs", "reader"]);
    let mut lines = log.lines();
    let head: Vec<_> = lines.by_ref().take(5).collect();
    assert_eq!(head[..4], ["ca.crt", "namespace", "token", case.namespace.name.as_str()]);
    let authority = lines.map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(authority.trim(), std::fs::read_to_string(cluster.status("ca")).unwrap().trim());

    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": head[4] },
    });
    let answer = case.admin.post("/apis/authentication.k8s.io/v1/tokenreviews", &review).unwrap();
    let user = &answer["status"]["user"];
    let wanted = format!("system:serviceaccount:{}:default", case.namespace.name);
    assert_eq!(user["username"], wanted, "{}", answer["status"]);
    assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"][0], "reader");
    case.agent.a80_was_never_refused();
}
