//! One run: a fake runtime in this process, an agent in another, and the manifests between them.
//!
//! Whoever waits here also starts the agent again when it has died, as systemd would.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::libc::SIGABRT;
use pinnace::cli::client::Client;
use pinnace::clock::Clock;
use pinnace::source::static_pod;
use pinnace_cri::fake::{Fake, Logs, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::child::{FATAL_POINT, NODE, Places, RUN_DIR};
use super::history::{History, Seen, names_in};

/// An image that the fake has.
pub const IMAGE: &str = "pinnace.local/busybox:1.35";
/// How long anything may take. The scaled limit of B30 is 0.3 s; a machine that builds something beside gets more.
const PATIENCE: Duration = Duration::from_secs(20);

/// One run.
pub struct Rig {
    pub fake: Fake,
    pub history: History,
    pub places: Places,
    /// How often the agent died.
    pub deaths: u32,
    agent: Option<Child>,
    fatal: Option<u64>,
    /// Ends of an agent that were not planned.
    accidents: Vec<String>,
    _dir: Arc<TempDir>,
}

impl Rig {
    /// A run whose first agent dies at point `fatal`.
    pub async fn new(fatal: Option<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let places = Places(dir.path().to_owned());
        std::fs::create_dir(places.manifests()).unwrap();
        plant_sentinel(&places);
        // The agent compares the runtime's stamps with its own wall clock.
        let wall = Clock::of_this_machine().unwrap().now().wall;
        let wall_base = i64::try_from(wall.as_nanosecond()).unwrap();
        let fake = Fake::new(Options { wall_base, logs: Logs::Files, ..Options::default() });
        let history = History::default();
        history.listen(&fake);
        fake.serve_unix(places.runtime()).await.unwrap();
        Self {
            fake,
            history,
            places,
            deaths: 0,
            agent: None,
            fatal,
            accidents: Vec::new(),
            _dir: Arc::new(dir),
        }
    }

    /// Puts a manifest there, whole at once.
    pub fn write(&mut self, file: &str, manifest: &Value) {
        let path = self.places.manifests().join(format!("{file}.json"));
        let pod = serde_json::from_value(manifest.clone()).unwrap();
        let pod =
            static_pod::desired(pod, &path, NODE, Timestamp::UNIX_EPOCH).unwrap_or_else(|f| panic!("{f:?}"));
        let temporary = self.places.0.join("manifest.tmp");
        std::fs::write(&temporary, manifest.to_string()).unwrap();
        self.history.want(file, Some(pod.uid.to_string()));
        std::fs::rename(temporary, path).unwrap();
    }

    /// Removes a manifest.
    pub fn remove(&mut self, file: &str) {
        self.history.want(file, None);
        std::fs::remove_file(self.places.manifests().join(format!("{file}.json"))).unwrap();
    }

    /// Waits until the agent and the runtime are as wanted, and starts the agent whenever it is dead.
    pub async fn until(&mut self, what: &str, done: impl Fn(&Seen) -> bool) -> Result<Seen, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.keep_alive();
            if let Some(seen) = self.look().await
                && done(&seen)
            {
                return Ok(seen);
            }
            if Instant::now() > deadline {
                return Err(format!("not within {PATIENCE:?}: {what}\n{}", self.describe().await));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The same, but a death ends the wait too.
    pub async fn until_dead_or(&mut self, what: &str, done: impl Fn(&Seen) -> bool) -> Result<(), String> {
        if self.agent.is_none() {
            self.agent = Some(start(&self.places, self.fatal));
        }
        let deadline = Instant::now() + PATIENCE;
        while self.agent.as_mut().is_some_and(|agent| agent.try_wait().unwrap().is_none()) {
            if self.look().await.is_some_and(|seen| done(&seen)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("not within {PATIENCE:?}: {what}\n{}", self.describe().await));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Kills the agent, wherever it is; [`Rig::until`] starts the next.
    pub async fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _or_dead_already = agent.kill().await;
            self.deaths += 1;
        }
    }

    /// What is to be seen at this moment; nothing while the agent does not answer.
    pub async fn look(&self) -> Option<Seen> {
        let client = Client::new(&self.places.admin());
        // The runtime first: a view that is older than it would look like a lie.
        let runtime = self.fake.snapshot();
        let pods = client.json("/v1/pods").await.ok()?;
        let containers = client.json("/v1/containers").await.ok()?;
        let seen = Seen { pods, containers, runtime };
        self.history.saw(&seen, &self.fake.snapshot());
        Some(seen)
    }

    /// Everything that broke, checked once more at rest. The agent is killed: also one that outlived the scenario,
    /// since a death at rest is to be harmless too.
    pub async fn finish(mut self) -> Vec<String> {
        // What is to be forgotten is written within 100 ms.
        sleep(Duration::from_millis(150)).await;
        if self.deaths == 0 {
            self.kill().await;
        }
        let (history, places) = (self.history.clone(), self.places.clone());
        let rests = move |seen: &Seen| history.at_rest(seen, &places).is_empty();
        let mut broken = match self.until("everything is at rest", rests).await {
            Ok(_) => Vec::new(),
            Err(error) => {
                let left = self.look().await.map(|seen| self.history.at_rest(&seen, &self.places));
                left.into_iter().flatten().chain([error]).collect()
            }
        };
        self.kill().await;
        self.fake.set_tap(|_, _| {});
        broken.extend(self.history.broken());
        broken.append(&mut self.accidents);
        broken.extend(sentinel_is_harmed(&self.places));
        broken
    }

    /// The log of the agent and what everybody says, for the message of a failed test.
    pub async fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(seen) = self.look().await {
            for pod in &seen.pods {
                text += &format!("  pod {} {} {} {}\n", pod.name, pod.uid, pod.status, pod.reason);
            }
            for container in seen.runtime.containers.values() {
                let metadata = container.metadata();
                text += &format!("  runtime: {} {} {:?}\n", metadata.name, metadata.attempt, container.phase);
            }
            for sandbox in seen.runtime.sandboxes.values() {
                text += &format!("  runtime: sandbox {:?} {:?}\n", sandbox.config.metadata, sandbox.state);
            }
        }
        let log = std::fs::read_to_string(self.places.output()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        text + &lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Points that were passed in the first life, in order.
    pub fn points(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.places.points()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn keep_alive(&mut self) {
        if let Some(agent) = &mut self.agent {
            let Some(status) = agent.try_wait().unwrap() else { return };
            self.deaths += 1;
            if status.signal() != Some(SIGABRT) {
                self.accidents.push(format!("the agent ended by itself: {status}"));
            }
        }
        let fatal = match self.deaths {
            0 => self.fatal,
            1 => self.fatal.and_then(second_death),
            _ => None,
        };
        self.agent = Some(start(&self.places, fatal));
    }
}

/// Every third agent that is started after a death dies too, while it takes over.
fn second_death(first: u64) -> Option<u64> {
    first.is_multiple_of(3).then(|| 1 + first * 7 % 24)
}

fn start(places: &Places, fatal: Option<u64>) -> Child {
    let output = std::fs::File::options().create(true).append(true).open(places.output()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_agent", "--nocapture"]).env(RUN_DIR, &places.0).env_remove(FATAL_POINT);
    if let Some(fatal) = fatal {
        command.env(FATAL_POINT, fatal.to_string());
    }
    command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
    command.kill_on_drop(true).spawn().unwrap()
}

/// A file outside that links in the pods' directories lead to.
fn plant_sentinel(places: &Places) {
    std::fs::create_dir(places.0.join("outside")).unwrap();
    std::fs::write(places.0.join("outside").join("sentinel"), "precious").unwrap();
}

/// I7: links in every directory of a pod lead outside; what is removed there must not follow them.
pub fn plant_links(places: &Places) {
    let pods = places.root().join("pods");
    let logs = places.logs();
    let dirs = names_in(&pods).into_iter().map(|name| pods.join(name));
    for dir in dirs.chain(names_in(&logs).into_iter().map(|name| logs.join(name))) {
        let _there_already: Result<(), _> =
            std::os::unix::fs::symlink(places.0.join("outside"), dir.join("way-out"));
    }
}

fn sentinel_is_harmed(places: &Places) -> Option<String> {
    let path: PathBuf = places.0.join("outside").join("sentinel");
    let content = std::fs::read_to_string(path).unwrap_or_default();
    (content != "precious").then(|| format!("I7: the file outside holds {content:?}"))
}

/// A manifest of a pod whose containers run these commands.
pub fn pod(name: &str, policy: &str, commands: &[(&str, &[&str])]) -> Value {
    let container = |(name, command): &(&str, &[&str])| json!({ "name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 2,
            "containers": commands.iter().map(container).collect::<Vec<_>>(),
        },
    })
}

/// A pod that runs for ever.
pub fn sleeper(name: &str) -> Value {
    pod(name, "Always", &[("main", &["sleep", "infinity"])])
}
