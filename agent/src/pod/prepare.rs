//! What an instance needs of its surroundings before its message can be built: files on the node, values from
//! elsewhere. Each part has a file of its own; this one puts them in order. A failure is the container's
//! `CreateContainerConfigError`, and nothing was made in the runtime by then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use pinnace_cri::v1::{KeyValue, Mount};

use crate::pod::act::Actor;
use crate::pod::job::Failure;
use crate::pod::paths::PodNames;
use crate::pod::{env, mounts, security};
use crate::source::desired::DesiredPod;

/// Waiting reason of what cannot be prepared.
pub const REASON: &str = "CreateContainerConfigError";

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
}

/// Prepares an instance.
pub(crate) async fn prepare(actor: &Actor, instance: Instance<'_>) -> Result<Prepared, Failure> {
    let Instance { spec, container, .. } = instance;
    if let Some(why) = security::refuses_root(spec, container) {
        return Err(Failure::plain(REASON, why));
    }
    Ok(Prepared {
        message_file: lay_out(actor, instance).await?,
        env: env::variables(container.env.as_deref().unwrap_or_default()),
        mounts: mounts_of(actor, instance).map_err(|why| Failure::plain(REASON, why))?,
    })
}

fn mounts_of(actor: &Actor, instance: Instance<'_>) -> Result<Vec<Mount>, String> {
    let Instance { pod, spec, container, .. } = instance;
    let (sub_paths, images) = (BTreeMap::new(), BTreeMap::new());
    let around = mounts::Around {
        uid: &pod.uid,
        dirs: &actor.dirs,
        sub_paths: &sub_paths,
        images: &images,
        // The default handler's name is empty.
        recursive_read_only: actor.runtime.borrow().mounts_read_only_recursively(""),
    };
    mounts::of_volumes(spec, container, &around)
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
