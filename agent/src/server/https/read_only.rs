//! The read-only port: `/healthz` and `/pods` in plain HTTP, for this machine only.
//!
//! Owns its listener and connections. Woken by connections. Writes nothing. Ends with the stop token.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer::{Context, Door};
use crate::server::accept::{Connections, pause_after};

/// Bound on open connections: a few agents of this machine, with room for clients that never say anything.
const CONNECTIONS: usize = 64;

/// Answers until `stop`.
pub(super) async fn run(listener: TcpListener, context: Arc<Context>, stop: CancellationToken) {
    let answer = move |request: Request| {
        let context = Arc::clone(&context);
        async move {
            let (parts, _) = request.into_parts();
            context.answer(Door::ReadOnly, &parts).await
        }
    };
    let mut connections = Connections::new(Router::new().fallback(answer), CONNECTIONS, stop.clone());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => connections.serve(stream),
            Err(error) => pause_after(error, &stop).await,
        }
    }
    connections.drain().await;
}
