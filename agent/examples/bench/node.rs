//! The released binary as a process of its own, with its files below a temporary directory. Ends when dropped; what
//! it runs lives on, as always, so callers take their manifests away first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pinnace::cli::client::Client;
use pinnace::view::{ContainerView, PodView};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

/// Between two looks at what the agent shows: an upper bound of what a figure is too high by.
const LOOK: Duration = Duration::from_millis(2);
/// The same while many pods start: each look costs the agent more, and the figures are larger.
const SELDOM: Duration = Duration::from_millis(20);
/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A place for an agent.
pub(crate) struct Place {
    dir: TempDir,
    endpoint: String,
    binary: PathBuf,
}

impl Place {
    pub(crate) fn new(binary: &Path, endpoint: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("pinnace-bench").tempdir()?;
        fs::create_dir(dir.path().join("manifests"))?;
        let logs = dir.path().join("pod-logs").display().to_string();
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\npodLogsDir: {logs}\n"
        );
        fs::write(dir.path().join("config.yaml"), config)?;
        Ok(Self { dir, endpoint: endpoint.to_owned(), binary: binary.to_owned() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a manifest in place at once, by a rename; gives the moment before it.
    pub(crate) fn wish(&self, name: &str, manifest: &Value) -> Result<Instant> {
        let (draft, place) = (self.path("draft"), self.manifest(name));
        fs::write(&draft, manifest.to_string())?;
        let began = Instant::now();
        fs::rename(draft, place)?;
        Ok(began)
    }

    /// Takes a manifest away; gives the moment before.
    pub(crate) fn unwish(&self, name: &str) -> Result<Instant> {
        let began = Instant::now();
        fs::remove_file(self.manifest(name))?;
        Ok(began)
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.path("manifests").join(format!("{name}.json"))
    }

    /// Starts the agent; gives the moment before.
    pub(crate) fn start(&self) -> Result<(Node, Instant)> {
        let log = File::options().create(true).append(true).open(self.path("pinnace.log"))?;
        let (admin, mut command) = (self.path("admin.sock"), Command::new(&self.binary));
        command.arg("run").arg("--config").arg(self.path("config.yaml"));
        command.arg("--root-dir").arg(self.path("root")).arg("--admin-socket").arg(&admin);
        command.arg("--pod-manifest-path").arg(self.path("manifests"));
        command.args(["--container-runtime-endpoint", &self.endpoint, "--hostname-override", "bench"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("failed to start {}", self.binary.display()))?;
        Ok((Node { child, client: Client::new(&admin), log: self.path("pinnace.log") }, began))
    }
}

/// A running agent.
pub(crate) struct Node {
    child: Child,
    client: Client,
    log: PathBuf,
}

impl Node {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the agent shows what `done` asks for.
    pub(crate) async fn until_pods(&self, what: &str, done: impl Fn(&[PodView]) -> bool) -> Result<Instant> {
        self.until(what, LOOK, "/v1/pods", |pods: Vec<PodView>| done(&pods)).await
    }

    /// The same of containers.
    pub(crate) async fn until_containers(
        &self,
        what: &str,
        done: impl Fn(&[ContainerView]) -> bool,
    ) -> Result<Instant> {
        self.until(what, LOOK, "/v1/containers", |containers: Vec<ContainerView>| done(&containers)).await
    }

    /// Waits until this many pods run and none is otherwise.
    pub(crate) async fn until_running(&self, number: usize) -> Result<Instant> {
        self.until_running_by(number, if number > 1 { SELDOM } else { LOOK }).await
    }

    /// The same, with a look so often.
    pub(crate) async fn until_running_by(&self, number: usize, every: Duration) -> Result<Instant> {
        let runs = |pod: &PodView| pod.phase == "Running" && pod.ready == pod.containers;
        let what = format!("{number} running pods");
        let all = |pods: Vec<PodView>| pods.len() == number && pods.iter().all(runs);
        self.until(&what, every, "/v1/pods", all).await
    }

    pub(crate) async fn until_exited(&self, pod: &str) -> Result<Instant> {
        let (short, full) = (pod, format!("{pod}-bench"));
        let exited = |c: &ContainerView| (c.pod == full || c.pod == short) && c.state == "Terminated";
        self.until_containers(&format!("the exit of {pod}"), |all| all.iter().any(exited)).await
    }

    async fn until<T: DeserializeOwned>(
        &self,
        what: &str,
        every: Duration,
        path: &str,
        done: impl Fn(T) -> bool,
    ) -> Result<Instant> {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Ok(answer) = self.client.json::<T>(path).await
                && done(answer)
            {
                return Ok(Instant::now());
            }
            if Instant::now() > limit {
                bail!("{what} did not come within {} s{}", LIMIT.as_secs(), self.last_words());
            }
            tokio::time::sleep(every).await;
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(15).collect();
        format!("; the end of the agent's log:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the agent ended with {status}{}", self.last_words()) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `stop` there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
