//! Sees that an image is there, pulling it if its policy says so, and tells what it does in the kubelet's words.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::v1::ImageSpec;

use crate::chain::Chain;
use crate::image::policy::{Need, need};
use crate::pod::act::Actor;
use crate::pod::go_duration::go_duration_millis;
use crate::pod::job::{Failure, Job};

/// The image as the runtime names it.
///
/// A look-up whose answer fails is `ImageInspectError`; the pull itself may be dropped when the pod goes, since
/// a pull makes nothing that belongs to the pod.
pub async fn ensure(actor: &Actor, job: &Job, spec: &Spec) -> Result<String, Failure> {
    // People are shown what they wrote.
    let shown = spec.image.as_deref().unwrap_or_default();
    let name = with_tag(shown);
    let image = ImageSpec { image: name.clone(), user_specified_image: name.clone(), ..ImageSpec::default() };
    let found = actor.image(&image).await.map_err(|error| {
        let message = format!("Failed to inspect image {shown:?}: {}", Chain(&error));
        tell(actor, job, spec, "InspectFailed", &message);
        Failure::plain("ImageInspectError", message)
    })?;
    match (need(spec.image_pull_policy.as_deref(), found.is_some()), found) {
        (Need::Use, Some(image)) => {
            let message = format!(
                "Container image {shown:?} already present on machine and can be accessed by the pod"
            );
            actor.events.normal(job.container(&spec.name), "Pulled", &message, actor.clock.now().wall);
            Ok(image.id.to_string())
        }
        (Need::Missing, _) | (Need::Use, None) => {
            let message = format!("Container image {shown:?} is not present with pull policy of Never");
            tell(actor, job, spec, "ErrImageNeverPull", &message);
            Err(Failure::plain("ErrImageNeverPull", message))
        }
        (Need::Pull, _) => pull(actor, job, spec, image).await,
    }
}

async fn pull(actor: &Actor, job: &Job, spec: &Spec, image: ImageSpec) -> Result<String, Failure> {
    let shown = spec.image.as_deref().unwrap_or_default();
    let wanted = image.clone();
    let asked = tokio::time::Instant::now();
    let object = job.container(&spec.name);
    let pulled = actor.pulls.run(job.place, async {
        let message = format!("Pulling image {shown:?}");
        actor.events.normal(&object, "Pulling", &message, actor.clock.now().wall);
        let began = tokio::time::Instant::now();
        let answer = actor.client.pull_image(image, None, None).await;
        answer.map(|image_ref| (image_ref, began.elapsed()))
    });
    let answer = tokio::select! {
        biased;
        () = job.leaving.cancelled() => {
            return Err(Failure::plain("ErrImagePull", format!("pull of {shown:?} ended: the pod is to go")));
        }
        answer = pulled => answer,
    };
    match answer {
        Ok((image_ref, took)) => {
            actor.pulled.notify_one();
            let message = pulled_message(shown, took, asked.elapsed(), size(actor, &wanted).await);
            actor.events.normal(&object, "Pulled", &message, actor.clock.now().wall);
            Ok(image_ref)
        }
        Err(error) => {
            let message = format!("Failed to pull image {shown:?}: {}", Chain(&error));
            tell(actor, job, spec, "Failed", &message);
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

fn tell(actor: &Actor, job: &Job, spec: &Spec, reason: &str, message: &str) {
    actor.events.warning(job.container(&spec.name), reason, message, actor.clock.now().wall);
}

/// An image without tag or digest means `:latest`.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
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

    #[test]
    fn a_missing_tag_is_latest() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("reg:5000/busybox"), "reg:5000/busybox:latest");
        assert_eq!(with_tag("reg:5000/busybox:1"), "reg:5000/busybox:1");
        assert_eq!(with_tag("busybox@sha256:00"), "busybox@sha256:00");
    }
}
