//! How clients reach the fake: over a Unix socket, or over in-memory streams for tests on a paused clock.
//!
//! Every connection can be broken from outside, as when the runtime's process dies: reads and writes then fail,
//! and calls in flight are dropped.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, Router};
use tonic::transport::{Channel, Endpoint, Server as Tonic};
use tower::Service;

use super::Fake;
use super::content::ContentServer;
use super::lock::lock;
use super::services::Services;
use crate::client::{Client, Deadlines, MAX_MESSAGE_BYTES, Transport, boxed, tuned};
use crate::task_v1::events_server::EventsServer;
use crate::v1::image_service_server::ImageServiceServer;
use crate::v1::runtime_service_server::RuntimeServiceServer;

/// Bytes in flight in each direction of an in-memory connection.
const DUPLEX_BYTES: usize = 64 * 1024;

/// Breaks the connections of the present life of the runtime.
#[derive(Debug, Default)]
pub(super) struct Connections {
    broken: CancellationToken,
    /// Whether new in-memory connections are refused.
    down: bool,
}

/// A stream that fails once its token is cancelled.
#[derive(Debug)]
struct Breakable<S> {
    stream: S,
    broken: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Breakable<S> {
    fn new(stream: S, broken: CancellationToken) -> Self {
        Self { stream, broken: Box::pin(broken.cancelled_owned()) }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.broken.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Breakable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Breakable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Connected for Breakable<S> {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

/// Makes in-memory connections to a fake.
#[derive(Debug, Clone)]
pub struct Connector(Fake);

impl Service<http::Uri> for Connector {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        std::future::ready(self.0.connect().map(TokioIo::new))
    }
}

/// A fake that serves on a Unix socket; dropping it does not stop it.
#[derive(Debug)]
pub struct Server {
    fake: Fake,
    task: tokio::task::JoinHandle<()>,
    path: PathBuf,
}

impl Server {
    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Breaks all connections and stops serving; the socket file goes. Pods live on, and
    /// [`Fake::serve_unix`] may be called again.
    pub async fn stop(self) {
        self.task.abort();
        self.fake.restart();
        // Aborted or ended: both are what was wanted. A missing file is too.
        let _ended = self.task.await;
        let _removed = tokio::fs::remove_file(&self.path).await;
    }
}

impl Fake {
    fn router(&self) -> Router {
        let services = Services(self.clone());
        let runtime =
            RuntimeServiceServer::new(services.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let image = ImageServiceServer::new(services.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let events = EventsServer::new(services);
        let content = ContentServer(self.clone());
        Tonic::builder().add_service(runtime).add_service(image).add_service(events).add_service(content)
    }

    fn broken(&self) -> CancellationToken {
        lock(&self.inner.connections).broken.clone()
    }

    /// Breaks all connections; new ones are accepted.
    pub fn disconnect(&self) {
        let mut connections = lock(&self.inner.connections);
        std::mem::take(&mut connections.broken).cancel();
    }

    /// While down, in-memory connections are broken and refused, as if no runtime ran. For a Unix socket, stop the
    /// [`Server`] instead.
    pub fn set_down(&self, down: bool) {
        lock(&self.inner.connections).down = down;
        if down {
            self.restart();
        }
    }

    /// Serves on a new Unix socket at `path`; a socket file left there is replaced.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn serve_unix(&self, path: impl AsRef<Path>) -> io::Result<Server> {
        let path = path.as_ref().to_owned();
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let fake = self.clone();
        let incoming = UnixListenerStream::new(listener)
            .map(move |stream| stream.map(|stream| Breakable::new(stream, fake.broken())));
        let router = self.router();
        let task = self.spawn(async move {
            if let Err(error) = router.serve_with_incoming(incoming).await {
                tracing::warn!(%error, "the fake runtime stopped serving");
            }
        });
        Ok(Server { fake: self.clone(), task, path })
    }

    /// One more in-memory connection: the client's end.
    fn connect(&self) -> io::Result<DuplexStream> {
        let connections = lock(&self.inner.connections);
        if connections.down {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, server) = tokio::io::duplex(DUPLEX_BYTES);
        let server = Breakable::new(server, connections.broken.clone());
        let router = self.router();
        self.spawn(async move {
            let incoming = futures::stream::once(std::future::ready(Ok::<_, io::Error>(server)));
            if let Err(error) = router.serve_with_incoming(incoming).await {
                tracing::debug!(%error, "an in-memory connection ended");
            }
        });
        Ok(client)
    }

    /// Makes in-memory connections, for a channel of the test's own making.
    #[must_use]
    pub fn duplex_connector(&self) -> Connector {
        Connector(self.clone())
    }

    /// A channel over in-memory streams, which connects when it is first used and again after each loss.
    #[must_use]
    pub fn channel(&self) -> Channel {
        tuned(Endpoint::from_static("http://fake-cri.invalid"))
            .connect_with_connector_lazy(self.duplex_connector())
    }

    /// The same as what the client takes.
    #[must_use]
    pub fn transport(&self) -> Transport {
        boxed(self.channel())
    }

    /// A client over in-memory streams with the deadlines of production.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::with_transport(self.transport(), Deadlines::default())
    }
}
