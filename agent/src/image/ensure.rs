//! Sees that an image is there, pulling it if its policy says so, and tells what it does in the kubelet's words.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::v1::ImageSpec;

use crate::chain::Chain;
use crate::events::Object;
use crate::image::name::Name;
use crate::image::policy::{Need, need};
use crate::pod::act::Actor;
use crate::pod::go_duration::go_duration_millis;
use crate::pod::job::{Failure, Job};
use crate::pod::slots::Order;
use crate::pod::worker;
use crate::source::desired::DesiredPod;

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// How the runtime names it, as containers and mounts are made with.
    pub id: String,
    /// The name that the runtime was asked by: as the pod has it, with a tag.
    pub name: String,
}

/// Who wants which image.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    object: &'a Object,
    /// As the pod has it, since people are shown what they wrote.
    shown: &'a str,
    policy: Option<&'a str>,
    place: Order,
}

/// The image of a container, as the runtime names it.
///
/// A look-up whose answer fails is `ImageInspectError`; the pull itself may be dropped when the pod goes, since
/// a pull makes nothing that belongs to the pod.
pub async fn ensure(actor: &Actor, job: &Job, spec: &Spec) -> Result<String, Failure> {
    let shown = spec.image.as_deref().unwrap_or_default();
    let object = job.container(&spec.name);
    let wanted =
        Wanted { object: &object, shown, policy: spec.image_pull_policy.as_deref(), place: job.place };
    tokio::select! {
        biased;
        () = job.leaving.cancelled() => {
            Err(Failure::plain("ErrImagePull", format!("pull of {shown:?} ended: the pod is to go")))
        }
        found = get(actor, wanted) => found.map(|image| image.id),
    }
}

/// The image that something else than a container refers to, such as a volume. May be dropped: a pull that nobody
/// else waits for ends with it.
pub async fn by_reference(
    actor: &Actor,
    pod: &DesiredPod,
    reference: &str,
    policy: Option<&str>,
) -> Result<ImageRef, Failure> {
    let object = Object::pod(pod.namespace.as_str(), pod.name.as_str(), pod.uid.clone());
    let place = worker::place(Some(pod), u64::MAX);
    get(actor, Wanted { object: &object, shown: reference, policy, place }).await
}

async fn get(actor: &Actor, wanted: Wanted<'_>) -> Result<ImageRef, Failure> {
    let shown = wanted.shown;
    let name = Name::parse(shown).map_err(|error| {
        let cause = format!("couldn't parse image name {shown:?}: {error}");
        let message = format!("Failed to apply default image tag {shown:?}: {cause}");
        tell(actor, wanted, "InspectFailed", &message);
        Failure::plain("InvalidImageName", message)
    })?;
    let image =
        ImageSpec { image: name.asked.clone(), user_specified_image: name.asked, ..ImageSpec::default() };
    let found = actor.image(&image).await.map_err(|error| {
        let message = format!("Failed to inspect image {shown:?}: {}", Chain(&error));
        tell(actor, wanted, "InspectFailed", &message);
        Failure::plain("ImageInspectError", message)
    })?;
    match (need(wanted.policy, found.is_some()), found) {
        (Need::Use, Some(found)) => {
            let message = format!(
                "Container image {shown:?} already present on machine and can be accessed by the pod"
            );
            actor.events.normal(wanted.object, "Pulled", &message, actor.clock.now().wall);
            Ok(ImageRef { id: found.id.to_string(), name: image.image })
        }
        (Need::Missing, _) | (Need::Use, None) => {
            let message = format!("Container image {shown:?} is not present with pull policy of Never");
            tell(actor, wanted, "ErrImageNeverPull", &message);
            Err(Failure::plain("ErrImageNeverPull", message))
        }
        (Need::Pull, _) => pull(actor, wanted, image).await,
    }
}

async fn pull(actor: &Actor, wanted: Wanted<'_>, image: ImageSpec) -> Result<ImageRef, Failure> {
    let shown = wanted.shown;
    let asked = tokio::time::Instant::now();
    let pulled = actor.pulls.run(wanted.place, async {
        let message = format!("Pulling image {shown:?}");
        actor.events.normal(wanted.object, "Pulling", &message, actor.clock.now().wall);
        let began = tokio::time::Instant::now();
        let answer = actor.client.pull_image(image.clone(), None, None).await;
        answer.map(|image_ref| (image_ref, began.elapsed()))
    });
    match pulled.await {
        Ok((id, took)) => {
            actor.pulled.notify_one();
            let message = pulled_message(shown, took, asked.elapsed(), size(actor, &image).await);
            actor.events.normal(wanted.object, "Pulled", &message, actor.clock.now().wall);
            Ok(ImageRef { id, name: image.image })
        }
        Err(error) => {
            let message = format!("Failed to pull image {shown:?}: {}", Chain(&error));
            tell(actor, wanted, "Failed", &message);
            Err(Failure::plain("ErrImagePull", message))
        }
    }
}

/// Bytes of an image that was just pulled; 0, as in the kubelet's message, where the runtime does not say.
async fn size(actor: &Actor, image: &ImageSpec) -> u64 {
    actor.image(image).await.ok().flatten().map_or(0, |image| image.size)
}

fn pulled_message(image: &str, took: Duration, waited: Duration, bytes: u64) -> String {
    format!(
        "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {bytes} bytes.",
        go_duration_millis(took),
        go_duration_millis(waited),
    )
}

fn tell(actor: &Actor, wanted: Wanted<'_>, reason: &str, message: &str) {
    actor.events.warning(wanted.object, reason, message, actor.clock.now().wall);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_told_in_the_kubelets_words() {
        let message = pulled_message("busybox", Duration::from_micros(1_234_567), Duration::from_secs(2), 7);
        assert_eq!(
            message,
            "Successfully pulled image \"busybox\" in 1.234s (2s including waiting). Image size: 7 bytes."
        );
    }
}
