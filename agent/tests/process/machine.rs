//! A machine with the real binary: a fake runtime on a Unix socket in this process, the agent in its own, and
//! people who ask by the command line.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use pinnace::clock::Clock;
use pinnace::view::{ContainerView, PodView};
use pinnace_cri::fake::{Fake, Logs, Options, Server};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// An image that the fake has.
pub const IMAGE: &str = "pinnace.local/busybox:1.35";
/// How long anything may take, on a machine that builds something beside.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The machine.
pub struct Machine {
    pub fake: Fake,
    pub agent: Option<Child>,
    /// Name of the node.
    pub node: String,
    /// More flags of `run` and `check`.
    pub more: Vec<String>,
    server: Option<Server>,
    dir: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Machine {
    /// A machine whose runtime does not serve yet.
    pub fn new() -> Self {
        let wall = Clock::of_this_machine().unwrap().now().wall;
        let wall_base = i64::try_from(wall.as_nanosecond()).unwrap();
        Self::on(Fake::new(Options { wall_base, logs: Logs::Files, ..Options::default() }))
    }

    /// A machine whose runtime is this one, beside whoever else uses it.
    pub fn on(fake: Fake) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("manifests")).unwrap();
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "podLogsDir": dir.path().join("logs"),
            "fileCheckFrequency": "1s",
            "crashLoopBackOff": { "maxContainerRestartPeriod": "1s" },
        });
        std::fs::write(dir.path().join("config.yaml"), config.to_string()).unwrap();
        Self { fake, agent: None, node: "node1".to_owned(), more: Vec::new(), server: None, dir }
    }

    /// A machine with a runtime and an agent, both running.
    pub async fn running() -> Self {
        let mut machine = Self::new();
        machine.serve().await;
        machine.start();
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// The runtime begins to serve.
    pub async fn serve(&mut self) {
        self.server = Some(self.fake.serve_unix(self.path("cri.sock")).await.unwrap());
    }

    /// The runtime stops; its pods live on.
    pub async fn unserve(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    /// Starts the agent.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the agent with more in its environment.
    pub fn start_with(&mut self, environment: &[(&str, &OsStr)]) {
        let output = File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let mut command = self.command("run");
        command.args(self.flags()).envs(environment.iter().copied()).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output).kill_on_drop(true);
        self.agent = Some(command.spawn().unwrap());
    }

    /// The flags of `run` and `check` that make this machine one of its own.
    pub fn flags(&self) -> Vec<String> {
        let flag = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        let own = vec![
            flag("config", self.path("config.yaml")),
            flag("root-dir", self.root()),
            flag("pod-manifest-path", self.path("manifests")),
            flag("container-runtime-endpoint", self.path("cri.sock")),
            format!("--hostname-override={}", self.node),
        ];
        [own, self.more.clone()].concat()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace"));
        command.arg(name).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        command.env("PINNACE_ADMIN_SOCKET", self.root().join("pinnace.sock"));
        command
    }

    /// Asks by the command line.
    pub async fn ask(&self, arguments: &[&str]) -> Said {
        let (name, rest) = arguments.split_first().unwrap();
        let Output { status, stdout, stderr } = self.command(name).args(rest).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// Asks for JSON; nothing while the agent does not answer.
    pub async fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Option<T> {
        let said = self.ask(&[arguments, &["-o", "json"]].concat()).await;
        (said.code == Some(0)).then(|| serde_json::from_str(&said.out).unwrap())
    }

    /// The pod of a manifest.
    pub async fn pod(&self, name: &str) -> Option<PodView> {
        let pods: Vec<PodView> = self.json(&["pods"]).await?;
        pods.into_iter().find(|pod| pod.name == format!("{name}-{}", self.node))
    }

    /// The only container of a pod.
    pub async fn container(&self, pod: &str) -> Option<ContainerView> {
        let containers: Vec<ContainerView> = self.json(&["containers"]).await?;
        containers.into_iter().find(|container| container.pod == format!("{pod}-{}", self.node))
    }

    /// Waits until a command says what is wanted; fails with what it said last.
    pub async fn until(&self, arguments: &[&str], what: &str, done: impl Fn(&Said) -> bool) -> Said {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.ask(arguments).await;
            if done(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}\n{said:?}\n{}", self.log());
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until a pod runs, in the agent's words and in the runtime; the id of its container.
    pub async fn until_running(&self, pod: &str) -> String {
        let runs = |said: &Said| said.out.lines().any(|line| line.contains(pod) && line.contains("Running"));
        self.until(&["pods"], &format!("{pod} runs"), runs).await;
        self.container(pod).await.unwrap().id.unwrap()
    }

    /// Waits until the runtime holds nothing.
    pub async fn until_empty(&self) {
        let empty =
            |fake: &Fake| fake.snapshot().sandboxes.is_empty() && fake.snapshot().containers.is_empty();
        assert!(self.fake.wait_until(PATIENCE, empty).await, "{:?}\n{}", self.fake.snapshot(), self.log());
    }

    /// Puts a manifest there, whole at once.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path("manifest.tmp"), text).unwrap();
        std::fs::rename(self.path("manifest.tmp"), self.path("manifests").join(file)).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.path("manifests").join(file)).unwrap();
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.agent.take().unwrap().kill().await.unwrap();
    }

    /// SIGTERM; the exit code and how long it took.
    pub async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let mut agent = self.agent.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(agent.id().unwrap()).unwrap());
        let began = Instant::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = tokio::time::timeout(PATIENCE, agent.wait()).await.unwrap().unwrap();
        (status.code(), began.elapsed())
    }

    /// Fails if the agent has ended.
    pub fn assert_alive(&mut self) {
        let ended = self.agent.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "the agent ended: {ended:?}\n{}", self.log());
    }

    pub fn log(&self) -> String {
        tail(&self.path("agent.log"))
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(50)..].join("\n")
}

/// A manifest of a pod with one container that runs `command`.
pub fn pod(name: &str, policy: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 2,
            "containers": [{ "name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command }],
        },
    })
}

/// A pod that runs for ever.
pub fn sleeper(name: &str) -> String {
    pod(name, "Always", &["sleep", "infinity"]).to_string()
}
