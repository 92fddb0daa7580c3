//! Cgroups of pods on cgroup v2, as the agent, the runtime and the kernel make them together. Everything is read from
//! the kernel. All pods are in the node's network: only cgroups matter here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::manifest::{WAIT, container, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

const MOUNT: &str = "/sys/fs/cgroup";
/// The runtime's word wins over this driver.
const CONFIG: &str = "cgroupDriver: systemd\npodPidsLimit: 48\nkubeReserved: {memory: 64Mi, pid: \"100\"}\n";

fn asking(name: &str, policy: &str, script: &str, resources: Value) -> Value {
    let mut pod = pod(name, policy, script);
    pod["spec"]["hostNetwork"] = true.into();
    main(&mut pod)["resources"] = resources;
    pod
}

fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

fn all_of<const N: usize>(dir: &Path, files: [&str; N]) -> [String; N] {
    files.map(|file| read(dir, file))
}

fn number(text: &str) -> u64 {
    if text == "max" { u64::MAX } else { text.parse().unwrap() }
}

fn below(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let dirs = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    dirs.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The cgroup of a running pod, whose containers are in it, each in one of its own, and nothing else but the sandbox.
fn place(node: &Node, pod: &str, class: &str) -> PathBuf {
    let uid = node.until_running(pod).uid;
    let dir = Path::new(MOUNT).join(class).join(format!("pod{uid}"));
    let mut listed = node.containers();
    listed.retain(|container| container.pod == format!("{pod}-{}", node.name));
    let containers: Vec<_> = listed.into_iter().filter_map(|container| container.id).collect();
    let found = below(&dir);
    assert!(containers.iter().all(|id| found.contains(id)), "{found:?} lacks one of {containers:?}");
    assert_eq!(found.len(), containers.len() + 1, "{found:?}");
    assert_eq!(read(&dir, "cgroup.procs"), "", "no process lies beside the containers");
    dir
}

/// The cgroup of the container `main` and a process of it.
fn inside(node: &Node, pod: &str, place: &Path) -> (PathBuf, u32) {
    let id = node.container(pod, "main").and_then(|main| main.id).expect("a container");
    let dir = place.join(id);
    let process = read(&dir, "cgroup.procs").lines().next().expect("a process").parse().unwrap();
    (dir, process)
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    total.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn oom_score_adj(process: u32) -> i64 {
    read(&Path::new("/proc").join(process.to_string()), "oom_score_adj").parse().unwrap()
}

const PODS: [&str; 4] = ["cpu.weight", "cpu.max", "memory.max", "pids.max"];
const CONTAINER: [&str; 5] = ["cpu.max", "memory.max", "memory.high", "memory.swap.max", "memory.oom.group"];

/// Each level of the tree, of three pods and of all.
fn the_tree_is_as_asked(node: &Node) -> [PathBuf; 3] {
    let whole = place(node, "whole", "kubepods");
    let partly = place(node, "partly", "kubepods/burstable");
    let free = place(node, "free", "kubepods/besteffort");
    assert_eq!(all_of(&whole, PODS), ["20", "50000 100000", "67108864", "48"]);
    assert_eq!(all_of(&partly, PODS), ["10", "max 100000", "max", "48"]);
    assert_eq!(all_of(&free, PODS), ["1", "max 100000", "max", "48"]);
    let pods = Path::new(MOUNT).join("kubepods");
    let left = (memory() - (64 << 20)) / 4096 * 4096;
    assert_eq!(read(&pods, "memory.max"), left.to_string());
    assert_eq!(read(&pods.join("burstable"), "cpu.weight"), "10");
    assert_eq!(read(&pods.join("besteffort"), "cpu.weight"), "1");

    let (dir, _) = inside(node, "whole", &whole);
    assert_eq!(all_of(&dir, CONTAINER), ["50000 100000", "67108864", "max", "0", "1"]);
    // Before and after runc's change of the curve.
    assert!(["20", "59"].contains(&read(&dir, "cpu.weight").as_str()), "{}", read(&dir, "cpu.weight"));
    let (dir, process) = inside(node, "partly", &partly);
    assert_eq!(all_of(&dir, CONTAINER), ["max 100000", "33554432", "max", "0", "1"]);
    assert_eq!(oom_score_adj(process), 1000 - i64::try_from(1000 * (16 << 20) / memory()).unwrap());
    let (dir, process) = inside(node, "free", &free);
    assert_eq!(all_of(&dir, CONTAINER), ["max 100000", "max", "max", "0", "1"]);
    assert_eq!(oom_score_adj(process), 1000);
    for pod in [&whole, &partly, &free] {
        for inner in below(pod) {
            let limit = |dir: &Path| number(&read(dir, "memory.max"));
            assert!(limit(&pod.join(&inner)) <= limit(pod) || limit(&pod.join(&inner)) == u64::MAX);
        }
    }
    [whole, partly, free]
}

pub(crate) fn b79_pods_of_each_class_have_their_place_and_lose_it(runtime: &Runtime) {
    let mut node = Node::configured(runtime, CONFIG, &[]);
    let limits = json!({ "limits": { "cpu": "500m", "memory": "64Mi" } });
    let requests = json!({ "requests": { "cpu": "250m", "memory": "16Mi" }, "limits": { "memory": "32Mi" } });
    let mut partly = asking("partly", "Always", WAIT, requests);
    partly["spec"]["containers"].as_array_mut().unwrap().push(container("second", WAIT));
    node.put(&asking("whole", "Always", WAIT, limits));
    node.put(&partly);
    node.put(&asking("free", "Always", WAIT, json!({})));
    let [whole, partly, free] = the_tree_is_as_asked(&node);
    let kept = inside(&node, "whole", &whole);

    node.kill();
    node.remove("free");
    fs::write(whole.parent().unwrap().join("memory.max"), "max").unwrap();
    node.launch();
    node.until("the cgroup of what nobody wants is gone", SOON, |_| !free.exists());
    node.until("the limit of all pods is back", SOON, |_| {
        number(&read(whole.parent().unwrap(), "memory.max")) < u64::MAX
    });
    node.until_running("whole");
    assert_eq!(inside(&node, "whole", &whole), kept, "nothing was restarted");
    node.remove("whole");
    node.remove("partly");
    node.until("the cgroups are gone", SOON, |_| !whole.exists() && !partly.exists());
    assert!(partly.parent().unwrap().exists(), "a class stays");
}

/// With the pod's own end its cgroup goes.
fn until_ended(node: &Node, pod: &str) {
    let main = node.until_main(pod, "has ended", |main| main.exit_code.is_some());
    assert_eq!(node.pod(pod).map(|pod| pod.phase).as_deref(), Some("Failed"), "{main:?}");
    let uid = node.pod(pod).unwrap().uid;
    let dir = Path::new(MOUNT).join("kubepods/burstable").join(format!("pod{uid}"));
    node.until("the cgroup of what has ended is gone", SOON, |_| !dir.exists());
}

pub(crate) fn limits_of_pods_kill_and_refuse(runtime: &Runtime) {
    let node = Node::configured(runtime, CONFIG, &[]);
    let limit = json!({ "limits": { "memory": "32Mi" } });
    // The shell would go on if only the greedy process were killed.
    let greedy = "dd if=/dev/zero of=/dev/null bs=64M count=1; echo went on; exit 3";
    node.put(&asking("greedy", "Never", greedy, limit.clone()));
    let many = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; exit 0";
    node.put(&asking("many", "Never", many, limit));
    until_ended(&node, "greedy");
    let main = node.container("greedy", "main").unwrap();
    assert_eq!((main.exit_code, main.reason.as_str()), (Some(137), "OOMKilled"), "{main:?}");
    assert_eq!(node.logs(&["greedy"]), "");
    until_ended(&node, "many");
    let said = node.logs(&["many"]);
    assert!(said.contains("fork"), "{said}");
}

/// Swap on a file in memory, switched off when dropped.
struct Swap;

const AREA: u64 = 64 << 20;

impl Swap {
    fn on() -> Self {
        let script =
            format!("truncate -s {AREA} /run/swap && losetup /dev/loop0 /run/swap && mkswap -q /dev/loop0");
        for script in [script.as_str(), "swapon /dev/loop0"] {
            let made = Command::new("sh").args(["-c", script]).status().unwrap();
            assert!(made.success(), "{script}");
        }
        Self
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", "swapoff /dev/loop0; losetup -d /dev/loop0"]).status();
    }
}

fn swap_of_the_machine() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("SwapTotal:")).unwrap();
    total.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

pub(crate) fn swap_is_refused_or_shared_as_configured(runtime: &Runtime) {
    let _swap = Swap::on();
    let refused = Command::new(env!("CARGO_BIN_EXE_pinnace"))
        .args(["run", "--fail-swap-on", "--root-dir", "/run/refused", "--container-runtime-endpoint"])
        .arg(&runtime.endpoint)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("failSwapOn") && said.contains("/dev/loop0"),
        "{said}"
    );

    let node = Node::configured(runtime, "memorySwap: {swapBehavior: LimitedSwap}\n", &[]);
    let requests = json!({ "requests": { "memory": "32Mi" }, "limits": { "memory": "64Mi" } });
    node.put(&asking("shares", "Always", WAIT, requests));
    node.put(&asking("free", "Always", WAIT, json!({})));
    let of = |pod: &str, class: &str| {
        let place = place(&node, pod, class);
        read(&inside(&node, pod, &place).0, "memory.swap.max")
    };
    let share = (32 << 20) * swap_of_the_machine() / memory();
    // The kernel counts pages.
    assert_eq!(of("shares", "kubepods/burstable"), (share / 4096 * 4096).to_string());
    assert_eq!(of("free", "kubepods/besteffort"), "0");
}
