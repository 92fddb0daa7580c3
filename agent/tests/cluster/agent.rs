//! The agent as a process that is a node of a cluster, on a real containerd.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control_plane::ControlPlane;
use crate::namespace::CASE;
use crate::runtime::Runtime;

/// Lines of the agent's log that a failure shows.
const LOG_LINES: usize = 40;
/// How often a wait looks.
const POLL: Duration = Duration::from_millis(50);

static NODES: AtomicU32 = AtomicU32::new(0);

/// The node; its process ends, its pods and its Node object go when it is dropped.
pub(crate) struct Agent<'a> {
    /// Its name.
    pub(crate) name: String,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// Port of its HTTPS API.
    pub(crate) port: u16,
    cluster: &'a ControlPlane,
    dir: TempDir,
    labels: String,
    is_virtual: bool,
    child: Option<Child>,
}

impl<'a> Agent<'a> {
    /// Its directories and credentials; no process yet. Pods of the namespace `case` come to it.
    pub(crate) fn prepared(cluster: &'a ControlPlane, runtime: &Runtime, case: &str) -> Self {
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("pinnace-node-").tempdir().expect("a directory");
        let name = format!("c{}-{number}", std::process::id());
        let labels = format!("{CASE}={case}");
        let runtime = runtime.clone();
        let agent =
            Self { name, runtime, port: free_port(), cluster, dir, labels, is_virtual: false, child: None };
        fs::create_dir(agent.path("manifests")).expect("a directory of manifests");
        agent.configure(&[]);
        let kubeconfig = cluster.kubeconfig(&format!("node:{}", agent.name));
        agent.set_kubeconfig(&fs::read_to_string(kubeconfig).expect("a kubeconfig"));
        agent
    }

    /// A running one.
    pub(crate) fn start(cluster: &'a ControlPlane, runtime: &Runtime, case: &str) -> Self {
        let mut agent = Self::prepared(cluster, runtime, case);
        agent.launch();
        agent
    }

    /// An extra node beside others, with logs where such a node has them.
    pub(crate) fn be_virtual(&mut self) {
        self.is_virtual = true;
        let text = fs::read_to_string(self.path("config.yaml")).expect("a configuration");
        let mut config: Value = serde_json::from_str(&text).expect("a configuration of JSON");
        config.as_object_mut().expect("an object").remove("podLogsDir");
        fs::write(self.path("config.yaml"), config.to_string()).expect("a configuration");
    }

    /// Writes its configuration, with more keys. YAML is a superset of JSON.
    pub(crate) fn configure(&self, more: &[(&str, Value)]) {
        let mut config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": { "x509": { "clientCAFile": self.cluster.status("ca") } },
            "port": self.port, "healthzPort": 0, "podLogsDir": self.path("logs"),
            "staticPodPath": self.path("manifests"), "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local", "containerRuntimeEndpoint": self.runtime.endpoint,
        });
        for (key, value) in more {
            config[*key] = value.clone();
        }
        fs::write(self.path("config.yaml"), config.to_string()).expect("a configuration");
    }

    /// What the kubelet and the agent are both started with.
    pub(crate) fn kubelet_flags(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).to_string_lossy().into_owned();
        let flags = [
            ("--hostname-override", self.name.clone()),
            ("--node-labels", self.labels.clone()),
            ("--config", path("config.yaml")),
            ("--kubeconfig", path("kubeconfig")),
            ("--root-dir", path("root")),
        ];
        let providers = [
            ("--image-credential-provider-config", path("providers/config.yaml")),
            ("--image-credential-provider-bin-dir", path("providers")),
        ];
        let providers = providers.into_iter().filter(|_| self.path("providers").exists());
        flags.into_iter().chain(providers).flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// A file or directory of its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its kubeconfig's text.
    pub(crate) fn kubeconfig(&self) -> String {
        fs::read_to_string(self.path("kubeconfig")).expect("a kubeconfig")
    }

    /// Puts another kubeconfig in place, by a rename.
    pub(crate) fn set_kubeconfig(&self, text: &str) {
        fs::write(self.path("kubeconfig.new"), text).expect("a kubeconfig");
        fs::rename(self.path("kubeconfig.new"), self.path("kubeconfig")).expect("the kubeconfig in place");
    }

    /// Puts a static pod there.
    pub(crate) fn put_static(&self, pod: &Value) {
        let hidden = self.path("manifests/.new");
        fs::write(&hidden, pod.to_string()).expect("a manifest");
        fs::rename(hidden, self.path("manifests/pod.yaml")).expect("the manifest in place");
    }

    /// Starts the process and does not wait for it.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "the agent is started already");
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        // The agent does not outlive a test run that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_pinnace"), "run"])
            .args(self.kubelet_flags())
            .args(self.is_virtual.then_some("--virtual"))
            .arg("--admin-socket")
            .arg(self.path("admin.sock"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("setpriv of util-linux starts the agent");
        self.child = Some(child);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("a running agent");
        child.kill().expect("a process to kill");
        child.wait().expect("the end of the agent");
    }

    /// All that it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What `pinnace pods` prints.
    pub(crate) fn pods(&self) -> String {
        self.ask(&["pods"])
    }

    /// What `pinnace explain` prints of a pod.
    pub(crate) fn explain(&self, pod: &str) -> String {
        self.ask(&["explain", pod])
    }

    fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace"));
        let output = command.args(args).env("PINNACE_ADMIN_SOCKET", self.path("admin.sock")).output();
        let output = output.expect("the command line runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Waits until the look succeeds; what it found, and the time that it took since `since`.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        since: Instant,
        limit: Duration,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> (T, Duration) {
        loop {
            match look() {
                Ok(found) => return (found, since.elapsed()),
                Err(error) if since.elapsed() > limit => {
                    panic!("not within {limit:?}: {what}: {error}\n{}", self.describe())
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// What it and its runtime say, for the message of a failed test.
    pub(crate) fn describe(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let owner = format!("pinnace.dev/owner={}", self.name);
        let containers = self.runtime.try_crictl(&["ps", "-a", "--label", &owner]);
        let containers = containers.unwrap_or_else(|error| error);
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        format!("node {}\n{}{containers}{end}", self.name, self.pods())
    }

    /// No request of the node was refused, and it never asked for all secrets (A80).
    pub(crate) fn a80_was_never_refused(&self) {
        let requests = self.cluster.requests_of(&self.name);
        assert!(!requests.is_empty(), "the audit log has the node's requests");
        let told = |request: &Value| {
            let answer = &request["responseStatus"];
            format!("{} {} {}: {}", request["verb"], request["requestURI"], answer["code"], answer["message"])
        };
        let is_refused = |request: &&Value| request["responseStatus"]["code"] == 403 && !is_lag(request);
        let refused: Vec<_> = requests.iter().filter(is_refused).map(told).collect();
        assert!(refused.is_empty(), "refused: {refused:#?}");
        let many = |request: &&Value| {
            let target = &request["objectRef"];
            let all = request["verb"] == "list" || request["verb"] == "watch";
            let secret = target["resource"] == "secrets" || target["resource"] == "configmaps";
            all && secret && target["name"].is_null()
        };
        let asked: Vec<_> = requests.iter().filter(many).map(told).collect();
        assert!(asked.is_empty(), "asked for all: {asked:#?}");
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.runtime.clear(&self.name);
        unmount_below(self.dir.path());
        let delete = ["delete", "--wait=false", "--ignore-not-found", "node", &self.name];
        let _ = self.cluster.try_kubectl("admin", &delete, "");
    }
}

/// Tokens lie on file systems of their own, which a killed agent leaves mounted.
fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below: Vec<_> = places.filter(|place| Path::new(place).starts_with(dir)).collect();
    // The last mount is the innermost.
    for place in below.into_iter().rev() {
        let _ = umount2(place, MntFlags::MNT_DETACH);
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a listener").local_addr().expect("its address").port()
}

/// The API server's own caches may lag behind the watch that told the node of its pod: for a moment NodeRestriction
/// takes the pod for another node's, and the Node authorizer does not know it. A kubelet is refused the same, and both
/// ask again.
fn is_lag(request: &Value) -> bool {
    let message = request["responseStatus"]["message"].as_str().unwrap_or_default();
    let own = ["serviceaccounts", "configmaps", "secrets", "pods"]
        .iter()
        .any(|kind| request["objectRef"]["resource"] == *kind);
    own && ["scheduled on a different node", "no relationship found"].iter().any(|lag| message.contains(lag))
}
