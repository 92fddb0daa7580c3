//! How requests reach the runtime: a Unix socket that is connected on the first call and again after every loss, or
//! whatever a test puts in its place.

use std::time::Duration;

use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

/// Sends one HTTP/2 request and returns its answer. A failure to do so is a status whose source is the I/O error.
pub type Transport = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// Largest message in either direction, in bytes; what the kubelet and containerd use.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Longest connect to the socket. It is local: a runtime that lets it hang does not serve.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Room for the trailers of an answer, in bytes: an error message travels there, and runtimes put whole outputs of
/// failed programs into it. hyper's 16 KiB would break the connection over one.
const MAX_TRAILER_BYTES: u32 = 1024 * 1024;

/// An endpoint that is no address of a CRI socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Only Unix sockets are spoken to.
    #[error("{endpoint:?} is no Unix socket: write unix:///path or /path")]
    Scheme {
        /// The endpoint.
        endpoint: String,
    },
    /// A socket's path must be absolute, since the agent may be started anywhere.
    #[error("the path of socket {endpoint:?} is not absolute")]
    Relative {
        /// The endpoint.
        endpoint: String,
    },
}

/// The path of the socket that `endpoint` names: `unix:///path`, `unix:/path` or `/path`.
///
/// # Errors
/// For another scheme, and for a path that is not absolute.
pub fn socket_path(endpoint: &str) -> Result<&str, InvalidEndpoint> {
    let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:"));
    match path {
        None if endpoint.starts_with('/') => Ok(endpoint),
        None if endpoint.contains("://") => Err(InvalidEndpoint::Scheme { endpoint: endpoint.to_owned() }),
        Some(path) if path.starts_with('/') => Ok(path),
        Some(_) | None => Err(InvalidEndpoint::Relative { endpoint: endpoint.to_owned() }),
    }
}

/// A channel to the socket of `endpoint` that connects when it is first used. Must be called in a tokio runtime.
///
/// # Errors
/// If `endpoint` names no Unix socket.
pub fn unix(endpoint: &str) -> Result<Transport, InvalidEndpoint> {
    let path = socket_path(endpoint)?;
    let invalid = |_| InvalidEndpoint::Scheme { endpoint: endpoint.to_owned() };
    let endpoint = Endpoint::from_shared(format!("unix://{path}")).map_err(invalid)?;
    Ok(boxed(tuned(endpoint).connect_lazy()))
}

/// The settings that every channel to a runtime needs, for tests that bring their own connector.
#[must_use]
pub fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint.connect_timeout(CONNECT_LIMIT).http2_max_header_list_size(MAX_TRAILER_BYTES)
}

/// Any channel as a transport.
#[must_use]
pub fn boxed(channel: Channel) -> Transport {
    layered(channel)
}

/// Any service as a transport, such as a channel with a layer that a test put around it.
pub fn layered<S>(service: S) -> Transport
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(|error| Status::from_error(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_unix_sockets() {
        let good = [
            ("unix:///run/c.sock", "/run/c.sock"),
            ("unix:/run/c.sock", "/run/c.sock"),
            ("/run/c.sock", "/run/c.sock"),
        ];
        for (endpoint, path) in good {
            assert_eq!(socket_path(endpoint), Ok(path));
        }
        for endpoint in ["", "c.sock", "unix://c.sock", "unix:"] {
            assert!(matches!(socket_path(endpoint), Err(InvalidEndpoint::Relative { .. })), "{endpoint:?}");
        }
        for endpoint in ["tcp://127.0.0.1:1", "http://x", "npipe:////./pipe/x"] {
            assert!(matches!(socket_path(endpoint), Err(InvalidEndpoint::Scheme { .. })), "{endpoint:?}");
        }
    }
}
