//! What runs in the guest, as its root.
//!
//! Time is virtual for the agent, and stands still while it works on cgroups; processes live in real time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use pinnace::cgroup::amount::Host;
use pinnace::cgroup::tree::KernelTree;
use pinnace::cgroup::{Cgroups, Config, MOUNT, Mode};
use pinnace::check::cgroup::{Version, detect};
use pinnace::config::effective::CgroupDriver;
use pinnace::config::reserve::Reserved;
use pinnace::quantity::Quantity;
use serde_json::{Value, json};

use crate::harness::{Make, Node, sleeper};

const LIMIT: Duration = Duration::from_secs(90);

fn host() -> Host {
    let mut reserved = Reserved::default();
    reserved.amounts.insert("memory".into(), vec![Quantity::parse("64Mi").unwrap()]);
    Host {
        cpus: 2,
        memory: 512 << 20,
        pids: Some(4096),
        cfs_period: Some(100_000),
        pod_pids: Some(8),
        reserved,
        ..Host::default()
    }
}

fn cgroups() -> Cgroups {
    let config = Config {
        mode: Mode::Whole(Box::new(host())),
        driver: CgroupDriver::Cgroupfs,
        root: "/".into(),
        needed_by: Vec::new(),
    };
    Cgroups::new(config, Arc::new(KernelTree::new(Path::new(MOUNT))))
}

fn make() -> Make {
    assert_eq!(detect(&fs::read_to_string("/proc/mounts").unwrap()), Version::V2);
    Make { cgroups: cgroups(), ..Make::new() }
}

fn asking(name: &str, resources: Value) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

fn parents(node: &Node) -> Vec<String> {
    let snapshot = node.runtime();
    let linux = snapshot.sandboxes.values().filter_map(|sandbox| sandbox.config.linux.as_ref());
    linux.map(|linux| linux.cgroup_parent.clone()).collect()
}

fn dir(cgroup: &str) -> PathBuf {
    Path::new(MOUNT).join(cgroup.trim_start_matches('/'))
}

fn value(cgroup: &str, file: &str) -> String {
    let path = dir(cgroup).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

/// A process as a runtime starts it: in a cgroup of its own below the pod's.
struct Process(Child);

impl Process {
    fn start(cgroup: &str, script: &str) -> Self {
        let inner = dir(cgroup).join("container");
        fs::create_dir_all(&inner).unwrap();
        let procs = inner.join("cgroup.procs");
        let script = format!("echo $$ > {} && {script}", procs.display());
        Self(Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap())
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().unwrap()
    }

    fn until_ended(&mut self) -> std::process::ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the process lives on");
            std::thread::yield_now();
        }
    }

    fn until_inside(&self, cgroup: &str) {
        let began = Instant::now();
        while value(cgroup, "cgroup.events").lines().next() != Some("populated 1") {
            assert!(began.elapsed() < Duration::from_secs(20), "the process does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn gone(node: Node, parent: &str) {
    node.want(&[]);
    node.until("the cgroup is gone", LIMIT, |node| node.is_empty() && !dir(parent).exists()).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
#[ignore = "runs in the guest"]
async fn the_tree_has_the_limits_that_specs_and_reservations_ask_for() {
    let limits = json!({ "limits": { "cpu": "500m", "memory": "64Mi" } });
    let burstable = json!({ "requests": { "cpu": "1", "memory": "16Mi" } });
    let pods = [asking("a", limits), asking("b", burstable), asking("c", json!({}))];
    let node = make().start(&pods);
    for name in ["a", "b", "c"] {
        node.until_running(name).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(value("/kubepods", "memory.max"), (448_u64 << 20).to_string());
    assert_eq!(
        (value("/kubepods", "cpu.weight"), value("/kubepods", "pids.max")),
        ("79".into(), "4096".into())
    );
    assert_eq!(value("/kubepods/burstable", "cpu.weight"), "39");
    assert_eq!(value("/kubepods/besteffort", "cpu.weight"), "1");
    let mut shown: Vec<_> = parents(&node)
        .iter()
        .map(|parent| {
            let place = parent.rsplit_once("/pod").unwrap().0.to_owned();
            let read = |file| value(parent, file);
            (place, read("cpu.weight"), read("cpu.max"), read("memory.max"), read("pids.max"))
        })
        .collect();
    shown.sort();
    let row = |place: &str, weight: &str, cpu: &str, memory: &str| {
        (place.to_owned(), weight.to_owned(), cpu.to_owned(), memory.to_owned(), "8".to_owned())
    };
    assert_eq!(
        shown,
        [
            row("/kubepods", "20", "50000 100000", "67108864"),
            row("/kubepods/besteffort", "1", "max 100000", "max"),
            row("/kubepods/burstable", "39", "max 100000", "max"),
        ]
    );
    let all = parents(&node);
    node.want(&[]);
    node.until("no pod is left", LIMIT, |node| {
        node.is_empty() && !all.iter().any(|parent| dir(parent).exists())
    })
    .await;
    // The classes stay.
    assert!(dir("/kubepods/burstable").exists());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
#[ignore = "runs in the guest"]
async fn the_pods_memory_limit_kills_and_its_process_limit_refuses() {
    // One container without a limit would lift the pod's: the pod as a whole is limited by both.
    let node = make().start(&[asking("web", json!({ "limits": { "cpu": "2", "memory": "16Mi" } }))]);
    node.until_running("web").await;
    let parent = parents(&node).remove(0);
    let mut hungry = Process::start(&parent, "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    assert!(!hungry.until_ended().success());
    let killed = value(&parent, "memory.events");
    assert!(killed.lines().any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0"), "{killed}");

    let bomb = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; wait";
    let _bomb = Process::start(&parent, bomb);
    let began = Instant::now();
    // Told where the process is that was refused another.
    let refused = || value(&format!("{parent}/container"), "pids.events");
    while refused() == "max 0" {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", refused());
        std::thread::yield_now();
    }
    assert!(value(&parent, "pids.current").parse::<u32>().unwrap() <= 8);
    gone(node, &parent).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "runs in the guest"]
async fn i6_a_process_that_is_left_is_killed_with_its_pods_cgroup() {
    let node = make().start(&[sleeper("web")]);
    node.until_running("web").await;
    let parent = parents(&node).remove(0);
    let mut left = Process::start(&parent, "trap '' TERM; while true; do sleep 1000; done");
    left.until_inside(&parent);
    gone(node, &parent).await;
    assert!(!left.until_ended().success());
}

#[tokio::test(start_paused = true)]
#[ignore = "runs in the guest"]
async fn a_process_of_a_pod_that_has_ended_is_not_killed_before_the_pod_goes() {
    let make = make();
    let mut wanted = sleeper("job");
    wanted["spec"]["restartPolicy"] = json!("Never");
    let node = make.start(&[wanted]);
    node.until_running("job").await;
    let parent = parents(&node).remove(0);
    let mut left = Process::start(&parent, "exec sleep 1000");
    left.until_inside(&parent);
    let id = node.runtime().containers.keys().next().unwrap().clone();
    make.fake.exit_now(&id, 0);
    node.until("it has ended", LIMIT, |node| node.pod("job").is_some_and(|pod| pod.phase == "Succeeded"))
        .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(left.ended().is_none() && dir(&parent).exists());
    gone(node, &parent).await;
    assert!(!left.until_ended().success());
}

#[tokio::test(start_paused = true)]
#[ignore = "runs in the guest"]
async fn b80_what_was_tampered_with_is_repaired_within_a_minute() {
    let node = make().start(&[asking("web", json!({ "limits": { "cpu": "1", "memory": "32Mi" } }))]);
    node.until_running("web").await;
    let parent = parents(&node).remove(0);
    for (cgroup, file, text) in [
        (parent.as_str(), "memory.max", "max"),
        (parent.as_str(), "cgroup.freeze", "1"),
        (parent.as_str(), "cpu.max", "1000 100000"),
        ("/kubepods", "pids.max", "3"),
    ] {
        let was = value(cgroup, file);
        fs::write(dir(cgroup).join(file), text).unwrap();
        assert_ne!(value(cgroup, file), was);
        node.until(file, Duration::from_secs(61), |_| value(cgroup, file) == was).await;
    }
    // An empty class that somebody removed comes back as well.
    fs::remove_dir(dir("/kubepods/besteffort")).unwrap();
    node.until("the class is back", Duration::from_secs(61), |_| dir("/kubepods/besteffort").exists()).await;
    gone(node, &parent).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "runs in the guest"]
async fn b79_a_restarted_agent_takes_over_and_takes_down() {
    let make = make();
    let wanted = [asking("stays", json!({ "limits": { "memory": "32Mi" } })), sleeper("goes")];
    let node = make.start(&wanted);
    node.until_running("stays").await;
    node.until_running("goes").await;
    let all = parents(&node);
    node.stop().await;
    let kept = all.iter().find(|parent| parent.contains("burstable")).unwrap().clone();
    let other = all.iter().find(|parent| parent.contains("besteffort")).unwrap().clone();
    let mut inside = Process::start(&kept, "exec sleep 1000");
    inside.until_inside(&kept);
    fs::write(dir(&kept).join("memory.max"), "max").unwrap();

    let make = Make { cgroups: cgroups(), ..make };
    let node = make.start(&wanted[..1]);
    node.until("what nobody wants is gone", LIMIT, |_| !dir(&other).exists()).await;
    node.until("the limit is back", LIMIT, |_| value(&kept, "memory.max") == (32_u32 << 20).to_string())
        .await;
    assert!(inside.ended().is_none(), "a process was killed at a restart");
    gone(node, &kept).await;
}
