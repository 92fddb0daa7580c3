//! The kubelet's API: HTTPS on port 10250 for the API server, and the read-only port for this machine.
//!
//! ```text
//! listener ─ TLS ─ trust (who) ─┐
//! read_only ────────────────────┴→ answer ─ routes (what) ─ identity (whether) ─→ container_logs, configz, pods
//! reload ─ certificate, authority of clients
//! ```
//! Identity comes from the client certificate alone; no header names a caller. Everything is read from memory but
//! container logs, and nothing is changed.

mod answer;
mod container_logs;
pub mod identity;
mod listener;
pub mod log_query;
pub mod pair;
mod read_only;
mod reload;
pub mod routes;
mod tls;
mod trust;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use tokio::net::TcpListener;
use tracing::warn;

use answer::Context;
pub use answer::Pods;
use identity::Access;
use listener::Listener;
use pair::{PairError, Subject};
use reload::{Reload, Seen};
use tls::Shown;
use trust::Trust;

use crate::clock::Clock;
use crate::config::effective::Config;
use crate::config::serving::{Certificate, Serving};
use crate::config::wire;
use crate::disk::Disk;
use crate::server::views::Views;
use crate::supervise::Supervisor;

/// What the servers are made from.
pub struct Parts {
    /// What the HTTPS server is told; none if it is switched off.
    pub serving: Option<Serving>,
    /// Where the read-only server listens; none if it is switched off.
    pub read_only: Option<SocketAddr>,
    /// Name of the node, for a certificate of our own.
    pub node: String,
    /// Addresses of the node, for the same.
    pub ips: Vec<IpAddr>,
    /// Body of `/configz`.
    pub configz: Bytes,
    /// Container logs are beneath it.
    pub log_root: PathBuf,
    /// The agent as people see it.
    pub views: Arc<dyn Views>,
    /// Pods as the API has them.
    pub pods: Arc<dyn Pods>,
    /// The agent's own files.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clock: Clock,
}

/// Where the servers listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// HTTPS; the port is what the node's `daemonEndpoints` should say.
    pub https: Option<SocketAddr>,
    /// The read-only port.
    pub read_only: Option<SocketAddr>,
}

/// Why the servers do not start.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The address is taken, or not this machine's.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The certificate cannot be used or made.
    #[error("failed to have a serving certificate")]
    Pair(#[from] PairError),
    /// The directory for certificates cannot be made.
    #[error("failed to make {}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The authority of clients cannot be used.
    #[error("failed to read authentication.x509.clientCAFile")]
    ClientCa(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The TLS settings contradict each other.
    #[error("failed to settle TLS")]
    Tls(#[from] rustls::Error),
    /// A file operation was lost.
    #[error("failed to wait for a file operation")]
    Lost(#[from] tokio::task::JoinError),
}

impl Parts {
    /// What the configuration says, with what the agent gives.
    #[must_use]
    pub fn new(
        config: &Config,
        views: Arc<dyn Views>,
        pods: Arc<dyn Pods>,
        disk: Arc<dyn Disk>,
        clock: Clock,
    ) -> Self {
        Self {
            serving: config.serving.clone(),
            read_only: config.read_only,
            node: config.node_name.clone(),
            ips: config.node_ips.clone(),
            configz: wire::configz(config).to_string().into(),
            log_root: config.pod_logs_dir.clone(),
            views,
            pods,
            disk,
            clock,
        }
    }
}

/// Listens, and starts to answer.
pub async fn start(parts: Parts, supervisor: &Supervisor) -> Result<Listening, HttpsError> {
    let stop = supervisor.stop_token();
    let open_to_all = parts.serving.as_ref().is_some_and(|serving| serving.open_to_all);
    let context = Arc::new(Context {
        views: parts.views,
        pods: parts.pods,
        configz: parts.configz,
        log_root: parts.log_root,
        access: if open_to_all { Access::Everybody } else { Access::ApiServer },
        debugging: parts.serving.as_ref().is_none_or(|serving| serving.debugging),
        clock: parts.clock.clone(),
        stop: stop.clone(),
    });
    let mut listening = Listening { https: None, read_only: None };
    if let Some(serving) = parts.serving {
        let subject = Subject { name: parts.node, ips: parts.ips };
        let now = parts.clock.now().wall;
        let (socket, address) = listen(serving.address).await?;
        let secrets = Secrets { serving: serving.clone(), subject, disk: parts.disk, now };
        let reload = tokio::task::spawn_blocking(move || secrets.read()).await??;
        let tls = tls::settings(reload.provider.clone(), serving.tls13_only, reload.shown.clone())?;
        let trust = reload.trust.clone();
        let listener =
            Listener::new(socket, tls, trust, context.clone(), listener::CONNECTIONS, stop.clone());
        supervisor.spawn_core("https", listener.run());
        supervisor.spawn_core("certificates", reload.run(stop.clone()));
        tell(&serving);
        listening.https = Some(address);
    }
    if let Some(address) = parts.read_only {
        let (socket, address) = listen(address).await?;
        supervisor.spawn_core("read-only port", read_only::run(socket, context, stop));
        warn!(%address, "readOnlyPort is set: every user of this machine can read the pods of this node");
        listening.read_only = Some(address);
    }
    Ok(listening)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), HttpsError> {
    let failed = |source| HttpsError::Listen { address, source };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

/// What an administrator should know.
fn tell(serving: &Serving) {
    if serving.open_to_all {
        warn!(
            address = %serving.address,
            "authentication.anonymous is on and authorization.mode is AlwaysAllow: whoever reaches this port can read \
             every log of this node"
        );
    } else if serving.client_ca.is_none() {
        warn!(
            "authentication.x509.clientCAFile is not set: nobody, the API server included, is answered on HTTPS"
        );
    }
}

/// Reads what TLS needs; blocks.
struct Secrets {
    serving: Serving,
    subject: Subject,
    disk: Arc<dyn Disk>,
    now: Timestamp,
}

impl Secrets {
    fn read(self) -> Result<Reload, HttpsError> {
        let provider: Arc<CryptoProvider> = Arc::new(tls::provider(self.serving.suites.as_deref()));
        let (certificate, key) = match &self.serving.certificate {
            Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
            Certificate::SelfSigned(directory) => {
                (directory.join("kubelet.crt"), directory.join("kubelet.key"))
            }
        };
        let client_ca = self.serving.client_ca.clone();
        // Looked at before they are read: a change in between is seen by the first pass.
        let mut seen = Seen::now(&certificate, &key, client_ca.as_deref());
        let pair = match &self.serving.certificate {
            Certificate::Files { .. } => pair::load(&certificate, &key, &provider)?,
            Certificate::SelfSigned(directory) => {
                let failed = |source| HttpsError::Directory { directory: directory.clone(), source };
                self.disk.create_dir_all(directory).map_err(failed)?;
                let pair = pair::own(&certificate, &key, &self.subject, self.now, &provider)?;
                seen = Seen::now(&certificate, &key, client_ca.as_deref());
                pair
            }
        };
        let trust = Arc::new(Trust::default());
        if let Some(path) = &client_ca {
            reload::trust(&trust, path, &provider).map_err(HttpsError::ClientCa)?;
        }
        Ok(Reload { certificate, key, client_ca, provider, shown: Arc::new(Shown::new(pair)), trust, seen })
    }
}
