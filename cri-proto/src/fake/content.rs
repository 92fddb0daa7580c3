//! containerd's content service, as far as it says what is being written.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::Fake;
use super::lists::unknown_method;
use super::lock::lock;
use crate::content::{IngestStatus, LIST_STATUSES, ListStatusesRequest, ListStatusesResponse};

/// The service over one fake.
#[derive(Debug, Clone)]
pub(super) struct ContentServer(pub(super) Fake);

impl NamedService for ContentServer {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

impl Service<http::Request<Body>> for ContentServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let statuses = Statuses(self.0.clone());
        Box::pin(async move {
            if request.uri().path() != LIST_STATUSES {
                return Ok(unknown_method().into_http());
            }
            Ok(Grpc::new(ProstCodec::default()).unary(statuses, request).await)
        })
    }
}

struct Statuses(Fake);

impl UnaryService<ListStatusesRequest> for Statuses {
    type Response = ListStatusesResponse;
    type Future = Ready<Result<Response<ListStatusesResponse>, Status>>;

    fn call(&mut self, _: Request<ListStatusesRequest>) -> Self::Future {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let ingests = lock(&self.0.inner.state).switches.ingests.clone();
        ready(ingests.ok_or_else(unknown_method).map(|ingests| {
            let status = |ingest: crate::content::Ingest| IngestStatus {
                key: ingest.key,
                offset: signed(ingest.offset),
                total: signed(ingest.total),
            };
            Response::new(ListStatusesResponse { statuses: ingests.into_iter().map(status).collect() })
        }))
    }
}
