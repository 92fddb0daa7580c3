//! The node in the API: its object, kept true, and its lease, kept renewed.
//!
//! ```text
//!  host watch ──┐
//!  image watch ─┼▶ heartbeat ──PATCH──▶ nodes/NODE/status
//!  runtime ─────┘     │  ▲
//!                owner│  └── known ◀── own (list, watch of nodes/NODE)
//!                     ▼
//!                   lease ──PUT──▶ leases/NODE, on a connection of its own
//! ```
//! Nothing here reads or writes pods, and nothing of the node's object that others write is ever written back.

pub mod amount;
pub mod call;
pub mod capacity;
pub mod complaint;
pub mod conditions;
pub mod facts;
pub mod heartbeat;
pub mod host_watch;
pub mod image_watch;
pub mod images;
pub mod known;
pub mod lease;
pub mod notices;
pub mod object;
pub mod own;
pub mod pace;
pub mod patch;
pub mod refusal;
pub mod register;
pub mod verdict;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod patch_tests;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use pinnace_pleg::health::Health;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::effective::Config;
use crate::config::node::NodeSettings;
use crate::events::EventLog;
use crate::host::machine::{Host, ThisHost};
use crate::runtime::watch::RuntimeState;
use crate::supervise::Supervisor;
use capacity::Resources;
use facts::Sources;
use heartbeat::{Heartbeat, Outputs};
use host_watch::{HostFacts, HostWatch};
use image_watch::ImageWatch;
use known::Known;
use lease::LeaseKeeper;
use notices::Notices;
use own::OwnNode;
use refusal::Refusal;
use register::Registrar;

/// The ways to the API server and to the runtime.
#[derive(Clone)]
pub struct Clients {
    /// Everything but the lease.
    pub api: kube::Client,
    /// The lease; a connection of its own.
    pub lease: kube::Client,
    /// The runtime, to list its images.
    pub runtime: pinnace_cri::client::Client,
}

/// What the loops are made from.
pub struct Parts {
    /// Name of the node.
    pub name: String,
    /// How the node appears in the API.
    pub settings: NodeSettings,
    /// Addresses that the node was told to have.
    pub told: Vec<IpAddr>,
    /// Pods that may run here.
    pub max_pods: u32,
    /// The ways to the API server and to the runtime.
    pub clients: Clients,
    /// The runtime's own word.
    pub runtime: watch::Receiver<RuntimeState>,
    /// The relist loop's own word.
    pub list: watch::Receiver<Health>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The clocks.
    pub clock: Clock,
    /// Where events go.
    pub events: EventLog,
    /// The root directory was made by this start: what it held of devices is gone, and so are they from the API.
    pub is_new_root: bool,
    /// Seed of what spreads nodes over time.
    pub seed: u64,
}

impl Parts {
    /// The parts on a real machine. The watches are the board's.
    #[must_use]
    pub fn of_this_machine(
        config: &Config,
        clients: Clients,
        runtime: watch::Receiver<RuntimeState>,
        list: watch::Receiver<Health>,
        clock: Clock,
        events: EventLog,
        is_new_root: bool,
    ) -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};
        Self {
            name: config.node_name.clone(),
            settings: config.node.clone(),
            told: config.node_ips.clone(),
            max_pods: config.max_pods,
            clients,
            runtime,
            list,
            host: Arc::new(ThisHost::new(&config.root_dir)),
            clock,
            events,
            is_new_root,
            seed: RandomState::new().build_hasher().finish(),
        }
    }
}

/// What others read of the node, and what they tell it.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    /// The object as the API last showed it, without `managedFields`; none before it was seen and after its deletion.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// The machine; none before it was read.
    pub host: watch::Receiver<Option<Arc<HostFacts>>>,
    /// Uid of the object once it is certain to be this machine's; none before, and after its deletion. What this API
    /// server says of pods means nothing until there is one: it may be another cluster's.
    pub uid: watch::Receiver<lease::Owner>,
    /// What the machine has and gives; none before it was read.
    pub resources: watch::Receiver<Option<Arc<Resources>>>,
    /// What keeps the object from being true; none while it is.
    pub problem: watch::Receiver<Option<String>>,
    /// Why the object that the API has is not taken. A [`Refusal::is_fatal`] one is a start that has failed.
    pub refused: watch::Receiver<Option<Refusal>>,
    /// To be notified when an image was pulled or removed, so that the object names it at once.
    pub images: Arc<Notify>,
    /// Notifies when a renewal of the lease got no answer: its connection should be made anew.
    pub lease_stuck: Arc<Notify>,
}

/// Starts the node's loops.
#[must_use]
pub fn start(parts: Parts, supervisor: &Supervisor) -> NodeHandle {
    let Parts { name, settings, told, max_pods, clients, runtime, list, clock, events, .. } = parts;
    let stop = supervisor.stop_token();
    let (known, images_woken, lease_stuck) =
        (Known::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));

    let (watch, host) = HostWatch::new(parts.host, name.clone(), told.clone(), settings.update_frequency);
    supervisor.spawn_core("node: machine", watch.run(stop.clone()));
    let machine = host.clone();
    let (watch, images) = ImageWatch::new(clients.runtime, settings.max_images, Arc::clone(&images_woken));
    supervisor.spawn_core("node: images", watch.run(stop.clone()));
    let own = OwnNode::new(clients.api.clone(), name.clone(), known.clone());
    supervisor.spawn_core("node: own object", own.run(stop.clone()));

    let (resources, resources_reader) = watch::channel(None);
    let (problem, problem_reader) = watch::channel(None);
    let (refused, refused_reader) = watch::channel(None);
    let (owner, owner_reader) = watch::channel(None);
    let lease = lease::Config { node: name.clone(), seconds: settings.lease_seconds, seed: parts.seed };
    let lease =
        LeaseKeeper::new(clients.lease, lease, owner_reader.clone(), clock.clone(), Arc::clone(&lease_stuck));
    supervisor.spawn_last("node: lease", |last| lease.run(last));

    let node = known.reader();
    let registrar = Registrar::new(clients.api.clone(), known.clone(), parts.is_new_root);
    let notices = Notices::new(events, &name);
    let started = Instant::now();
    let sources = Sources { name, settings, told, max_pods, clock, started, host, runtime, list, images };
    let outputs = Outputs { resources, problem, owner, refused };
    let heartbeat = Heartbeat::new(clients.api, sources, known, registrar, outputs, notices, parts.seed);
    supervisor.spawn_core("node: heartbeat", heartbeat.run(stop));

    NodeHandle {
        node,
        host: machine,
        uid: owner_reader,
        resources: resources_reader,
        problem: problem_reader,
        refused: refused_reader,
        images: images_woken,
        lease_stuck,
    }
}
