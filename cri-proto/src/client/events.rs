//! The runtime's event stream.

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::Client;
use crate::call::Call;
use crate::error::Error;
use crate::v1;

/// Container events as they happen, until the runtime or the connection ends them. Hints, never facts.
pub type Events = BoxStream<'static, Result<v1::ContainerEventResponse, Error>>;

impl Client {
    /// Opens the event stream.
    ///
    /// grpc-go sends nothing on a stream before its first message, so "open" is seen only with the first event. A
    /// refusal comes at once: it is waited for shortly, then the stream counts as open. A refusal that comes later
    /// is the stream's first item.
    ///
    /// # Errors
    /// As every call; `is_unimplemented` if this runtime has no event stream.
    pub async fn events(&self) -> Result<Events, Error> {
        let mut runtime = self.runtime();
        let mut opening: BoxFuture<'static, _> =
            async move { runtime.get_container_events(v1::GetEventsRequest {}).await }.boxed();
        let failed = |status| Error::new(Call::GetContainerEvents, status);
        match tokio::time::timeout(self.deadlines.stream_open, &mut opening).await {
            Ok(opened) => Ok(opened.map_err(failed)?.into_inner().map_err(failed).boxed()),
            Err(_elapsed) => {
                let events = futures::stream::once(opening).map_ok(tonic::Response::into_inner);
                Ok(events.try_flatten().map_err(failed).boxed())
            }
        }
    }
}
