//! The agent or the kubelet as a process on a containerd and with a node of its own. It ends when dropped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pinnace::cli::client::Client;
use pinnace::view::PodView;
use pinnace_cri::client::Deadlines;
use tempfile::TempDir;

use super::cri_proxy::CriProxy;
use super::setting::Setting;
use crate::cluster::machine_state::MachineState;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Kubelet,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Kubelet => "kubelet",
        }
    }
}

/// Longest wait for the subject's own word, and between two questions.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Subject {
    pub(super) kind: Kind,
    /// Name of its node.
    pub(super) node: String,
    dir: TempDir,
    command: (PathBuf, Vec<String>),
    endpoint: String,
    proxy: CriProxy,
    read_only_port: u16,
    child: Option<Child>,
    /// Put back at the end.
    _machine: Option<MachineState>,
}

impl Subject {
    pub(super) fn new(setting: &Setting, kind: Kind) -> Result<Self> {
        let node = format!("bench-{}", kind.name());
        let dir = tempfile::Builder::new().prefix("pinnace-bench").tempdir()?;
        let proxy = CriProxy::start(&dir.path().join("cri.sock"), &setting.runtime(kind.name())?.endpoint)?;
        let endpoint = proxy.endpoint().to_owned();
        let read_only_port = free_port()?;
        let machine = (kind == Kind::Kubelet).then(MachineState::prepare).transpose()?;
        let config = match kind {
            Kind::Agent => config(&dir, &setting.ca)?,
            Kind::Kubelet => config(&dir, &setting.ca)? + &kubelet_config(read_only_port, &endpoint),
        };
        let file = dir.path().join("config.yaml");
        fs::write(&file, config)?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let kubeconfig = setting.kubeconfig(&node).display().to_string();
        let mut words: Vec<String> = Vec::new();
        let program = match kind {
            Kind::Agent => {
                words.extend(
                    ["run", "--container-runtime-endpoint", &endpoint, "--admin-socket"].map(str::to_owned),
                );
                words.push(path("admin.sock"));
                setting.pinnace.clone()
            }
            Kind::Kubelet => {
                words.extend(["--v=1".to_owned(), "--cert-dir".to_owned(), path("pki")]);
                setting.kubelet.clone().context("no kubelet")?
            }
        };
        for (flag, value) in [
            ("--config", file.display().to_string()),
            ("--root-dir", path("root")),
            ("--kubeconfig", kubeconfig),
            ("--hostname-override", node.clone()),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        let command = (program, words);
        Ok(Self { kind, node, dir, command, endpoint, proxy, read_only_port, child: None, _machine: machine })
    }

    /// Gives the moment before.
    pub(super) fn start(&mut self) -> Result<Instant> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.command.0);
        command.args(&self.command.1).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let child =
            command.spawn().with_context(|| format!("failed to start {}", self.command.0.display()))?;
        self.child = Some(child);
        Ok(began)
    }

    /// How much of the time between the two the runtime worked on a start.
    pub(super) fn in_runtime(&self, from: Instant, to: Instant) -> Duration {
        self.proxy.busy(from, to)
    }

    pub(super) fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("it does not run")
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(super) fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid()?.try_into()?), Signal::SIGTERM)?;
        self.child.take().context("it does not run")?.wait()?;
        Ok(())
    }

    /// A pod's name is the subject's own, as both post into one namespace.
    pub(super) fn pod_name(&self, name: &str) -> String {
        format!("{}-{name}", self.kind.name())
    }

    /// When its own view holds all pods. The kubelet's is the number of pods that it has synced since it started.
    pub(super) async fn until_complete(&self, pods: usize) -> Result<Instant> {
        let limit = Instant::now() + LIMIT;
        let admin = Client::new(&self.dir.path().join("admin.sock"));
        loop {
            let is_complete = match self.kind {
                Kind::Agent => {
                    let shown = admin.json::<Vec<PodView>>("/v1/pods").await.unwrap_or_default();
                    let runs = |pod: &&PodView| pod.phase == "Running" && pod.ready == pod.containers;
                    shown.iter().filter(runs).count() >= pods
                }
                Kind::Kubelet => self.synced().is_ok_and(|synced| synced >= pods as f64),
            };
            if is_complete {
                return Ok(Instant::now());
            }
            if Instant::now() > limit {
                bail!("its own view of {pods} pods did not come within {} s", LIMIT.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn synced(&self) -> Result<f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.read_only_port))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let syncs = text.lines().filter(|line| line.starts_with("kubelet_pod_worker_duration_seconds_count"));
        let counts = syncs.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum())
    }

    /// Sandboxes, pod directories and mounts that are there ten seconds after the last pod went, or sooner none.
    pub(super) async fn left_over(&self) -> Result<usize> {
        let client = pinnace_cri::client::Client::connect_lazy(&self.endpoint, None, Deadlines::default())?;
        let root = self.dir.path().join("root");
        let mut left = 0;
        for _ in 0..50 {
            let sandboxes = client.list_sandboxes(None).await?.items.len();
            let dirs = fs::read_dir(root.join("pods")).map_or(0, Iterator::count);
            let mounts = fs::read_to_string("/proc/mounts")?;
            let pods = root.join("pods").display().to_string();
            left = sandboxes + dirs + mounts.lines().filter(|line| line.contains(&pods)).count();
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(left)
    }

    /// Waits until no more sandboxes than these are there, for some seconds: the objects of exited pods go before what the
    /// runtime has of them, and a kubelet leaves that to its next collection.
    pub(super) async fn settle(&self, pods: usize) -> Result<()> {
        let client = pinnace_cri::client::Client::connect_lazy(&self.endpoint, None, Deadlines::default())?;
        for _ in 0..50 {
            if client.list_sandboxes(None).await?.items.len() <= pods {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("subject.log")
    }

    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(15).collect();
        format!("the end of its log:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // After `stop` there is nothing to kill.
        let _ = self.kill();
        if std::env::var_os("PINNACE_BENCH_KEEP").is_some() {
            let _ = fs::copy(self.log(), format!("/tmp/pinnace-bench-{}.log", self.kind.name()));
        }
        unmount_below(self.dir.path());
    }
}

/// A turn that failed leaves the pods' volumes mounted; the directory could not be removed then.
fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(dir)) {
        let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Nothing else listens on it now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What both are told.
fn config(dir: &TempDir, ca: &Path) -> Result<String> {
    let logs = dir.path().join("pod-logs");
    Ok(format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\naddress: 127.0.0.1\nport: {}\n\
         maxPods: 250\npodLogsDir: {}\nauthentication:\n  x509:\n    clientCAFile: {}\n",
        free_port()?,
        logs.display(),
        ca.display()
    ))
}

/// What a kubelet needs on a machine like this. Without a DNS address it writes an event with each look at a pod; on a
/// disk that is 85 % full, as developers' are, it would remove the image and evict the pods.
fn kubelet_config(read_only_port: u16, endpoint: &str) -> String {
    format!(
        "containerRuntimeEndpoint: {endpoint}\nreadOnlyPort: {read_only_port}\nhealthzPort: 0\ncgroupDriver: cgroupfs\n\
         cgroupRoot: {}\nfailCgroupV1: false\nfailSwapOn: false\nmakeIPTablesUtilChains: false\n\
         evictionHard:\n  memory.available: 100Mi\nimageGCHighThresholdPercent: 100\n\
         clusterDNS: [10.96.0.10]\nclusterDomain: cluster.local\n",
        super::machine_state::CGROUP
    )
}
