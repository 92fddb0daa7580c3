//! Where a pod's sandbox is made: with which handler of the runtime, in which cgroup. Called by steps; nothing is made
//! in the runtime here.

use pinnace_cri::v1::PodSandboxConfig;

use crate::cgroup::{self, CgroupError, write::Left};
use crate::pod::act::{Actor, no_spec};
use crate::pod::job::{Failure, Job};
use crate::pod::prepare;
use crate::pod::resources::sandbox::completed;
use crate::pod::resources::sums;
use crate::source::desired::DesiredPod;

/// Waiting reason of a pod without a sandbox.
const REASON: &str = "FailedCreatePodSandBox";
/// Why a pod with limits of its own does not run on a node that has limits of containers only.
const UNLIMITED: &str =
    "spec.resources: this node limits containers only; pods need cgroup v2 and the cgroupfs driver";

/// The message for a new sandbox and the handler to make it with. Makes the pod's cgroup.
pub(super) async fn of_sandbox(
    actor: &Actor,
    job: &Job,
    pod: &DesiredPod,
    attempt: u32,
) -> Result<(PodSandboxConfig, String), Failure> {
    let spec = pod.pod.spec.as_ref().ok_or_else(no_spec)?;
    let handler = Box::pin(actor.classes.handler(spec.runtime_class_name.as_deref())).await;
    let handler = handler.map_err(|error| Failure::plain(REASON, error.to_string()))?;
    actor.userns.check(spec, &handler).map_err(|error| prepare::not_generated(pod, &error.to_string()))?;
    let parent = actor.cgroups.place(pod).await.map_err(|error| {
        let message = cgroup::told(&error);
        if !job.leaving.is_cancelled() {
            let told = format!("unable to ensure pod container exists: {message}");
            actor.events.warning(&job.object, "FailedToCreatePodContainer", &told, actor.clock.now().wall);
        }
        Failure::plain(REASON, message)
    })?;
    if sums::of_the_whole(spec).is_some() && !actor.cgroups.limit_pods() {
        return Err(Failure::plain(REASON, UNLIMITED.to_owned()));
    }
    Ok((message(actor, job, pod, attempt, &parent).await?, handler))
}

/// The message of the sandbox that a container goes into.
pub(super) async fn around(
    actor: &Actor,
    job: &Job,
    pod: &DesiredPod,
    attempt: u32,
) -> Result<PodSandboxConfig, Failure> {
    let parent = actor.cgroups.parent(pod).await.map_err(|error| failed(&error))?;
    message(actor, job, pod, attempt, &parent).await
}

async fn message(
    actor: &Actor,
    job: &Job,
    pod: &DesiredPod,
    attempt: u32,
    parent: &str,
) -> Result<PodSandboxConfig, Failure> {
    let spec = pod.pod.spec.as_ref().ok_or_else(no_spec)?;
    let config = prepare::sandbox(actor, job, pod, attempt).await?;
    Ok(completed(config, spec, &actor.site.node, parent))
}

/// After a sandbox went: if the pod is to go with it, its cgroup goes as well, unless something still runs in it.
pub(super) async fn leave(actor: &Actor, job: &Job) {
    if !job.leaving.is_cancelled() {
        return;
    }
    if let Err(error) = actor.cgroups.remove(&job.uid, Left::Stay).await {
        // It is removed for certain with the pod's files.
        tracing::debug!(pod = %job.object, error = cgroup::told(&error), "the pod's cgroup stays for now");
    }
}

/// Before the pod's files go, which are what tells the next start of it: nothing of it runs any more.
pub(super) async fn give_up(actor: &Actor, job: &Job) -> Result<(), Failure> {
    actor.cgroups.remove(&job.uid, Left::Killed).await.map(drop).map_err(|error| failed(&error))
}

fn failed(error: &CgroupError) -> Failure {
    Failure::plain("", cgroup::told(error))
}
