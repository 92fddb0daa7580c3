//! What the cases work with: a client, what its runtime offers, and pods that are removed at the end.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pinnace_cri::client::Client;
use pinnace_cri::container::{ContainerState, ContainerStatus};
use pinnace_cri::error::Error;
use pinnace_cri::fake::{PodShape, container_config, sandbox_config};
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_cri::v1::{ContainerConfig, PodSandboxConfig};

/// A runtime and what it offers.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) has_events: bool,
    pub(crate) has_runtime_config: bool,
    pub(crate) has_network: bool,
    pub(crate) log_root: PathBuf,
}

/// Why a case failed.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure(format!("{error:?}"))
    }
}

pub(crate) type Outcome = Result<(), Failure>;
pub(crate) type Case = Box<dyn Fn(Arc<Bench>) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// Any async function over a bench as a case.
pub(crate) fn case<F>(function: fn(Arc<Bench>) -> F) -> Case
where
    F: Future<Output = Outcome> + 'static,
{
    Box::new(move |bench| Box::pin(function(bench)))
}

/// Fails the case unless the condition holds.
macro_rules! check {
    ($condition:expr, $($shown:tt)+) => {
        if !$condition {
            let shown = format!($($shown)+);
            return Err($crate::bench::Failure(format!("{}: {shown}", stringify!($condition))));
        }
    };
}
pub(crate) use check;

/// Pods of one run of the tests have distinct names, also beside those that a killed run left.
static MADE: AtomicU64 = AtomicU64::new(0);

/// What one case works with.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) target: Target,
    sandboxes: Mutex<Vec<SandboxId>>,
}

/// A pod of one sandbox.
pub(crate) struct Pod {
    pub(crate) shape: PodShape,
    pub(crate) config: PodSandboxConfig,
    pub(crate) sandbox: SandboxId,
}

impl Bench {
    pub(crate) fn new(client: Client, target: Target) -> Arc<Self> {
        Arc::new(Self { client, target, sandboxes: Mutex::default() })
    }

    /// A pod that does not exist yet.
    pub(crate) fn shape(&self) -> (PodShape, PodSandboxConfig) {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let uid = format!("{:08x}-{number:08x}", std::process::id());
        let shape = PodShape::static_pod(&format!("conformance-{number}"), &uid);
        let log_directory = self.target.log_root.join(&uid).to_string_lossy().into_owned();
        let config = PodSandboxConfig { log_directory, ..sandbox_config(&shape) };
        (shape, config)
    }

    /// Makes its sandbox, and remembers to remove it.
    pub(crate) async fn run(&self, config: PodSandboxConfig) -> Result<SandboxId, Error> {
        let sandbox = self.client.run_sandbox(config, "").await?;
        self.sandboxes.lock().expect("no test panics with it").push(sandbox.clone());
        Ok(sandbox)
    }

    pub(crate) async fn pod(&self) -> Result<Pod, Failure> {
        let (shape, config) = self.shape();
        let sandbox = self.run(config.clone()).await?;
        Ok(Pod { shape, config, sandbox })
    }

    pub(crate) fn container_config(&self, pod: &Pod, name: &str, command: &[&str]) -> ContainerConfig {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let log_path = format!("{name}.log");
        ContainerConfig { command, log_path, ..container_config(&pod.shape, name, &self.target.image, 0) }
    }

    pub(crate) async fn create(&self, pod: &Pod, name: &str, command: &[&str]) -> Result<ContainerId, Error> {
        // The log's directory is the kubelet's to make.
        std::fs::create_dir_all(&pod.config.log_directory).expect("a directory for logs");
        let config = self.container_config(pod, name, command);
        self.client.create_container(&pod.sandbox, config, pod.config.clone()).await
    }

    pub(crate) async fn start(&self, pod: &Pod, name: &str, command: &[&str]) -> Result<ContainerId, Error> {
        let container = self.create(pod, name, command).await?;
        self.client.start_container(&container).await?;
        Ok(container)
    }

    /// Waits until the container is EXITED, at most 20 s.
    pub(crate) async fn exited(&self, container: &ContainerId) -> Result<ContainerStatus, Failure> {
        for _ in 0..400 {
            let status = self.client.container_status(container).await?;
            if status.state == ContainerState::Exited {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Failure(format!("{container} did not exit within 20 s")))
    }

    /// Removes every sandbox that the case made.
    pub(crate) async fn clean(&self) -> Outcome {
        let sandboxes = std::mem::take(&mut *self.sandboxes.lock().expect("no test panics with it"));
        for sandbox in sandboxes {
            self.client.stop_sandbox(&sandbox).await?;
            self.client.remove_sandbox(&sandbox).await?;
        }
        Ok(())
    }
}

/// A shell that runs until it is killed and ends on SIGTERM with the given code.
pub(crate) const TRAPS: [&str; 3] = ["sh", "-c", "trap 'exit 7' TERM; while true; do sleep 1; done"];
/// A shell that runs until it is killed and ignores SIGTERM.
pub(crate) const IGNORES: [&str; 3] = ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"];
