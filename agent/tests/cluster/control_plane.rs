//! One control plane: how it is reached, taken away and brought back.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// Longest wait for what a loaded machine does in a few seconds.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A cluster that serves.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    name: String,
    script: PathBuf,
    status: BTreeMap<String, String>,
    /// Wiped when dropped.
    own: bool,
}

/// A variable that `make test` sets.
fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set; run `make test`"))
}

/// What a finished command printed.
fn printed(what: &str, output: &Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Waits until the look succeeds; its last error explains a wait that was too long.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(error) => assert!(start.elapsed() < SOON, "waited {SOON:?} for {what}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl ControlPlane {
    /// The one that `make test` started for everybody, or what is missing.
    pub(crate) fn shared() -> Result<Self, String> {
        let script = PathBuf::from(variable("PINNACE_TEST_CLUSTER")?);
        let name = variable("PINNACE_TEST_CLUSTER_NAME")?;
        // For cases that start their own.
        variable("PINNACE_TEST_INSTANCE_PREFIX")?;
        Ok(Self::named(script, name, "status", false))
    }

    /// A fresh one for a case that takes its API server away.
    pub(crate) fn own(case: &str) -> Self {
        let script = PathBuf::from(variable("PINNACE_TEST_CLUSTER").expect("the case is skipped without it"));
        let prefix = variable("PINNACE_TEST_INSTANCE_PREFIX").expect("the case is skipped without it");
        let name = format!("{prefix}{case}");
        // A run that was killed may have left it.
        run(&script, &["wipe", &name]).expect("the old one goes");
        Self::named(script, name, "start", true)
    }

    fn named(script: PathBuf, name: String, verb: &str, own: bool) -> Self {
        let mut cluster = Self { name, script, status: BTreeMap::new(), own };
        let lines = cluster.script(verb, &[]);
        let pairs = lines.lines().filter_map(|line| line.split_once('='));
        cluster.status = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        cluster
    }

    fn script(&self, verb: &str, rest: &[&str]) -> String {
        run(&self.script, &[&[verb, &self.name], rest].concat()).expect("the script succeeds")
    }

    /// A line of `cluster status`, such as `server`, `ca`, `kubelet_client_certificate`, `audit`.
    pub(crate) fn status(&self, key: &str) -> &str {
        self.status.get(key).unwrap_or_else(|| panic!("cluster status has no {key}"))
    }

    /// Kubeconfig of `admin`, `node:NODENAME` or `kubelet-client`.
    pub(crate) fn kubeconfig(&self, who: &str) -> PathBuf {
        if who == "admin" {
            return PathBuf::from(self.status("admin"));
        }
        PathBuf::from(self.script("kubeconfig", &[who]).trim_end())
    }

    /// A client with somebody's credentials. Needs a tokio runtime.
    pub(crate) async fn client(&self, who: &str) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(who)).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        kube::Client::try_from(config.expect("a valid kubeconfig")).expect("a client")
    }

    /// What kubectl prints for somebody, or its error.
    pub(crate) fn try_kubectl(&self, who: &str, args: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(self.status("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig(who))
            .args(["--request-timeout", "20s", "--cache-dir"])
            .arg(Path::new(self.status("root")).join("kubectl-cache"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        // Dropped at once: kubectl reads to the end of it. One that did not read says why itself.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        printed(&format!("kubectl {args:?}"), &child.wait_with_output().expect("kubectl ends"))
    }

    /// What kubectl prints for the administrator.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl("admin", args, "").unwrap_or_else(|error| panic!("{error}"))
    }

    /// An object, by the words of `kubectl get`.
    pub(crate) fn get(&self, args: &[&str]) -> Result<Value, String> {
        let text = self.try_kubectl("admin", &[&["get", "-o", "json"], args].concat(), "")?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// Creates an object as somebody.
    pub(crate) fn create(&self, who: &str, object: &Value) -> Result<String, String> {
        self.try_kubectl(who, &["create", "--validate=false", "-f", "-"], &object.to_string())
    }

    /// Every request that a node made, with its answer, as the API server's audit log has it.
    pub(crate) fn requests_of(&self, node: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.status("audit")).expect("an audit log");
        let user = format!("system:node:{node}");
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["user"]["username"] == user.as_str()).collect()
    }

    /// SIGKILL to the API server.
    pub(crate) fn apiserver_stop(&self) {
        assert!(self.own, "other cases use this one");
        self.script("apiserver-stop", &[]);
    }

    /// The same API server again; returns when it is ready.
    pub(crate) fn apiserver_start(&self) {
        self.script("apiserver-start", &[]);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.own {
            // What stays is wiped with the instances of `make test`.
            let _ = run(&self.script, &["wipe", &self.name]);
        }
    }
}

fn run(script: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(script).args(args).stdin(Stdio::null()).output().expect("the script runs");
    printed(&format!("cluster {args:?}"), &output)
}
