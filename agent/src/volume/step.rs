//! The two steps of a pod's plan that concern volumes.

use futures::future::join;

use crate::chain::Chain;
use crate::pod::act::Actor;
use crate::pod::job::{Done, Failure, Job};
use crate::volume::image;

/// Waiting reason of containers while their volumes are not set up.
const REASON: &str = "ContainerCreating";

/// Sees that the pod's volumes are mounted and whole.
pub(crate) async fn set_up(actor: &Actor, job: &Job) -> Result<Done, Failure> {
    let Some(pod) = &job.pod else { return Err(failed("the pod's spec is not known".to_owned())) };
    let (images, volumes) = join(image::pull(actor, job), actor.volumes.set_up(pod, &job.leaving)).await;
    images?;
    match volumes {
        Ok(()) => Ok(Done::VolumesReady),
        Err(error) => Err(Failure::of_objects(REASON, Chain(&error).to_string())),
    }
}

/// Takes down what is mounted for the pod, whoever mounted it.
pub(crate) async fn tear_down(actor: &Actor, job: &Job) -> Result<Done, Failure> {
    actor.images.resolved.forget(&job.uid);
    let done = actor.volumes.tear_down(&job.uid).await;
    done.map_err(|error| failed(Chain(&error).to_string()))?;
    Ok(Done::VolumesGone)
}

fn failed(message: String) -> Failure {
    Failure::plain(REASON, message)
}
