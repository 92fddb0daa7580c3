//! The CRI client: one method per call, a deadline on each, domain values in and out.
//!
//! It owns nothing but its connections, which connect themselves anew after a loss, and keeps no state between calls.
//! Retrying is the caller's: only it knows whether a call that ended without an answer may be made again.

mod containers;
mod deadlines;
mod events;
mod images;
mod runtime;
mod sandboxes;
mod streaming;
mod transport;
mod usage;

use std::future::Future;
use std::time::Duration;

use tonic::{Response, Status};

pub use self::deadlines::Deadlines;
pub use self::events::{Events, TaskEvents};
pub use self::transport::{
    InvalidEndpoint, MAX_MESSAGE_BYTES, Transport, boxed, layered, socket_path, tuned, unix,
};
use crate::call::Call;
use crate::error::Error;
use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;

/// A CRI client; clones share their connections.
#[derive(Clone)]
pub struct Client {
    runtime: Transport,
    image: Transport,
    deadlines: Deadlines,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the socket at `endpoint` (`unix:///path` or `/path`), and of another one for images where
    /// `image_endpoint` names it. Connects on the first call; must be called in a tokio runtime.
    ///
    /// # Errors
    /// If an endpoint names no Unix socket.
    pub fn connect_lazy(
        endpoint: &str,
        image_endpoint: Option<&str>,
        deadlines: Deadlines,
    ) -> Result<Self, InvalidEndpoint> {
        let runtime = unix(endpoint)?;
        let image = image_endpoint.filter(|image| !image.is_empty()).map(unix).transpose()?;
        Ok(Self { image: image.unwrap_or_else(|| runtime.clone()), runtime, deadlines })
    }

    /// A client over `transport`, for tests.
    #[must_use]
    pub fn with_transport(transport: Transport, deadlines: Deadlines) -> Self {
        Self { image: transport.clone(), runtime: transport, deadlines }
    }

    /// The limits that this client keeps.
    #[must_use]
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    pub(crate) fn transport(&self) -> Transport {
        self.runtime.clone()
    }

    pub(crate) fn image_transport(&self) -> Transport {
        self.image.clone()
    }

    fn runtime(&self) -> RuntimeServiceClient<Transport> {
        RuntimeServiceClient::new(self.runtime.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn image(&self) -> ImageServiceClient<Transport> {
        ImageServiceClient::new(self.image.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// Waits for the answer to `call`, at most `limit`.
pub(crate) async fn answer<T>(
    call: Call,
    limit: Duration,
    asked: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::new(call, status)),
        Err(_elapsed) => Err(Error::deadline(call, limit)),
    }
}

/// For calls that are done when their object is gone: not-found is success.
fn gone_is_done<T>(answered: Result<T, Error>) -> Result<(), Error> {
    match answered {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
