//! The agent takes the kubelet's place: what upstream's kubelet started goes on, and nobody outside notices.
//!
//! The kubelet is `KUBELET_BIN`, or what `deploy/dev/build-tools path kubelet` built before; without either the case
//! is skipped. It has a containerd of its own, since a kubelet ends every pod that it does not know. It sets
//! settings of the machine's kernel, as any kubelet does; they are put back at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pinnace::host::tunables::{ROOT, TUNABLES};
use serde_json::Value;

use crate::admin::{is_ready, restarts};
use crate::case::{Case, SOON, WAIT, deployment};
use crate::control_plane::ControlPlane;
use crate::own_runtime::OwnRuntime;
use crate::restarts::containers;
use crate::say;
use crate::witness::Witness;

/// Pods of the kubelet.
const PODS: usize = 20;

/// The kubelet's program, if there is one.
fn program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("KUBELET_BIN") {
        return Some(PathBuf::from(given));
    }
    // Not by build-tools, which would build it for minutes.
    let cache = std::env::var_os("PINNACE_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/pinnace")))?;
    let tools = fs::read_dir(cache.join("tools")).ok()?;
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubernetes-1.36-kubelet-"))
    };
    let kubelets = tools.filter_map(|entry| Some(entry.ok()?.path())).filter(named);
    kubelets.map(|dir| dir.join("kubelet")).find(|program| program.exists())
}

/// The kernel's settings as they were; put back when dropped, also after a failure.
struct KernelSettings(Vec<(PathBuf, String)>);

impl KernelSettings {
    fn read() -> Self {
        let paths = TUNABLES.iter().map(|(name, _)| Path::new(ROOT).join(name));
        Self(paths.filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))).collect())
    }
}

impl Drop for KernelSettings {
    fn drop(&mut self) {
        for (path, was) in &self.0 {
            if fs::read_to_string(path).is_ok_and(|is| is != *was)
                && let Err(error) = fs::write(path, was)
            {
                say(&format!("failed to put {} back to {was:?}: {error}", path.display()));
            }
        }
    }
}

/// Upstream's kubelet as a process; killed when dropped.
struct Kubelet(Child);

impl Kubelet {
    fn start(program: &Path, case: &Case<'_>) -> Self {
        let log = File::create(case.agent.path("kubelet.log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command.args(case.agent.kubelet_flags()).stdin(Stdio::null());
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    /// As systemd stops it. Its pods live on.
    fn stop(mut self) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM).unwrap();
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < SOON, "the kubelet does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn what_a_kubelet_started_is_taken_over_as_it_runs(cluster: &ControlPlane) {
    let Some(program) = program() else {
        say(
            "SKIPPED takeover: no kubelet; name one by KUBELET_BIN, or run deploy/dev/build-tools path kubelet",
        );
        return;
    };
    let count = PODS;
    let own = OwnRuntime::start("2.2", "takeover");
    let mut case = Case::with(&own.runtime, cluster, "takeover");
    case.agent.configure(&[
        ("failCgroupV1", false.into()),
        ("failSwapOn", false.into()),
        ("cgroupsPerQOS", false.into()),
        ("enforceNodeAllocatable", Value::Array(Vec::new())),
        ("cgroupDriver", "cgroupfs".into()),
        ("localStorageCapacityIsolation", false.into()),
        ("makeIPTablesUtilChains", false.into()),
    ]);
    let _put_back = KernelSettings::read();
    let kubelet = Kubelet::start(&program, &case);
    case.until_node_ready(Instant::now(), SOON);
    case.namespace.create(&deployment("steady", count, WAIT));
    let all_ready =
        |pods: &[Value]| (pods.len() == count && pods.iter().all(is_ready)).then(|| pods.to_vec());
    let (before, _) = case.until_pods("Ready pods", Instant::now(), all_ready);
    let witness = Witness::of(cluster, &case.namespace.name, &case.agent.name);
    let known = || if witness.objects() == count + 1 { Ok(()) } else { Err(witness.objects().to_string()) };
    case.agent.until("a witness", Instant::now(), SOON, known);
    let running = containers_of_all(&case);
    assert_eq!(running.len(), count);

    kubelet.stop();
    case.agent.launch();
    // Long enough for each loop's first rounds: lists, statuses, the node's object, tokens.
    std::thread::sleep(Duration::from_secs(15));
    let changes = witness.changes();
    assert!(changes.is_empty(), "{changes:#?}\n{}", case.agent.describe());
    assert_eq!(containers_of_all(&case), running, "{}", case.agent.describe());
    for pod in case.admin.pods(&case.namespace.name).unwrap().values() {
        let was = before.iter().find(|was| was["metadata"]["uid"] == pod["metadata"]["uid"]).unwrap();
        assert_eq!(pod["status"], was["status"], "a status that was right is left as it is");
        assert_eq!(restarts(pod), 0);
    }
    // It is obeyed by its new agent.
    case.namespace.kubectl(&["delete", "--wait=false", "deployment", "steady"]);
    let gone = case.until_nothing_is_left();
    case.agent.a80_was_never_refused();
    assert!(containers(&case).is_empty());
    say(&format!(
        "taken over from the kubelet: {count} pods, 0 transitions, 0 restarts; gone in {gone:.1?} when deleted"
    ));
}

/// Ids of the running containers, whoever made them.
fn containers_of_all(case: &Case<'_>) -> Vec<String> {
    let listed = case.agent.runtime.crictl(&["ps", "-q"]);
    let mut ids: Vec<_> = listed.split_whitespace().map(str::to_owned).collect();
    ids.sort();
    ids
}
