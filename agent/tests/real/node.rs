//! The agent as a process: started, asked by its own command line, killed, started again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pinnace::view::{ContainerView, ExplainView, PodView};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::runtime::Runtime;

/// Enough for anything that takes a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// With one processor, as in a guest, asking would take most of it from those who are to answer.
const POLL_ALONE: Duration = Duration::from_millis(400);
/// Lines of the agent's log that a failure shows.
const LOG_LINES: usize = 40;

/// Whether there is one processor only.
fn is_alone() -> bool {
    std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1)
}

static NODES: AtomicU32 = AtomicU32::new(0);

/// One node with everything of its own but the runtime.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    dir: TempDir,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// A running agent without manifests.
    pub(crate) fn start(runtime: &Runtime) -> Self {
        Self::configured(runtime, "", &[])
    }

    /// One that starts what has ended again within a second, however often it has.
    pub(crate) fn restless(runtime: &Runtime) -> Self {
        Self::configured(runtime, "crashLoopBackOff:\n  maxContainerRestartPeriod: 1s\n", &[])
    }

    /// With more lines of KubeletConfiguration and more flags.
    pub(crate) fn configured(runtime: &Runtime, more: &str, flags: &[&str]) -> Self {
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("pinnace-real-").tempdir().expect("a directory");
        let name = format!("n{}-{number}", std::process::id());
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut node = Self { name, runtime: runtime.clone(), dir, flags, child: None };
        fs::create_dir(node.manifests()).expect("a directory of manifests");
        let logs = node.pod_logs();
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\npodLogsDir: {}\nfailSwapOn: false\n{more}",
            logs.display()
        );
        fs::write(node.path("config.yaml"), config).expect("a configuration");
        node.launch();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn manifests(&self) -> PathBuf {
        self.path("manifests")
    }

    /// `--root-dir`.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// `podLogsDir`.
    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// Starts the agent, and waits until it answers.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "the agent is started already");
        let log = File::options().create(true).append(true).open(self.path("agent.log")).expect("a log");
        // The agent does not outlive a test run that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_pinnace"), "run"])
            .args(["--hostname-override", &self.name])
            .args(["--container-runtime-endpoint", &self.runtime.endpoint])
            .arg("--config")
            .arg(self.path("config.yaml"))
            .arg("--root-dir")
            .arg(self.root())
            .arg("--pod-manifest-path")
            .arg(self.manifests())
            .arg("--admin-socket")
            .arg(self.path("admin.sock"))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("setpriv of util-linux starts the agent");
        self.child = Some(child);
        self.until("the agent answers", SOON, Self::is_up);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("a running agent");
        child.kill().expect("a process to kill");
        child.wait().expect("the end of the agent");
    }

    /// Puts a manifest there, as one should: by a rename.
    pub(crate) fn put(&self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        self.put_text(name, &pod.to_string());
    }

    /// Puts any text there as the manifest of a pod.
    pub(crate) fn put_text(&self, name: &str, text: &str) {
        let hidden = self.manifests().join(format!(".{name}.new"));
        fs::write(&hidden, text).expect("a manifest");
        fs::rename(hidden, self.manifests().join(format!("{name}.yaml"))).expect("the manifest in place");
    }

    /// Removes a manifest.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.manifests().join(format!("{name}.yaml"))).expect("a manifest to remove");
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace"));
        command.args(args).env("PINNACE_ADMIN_SOCKET", self.path("admin.sock"));
        command.output().expect("the command line runs")
    }

    fn command(&self, args: &[&str]) -> Result<String, String> {
        let output = self.output(args);
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn ask(&self, what: &str) -> Result<String, String> {
        self.command(&[what, "-o", "json"])
    }

    /// Whether the agent answers.
    pub(crate) fn is_up(&self) -> bool {
        match is_alone() {
            true => self.ask_directly::<Value>("pods").is_some(),
            false => self.ask("pods").is_ok(),
        }
    }

    /// The same without a process that costs a guest a quarter of a second.
    fn ask_directly<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = pinnace::cli::client::Client::new(&self.path("admin.sock"));
        runtime.block_on(client.json(&format!("/v1/{what}"))).ok()
    }

    /// Empty while the agent does not answer: whoever waits asks again.
    fn list<T: DeserializeOwned>(&self, what: &str) -> Vec<T> {
        if is_alone() {
            return self.ask_directly(what).unwrap_or_default();
        }
        let text = self.ask(what).unwrap_or_else(|_| "[]".to_owned());
        serde_json::from_str(&text).expect("the agent prints its own types")
    }

    /// `pinnace pods`.
    pub(crate) fn pods(&self) -> Vec<PodView> {
        self.list("pods")
    }

    /// What the agent warns of beside its pods.
    pub(crate) fn problems(&self) -> Vec<String> {
        let warnings = String::from_utf8_lossy(&self.output(&["pods"]).stderr).into_owned();
        warnings.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect()
    }

    /// `pinnace containers`.
    pub(crate) fn containers(&self) -> Vec<ContainerView> {
        self.list("containers")
    }

    /// `pinnace explain`.
    pub(crate) fn explain(&self, pod: &str) -> ExplainView {
        let text = self.command(&["explain", pod, "-o", "json"]).expect("an explanation");
        serde_json::from_str(&text).expect("the agent prints its own types")
    }

    /// `pinnace logs`, with options.
    pub(crate) fn logs(&self, args: &[&str]) -> String {
        self.command(&[&["logs"], args].concat()).unwrap_or_else(|error| panic!("logs {args:?}: {error}"))
    }

    /// A pod by the name in its manifest.
    pub(crate) fn pod(&self, name: &str) -> Option<PodView> {
        let full = format!("{name}-{}", self.name);
        self.pods().into_iter().find(|pod| pod.name == full)
    }

    /// A container of it.
    pub(crate) fn container(&self, pod: &str, name: &str) -> Option<ContainerView> {
        let full = format!("{pod}-{}", self.name);
        self.containers().into_iter().find(|container| container.pod == full && container.name == name)
    }

    /// The container `main` of a pod that has come to rest in `state`.
    pub(crate) fn until_main(
        &self,
        pod: &str,
        what: &str,
        done: impl Fn(&ContainerView) -> bool,
    ) -> ContainerView {
        self.until(&format!("{pod}: {what}"), SOON, |node| {
            node.container(pod, "main").as_ref().is_some_and(&done)
        });
        self.container(pod, "main").expect("it was there")
    }

    /// Waits until every container of a pod runs; the pod.
    pub(crate) fn until_running(&self, pod: &str) -> PodView {
        let runs = |view: &PodView| view.status == "Running" && view.ready == view.containers;
        self.until(&format!("{pod} runs"), SOON, |node| node.pod(pod).as_ref().is_some_and(runs));
        self.pod(pod).expect("it was there")
    }

    /// Waits until nothing of a pod is shown.
    pub(crate) fn until_gone(&self, pod: &str) {
        self.until(&format!("{pod} is gone"), Duration::from_secs(60), |node| {
            node.is_up() && node.pod(pod).is_none()
        });
    }

    /// Names of pods that the runtime does not let go. A client that dies while containerd 2.2 starts a container for
    /// it may leave a task behind that CRI knows as exited and refuses to remove until the daemon is started again.
    pub(crate) fn stuck(&self) -> BTreeSet<String> {
        let stuck = |pod: &PodView| pod.reason.contains("cannot delete running task");
        self.pods().into_iter().filter(stuck).map(|pod| pod.name).collect()
    }

    /// Waits for a condition, and fails with what everybody says if it takes longer than `limit`.
    pub(crate) fn until(&self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.describe());
            std::thread::sleep(if is_alone() { POLL_ALONE } else { POLL });
        }
    }

    /// What everybody says, for the message of a failed test.
    pub(crate) fn describe(&self) -> String {
        let pods = self.pods();
        let mut told = format!("node {} on containerd {}\n", self.name, self.runtime.version);
        told += &self.command(&["pods", "-o", "wide"]).unwrap_or_else(|error| error);
        for pod in pods {
            told += &self.command(&["explain", &pod.uid]).unwrap_or_else(|error| error);
        }
        let owner = format!("pinnace.dev/owner={}", self.name);
        for list in [["pods"].as_slice(), &["ps", "-a"]] {
            let args = [list, &["--label", &owner]].concat();
            told += &self.runtime.try_crictl(&args).unwrap_or_else(|error| error);
        }
        let log = fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        told + &lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.runtime.clear(&self.name);
        // What a failed case left mounted: its directory could not be removed, or not only itself.
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.dir.path())) {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}
