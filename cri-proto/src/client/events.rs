//! The runtime's event stream, and containerd's own one for runtimes without.

use std::future::Future;

use futures::future::FutureExt;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use tonic::{Response, Status, Streaming};

use super::{Client, MAX_MESSAGE_BYTES};
use crate::call::Call;
use crate::error::Error;
use crate::task_event::{self, TaskEvent};
use crate::task_v1::SubscribeRequest;
use crate::task_v1::events_client::EventsClient;
use crate::v1;

/// Container events as they happen, until the runtime or the connection ends them. Hints, never facts.
pub type Events = BoxStream<'static, Result<v1::ContainerEventResponse, Error>>;

/// What containerd says of its tasks, until it or the connection ends the stream. Hints, never facts.
pub type TaskEvents = BoxStream<'static, Result<TaskEvent, Error>>;

impl Client {
    /// Opens the event stream.
    ///
    /// # Errors
    /// As every call; `is_unimplemented` if this runtime has no event stream.
    pub async fn events(&self) -> Result<Events, Error> {
        let mut runtime = self.runtime();
        let opening = async move { runtime.get_container_events(v1::GetEventsRequest {}).await };
        self.open(Call::GetContainerEvents, opening).await
    }

    /// Opens containerd's own event stream, which lies on the same socket; events that say nothing of a container are
    /// left out.
    ///
    /// # Errors
    /// As every call; `is_unimplemented` if this runtime is no containerd.
    pub async fn task_events(&self) -> Result<TaskEvents, Error> {
        let mut containerd = EventsClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let request = SubscribeRequest { filters: task_event::filters() };
        let opening = async move { containerd.subscribe(request).await };
        let events = self.open(Call::SubscribeTaskEvents, opening).await?;
        Ok(events.try_filter_map(|envelope| async move { Ok(task_event::read(&envelope)) }).boxed())
    }

    /// grpc-go sends nothing on a stream before its first message, so "open" is seen only with the first event. A
    /// refusal comes at once: it is waited for shortly, then the stream counts as open. A refusal that comes later
    /// is the stream's first item.
    async fn open<T: Send + 'static>(
        &self,
        call: Call,
        opening: impl Future<Output = Result<Response<Streaming<T>>, Status>> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<T, Error>>, Error> {
        let mut opening = opening.boxed();
        let failed = move |status| Error::new(call, status);
        match tokio::time::timeout(self.deadlines.stream_open, &mut opening).await {
            Ok(opened) => Ok(opened.map_err(failed)?.into_inner().map_err(failed).boxed()),
            Err(_elapsed) => {
                let events = futures::stream::once(opening).map_ok(Response::into_inner);
                Ok(events.try_flatten().map_err(failed).boxed())
            }
        }
    }
}
