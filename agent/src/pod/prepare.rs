//! What an instance needs of its surroundings before its message can be built: files on the node, values from
//! elsewhere. Each part has a file of its own; this one puts them in order. A failure is the container's
//! `CreateContainerConfigError`, and nothing was made in the runtime by then.

use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use pinnace_cri::v1::{DnsConfig, KeyValue, LinuxContainerSecurityContext, Mount, PodSandboxConfig};

use crate::events::Object;
use crate::pod::act::Actor;
use crate::pod::dns::resolv_conf::{self, MOST};
use crate::pod::env::Environment;
use crate::pod::job::{Failure, Job};
use crate::pod::paths::PodNames;
use crate::pod::step::Step;
use crate::pod::{dns, env, hostname, hosts, mounts, sandbox, secure, surroundings};
use crate::source::desired::DesiredPod;
use crate::volume::{image, reach, sub_path};

/// Waiting reason of what cannot be prepared.
pub const REASON: &str = "CreateContainerConfigError";
/// Reason of the event of a sandbox that cannot be made.
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
    /// Addresses of the sandbox, in the runtime's order.
    pub sandbox_ips: &'a [IpAddr],
}

/// What was prepared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prepared {
    /// The file for the termination message, on the node.
    pub message_file: PathBuf,
    /// The environment.
    pub env: Vec<KeyValue>,
    /// `command`, expanded.
    pub command: Vec<String>,
    /// `args`, expanded.
    pub args: Vec<String>,
    /// Volumes, in the order of the spec, and the pod's own `/etc/hosts`.
    pub mounts: Vec<Mount>,
    /// The security context.
    pub security: LinuxContainerSecurityContext,
}

/// Prepares an instance.
pub(crate) async fn prepare(actor: &Actor, instance: Instance<'_>) -> Result<Prepared, Failure> {
    let Instance { container, .. } = instance;
    // First, since it may forbid the container: then nothing is made for it.
    let security = secure::container(actor, instance).await?;
    let message_file = lay_out(actor, instance).await?;
    let around = surroundings::of(actor, instance).await;
    let env = env::gather::environment(actor, instance, &around).await?;
    let expanded = |words: &Option<Vec<String>>, what| {
        let expanded = env.expand(words.as_deref().unwrap_or_default(), what);
        expanded.map_err(|error| Failure::plain(REASON, error.to_string()))
    };
    let (command, args) = (expanded(&container.command, "command")?, expanded(&container.args, "args")?);
    let mut mounts = mounts_of(actor, instance, &env).await?;
    mounts.extend(hosts::mount(actor, instance, &around.pod_ips).await?);
    Ok(Prepared { message_file, env: env.into_variables(), command, args, mounts, security })
}

/// The message for a pod's sandbox, for its making and again for each container's. The pod's directory must be there.
pub(crate) async fn sandbox(
    actor: &Actor,
    job: &Job,
    pod: &DesiredPod,
    attempt: u32,
) -> Result<PodSandboxConfig, Failure> {
    let failed = |message: String| Failure::plain(SANDBOX_REASON, message);
    let settings = &actor.site.dns;
    let config = sandbox::config(pod, attempt, &actor.dirs, &actor.site);
    let (Some(mut config), Some(spec)) = (config, pod.pod.spec.as_ref()) else {
        return Err(failed("the pod's spec is not known".to_owned()));
    };
    let names = hostname::names(pod, spec, &settings.domain);
    let secured = secure::sandbox(actor, pod, spec).await.map_err(|why| not_generated(pod, &why))?;
    config.linux = Some(secured);
    config.hostname = hostname::of_kernel(&names, spec).map_err(|error| failed(error.to_string()))?;
    if matches!(job.step, Step::RunSandbox { .. }) {
        // A runtime reads it once, when it makes the sandbox.
        config.dns_config = Some(dns_of(actor, job, pod, spec).await?);
    }
    Ok(config)
}

/// The DNS settings of a sandbox. What is wrong with them is in the pod's events by then.
async fn dns_of(actor: &Actor, job: &Job, pod: &DesiredPod, spec: &PodSpec) -> Result<DnsConfig, Failure> {
    let settings = &actor.site.dns;
    let host: Vec<u8> = match settings.resolv_conf.clone() {
        Some(file) => actor.on_disk(SANDBOX_REASON, move |disk| disk.read(&file, MOST)).await?,
        None => Vec::new(),
    };
    let host = resolv_conf::parse(&String::from_utf8_lossy(&host));
    let formed = dns::form(&pod.namespace, spec, host, settings, &actor.place.borrow().ips);
    let wall = actor.clock.now().wall;
    if formed.missing_cluster_dns {
        actor.events.warning(Object::node(""), "MissingClusterDNS", dns::MISSING, wall);
        actor.events.warning(&job.object, "MissingClusterDNS", &dns::missing(pod), wall);
    }
    for message in &formed.cut {
        actor.events.warning(&job.object, "DNSConfigForming", message, wall);
    }
    Ok(formed.config)
}

/// In the kubelet's words.
pub(super) fn not_generated(pod: &DesiredPod, why: &str) -> Failure {
    let named = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
    Failure::plain(SANDBOX_REASON, format!("failed to generate sandbox config for pod {named:?}: {why}"))
}

async fn mounts_of(actor: &Actor, instance: Instance<'_>, env: &Environment) -> Result<Vec<Mount>, Failure> {
    let Instance { pod, spec, container, .. } = instance;
    reach::until_answered(actor, instance).await?;
    let sub_paths = sub_path::prepare(actor, instance, env).await?;
    let images = image::of_container(actor, instance).await?;
    let around = mounts::Around {
        uid: &pod.uid,
        dirs: &actor.dirs,
        sub_paths: &sub_paths,
        images: &images,
        recursive_read_only: mounts_recursively(actor, spec, container).await,
        se_linux: actor.site.security.se_linux,
    };
    mounts::of_volumes(spec, container, &around).map_err(|why| Failure::plain(REASON, why))
}

/// Whether the pod's runtime handler makes mounts read-only with all that is below them; asked only for a container
/// that wants that. Of a handler that is not known nothing is expected.
async fn mounts_recursively(actor: &Actor, spec: &PodSpec, container: &Container) -> bool {
    let asks = container.volume_mounts.iter().flatten().any(|mount| mount.recursive_read_only.is_some());
    if !asks {
        return false;
    }
    match Box::pin(actor.classes.handler(spec.runtime_class_name.as_deref())).await {
        Ok(handler) => actor.runtime.borrow().mounts_read_only_recursively(&handler),
        Err(_) => false,
    }
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
