//! Sees that an image is there, pulling it if its policy says so, and tells what it does in the kubelet's words.

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::v1::ImageSpec;

use crate::chain::Chain;
use crate::image::policy::{Need, need};
use crate::pod::act::Actor;
use crate::pod::job::{Failure, Job};

/// The image as the runtime names it.
///
/// A look-up whose answer fails is `ImageInspectError`; the pull itself may be dropped when the pod goes, since
/// a pull makes nothing that belongs to the pod.
pub async fn ensure(actor: &Actor, job: &Job, spec: &Spec) -> Result<String, Failure> {
    let name = with_tag(spec.image.as_deref().unwrap_or_default());
    let image = ImageSpec { image: name.clone(), user_specified_image: name.clone(), ..ImageSpec::default() };
    let found = actor.image_id(&image).await.map_err(|error| {
        let message = format!("Failed to inspect image {name:?}: {}", Chain(&error));
        tell(actor, job, "InspectFailed", &message);
        Failure::plain("ImageInspectError", message)
    })?;
    match (need(spec.image_pull_policy.as_deref(), found.is_some()), found) {
        (Need::Use, Some(id)) => {
            let message =
                format!("Container image {name:?} already present on machine and can be accessed by the pod");
            actor.events.normal(&job.object, "Pulled", &message, actor.clock.now().wall);
            Ok(id)
        }
        (Need::Missing, _) | (Need::Use, None) => {
            let message = format!("Container image {name:?} is not present with pull policy of Never");
            tell(actor, job, "ErrImageNeverPull", &message);
            Err(Failure::plain("ErrImageNeverPull", message))
        }
        (Need::Pull, _) => pull(actor, job, image).await,
    }
}

async fn pull(actor: &Actor, job: &Job, image: ImageSpec) -> Result<String, Failure> {
    let name = image.image.clone();
    let began = tokio::time::Instant::now();
    let pulled = actor.pulls.run(job.place, async {
        let wall = actor.clock.now().wall;
        actor.events.normal(&job.object, "Pulling", &format!("Pulling image {name:?}"), wall);
        actor.client.pull_image(image, None, None).await
    });
    let answer = tokio::select! {
        biased;
        () = job.leaving.cancelled() => {
            return Err(Failure::plain("ErrImagePull", format!("pull of {name:?} ended: the pod is to go")));
        }
        answer = pulled => answer,
    };
    match answer {
        Ok(image_ref) => {
            let message = format!("Successfully pulled image {name:?} in {:?}", began.elapsed());
            actor.events.normal(&job.object, "Pulled", &message, actor.clock.now().wall);
            Ok(image_ref)
        }
        Err(error) => {
            let message = format!("Failed to pull image {name:?}: {}", Chain(&error));
            tell(actor, job, "Failed", &message);
            Err(Failure::plain("ErrImagePull", message))
        }
    }
}

fn tell(actor: &Actor, job: &Job, reason: &str, message: &str) {
    actor.events.warning(&job.object, reason, message, actor.clock.now().wall);
}

/// An image without tag or digest means `:latest`.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn a_missing_tag_is_latest() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("reg:5000/busybox"), "reg:5000/busybox:latest");
        assert_eq!(with_tag("reg:5000/busybox:1"), "reg:5000/busybox:1");
        assert_eq!(with_tag("busybox@sha256:00"), "busybox@sha256:00");
    }
}
