//! Sees that an image is there and that the pod may have it, pulling it if its policy or the records say so, and tells
//! what it does in the kubelet's words.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use tokio::sync::OnceCell;

use crate::chain::Chain;
use crate::events::Object;
use crate::image::keyring::Credential;
use crate::image::name::Name;
use crate::image::policy::{Need, need};
use crate::image::pull::{self, Pulled};
use crate::image::records::Verdict;
use crate::image::words;
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
    actor: &'a Actor,
    pod: &'a DesiredPod,
    object: &'a Object,
    /// As the pod has it, since people are shown what they wrote.
    shown: &'a str,
    policy: Option<&'a str>,
    place: Order,
}

/// The image of a container, as the runtime names it. Ends early when the pod is to go.
pub async fn ensure(actor: &Actor, job: &Job, spec: &Spec) -> Result<String, Failure> {
    let Some(pod) = &job.pod else {
        return Err(Failure::plain("", "what this pod shall be is not known".to_owned()));
    };
    let shown = spec.image.as_deref().unwrap_or_default();
    let (object, policy) = (job.container(&spec.name), spec.image_pull_policy.as_deref());
    let wanted = Wanted { actor, pod, object: &object, shown, policy, place: job.place };
    tokio::select! {
        biased;
        () = job.leaving.cancelled() => {
            Err(Failure::plain(words::PULL, format!("pull of {shown:?} ended: the pod is to go")))
        }
        found = wanted.get() => found.map(|image| image.id),
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
    let object = pod.object();
    let place = worker::place(Some(pod), u64::MAX);
    Wanted { actor, pod, object: &object, shown: reference, policy, place }.get().await
}

impl Wanted<'_> {
    async fn get(self) -> Result<ImageRef, Failure> {
        let name = Name::parse(self.shown).map_err(|error| {
            let cause = format!("couldn't parse image name {:?}: {error}", self.shown);
            let message = format!("Failed to apply default image tag {:?}: {cause}", self.shown);
            self.warn("InspectFailed", &message);
            Failure::plain("InvalidImageName", message)
        })?;
        let found = if need(self.policy, true) == Need::Pull { None } else { self.look(&name).await? };
        let credentials = OnceCell::new();
        if let Some(id) = found {
            if self.may_use(&name, &id, &credentials).await? {
                return Ok(self.present(name, id));
            }
            // That it is there must not be told to who may not have it.
            if self.policy == Some("Never") {
                return Err(self.absent());
            }
        } else if need(self.policy, false) == Need::Missing {
            return Err(self.absent());
        }
        let credentials = self.credentials(&name, &credentials).await?.to_vec();
        self.pull(name, credentials).await
    }

    /// The image's id in the runtime, if it is there.
    async fn look(self, name: &Name) -> Result<Option<String>, Failure> {
        let image = pull::spec(name, self.annotations());
        match self.actor.image(&image).await {
            Ok(found) => Ok(found.map(|image| image.id.to_string())),
            Err(error) => {
                let message = format!("Failed to inspect image {:?}: {}", self.shown, words::of(&error));
                self.warn("InspectFailed", &message);
                Err(Failure::plain("ImageInspectError", message))
            }
        }
    }

    /// Whether the pod may have an image that is there without a pull of its own.
    async fn may_use(
        self,
        name: &Name,
        id: &str,
        credentials: &OnceCell<Vec<Credential>>,
    ) -> Result<bool, Failure> {
        let (records, now) = (&self.actor.images.records, self.actor.clock.now().wall);
        if records.wants_recovery().await {
            match self.actor.client.list_images(None).await {
                Ok(images) => records.recover(images.items, now).await,
                Err(error) => tracing::debug!(error = %Chain(&error), "images are not known yet"),
            }
        }
        match records.judge(self.shown, id).await {
            Verdict::Use => Ok(true),
            Verdict::Verify => Ok(false),
            Verdict::Compare(known) => {
                let credentials = self.credentials(name, credentials).await?;
                Ok(records.admits(&known, credentials, self.shown, id, now).await)
            }
        }
    }

    /// What the pod and the node have for the image; asked for once, and only when it matters.
    async fn credentials<'b>(
        self,
        name: &Name,
        cell: &'b OnceCell<Vec<Credential>>,
    ) -> Result<&'b [Credential], Failure> {
        let found = cell.get_or_try_init(async || {
            let secrets = self.actor.images.secrets(self.pod).await;
            if self.actor.images.is_news(&self.pod.uid, &secrets.missing) {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    secrets.missing.join(", ")
                );
                let (pod, wall) = (self.pod.object(), self.actor.clock.now().wall);
                self.actor.events.warning(pod, "FailedToRetrieveImagePullSecret", &message, wall);
            }
            if let Some((secret, why)) = &secrets.malformed {
                let message = format!("failed to use image pull secret {secret:?}: {why}");
                return Err(Failure::plain(words::PULL, message));
            }
            Ok(self.actor.images.credentials(self.pod, &secrets, name).await)
        });
        found.await.map(Vec::as_slice)
    }

    async fn pull(self, name: Name, credentials: Vec<Credential>) -> Result<ImageRef, Failure> {
        let (shown, asked) = (self.shown, tokio::time::Instant::now());
        self.tell("Pulling", &format!("Pulling image {shown:?}"));
        let annotations = self.annotations();
        let asked_for = name.asked.clone();
        let wanted =
            pull::Wanted { shown: shown.to_owned(), name, annotations, credentials, place: self.place };
        match self.actor.images.pulls.pull(wanted).await {
            Ok(pulled) => {
                self.actor.pulled.notify_one();
                self.tell("Pulled", &pulled_message(shown, &pulled, asked.elapsed()));
                Ok(ImageRef { id: pulled.id, name: asked_for })
            }
            Err(refusal) => {
                self.warn("Failed", &format!("Failed to pull image {shown:?}: {}", refusal.error));
                Err(Failure::plain(refusal.reason, refusal.message))
            }
        }
    }

    fn present(self, name: Name, id: String) -> ImageRef {
        let known = if self.actor.images.records.is_kept() { " and can be accessed by the pod" } else { "" };
        self.tell("Pulled", &format!("Container image {:?} already present on machine{known}", self.shown));
        ImageRef { id, name: name.asked }
    }

    fn absent(self) -> Failure {
        let message = format!("Container image {:?} is not present with pull policy of Never", self.shown);
        self.warn("ErrImageNeverPull", &message);
        Failure::plain("ErrImageNeverPull", message)
    }

    fn annotations(self) -> std::collections::BTreeMap<String, String> {
        self.pod.pod.metadata.annotations.clone().unwrap_or_default()
    }

    fn tell(self, reason: &str, message: &str) {
        self.actor.events.normal(self.object, reason, message, self.actor.clock.now().wall);
    }

    fn warn(self, reason: &str, message: &str) {
        self.actor.events.warning(self.object, reason, message, self.actor.clock.now().wall);
    }
}

fn pulled_message(image: &str, pulled: &Pulled, waited: Duration) -> String {
    format!(
        "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {} bytes.",
        go_duration_millis(pulled.took),
        go_duration_millis(waited),
        pulled.size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_told_in_the_kubelets_words() {
        let pulled = Pulled { id: String::new(), size: 7, took: Duration::from_micros(1_234_567) };
        assert_eq!(
            pulled_message("busybox", &pulled, Duration::from_secs(2)),
            "Successfully pulled image \"busybox\" in 1.234s (2s including waiting). Image size: 7 bytes."
        );
    }
}
