//! containerd's own events, made from what the event stream of CRI announces; filters are not applied.

use futures::StreamExt;
use prost::Message;
use tonic::codegen::BoxStream;
use tonic::{Request, async_trait};

use super::lists::unknown_method;
use super::lock::lock;
use super::services::{Answer, Services};
use crate::call::Call;
use crate::task_v1::events_server::Events;
use crate::task_v1::{Envelope, Payload, SubscribeRequest, TaskExit, TaskStart};
use crate::v1::{ContainerEventResponse, ContainerEventType};

#[async_trait]
impl Events for Services {
    async fn subscribe(&self, _: Request<SubscribeRequest>) -> Answer<BoxStream<Envelope>> {
        let fake = self.0.clone();
        let call = self.plain(Call::SubscribeTaskEvents);
        call.run(async move {
            if !lock(&fake.inner.state).switches.task_events {
                return Err(unknown_method());
            }
            Ok(fake.announcements().map(|event| Ok(envelope(event))).boxed())
        })
        .await
    }
}

fn envelope(event: ContainerEventResponse) -> Envelope {
    let kind = event.container_event_type();
    let container_id = event.container_id;
    let (topic, message, value) = match kind {
        ContainerEventType::ContainerStoppedEvent => {
            let exit = TaskExit { id: container_id.clone(), container_id };
            ("/tasks/exit", "TaskExit", exit.encode_to_vec())
        }
        ContainerEventType::ContainerStartedEvent => {
            ("/tasks/start", "TaskStart", TaskStart { container_id }.encode_to_vec())
        }
        ContainerEventType::ContainerCreatedEvent => {
            ("/containers/create", "ContainerCreate", TaskStart { container_id }.encode_to_vec())
        }
        ContainerEventType::ContainerDeletedEvent => {
            ("/containers/delete", "ContainerDelete", TaskStart { container_id }.encode_to_vec())
        }
    };
    let event = Some(Payload { type_url: format!("containerd.events.{message}"), value });
    Envelope { namespace: "k8s.io".to_owned(), topic: topic.to_owned(), event }
}
