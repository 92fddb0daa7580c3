//! containerd's own content service, on the socket that CRI is served on: how many bytes of which layers have come.
//!
//! No part of CRI: another runtime does not offer it, and says so. Only looks; every call has a deadline. The messages
//! are those fields of `containerd.services.content.v1` that are used here.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::client::{Client, Transport};

/// The method that says what is being written.
pub(crate) const LIST_STATUSES: &str = "/containerd.services.content.v1.Content/ListStatuses";
/// containerd's namespace for what CRI asked for.
const NAMESPACE: &str = "k8s.io";
/// Label of a blob, with the registry's host after it: which repositories of that host it is from.
const SOURCE_LABEL: &str = "containerd.io/distribution.source.";
/// Longest wait for an answer. Nobody depends on one.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest blob that is read: manifests are a few KiB.
const MAX_BLOB: usize = 1 << 20;

/// What is being written at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// Its key: the kind of blob and its digest, such as `layer-sha256:…`.
    pub key: String,
    /// Bytes that are there.
    pub offset: u64,
    /// Bytes that there will be; 0 if that is not known.
    pub total: u64,
}

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest, such as `sha256:…`.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The runtime has no such service.
    #[error("the runtime does not offer its content service")]
    NotOffered,
    /// It does, and failed.
    #[error("failed to ask the content service: {0}")]
    Failed(String),
    /// It did not answer in time.
    #[error("the content service did not answer within {} s", LIMIT.as_secs())]
    Silent,
}

/// A client of the content service.
#[derive(Clone)]
pub struct Content {
    transport: Transport,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Content")
    }
}

impl Content {
    /// Over the connection that images are asked for.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { transport: client.image_transport() }
    }

    /// Everything that is being written.
    pub async fn ingests(&self) -> Result<Vec<Ingest>, ContentError> {
        let path = PathAndQuery::from_static(LIST_STATUSES);
        let asked = async {
            let mut grpc = self.grpc().await?;
            let codec = ProstCodec::<ListStatusesRequest, ListStatusesResponse>::default();
            grpc.unary(request(ListStatusesRequest { filters: Vec::new() }), path, codec).await
        };
        let statuses = answered(asked).await?.statuses;
        let ingest = |status: IngestStatus| Ingest {
            key: status.key,
            offset: u64::try_from(status.offset).unwrap_or(0),
            total: u64::try_from(status.total).unwrap_or(0),
        };
        Ok(statuses.into_iter().map(ingest).collect())
    }

    /// The blobs from a repository of a registry, which is named by host and port.
    pub async fn blobs(&self, registry: &str, repository: &str) -> Result<Vec<Blob>, ContentError> {
        let quoted = registry.replace(['"', '\\'], "");
        let filters = vec![format!("labels.\"{SOURCE_LABEL}{quoted}\"")];
        let path = PathAndQuery::from_static("/containerd.services.content.v1.Content/List");
        let label = format!("{SOURCE_LABEL}{registry}");
        let asked = async {
            let mut grpc = self.grpc().await?;
            let codec = ProstCodec::<ListContentRequest, ListContentResponse>::default();
            let mut pieces = grpc
                .server_streaming(request(ListContentRequest { filters }), path, codec)
                .await?
                .into_inner();
            let mut found = Vec::new();
            while let Some(piece) = pieces.message().await? {
                let is_from = |info: &Info| {
                    info.labels.get(&label).is_some_and(|from| from.split(',').any(|one| one == repository))
                };
                let blob =
                    |info: Info| Blob { size: u64::try_from(info.size).unwrap_or(0), digest: info.digest };
                found.extend(piece.info.into_iter().filter(is_from).map(blob));
            }
            Ok(Response::new(found))
        };
        answered(asked).await
    }

    /// The bytes of a blob, which must not be large.
    pub async fn read(&self, digest: &str) -> Result<Vec<u8>, ContentError> {
        let path = PathAndQuery::from_static("/containerd.services.content.v1.Content/Read");
        let message = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let asked = async {
            let mut grpc = self.grpc().await?;
            let codec = ProstCodec::<ReadContentRequest, ReadContentResponse>::default();
            let mut pieces = grpc.server_streaming(request(message), path, codec).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.message().await? {
                bytes.extend(piece.data);
                if bytes.len() > MAX_BLOB {
                    return Err(Status::out_of_range("the blob is too large"));
                }
            }
            Ok(Response::new(bytes))
        };
        answered(asked).await
    }

    async fn grpc(&self) -> Result<Grpc<Transport>, Status> {
        let mut grpc = Grpc::new(self.transport.clone());
        grpc.ready().await?;
        Ok(grpc)
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

async fn answered<T>(asked: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, ContentError> {
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if status.code() == Code::Unimplemented => Err(ContentError::NotOffered),
        Ok(Err(status)) => Err(ContentError::Failed(status.message().to_owned())),
        Err(_elapsed) => Err(ContentError::Silent),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListStatusesRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListStatusesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) statuses: Vec<IngestStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct IngestStatus {
    #[prost(string, tag = "3")]
    pub(crate) key: String,
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "5")]
    pub(crate) total: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListContentRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListContentResponse {
    #[prost(message, repeated, tag = "1")]
    info: Vec<Info>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    size: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReadContentRequest {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    offset: i64,
    #[prost(int64, tag = "3")]
    size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReadContentResponse {
    #[prost(int64, tag = "1")]
    offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}
