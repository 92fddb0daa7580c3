//! The same server over plain HTTP, for real-time tests with the real binary.
//!
//! Owns the accept loop and every connection; dropping [`Served`] ends them all.

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::FakeApi;
use super::identity::Identity;
use super::service;

/// A listening server.
pub struct Served {
    pub address: SocketAddr,
    task: JoinSet<()>,
}

impl Served {
    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        kubeconfig(self.address)
    }
}

/// A kubeconfig for a server without TLS at `address`, which may be a proxy before it.
pub fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters:\n- name: fake\n  cluster:\n    server: http://{address}\n\
         users:\n- name: fake\n  user: {{}}\ncontexts:\n- name: fake\n  context:\n    cluster: fake\n    user: fake\n"
    )
}

impl FakeApi {
    /// Serves on a free port of the loopback address, everyone with all rights.
    pub async fn listen(&self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.serve(listener, Identity::Admin)
    }

    /// Serves on `listener`; whoever comes is `identity`.
    pub fn serve(&self, listener: TcpListener, identity: Identity) -> Served {
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(accept(self.clone(), listener, identity));
        Served { address, task }
    }
}

async fn accept(api: FakeApi, listener: TcpListener, identity: Identity) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(api.clone(), stream, identity.clone()));
    }
}

async fn connection(api: FakeApi, stream: TcpStream, identity: Identity) {
    let _latency_only = stream.set_nodelay(true);
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        service::answer(api.clone(), identity.clone(), request)
    });
    let builder = Builder::new(TokioExecutor::new());
    // A client that goes away is not the server's failure.
    let _gone = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
}
