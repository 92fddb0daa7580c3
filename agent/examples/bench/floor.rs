//! The floor: a bare client that makes the fewest calls for a pod, beside which every agent is measured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use pinnace_cri::client::{Client, Deadlines};
use pinnace_cri::fake::{PodShape, container_config, sandbox_config};
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_cri::v1::{ContainerConfig, PodSandboxConfig};

use crate::wish::{IMAGE, command};

/// The processes end at once on SIGTERM; this is never waited for.
const GRACE: Duration = Duration::from_secs(5);

/// A bare client.
pub(crate) struct Floor {
    pub(crate) client: Client,
    logs: PathBuf,
}

/// What it made for a pod.
pub(crate) struct Made {
    sandbox: SandboxId,
    container: ContainerId,
}

impl Floor {
    /// `logs` is where the containers' logs go.
    pub(crate) fn new(endpoint: &str, logs: PathBuf) -> Result<Self> {
        Ok(Self { client: Client::connect_lazy(endpoint, None, Deadlines::default())?, logs })
    }

    pub(crate) async fn start(&self, name: &str) -> Result<Made> {
        let (sandbox_config, container_config) = self.configs(name)?;
        let sandbox = self.client.run_sandbox(sandbox_config.clone(), "").await?;
        let container = self.client.create_container(&sandbox, container_config, sandbox_config).await?;
        self.client.start_container(&container).await?;
        Ok(Made { sandbox, container })
    }

    pub(crate) async fn end(&self, made: Made) -> Result<()> {
        self.client.stop_container(&made.container, GRACE).await?;
        self.client.stop_sandbox(&made.sandbox).await?;
        self.client.remove_container(&made.container).await?;
        self.client.remove_sandbox(&made.sandbox).await?;
        Ok(())
    }

    fn configs(&self, name: &str) -> Result<(PodSandboxConfig, ContainerConfig)> {
        let shape = PodShape::static_pod(name, &format!("bench-{}-{name}", std::process::id()));
        let logs = self.logs.join(name);
        std::fs::create_dir_all(&logs)?;
        let mut sandbox =
            PodSandboxConfig { log_directory: logs.display().to_string(), ..sandbox_config(&shape) };
        let mut container = ContainerConfig {
            command: command(name),
            log_path: "main.log".to_owned(),
            ..container_config(&shape, "main", IMAGE, 0)
        };
        disown(&mut sandbox.labels);
        disown(&mut container.labels);
        Ok((sandbox, container))
    }
}

/// An agent on the same runtime takes pods without an owner for its own.
fn disown(labels: &mut BTreeMap<String, String>) {
    labels.insert(pinnace_cri::labels::OWNER.to_owned(), "bench-floor".to_owned());
}
