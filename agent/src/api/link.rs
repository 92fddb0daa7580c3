//! The connections to the API server. Owns the transports that every [`kube::Client`] here goes through. Woken by time:
//! every 10 s it sees whether a file of the kubeconfig changed, every second while it cannot be used; and by the lease,
//! whose connection it makes anew when a renewal got no answer. Writes the transport and the [`LinkState`]; ends with
//! the stop token.
//!
//! A kubeconfig that leads to another server is used only once that one has shown to be the same cluster's
//! ([`super::guard`]); until then the old connections go on.
//!
//! HTTP/2, so that one connection carries every watch; pings find a dead one within 20 s, since a connection whose
//! packets are dropped is silent like an idle one. The lease has a connection of its own: what holds up the others
//! must not make the node look dead.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceBuilder};

use super::connections::Connections;
use super::guard::Guard;
use super::kubeconfig::{self, Loaded};
use super::transport::{Stack, Transport};
use crate::chain::Chain;
use crate::clock::Clock;

/// A ping this often, and an answer within the same time, or the connection is given up: noticed within 20 s.
const PING: Duration = Duration::from_secs(10);
/// Sent data that nobody acknowledges this long ends a connection (`TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two looks at the files of a kubeconfig that is in use.
const LOOK: Duration = Duration::from_secs(10);
/// Between two tries to use one that cannot be.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of the kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkState {
    /// The API server's address, once the file told it.
    pub server: String,
    /// Why the kubeconfig cannot be used, or what is doubtful about it; empty when all is well.
    pub problem: String,
}

/// The loop that keeps the transports of all clients.
pub struct Link {
    file: PathBuf,
    clock: Clock,
    shared: Transport,
    lease: Transport,
    watches: Connections,
    state: watch::Sender<LinkState>,
    /// What the transports are made from; none before a kubeconfig was read that can be used.
    config: Option<kube::Config>,
    /// Told when the lease's connection does not answer.
    lease_stuck: Arc<Notify>,
    stamps: Vec<(PathBuf, Option<SystemTime>)>,
    /// What another API server has to prove.
    guard: Guard,
    /// A kubeconfig was read whose server has not proved it.
    doubted: bool,
}

/// What [`Link::new`] gives away.
#[derive(Clone)]
pub struct Clients {
    /// For everything but the lease and the many.
    pub shared: kube::Client,
    /// For the lease alone.
    pub lease: kube::Client,
    /// For watches of single objects, of which there may be hundreds.
    pub watches: Connections,
    /// What is known of the kubeconfig.
    pub state: watch::Receiver<LinkState>,
    /// To be notified when the lease's connection does not answer: a new one is made.
    pub lease_stuck: Arc<Notify>,
}

impl Link {
    /// The loop and its clients. The file is read at once, so that the first call finds a transport.
    pub async fn new(file: PathBuf, clock: Clock, guard: Guard) -> (Self, Clients) {
        let (state, reader) = watch::channel(LinkState::default());
        let (shared, lease) = (Transport::missing(), Transport::missing());
        let (watches, lease_stuck) = (Connections::new(), Arc::new(Notify::new()));
        let clients = Clients {
            shared: kube::Client::new(shared.clone(), "default"),
            lease: kube::Client::new(lease.clone(), "default"),
            watches: watches.clone(),
            state: reader,
            lease_stuck: Arc::clone(&lease_stuck),
        };
        let (config, stamps) = (None, Vec::new());
        let mut link = Self {
            file,
            clock,
            shared,
            lease,
            watches,
            state,
            config,
            lease_stuck,
            stamps,
            guard,
            doubted: false,
        };
        link.load().await;
        (link, clients)
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = if self.shared.is_there() { LOOK } else { RETRY };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.lease_stuck.notified() => {
                    self.renew_lease();
                    continue;
                }
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        self.guard.note();
        let changed = self.stamps.iter().any(|(path, stamp)| modified(path) != *stamp);
        if changed || self.doubted || !self.shared.is_there() {
            self.load().await;
        }
    }

    async fn load(&mut self) {
        let mut files = vec![self.file.clone()];
        // Stamped before the read: what changes during it is seen at the next look.
        let mut stamps: Vec<_> = files.drain(..).map(|path| (path.clone(), modified(&path))).collect();
        let outcome = match kubeconfig::load(&self.file, self.clock.now().wall).await {
            Ok(loaded) => {
                stamps.extend(loaded.files.iter().skip(1).map(|path| (path.clone(), modified(path))));
                self.take(&loaded).await
            }
            Err(error) => Err(Chain(&error).to_string()),
        };
        self.stamps = stamps;
        let state = outcome.unwrap_or_else(|problem| {
            let server = self.state.borrow().server.clone();
            // A client that works is not thrown away because its file is being written.
            for transport in [&self.shared, &self.lease] {
                transport.refuse(&problem);
            }
            LinkState { server, problem }
        });
        self.publish(state);
    }

    /// Uses what was read, once it is certain not to lead to another cluster.
    async fn take(&mut self, loaded: &Loaded) -> Result<LinkState, String> {
        self.doubted = false;
        if let Some(uid) = self.guard.asks(self.config.as_ref(), &loaded.config) {
            let transport = Transport::missing();
            transport.set(stack(&loaded.config).map_err(|error| Chain(&error).to_string())?);
            let client = kube::Client::new(transport, "default");
            let proof = self.guard.prove(client, &loaded.server, &uid).await;
            self.doubted = proof.is_err();
            proof?;
        }
        self.install(loaded)
    }

    /// Where the lease's transport has hung, a new one with the same settings takes its place.
    fn renew_lease(&self) {
        let Some(config) = &self.config else { return };
        match stack(config) {
            Ok(stack) => {
                tracing::info!("the lease's connection does not answer, making a new one");
                self.lease.set(stack);
            }
            // The same settings made one before.
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "failed to make the lease's connection anew")
            }
        }
    }

    fn install(&mut self, loaded: &Loaded) -> Result<LinkState, String> {
        let made = || stack(&loaded.config).map_err(|error| Chain(&error).to_string());
        let (shared, lease) = (made()?, made()?);
        self.shared.set(shared);
        self.lease.set(lease);
        self.watches.install(&loaded.config);
        self.config = Some(loaded.config.clone());
        Ok(LinkState { server: loaded.server.clone(), problem: loaded.warning.clone().unwrap_or_default() })
    }

    fn publish(&self, state: LinkState) {
        self.state.send_if_modified(|last| {
            if *last == state {
                return false;
            }
            match state.problem.as_str() {
                "" => tracing::info!(server = state.server, "kubeconfig is in use"),
                problem => tracing::warn!(problem, "kubeconfig is not as it should be"),
            }
            *last = state;
            true
        });
    }
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|known| known.modified()).ok()
}

/// The transport of one connection pool.
pub(super) fn stack(config: &kube::Config) -> kube::Result<Stack> {
    let mut tls = config.rustls_client_config()?;
    // The connector offers h2 and http/1.1 by itself.
    tls.alpn_protocols.clear();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .http2_keep_alive_while_idle(true)
        .build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(BoxCloneService::new(service))
}

#[cfg(test)]
mod tests;
