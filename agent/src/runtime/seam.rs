//! The CRI client as `pinnace-pleg` asks for it: answers in plain values, errors as text, only what this node owns.

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pinnace_cri::client::Client;
use pinnace_cri::container::ContainerStatus;
use pinnace_cri::error::Error;
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::labels::Ownership;
use pinnace_cri::lister::{self, Lister};
use pinnace_cri::sandbox::SandboxStatus;
use pinnace_cri::task_event::TaskEvent;
use pinnace_cri::v1::{ContainerEventResponse, ContainerEventType};
use pinnace_pleg::seam::{About, Hint, Listed, Listing, Runtime, Unanswered};

use crate::chain::Chain;

/// The adapter.
#[derive(Debug)]
pub struct Seam {
    client: Client,
    lister: Lister,
}

impl Seam {
    /// An adapter that shows only what `ownership` admits.
    #[must_use]
    pub fn new(client: Client, ownership: Ownership) -> Self {
        Self { lister: Lister::new(client.clone(), ownership), client }
    }
}

fn unanswered(error: &Error) -> Unanswered {
    Unanswered(Chain(error).to_string().into())
}

fn known<T>(answer: Result<T, Error>) -> Result<Option<T>, Unanswered> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(unanswered(&error)),
    }
}

/// Records that make no sense are left out of a listing; the log says how many, once per listing that changed.
fn listing(listing: lister::Listing) -> Listing {
    if listing.skipped.count > 0 {
        tracing::warn!(skipped = ?listing.skipped, "left out records of the runtime that are not valid");
    }
    Listing { sandboxes: listing.sandboxes, containers: listing.containers }
}

impl Runtime for Seam {
    async fn list(&self) -> Result<Listed, Unanswered> {
        match self.lister.list().await {
            Ok(lister::Listed::Unchanged) => Ok(Listed::Unchanged),
            Ok(lister::Listed::Changed(changed)) => Ok(Listed::Changed(listing(changed))),
            Err(error) => Err(unanswered(&error)),
        }
    }

    async fn list_pod(&self, uid: &PodUid) -> Result<Listing, Unanswered> {
        self.lister.list_pod(uid).await.map(listing).map_err(|error| unanswered(&error))
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<Option<SandboxStatus>, Unanswered> {
        known(self.client.sandbox_status(id).await)
    }

    async fn container_status(&self, id: &ContainerId) -> Result<Option<ContainerStatus>, Unanswered> {
        known(self.client.container_status(id).await)
    }

    async fn events(&self) -> Result<Option<BoxStream<'static, Result<Hint, Unanswered>>>, Unanswered> {
        match self.client.events().await {
            Ok(events) => Ok(Some(events.filter_map(|event| async { hint(event).transpose() }).boxed())),
            Err(error) if error.is_unimplemented() => self.task_events().await,
            Err(error) => Err(unanswered(&error)),
        }
    }
}

impl Seam {
    /// containerd's own events, which name no pod, for want of CRI's.
    async fn task_events(&self) -> Result<Option<BoxStream<'static, Result<Hint, Unanswered>>>, Unanswered> {
        let hint = |event: TaskEvent| Hint { about: About::Object(event.id), exit: event.exit };
        match self.client.task_events().await {
            Ok(events) => Ok(Some(events.map_ok(hint).map_err(|error| unanswered(&error)).boxed())),
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(unanswered(&error)),
        }
    }
}

/// What an event hints at; none if it names no pod.
fn hint(event: Result<ContainerEventResponse, Error>) -> Result<Option<Hint>, Unanswered> {
    let event = event.map_err(|error| unanswered(&error))?;
    let metadata = event.pod_sandbox_status.as_ref().and_then(|status| status.metadata.as_ref());
    let Some(uid) = metadata.and_then(|metadata| PodUid::new(&metadata.uid).ok()) else {
        return Ok(None);
    };
    let exit = event.container_event_type() == ContainerEventType::ContainerStoppedEvent;
    let container_id = ContainerId::new(&event.container_id).ok();
    Ok(Some(Hint { about: About::Pod { uid, container_id }, exit }))
}
