//! A kube-apiserver as a kubelet sees it, in memory: objects with versions, LIST and WATCH, PATCH, graceful DELETE,
//! leases, events and TokenRequest, errors in the server's own words, and faults per request.
//!
//! It owns no task: a watch is a stream that reads the change log when it is polled, so under tokio's paused clock
//! nothing runs but timers. A client comes without sockets from [`FakeApi::client`]; [`serve`] puts the same server
//! on a TCP listener for the real binary.
//!
//! ```text
//! client ─ request ─▶ service ─ faults ─▶ verbs ─▶ store ─▶ change log ─▶ watch streams
//!                        └──▶ request log (tests count calls in it)
//! ```
//!
//! A test: `FakeApi::starting_at(wall)`, the agent with [`FakeApi::client_of_node`], then [`FakeApi::create`] a pod
//! with `spec.nodeName`, [`FakeApi::watch_until`] its condition is there, and count in [`FakeApi::requests`].
//! What the fake says is held against a real kube-apiserver by the cases of `api_conformance`.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test program uses a part of it, and a test fails by panicking"
)]

pub mod faults;
mod identity;
mod kinds;
mod merge;
mod network;
mod node_rules;
mod pod_rules;
mod query;
mod reading;
pub mod requests;
mod selector;
pub mod serve;
mod service;
mod state;
mod status;
mod store;
pub mod test_side;
mod tidy;
mod verbs;
mod wall;
mod watch_stream;

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use kube::client::Body;
use tokio::sync::watch;

pub use faults::{Fault, On};
pub use identity::Identity;
pub use requests::Request;
use state::State;
pub use status::Failure;
pub use store::Change;

/// The server. Clones share everything.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    /// Bumped whenever a watch stream may have something to do.
    changed: Arc<watch::Sender<u64>>,
}

impl FakeApi {
    /// An empty cluster with the usual namespaces, whose wall clock starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where this server reads the wall clock")]
    pub fn new() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// The same with the wall clock starting at `wall`; from there it advances with tokio's clock.
    pub fn starting_at(wall: Timestamp) -> Self {
        let state = State::new(wall);
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(watch::Sender::new(0)) }
    }

    /// A client with all rights. Needs a tokio runtime; opens no socket.
    pub fn client(&self) -> kube::Client {
        self.client_as(Identity::Admin)
    }

    /// The client of node `name`, whom the rules of the Node authorizer and NodeRestriction bind.
    pub fn client_of_node(&self, name: &str) -> kube::Client {
        self.client_as(Identity::Node(name.to_owned()))
    }

    fn client_as(&self, identity: Identity) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (api, identity) = (api.clone(), identity.clone());
            async move { service::answer(api, identity, request).await }
        });
        kube::Client::new(service, "default")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets every watch stream look again.
    fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}
