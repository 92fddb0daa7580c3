//! A relay between a subject and its containerd that notes when the calls of a pod's start were under way.
//!
//! Bytes pass as they are, streams too; a call costs about 0.2 ms more. It ends with its value.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// The calls that a pod cannot start without: those of the floor.
const STARTING: [&str; 3] = ["RunPodSandbox", "CreateContainer", "StartContainer"];

/// From a request's arrival to its answer's.
type Spans = Arc<Mutex<Vec<(Instant, Instant)>>>;

pub(super) struct CriProxy {
    endpoint: String,
    spans: Spans,
    _tasks: JoinSet<()>,
}

impl CriProxy {
    /// Listens on `socket` for what is meant for the runtime at `endpoint` (`unix:///...`).
    pub(super) fn start(socket: &Path, endpoint: &str) -> Result<Self> {
        let runtime = PathBuf::from(endpoint.trim_start_matches("unix://"));
        let listener = UnixListener::bind(socket).context("failed to listen between subject and runtime")?;
        let (spans, mut tasks) = (Spans::default(), JoinSet::new());
        tasks.spawn(accept(listener, runtime, Arc::clone(&spans)));
        Ok(Self { endpoint: format!("unix://{}", socket.display()), spans, _tasks: tasks })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How much of the time between the two a call of a start was under way.
    pub(super) fn busy(&self, from: Instant, to: Instant) -> Duration {
        union(&self.spans.lock().unwrap_or_else(PoisonError::into_inner), from, to)
    }
}

/// Length of the union of `spans` within the two.
fn union(spans: &[(Instant, Instant)], from: Instant, to: Instant) -> Duration {
    let mut within: Vec<_> = spans.iter().map(|(start, end)| (*start.max(&from), *end.min(&to))).collect();
    within.sort_unstable();
    let (mut whole, mut told) = (Duration::ZERO, from);
    for (start, end) in within {
        whole += end.saturating_duration_since(start.max(told));
        told = told.max(end);
    }
    whole
}

async fn accept(listener: UnixListener, runtime: PathBuf, spans: Spans) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(relay(stream, runtime.clone(), Arc::clone(&spans)));
    }
}

/// One connection, with one of its own to the runtime. Whoever is relayed sees its end as the runtime's.
async fn relay(stream: UnixStream, runtime: PathBuf, spans: Spans) {
    let Ok(upstream) = UnixStream::connect(&runtime).await else { return };
    let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(upstream));
    let Ok((sender, connection)) = client.await else { return };
    let service = service_fn(|request| pass(sender.clone(), request, Arc::clone(&spans)));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let served = server.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = served => {}
        _ = connection => {}
    }
}

async fn pass(
    mut sender: SendRequest<Incoming>,
    request: Request<Incoming>,
    spans: Spans,
) -> Result<Response<Incoming>, hyper::Error> {
    let call = request.uri().path().rsplit('/').next().unwrap_or_default();
    let is_start = STARTING.contains(&call);
    let began = Instant::now();
    let answer = sender.send_request(request).await;
    if is_start {
        spans.lock().unwrap_or_else(PoisonError::into_inner).push((began, Instant::now()));
    }
    answer
}
