//! The CRI client as `pinnace-pleg` asks for it: answers in plain values, errors as text, only what this node owns.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use pinnace_cri::client::Client;
use pinnace_cri::container::ContainerStatus;
use pinnace_cri::error::Error;
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::labels::Ownership;
use pinnace_cri::raw::{self, Lister};
use pinnace_cri::sandbox::SandboxStatus;
use pinnace_cri::v1::{ContainerEventResponse, ContainerEventType};
use pinnace_pleg::seam::{Hint, Listed, Listing, Runtime, Unanswered};

use crate::chain::Chain;

/// The adapter.
#[derive(Debug)]
pub struct Seam {
    client: Client,
    ownership: Ownership,
    lister: tokio::sync::Mutex<Lister>,
}

impl Seam {
    /// An adapter that shows only what `ownership` admits.
    #[must_use]
    pub fn new(client: Client, ownership: Ownership) -> Self {
        let lister = Lister::new(client.clone(), ownership.clone());
        Self { client, ownership, lister: tokio::sync::Mutex::new(lister) }
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

impl Runtime for Seam {
    async fn list(&self) -> Result<Listed, Unanswered> {
        // One list is under way at a time; the lock is never contended.
        match self.lister.lock().await.list().await {
            Ok(raw::Listed::Unchanged) => Ok(Listed::Unchanged),
            Ok(raw::Listed::Changed { sandboxes, containers }) => {
                Ok(Listed::Changed(Listing { sandboxes, containers }))
            }
            Err(error) => Err(unanswered(&error)),
        }
    }

    async fn list_pod(&self, uid: &PodUid) -> Result<Listing, Unanswered> {
        let (sandboxes, containers) = self.client.list_pod(uid).await.map_err(|error| unanswered(&error))?;
        let owned = |labels: &_| self.ownership.owns(labels);
        let sandboxes = sandboxes.records.into_iter().filter(|sandbox| owned(&sandbox.labels)).map(Arc::new);
        let containers = containers.records.into_iter().filter(|container| owned(&container.labels)).map(Arc::new);
        Ok(Listing { sandboxes: sandboxes.collect(), containers: containers.collect() })
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
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(unanswered(&error)),
        }
    }
}

/// What an event hints at; none if it names no pod.
fn hint(event: Result<ContainerEventResponse, Error>) -> Result<Option<Hint>, Unanswered> {
    let event = event.map_err(|error| unanswered(&error))?;
    let metadata = event.pod_sandbox_status.as_ref().and_then(|status| status.metadata.as_ref());
    let Some(pod_uid) = metadata.and_then(|metadata| PodUid::new(&metadata.uid).ok()) else { return Ok(None) };
    let exit = event.container_event_type() == ContainerEventType::ContainerStoppedEvent;
    Ok(Some(Hint { pod_uid, container_id: ContainerId::new(&event.container_id).ok(), exit }))
}
