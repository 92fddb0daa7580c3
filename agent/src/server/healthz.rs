//! `/healthz`, `/livez` and `/readyz` in plain HTTP for whatever watches the agent; everything else is 404.
//!
//! Owns its listener and connections. Woken by connections. Writes nothing. Ends with the stop token.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::{Connections, pause_after};
use super::views::Views;

/// Bound on open connections: a few watchers, with room for clients that never say anything.
const CONNECTIONS: usize = 64;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} for /healthz")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The cause.
    pub source: std::io::Error,
}

/// The health server.
pub struct Healthz {
    listener: TcpListener,
    views: Arc<dyn Views>,
}

impl Healthz {
    /// Listens; nothing is answered before [`Healthz::run`].
    pub async fn bind(address: SocketAddr, views: Arc<dyn Views>) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
        Ok(Self { listener, views })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut connections = Connections::new(router(self.views), CONNECTIONS, stop.clone());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => connections.serve(stream),
                Err(error) => pause_after(error, &stop).await,
            }
        }
        connections.drain().await;
    }
}

fn router(views: Arc<dyn Views>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/livez", get(health))
        .route("/readyz", get(health))
        .with_state(views)
}

async fn health(State(views): State<Arc<dyn Views>>) -> (StatusCode, String) {
    match views.health() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason),
    }
}
