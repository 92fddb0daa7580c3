//! What there is to measure on and how much is measured, as `deploy/dev/bench` says it in the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// What can be asked for alone.
pub(crate) const GROUPS: [&str; 6] = ["idle", "sequential", "burst", "restart", "exit", "delete"];

/// A containerd.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    pub(super) endpoint: String,
    /// Its daemon.
    pub(super) pid: u32,
}

/// All of it.
pub(super) struct Setting {
    /// The administrator's.
    pub(super) api: kube::Client,
    pub(super) admin: PathBuf,
    pub(super) ca: PathBuf,
    pub(super) audit: PathBuf,
    pub(super) pinnace: PathBuf,
    pub(super) kubelet: Option<PathBuf>,
    runtimes: Vec<(String, Runtime)>,
    /// Programs of the control plane, by name.
    pub(super) control_plane: Vec<(String, u32)>,
    pub(super) groups: Vec<String>,
    /// Pods of the bursts.
    pub(super) sizes: Vec<usize>,
    /// Pods one after the other.
    pub(super) turns: usize,
    pub(super) rounds: usize,
    /// Before an idle figure is taken, and how long it is taken for.
    pub(super) settle: Duration,
    pub(super) window: Duration,
}

impl Setting {
    /// None without a cluster.
    ///
    /// `PINNACE_BENCH_ADMIN`, `_NODES` (directory with a kubeconfig `node-bench-SUBJECT` each), `_CA`, `_AUDIT`,
    /// `_RUNTIMES` (`SUBJECT=ENDPOINT@PID,...`), `_CONTROL_PLANE` (`PROGRAM=PID,...`) and `_KUBELET` say what there is; `_PODS` (`30,110`), `_ROUNDS`
    /// and `_IDLE` (`SETTLE,WINDOW` in s) how much.
    pub(super) async fn read(binary: &Path, words: &[String]) -> Result<Option<Self>> {
        let Some(admin) = variable("ADMIN") else { return Ok(None) };
        let file = Kubeconfig::read_from(&admin)?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let numbers = |name: &str, default: &str| -> Result<Vec<usize>> {
            let text = variable(name).unwrap_or_else(|| default.to_owned());
            let numbers: Result<_, _> = text.split(',').map(|number| number.trim().parse()).collect();
            numbers.with_context(|| format!("PINNACE_BENCH_{name} is not a list of numbers: {text}"))
        };
        let idle = numbers("IDLE", "15,20")?;
        let &[settle, window] = idle.as_slice() else { bail!("PINNACE_BENCH_IDLE is not SETTLE,WINDOW") };
        let mut groups: Vec<_> = words.to_vec();
        if groups.is_empty() {
            groups = GROUPS.map(str::to_owned).to_vec();
        }
        Ok(Some(Self {
            api: kube::Client::try_from(config)?,
            admin: admin.into(),
            ca: variable("CA").context("PINNACE_BENCH_CA is not set")?.into(),
            audit: variable("AUDIT").context("PINNACE_BENCH_AUDIT is not set")?.into(),
            pinnace: binary.to_owned(),
            kubelet: variable("KUBELET").map(PathBuf::from),
            runtimes: runtimes(&variable("RUNTIMES").unwrap_or_default())?,
            control_plane: pids(&variable("CONTROL_PLANE").unwrap_or_default())?,
            groups,
            sizes: numbers("PODS", "30")?,
            turns: 15,
            rounds: numbers("ROUNDS", "1")?.first().copied().unwrap_or(1),
            settle: Duration::from_secs(settle as u64),
            window: Duration::from_secs(window as u64),
        }))
    }

    /// The containerd of a subject.
    pub(super) fn runtime(&self, subject: &str) -> Result<&Runtime> {
        let found = self.runtimes.iter().find(|(name, _)| name == subject);
        found.map(|(_, runtime)| runtime).with_context(|| format!("PINNACE_BENCH_RUNTIMES has no {subject}"))
    }

    /// A node's credentials lie beside the administrator's.
    pub(super) fn kubeconfig(&self, node: &str) -> PathBuf {
        self.admin.with_file_name(format!("node-{node}"))
    }

    pub(super) fn largest(&self) -> usize {
        self.sizes.iter().copied().max().unwrap_or(0)
    }

    pub(super) fn wants(&self, group: &str) -> bool {
        self.groups.iter().any(|wanted| wanted == group)
    }

    pub(super) fn describe(&self) -> String {
        let idle = format!("idle {} s after {} s", self.window.as_secs(), self.settle.as_secs());
        let words = (self.groups.join(" "), &self.sizes, self.rounds);
        format!(
            "{}; bursts of {:?}; {} round(s); {idle}; pods with their token volume",
            words.0, words.1, words.2
        )
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("PINNACE_BENCH_{name}")).ok().filter(|value| !value.is_empty())
}

fn runtimes(text: &str) -> Result<Vec<(String, Runtime)>> {
    let entries = text.split(',').filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (name, rest) = entry.split_once('=').with_context(|| format!("no '=' in {entry}"))?;
            let (endpoint, pid) = rest.split_once('@').with_context(|| format!("no '@' in {entry}"))?;
            Ok((name.to_owned(), Runtime { endpoint: endpoint.to_owned(), pid: pid.parse()? }))
        })
        .collect()
}

fn pids(text: &str) -> Result<Vec<(String, u32)>> {
    let entries = text.split(',').filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (name, pid) = entry.split_once('=').with_context(|| format!("no '=' in {entry}"))?;
            Ok((name.to_owned(), pid.parse()?))
        })
        .collect()
}
