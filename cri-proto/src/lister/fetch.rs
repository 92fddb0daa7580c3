//! Gets list answers as bytes: one message where it fits, the streamed form of the call where it does not.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};

use crate::call::Call;
use crate::client::{MAX_MESSAGE_BYTES, Transport, answer};
use crate::error::Error;
use crate::wire::InvalidRecord;

/// Largest list that is read in pieces, in bytes: a hundred thousand containers with half a KiB of labels more than
/// usual. Beyond that the runtime is broken, and its list would not fit into the agent's memory either.
const MAX_STREAMED_BYTES: usize = 128 * 1024 * 1024;

/// A list call and its streamed form.
pub(super) struct ListCall {
    call: Call,
    path: &'static str,
    streamed: Call,
    streamed_path: &'static str,
}

/// All pod sandboxes.
pub(super) const SANDBOXES: ListCall = ListCall {
    call: Call::ListPodSandbox,
    path: "/runtime.v1.RuntimeService/ListPodSandbox",
    streamed: Call::StreamPodSandboxes,
    streamed_path: "/runtime.v1.RuntimeService/StreamPodSandboxes",
};

/// All containers.
pub(super) const CONTAINERS: ListCall = ListCall {
    call: Call::ListContainers,
    path: "/runtime.v1.RuntimeService/ListContainers",
    streamed: Call::StreamContainers,
    streamed_path: "/runtime.v1.RuntimeService/StreamContainers",
};

impl ListCall {
    /// The pieces of the whole list. Each attempt, plain and streamed, may take `limit`.
    ///
    /// # Errors
    /// As every call. If the list is too large for a message and this runtime does not stream, the error is the one
    /// of the plain call: `is_exhausted`.
    pub(super) async fn fetch(&self, transport: Transport, limit: Duration) -> Result<Vec<Bytes>, Error> {
        let plain = answer(self.call, limit, plain(transport.clone(), self.path)).await;
        match plain {
            Ok(list) => Ok(vec![list]),
            Err(exhausted) if exhausted.is_exhausted() => {
                match answer(self.streamed, limit, pieces(transport, self.streamed_path)).await {
                    Err(error) if error.is_unimplemented() => Err(exhausted),
                    streamed => streamed,
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn invalid(&self, why: InvalidRecord) -> Error {
        Error::invalid(self.call, why)
    }
}

async fn plain(transport: Transport, path: &'static str) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES);
    grpc.ready().await?;
    grpc.unary(Request::new(()), PathAndQuery::from_static(path), Raw).await
}

async fn pieces(transport: Transport, path: &'static str) -> Result<Response<Vec<Bytes>>, Status> {
    let mut grpc = Grpc::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES);
    grpc.ready().await?;
    let path = PathAndQuery::from_static(path);
    let mut stream = grpc.server_streaming(Request::new(()), path, Raw).await?.into_inner();
    let (mut pieces, mut total) = (Vec::new(), 0_usize);
    while let Some(piece) = stream.try_next().await? {
        total = total.saturating_add(piece.len());
        if total > MAX_STREAMED_BYTES {
            return Err(Status::resource_exhausted("the streamed list is larger than any node's"));
        }
        pieces.push(piece);
    }
    Ok(Response::new(pieces))
}

/// Requests without fields, answers as they are.
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
