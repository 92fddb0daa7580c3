//! What an instance needs of its surroundings before its message can be built: files on the node, values from
//! elsewhere. Each part has a file of its own; this one puts them in order. A failure is the container's
//! `CreateContainerConfigError`, and nothing was made in the runtime by then.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use pinnace_cri::v1::{KeyValue, LinuxContainerSecurityContext, Mount, PodSandboxConfig};

use crate::pod::act::Actor;
use crate::pod::job::Failure;
use crate::pod::paths::PodNames;
use crate::pod::{env, mounts, sandbox, secure};
use crate::source::desired::DesiredPod;

/// Waiting reason of what cannot be prepared.
pub const REASON: &str = "CreateContainerConfigError";
/// Reason of a sandbox that cannot be prepared.
const SANDBOX_REASON: &str = "FailedCreatePodSandBox";

/// Which instance.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    /// The pod.
    pub pod: &'a DesiredPod,
    /// Its spec.
    pub spec: &'a PodSpec,
    /// The container.
    pub container: &'a Container,
    /// The pod's names, as paths are made of them.
    pub names: &'a PodNames,
    /// Attempt of the sandbox.
    pub sandbox_attempt: u32,
    /// Attempt of the instance, equal to the restart count.
    pub attempt: u32,
    /// The image as the runtime names it.
    pub image_ref: &'a str,
}

/// What was prepared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prepared {
    /// The file for the termination message, on the node.
    pub message_file: PathBuf,
    /// The environment.
    pub env: Vec<KeyValue>,
    /// Volumes, in the order of the spec.
    pub mounts: Vec<Mount>,
    /// The security context.
    pub security: LinuxContainerSecurityContext,
}

/// Prepares an instance.
pub(crate) async fn prepare(actor: &Actor, instance: Instance<'_>) -> Result<Prepared, Failure> {
    let Instance { pod, container, .. } = instance;
    // First, since it may forbid the container: then nothing is made for it.
    let security = secure::container(actor, instance).await?;
    Ok(Prepared {
        message_file: lay_out(actor, instance).await?,
        env: env::variables(container.env.as_deref().unwrap_or_default()),
        mounts: mounts::of_volumes(&pod.uid, container, &actor.dirs),
        security,
    })
}

/// The sandbox's message, for its making and again for each container's. The pod's directory must be there.
pub(crate) async fn sandbox(
    actor: &Actor,
    pod: &DesiredPod,
    attempt: u32,
) -> Result<PodSandboxConfig, Failure> {
    let spec = pod.pod.spec.as_ref().ok_or_else(no_spec)?;
    let mut config = sandbox::config(pod, attempt, &actor.dirs, &actor.site.owner).ok_or_else(no_spec)?;
    let failed = |why: String| {
        let named = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
        let message = format!("failed to generate sandbox config for pod {named:?}: {why}");
        Failure::plain(SANDBOX_REASON, message)
    };
    config.linux = Some(secure::sandbox(actor, pod, spec).await.map_err(failed)?);
    Ok(config)
}

fn no_spec() -> Failure {
    Failure::plain(REASON, "the pod's spec cannot be used".to_owned())
}

/// Directories and the file for the termination message, which the container's user must be able to write.
async fn lay_out(actor: &Actor, instance: Instance<'_>) -> Result<PathBuf, Failure> {
    let Instance { container, names, .. } = instance;
    let logs = actor.dirs.container_log(names, &container.name);
    let dir = actor.dirs.messages(names.uid(), &container.name);
    // Eight digits as the kubelet's, from the two attempts: the same instance finds the same file.
    let file = dir.join(format!("{:08x}", (instance.sandbox_attempt << 20) ^ instance.attempt));
    let made = file.clone();
    actor
        .on_disk(REASON, move |disk| {
            disk.create_dir_all(&logs)?;
            disk.create_dir_all(&dir)?;
            disk.create_public(&made)
        })
        .await?;
    Ok(file)
}
