//! A whole agent with its node in the fake API.

use std::sync::Arc;
use std::time::Duration;

use pinnace::config::effective::Config;
use pinnace::events::EventLog;
use pinnace::node::{self, Clients, NodeHandle, Parts};
use pinnace::supervise::{Supervision, Supervisor};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fake_api::FakeApi;
use crate::harness::{Make, NODE, Node};
use crate::host::OneAddress;

/// Where the lease's requests are counted.
pub(crate) const LEASES: &str = "leases.coordination.k8s.io";

/// An agent and its node.
pub(crate) struct Whole {
    pub(crate) agent: Node,
    pub(crate) api: FakeApi,
    pub(crate) handle: NodeHandle,
    pub(crate) events: EventLog,
    pub(crate) began: Instant,
    stop: CancellationToken,
    supervision: Supervision,
}

impl Whole {
    /// Starts the agent that `make` describes, with `pods`, on `api`.
    pub(crate) fn start(make: &Make, api: &FakeApi, pods: &[Value]) -> Self {
        let began = Instant::now();
        let agent = make.start(pods);
        let stop = CancellationToken::new();
        let (supervisor, supervision) = Supervisor::new(stop.clone());
        let events = EventLog::default();
        let config = Config::defaults(NODE, make.dir.path()).unwrap();
        let clients = Clients {
            api: api.client_of_node(NODE),
            lease: api.client_of_node(NODE),
            runtime: make.fake.client(),
        };
        let (runtime, list) = (agent.board.runtime.clone(), agent.board.relist.clone());
        let parts = Parts::of_this_machine(
            &config,
            clients,
            runtime,
            list,
            make.clock.clone(),
            events.clone(),
            false,
        );
        let handle = node::start(Parts { host: Arc::new(OneAddress), seed: 3, ..parts }, &supervisor);
        Self { agent, api: api.clone(), handle, events, began, stop, supervision }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.supervision.wait().await.unwrap();
        self.agent.stop().await;
    }

    pub(crate) fn node(&self) -> Option<Value> {
        self.api.get("nodes", "", NODE)
    }

    pub(crate) fn uid(&self) -> String {
        self.node().unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<Value> {
        let conditions = self.node()?["status"]["conditions"].clone();
        conditions.as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|ready| ready["status"] == "True")
    }

    pub(crate) async fn until_ready(&self, limit: Duration) {
        self.api.watch_until("the node is ready", limit, |_| self.is_ready()).await;
    }

    /// Successful writes of the node's status since this agent's start.
    pub(crate) fn status_writes(&self) -> usize {
        self.api.count(|request| {
            request.at >= self.began && request.is_write() && request.resource == "nodes" && request.committed
        })
    }
}
