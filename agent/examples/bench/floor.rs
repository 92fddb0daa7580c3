//! The floor: a bare client that makes the fewest calls for a pod, beside which every agent is measured. What it asks
//! for is what the agent asks for: the same limits, hidden paths and mounts, since each of them costs the runtime time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pinnace::pod::{resources, security};
use pinnace::source::desired::{DesiredPod, Origin};
use pinnace_cri::client::{Client, Deadlines};
use pinnace_cri::container::ContainerState;
use pinnace_cri::fake::{PodShape, container_config, sandbox_config};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::v1::{
    ContainerConfig, LinuxContainerConfig, LinuxPodSandboxConfig, Mount, PodSandboxConfig,
};

use crate::machine::pid_with_argument;
use crate::wish::{IMAGE, command, pod};

/// The processes end at once on SIGTERM; this is never waited for.
const GRACE: Duration = Duration::from_secs(5);
/// Where a service account's volume is seen.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A bare client.
pub(crate) struct Floor {
    pub(crate) client: Client,
    files: PathBuf,
    has_account: bool,
}

/// What it made for a pod.
pub(crate) struct Made {
    sandbox: SandboxId,
    container: ContainerId,
    name: String,
}

impl Floor {
    /// `files` is where the containers' logs and files go. With `has_account` pods have a volume in memory with three
    /// files, as those of the API have.
    pub(crate) fn new(endpoint: &str, files: PathBuf, has_account: bool) -> Result<Self> {
        let client = Client::connect_lazy(endpoint, None, Deadlines::default())?;
        Ok(Self { client, files, has_account })
    }

    pub(crate) async fn start(&self, name: &str) -> Result<Made> {
        let (sandbox_config, container_config) = self.configs(name)?;
        let sandbox = self.client.run_sandbox(sandbox_config.clone(), "").await?;
        let container = self.client.create_container(&sandbox, container_config, sandbox_config).await?;
        self.client.start_container(&container).await?;
        Ok(Made { sandbox, container, name: name.to_owned() })
    }

    /// From SIGKILL of a container's first process to the moment at which the runtime shows the exit to whoever asks
    /// every millisecond.
    pub(crate) async fn exit(&self, made: &Made) -> Result<Duration> {
        let pid = pid_with_argument(&made.name).with_context(|| format!("no process of {}", made.name))?;
        let began = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        while self.client.container_status(&made.container).await?.state != ContainerState::Exited {
            ensure!(began.elapsed() < Duration::from_secs(30), "the runtime does not show the exit");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(began.elapsed())
    }

    pub(crate) async fn end(&self, made: Made) -> Result<()> {
        self.client.stop_container(&made.container, GRACE).await?;
        self.client.stop_sandbox(&made.sandbox).await?;
        self.client.remove_container(&made.container).await?;
        self.client.remove_sandbox(&made.sandbox).await?;
        if self.has_account {
            match umount2(&self.files.join(&made.name).join("account"), MntFlags::UMOUNT_NOFOLLOW) {
                // Somebody else cleans up on this machine.
                Err(Errno::EINVAL) => {}
                done => done.context("failed to unmount a pod's volume")?,
            }
        }
        Ok(())
    }

    fn configs(&self, name: &str) -> Result<(PodSandboxConfig, ContainerConfig)> {
        let shape = PodShape::static_pod(name, &format!("bench-{}-{name}", std::process::id()));
        let files = self.files.join(name);
        fs::create_dir_all(&files)?;
        let pod = desired(name)?;
        let spec = pod.pod.spec.as_ref().context("a pod without a spec")?;
        let of_container = spec.containers.first().context("a pod without a container")?;
        let defaults = security::Defaults::bare(PathBuf::new());
        let asked = security::Asked {
            pod: &pod,
            spec,
            container: of_container,
            user: security::User::Id(0),
            userns: security::of_the_host(),
        };
        let mut sandbox = PodSandboxConfig {
            log_directory: files.display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(security::of_sandbox(spec, security::of_the_host(), &defaults)?),
                ..LinuxPodSandboxConfig::default()
            }),
            ..sandbox_config(&shape)
        };
        let mut container = ContainerConfig {
            command: command(name),
            log_path: "main.log".to_owned(),
            mounts: self.mounts(&files)?,
            linux: Some(LinuxContainerConfig {
                resources: Some(resources::of_container(spec, of_container, &resources::Node::default())),
                security_context: Some(security::of_container(asked, &defaults)?),
            }),
            ..container_config(&shape, "main", IMAGE, 0)
        };
        disown(&mut sandbox.labels);
        disown(&mut container.labels);
        Ok((sandbox, container))
    }

    /// What every container gets.
    fn mounts(&self, files: &Path) -> Result<Vec<Mount>> {
        let (hosts, message, account) = (files.join("hosts"), files.join("message"), files.join("account"));
        fs::write(&hosts, "127.0.0.1\tlocalhost\n")?;
        fs::write(&message, "")?;
        let mut mounts = vec![(hosts, "/etc/hosts"), (message, "/dev/termination-log")];
        if self.has_account {
            fs::create_dir_all(&account)?;
            mount(Some("tmpfs"), &account, Some("tmpfs"), MsFlags::empty(), Some("size=64m"))?;
            for file in ["token", "ca.crt", "namespace"] {
                fs::write(account.join(file), "x")?;
            }
            mounts.push((account, ACCOUNT));
        }
        let mount = |(host, inside): (PathBuf, &str)| Mount {
            container_path: inside.to_owned(),
            host_path: host.display().to_string(),
            readonly: inside == ACCOUNT,
            ..Mount::default()
        };
        Ok(mounts.into_iter().map(mount).collect())
    }
}

impl Drop for Floor {
    /// Nothing is mounted any more unless a call failed.
    fn drop(&mut self) {
        for dir in fs::read_dir(&self.files).into_iter().flatten().flatten() {
            let _ = umount2(&dir.path().join("account"), MntFlags::MNT_DETACH);
        }
    }
}

/// The pod as the agent would have it.
fn desired(name: &str) -> Result<DesiredPod> {
    let pod: Pod = serde_json::from_value(pod(name, &command(name)))?;
    let uid = PodUid::new(name).with_context(|| format!("no UID: {name}"))?;
    let namespace = "default".to_owned();
    let (origin, held) = (Origin::Api, Vec::new());
    Ok(DesiredPod { uid, namespace, name: name.to_owned(), origin, pod: Arc::new(pod), held })
}

/// An agent on the same runtime takes pods without an owner for its own.
fn disown(labels: &mut BTreeMap<String, String>) {
    labels.insert(pinnace_cri::labels::OWNER.to_owned(), "bench-floor".to_owned());
}
