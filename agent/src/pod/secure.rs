//! What the security contexts of a pod need of its surroundings: the user of an image, the file of a seccomp profile, a
//! user namespace. The messages themselves are made in [`security`].

use std::path::Path;

use k8s_openapi::api::core::v1::PodSpec;
use pinnace_cri::v1::{ImageSpec, LinuxContainerSecurityContext, LinuxPodSandboxConfig};

use crate::chain::Chain;
use crate::pod::act::Actor;
use crate::pod::job::Failure;
use crate::pod::prepare::{Instance, REASON};
use crate::pod::security::user::{self, User};
use crate::pod::security::{self, Asked, seccomp, sysctl};
use crate::source::desired::DesiredPod;

/// Largest seccomp profile that is looked at, in bytes; containerd's own has some 20 KiB.
const MAX_PROFILE: u64 = 4 << 20;

/// The Linux part of a sandbox's message as far as it concerns security.
pub(crate) async fn sandbox(
    actor: &Actor,
    pod: &DesiredPod,
    spec: &PodSpec,
) -> Result<LinuxPodSandboxConfig, String> {
    let userns = actor.userns.of(&pod.uid, spec).await.map_err(|error| Chain(&error).to_string())?;
    let context = security::of_sandbox(spec, userns, &actor.site.security);
    Ok(LinuxPodSandboxConfig {
        security_context: Some(context.map_err(|refusal| refusal.to_string())?),
        sysctls: sysctl::of_sandbox(spec).map_err(|refusal| refusal.to_string())?,
        ..LinuxPodSandboxConfig::default()
    })
}

/// The security context of a container, looked up anew for each instance.
pub(crate) async fn container(
    actor: &Actor,
    instance: Instance<'_>,
) -> Result<LinuxContainerSecurityContext, Failure> {
    let Instance { pod, spec, container, image_ref, .. } = instance;
    let refused = |why: &dyn std::error::Error| Failure::plain(REASON, Chain(why).to_string());
    let user = match user::asked(spec, container) {
        Some(id) => User::Id(id),
        None => of_image(actor, image_ref).await?,
    };
    user::check(pod, spec, container, &user).map_err(|refusal| refused(&refusal))?;
    let userns = actor.userns.of(&pod.uid, spec).await.map_err(|error| refused(&error))?;
    let asked = Asked { pod, spec, container, user, userns };
    let context = security::of_container(asked, &actor.site.security).map_err(|refusal| refused(&refusal))?;
    if let Some(file) = context.seccomp.as_ref().and_then(seccomp::file) {
        look_at(actor, file).await?;
    }
    Ok(context)
}

/// Whom the image runs as. An image that is not there any more is nobody's: were it taken for root's, so would be the
/// container.
async fn of_image(actor: &Actor, image_ref: &str) -> Result<User, Failure> {
    let image = ImageSpec { image: image_ref.to_owned(), ..ImageSpec::default() };
    let failed = |why: &str| {
        Failure::plain(REASON, format!("failed to look up the user of image {image_ref:?}: {why}"))
    };
    let found = actor.image(&image).await.map_err(|error| failed(&Chain(&error).to_string()))?;
    found.map(|image| user::of_image(&image)).ok_or_else(|| failed("it is not there"))
}

/// A profile that cannot be read would be found out by the runtime as well, but not by every one.
async fn look_at(actor: &Actor, file: &Path) -> Result<(), Failure> {
    let read = file.to_owned();
    let found = actor.on_disk(REASON, move |disk| disk.read(&read, MAX_PROFILE)).await;
    found.map(drop).map_err(|failure| {
        let message = format!("failed to read seccomp profile {}: {}", file.display(), failure.message);
        Failure::plain(REASON, message)
    })
}
