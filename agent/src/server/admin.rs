//! The admin socket: what `pinnace pods` and its like ask, as JSON over HTTP/1.1 on a Unix socket.
//!
//! Owns the socket and its connections. Woken by connections. Writes nothing but the socket file, which it
//! removes at its end. Ends with the stop token. Only root, or the user that the agent runs as, is answered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::accept::{Connections, pause_after};
use super::log_file::LogFile;
use super::log_stream::{LogStream, Options};
use super::socket::{Socket, SocketError};
use super::views::{LookupError, Views};
use crate::view::{ContainerView, EventView, ExplainView, PodView};

/// Bound on open connections: people and scripts on this machine, a few of whom follow a log.
const CONNECTIONS: usize = 64;

/// The admin server.
pub struct Admin {
    socket: Socket,
    views: Arc<dyn Views>,
}

#[derive(Clone)]
struct Context {
    views: Arc<dyn Views>,
    stop: CancellationToken,
}

impl Admin {
    /// Listens; nothing is answered before [`Admin::run`].
    pub async fn bind(path: &Path, views: Arc<dyn Views>) -> Result<Self, SocketError> {
        Ok(Self { socket: Socket::bind(path).await?, views })
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { socket, views } = self;
        let router = router(Context { views, stop: stop.clone() });
        let mut connections = Connections::new(router, CONNECTIONS, stop.clone());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = socket.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if may_ask(&stream) => connections.serve(stream),
                Ok(_) => {
                    warn!("refused a connection to the admin socket: peer is neither root nor this user")
                }
                Err(error) => pause_after(error, &stop).await,
            }
        }
        socket.remove();
        connections.drain().await;
    }
}

/// The file mode keeps others out; this holds also where the socket was made reachable by mistake.
fn may_ask(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/pods", get(pods))
        .route("/v1/containers", get(containers))
        .route("/v1/explain", get(explain))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(logs))
        .route("/v1/problems", get(problems))
        .route("/v1/health", get(health))
        .with_state(context)
}

async fn pods(State(context): State<Context>) -> Json<Vec<PodView>> {
    let mut pods = context.views.pods();
    pods.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
    Json(pods)
}

async fn containers(State(context): State<Context>) -> Json<Vec<ContainerView>> {
    let mut containers = context.views.containers();
    containers.sort_by(|a, b| (&a.namespace, &a.pod, &a.name).cmp(&(&b.namespace, &b.pod, &b.name)));
    Json(containers)
}

async fn events(State(context): State<Context>) -> Json<Vec<EventView>> {
    let mut events = context.views.events();
    events.sort_by_key(|event| event.last);
    Json(events)
}

async fn problems(State(context): State<Context>) -> Json<Vec<String>> {
    Json(context.views.problems())
}

async fn health(State(context): State<Context>) -> Response {
    match context.views.health() {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct PodQuery {
    pod: String,
}

async fn explain(
    State(context): State<Context>,
    Query(query): Query<PodQuery>,
) -> Result<Json<ExplainView>, Refusal> {
    Ok(Json(context.views.explain(&query.pod)?))
}

#[derive(Debug, Deserialize)]
struct LogQuery {
    pod: String,
    container: Option<String>,
    #[serde(default)]
    previous: bool,
    tail: Option<u64>,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    timestamps: bool,
}

async fn logs(State(context): State<Context>, Query(query): Query<LogQuery>) -> Result<Response, Refusal> {
    let LogQuery { pod, container, previous, tail, follow, timestamps } = query;
    let path = context.views.log_path(&pod, container.as_deref(), previous)?;
    let options = Options { tail, timestamps, ..Options::default() };
    let opened = LogStream::open(LogFile::at(path.clone()), options).await;
    let log = opened.map_err(|error| Refusal::Log(path, error))?;
    let log = if follow { log.follow(context.views, context.stop) } else { log };
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((text, Body::from_stream(log.into_stream())).into_response())
}

/// Why a request gets no answer.
enum Refusal {
    Lookup(LookupError),
    Log(PathBuf, io::Error),
}

impl From<LookupError> for Refusal {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Lookup(error @ LookupError::NotFound(_)) => (StatusCode::NOT_FOUND, error.to_string()),
            Self::Lookup(error @ LookupError::Ambiguous(_)) => (StatusCode::CONFLICT, error.to_string()),
            Self::Log(path, error) => {
                let status = match error.kind() {
                    io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, format!("failed to open the log {}: {error}", path.display()))
            }
        }
        .into_response()
    }
}
