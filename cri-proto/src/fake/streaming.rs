//! The streaming server behind the URLs of Exec, Attach and PortForward: HTTP/1.1 on a loopback port.
//!
//! It accepts one upgrade per URL and then echoes all bytes. It does not frame them as SPDY or WebSocket does, so
//! it shows that a stream is opened, passed on and closed, and nothing of what a shell would answer. It is
//! started by the first such call and ends with the process.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;

use super::Fake;
use super::lock::lock;

/// Where the server listens.
pub(super) type Address = SocketAddr;

/// Paths of URLs that were given out and not used yet.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeSet<String>>);

impl Fake {
    /// A URL that is good for one upgrade.
    pub(super) async fn session(&self, kind: &str) -> Result<String, Status> {
        let started = self.inner.streaming.get_or_try_init(|| self.start_streaming()).await;
        let address = started
            .map_err(|error| Status::internal(format!("failed to start streaming server: {error}")))?;
        let token = lock(&self.inner.state).ids.next();
        let path = format!("/{kind}/{}", token.get(..8).unwrap_or_default());
        lock(&self.inner.sessions.0).insert(path.clone());
        Ok(format!("http://{address}{path}"))
    }

    async fn start_streaming(&self) -> std::io::Result<Address> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let fake = self.clone();
        self.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let served = fake.clone();
                fake.spawn(async move { served.serve_streams(connection).await });
            }
        });
        Ok(address)
    }

    async fn serve_streams(self, connection: TcpStream) {
        let service = service_fn(move |request| {
            let answer = self.upgrade(request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a streaming connection ended");
        }
    }

    fn upgrade(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let mut answer = Response::new(Empty::new());
        let Some(protocol) = request.headers().get(header::UPGRADE).cloned() else {
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            return answer;
        };
        if !lock(&self.inner.sessions.0).remove(request.uri().path()) {
            *answer.status_mut() = StatusCode::NOT_FOUND;
            return answer;
        }
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert(header::UPGRADE, protocol);
        answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        self.spawn(async move {
            if let Ok(upgraded) = hyper::upgrade::on(request).await {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                // A client that goes away ends the echo: nobody is left to tell.
                let _echoed = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        answer
    }
}
