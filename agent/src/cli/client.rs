//! Asks the agent: HTTP/1.1 over its Unix socket, one connection per question.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::exit;

/// How long the agent has to begin an answer. It answers from memory.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest answer that is read whole, in bytes: ten thousand containers with long messages.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach the agent at {}", .path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It does not begin to answer.
    #[error("the agent at {} does not answer within {} s", .0.display(), ANSWER.as_secs())]
    Silent(PathBuf),
    /// It refuses: there is no such pod, or something failed there.
    #[error("{text}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The reason that it gave.
        text: String,
    },
    /// The answer is not what was asked for.
    #[error("failed to read the agent's answer")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read cannot be written.
    #[error("failed to write the output")]
    Output(#[source] io::Error),
}

impl ClientError {
    /// The exit code that stands for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::Silent(_) => exit::UNREACHABLE,
            Self::Refused { status: StatusCode::NOT_FOUND | StatusCode::CONFLICT, .. } => exit::NOT_FOUND,
            Self::Refused { .. } | Self::Answer(_) | Self::Output(_) => exit::FAILURE,
        }
    }

    /// What to do about it, if that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("only root may ask; try sudo")
            }
            Self::Unreachable { .. } => Some(
                "is it running? start it with `systemctl start pinnace` or `pinnace run`, \
                 or name its socket with --admin-socket",
            ),
            Self::Silent(_) => Some("its log says what it is doing"),
            Self::Refused { .. } | Self::Answer(_) | Self::Output(_) => None,
        }
    }
}

/// An agent, by its socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The agent behind a socket; nothing is asked yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// A JSON answer.
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let mut connection = JoinSet::new();
        let response = self.ask(path, &mut connection).await?;
        let body = whole(response.into_body()).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.into()))
    }

    /// Copies an answer of any length to `out`, as it comes. Writing may block: this process does nothing else.
    pub async fn copy(&self, path: &str, out: &mut (impl Write + ?Sized)) -> Result<(), ClientError> {
        let mut connection = JoinSet::new();
        let mut body = self.ask(path, &mut connection).await?.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Answer(error.into()))?;
            if let Ok(bytes) = frame.into_data() {
                out.write_all(&bytes).and_then(|()| out.flush()).map_err(ClientError::Output)?;
            }
        }
        Ok(())
    }

    /// Sends the question and returns a successful answer's head. `connection` holds the connection open.
    async fn ask(&self, path: &str, connection: &mut JoinSet<()>) -> Result<Response<Incoming>, ClientError> {
        let answer = tokio::time::timeout(ANSWER, self.begin(path, connection)).await;
        let response = answer.map_err(|_| ClientError::Silent(self.socket.clone()))??;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = String::from_utf8_lossy(&whole(response.into_body()).await?).into_owned();
        let text = if text.is_empty() { format!("the agent answered {status}") } else { text };
        Err(ClientError::Refused { status, text })
    }

    async fn begin(
        &self,
        path: &str,
        connection: &mut JoinSet<()>,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { path: self.socket.clone(), source };
        let answer = |error: Box<dyn std::error::Error + Send + Sync>| ClientError::Answer(error);
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| answer(error.into()))?;
        connection.spawn(async {
            // Its failure is the request's failure.
            let _ = driver.await;
        });
        let request = Request::get(path).header(hyper::header::HOST, "localhost").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| answer(error.into()))?;
        sender.send_request(request).await.map_err(|error| answer(error.into()))
    }
}

async fn whole(body: Incoming) -> Result<Bytes, ClientError> {
    let collected = Limited::new(body, MAX_ANSWER).collect().await;
    Ok(collected.map_err(ClientError::Answer)?.to_bytes())
}
