//! The connections of one server: HTTP/1.1, a bound on how many there are, and an end that is not waited for long.
//!
//! Owns the tasks of its connections. They end when the peer closes, when a request head does not arrive in
//! time, when a newer connection needs the place, or when the stop token is cancelled.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// How long a request head may take, and how long a connection may idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long open connections may go on after stop. The whole agent has 5 s to end (B41).
const DRAIN: Duration = Duration::from_secs(2);
/// Wait after a failed accept: it fails at once again while the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Read buffer of one connection, in bytes. Requests here have short heads and no bodies.
const BUFFER: usize = 16 << 10;

/// Open connections of one server.
pub(crate) struct Connections {
    router: Router,
    /// Bound on open connections. The oldest gives way to a new one: peers that hold connections open and say
    /// nothing cannot lock out those that ask something.
    limit: usize,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Connections {
    pub(crate) fn new(router: Router, limit: usize, stop: CancellationToken) -> Self {
        Self { router, limit, stop, tasks: JoinSet::new(), oldest_first: VecDeque::new() }
    }

    /// Serves one more connection, in a task of its own.
    pub(crate) fn serve<S>(&mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.reap();
        while self.oldest_first.len() >= self.limit {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            debug!("too many connections, closing the oldest");
            oldest.abort();
        }
        let task = connection(stream, self.router.clone(), self.stop.clone());
        self.oldest_first.push_back(self.tasks.spawn(task));
    }

    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                error!(%error, "a request handler panicked");
            }
        }
        self.oldest_first.retain(|task| !task.is_finished());
    }

    /// Waits for the connections to end, which they do by themselves once the stop token is cancelled.
    pub(crate) async fn drain(mut self) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            debug!("connections did not end in time, closing them");
        }
    }
}

async fn connection<S>(stream: S, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    // Without a timer hyper has no timeouts at all.
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection ended early");
    }
}

/// To be called when an accept failed.
pub(crate) async fn pause_after(error: std::io::Error, stop: &CancellationToken) {
    warn!(%error, "failed to accept a connection, trying again");
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    fn connections(limit: usize, stop: &CancellationToken) -> Connections {
        let slow = || async {
            let words = futures::stream::iter(["one ", "two ", "three"]).then(|word| async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<_, std::io::Error>(word)
            });
            axum::body::Body::from_stream(words)
        };
        let router = Router::new().route("/", get(|| async { "hello" })).route("/slow", get(slow));
        Connections::new(router, limit, stop.clone())
    }

    fn connect(connections: &mut Connections) -> DuplexStream {
        let (ours, theirs) = duplex(1 << 10);
        connections.serve(theirs);
        ours
    }

    #[tokio::test(start_paused = true)]
    async fn a60_half_a_head_and_an_idle_connection_end_after_15_seconds() {
        let stop = CancellationToken::new();
        let mut connections = connections(8, &stop);
        for said in ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let start = Instant::now();
            let mut stream = connect(&mut connections);
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            let passed = start.elapsed().as_secs();
            assert!((15..=16).contains(&passed), "{said:?} lasted {passed} s");
            assert_eq!(answer.contains("hello"), said.ends_with("\r\n\r\n"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_not_cut_off() {
        let stop = CancellationToken::new();
        let mut connections = connections(8, &stop);
        let mut stream = connect(&mut connections);
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("one ") && answer.ends_with("5\r\nthree\r\n0\r\n\r\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_idle_connections_at_once_and_silent_ones_soon() {
        let stop = CancellationToken::new();
        let mut connections = connections(8, &stop);
        let (_idle, mut half) = (connect(&mut connections), connect(&mut connections));
        half.write_all(b"GET / HTT").await.unwrap();
        tokio::task::yield_now().await;
        let start = Instant::now();
        stop.cancel();
        connections.drain().await;
        assert!(start.elapsed() <= DRAIN + Duration::from_millis(10), "{:?}", start.elapsed());
    }
}
