//! The HTTPS listener: takes connections, shakes hands, serves HTTP/1.1 and HTTP/2 on them.
//!
//! Owns the socket and the tasks of its connections. Woken by connections. Writes nothing. Ends with the stop token:
//! connections finish the answer that they are at, within [`DRAIN`].
//!
//! Whoever comes without a verified certificate is a stranger. Strangers never cost a known caller its place: when
//! there is no room, the oldest stranger gives way, and if there is none the newcomer is turned away.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::answer::{Context, Door};
use super::trust::Trust;

/// Bound on open connections: the API server keeps a few, and one per log that is followed over HTTP/1.1.
pub(super) const CONNECTIONS: usize = 512;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and a connection may idle in HTTP/1.1.
const HEAD: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes: names and a query.
const HEAD_BYTES: u32 = 64 << 10;
/// Requests at once on one HTTP/2 connection, as Go's server.
const STREAMS: u32 = 250;
/// A peer that is gone is noticed after both of these together, while a quiet log is followed.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);
/// How long open connections may go on after stop. The whole agent has 5 s to end (B41).
const DRAIN: Duration = Duration::from_secs(2);
/// Waits after failed accepts: they fail at once again while the process is out of file descriptors.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The same complaint is made once in this time.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The listener.
pub(super) struct Listener {
    socket: TcpListener,
    tls: Arc<ServerConfig>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    open: VecDeque<Open>,
    limit: usize,
}

struct Shared {
    trust: Arc<Trust>,
    context: Arc<Context>,
    stop: CancellationToken,
}

/// An open connection.
struct Open {
    task: AbortHandle,
    is_known: Arc<AtomicBool>,
}

impl Listener {
    pub(super) fn new(
        socket: TcpListener,
        tls: ServerConfig,
        trust: Arc<Trust>,
        context: Arc<Context>,
        limit: usize,
        stop: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared { trust, context, stop: stop.clone() });
        Self { socket, tls: Arc::new(tls), shared, stop, tasks: JoinSet::new(), open: VecDeque::new(), limit }
    }

    /// Serves until `stop`.
    pub(super) async fn run(mut self) {
        let mut failures = Failures::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failures.over();
                    self.take(stream, peer);
                }
                Err(error) => {
                    let pause = failures.next(&error);
                    let _stopped = tokio::time::timeout(pause, self.stop.cancelled()).await;
                }
            }
        }
        drop(self.socket);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            debug!("HTTPS connections did not end in time, closing them");
        }
    }

    /// Serves one more connection in a task of its own, if there is room.
    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.reap();
        if self.open.len() >= self.limit {
            let is_stranger = |open: &Open| !open.is_known.load(Ordering::Relaxed);
            let Some(oldest) = self.open.iter().position(is_stranger).and_then(|at| self.open.remove(at))
            else {
                debug!(%peer, "too many HTTPS connections, turned one away");
                return;
            };
            oldest.task.abort();
        }
        let is_known = Arc::new(AtomicBool::new(false));
        let task = serve(stream, TlsAcceptor::from(self.tls.clone()), self.shared.clone(), is_known.clone());
        self.open.push_back(Open { task: self.tasks.spawn(task), is_known });
    }

    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                error!(%error, "a request handler panicked");
            }
        }
        self.open.retain(|open| !open.task.is_finished());
    }
}

/// Failed accepts: how long to wait, and whether to say so.
#[derive(Default)]
struct Failures {
    pause: Duration,
    said: Option<Instant>,
}

impl Failures {
    fn over(&mut self) {
        self.pause = Duration::ZERO;
    }

    fn next(&mut self, error: &io::Error) -> Duration {
        if self.said.is_none_or(|said| said.elapsed() >= COMPLAINT) {
            self.said = Some(Instant::now());
            warn!(%error, "failed to accept an HTTPS connection, trying again");
        }
        self.pause = self.pause.saturating_mul(2).clamp(PAUSE.0, PAUSE.1);
        self.pause
    }
}

/// One connection, from its handshake to its end.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, is_known: Arc<AtomicBool>) {
    // A log that is followed is sent in small pieces.
    let _slower_without = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
    let stream = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "a TLS handshake failed"),
            Err(_) => return debug!("a TLS handshake took too long"),
        },
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain: Arc<[CertificateDer<'static>]> =
        chain.iter().cloned().map(CertificateDer::into_owned).collect();
    is_known.store(shared.trust.caller(&chain).is_some(), Ordering::Relaxed);

    // HTTP/2 runs each of its requests as a task; they end with the connection.
    let requests = Requests::default();
    let mut builder = auto::Builder::new(requests.clone());
    let head_bytes = usize::try_from(HEAD_BYTES).unwrap_or(usize::MAX);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    let service = service_fn(|request: http::Request<Incoming>| {
        let (shared, chain) = (Arc::clone(&shared), Arc::clone(&chain));
        async move {
            let (parts, _) = request.into_parts();
            let door = Door::Https(shared.trust.caller(&chain));
            Ok::<_, Infallible>(shared.context.answer(door, &parts).await)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "an HTTPS connection ended early");
    }
}

/// Tasks of the requests of one HTTP/2 connection. Each ends when the connection drops its end.
#[derive(Debug, Clone, Default)]
struct Requests(TaskTracker);

impl<F> hyper::rt::Executor<F> for Requests
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failed_accepts_are_waited_out_longer_and_longer_and_told_of_once_a_minute() {
        let mut failures = Failures::default();
        let error = io::Error::from_raw_os_error(nix::libc::EMFILE);
        let pauses: Vec<u128> = (0..7).map(|_| failures.next(&error).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
        let said = failures.said;
        tokio::time::advance(COMPLAINT - Duration::from_millis(1)).await;
        failures.next(&error);
        assert_eq!(failures.said, said);
        tokio::time::advance(Duration::from_millis(1)).await;
        failures.next(&error);
        assert_ne!(failures.said, said);
        failures.over();
        assert_eq!(failures.next(&error), PAUSE.0);
    }
}
