//! Makes this node one of a cluster: wires the loops that speak to the API server. Decides nothing.
//!
//! ```text
//!  kubeconfig ─ link ─┬─ node (object, lease) ─ uid ─▶ gate of everything below: another cluster's word is not taken
//!                     ├─ source: pods of this node ─▶ desired, objects, mirrors
//!                     ├─ report: pod status, final deletion
//!                     ├─ mirrors of static pods
//!                     └─ events
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use pinnace_cri::id::PodUid;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::api::link::Clients;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::node::NodeSettings;
use crate::events::{EventLog, Feed};
use crate::host::machine::Host;
use crate::node::{self, NodeHandle};
use crate::pod::admit::Place;
use crate::pod::changed::Changed;
use crate::report::events::{self as event_sink, KnownPods, Sink};
use crate::report::mirror::{self, Mirrors};
use crate::report::{self, Reported};
use crate::source::apiserver::heard::{Heard, Signs};
use crate::source::apiserver::{ApiPods, ApiServer, Outlets};
use crate::source::desired::{Desired, DesiredPod};
use crate::supervise::Supervisor;

pub mod place;

/// Pods that are marked before the stop token is looked at again.
const AT_ONCE: usize = 64;

/// The API as a source of pods, before anything is read from it.
pub struct Source {
    server: ApiServer,
    /// What the API wants: first what the journal admitted.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// The API's objects.
    pub objects: ApiPods,
    mirrors: watch::Receiver<Arc<BTreeMap<String, Arc<Pod>>>>,
    changed: Arc<Changed>,
    problem: watch::Receiver<String>,
}

/// What joins.
pub struct Parts {
    /// Name of the node.
    pub name: String,
    /// How the node appears in the API.
    pub settings: NodeSettings,
    /// Addresses that the node was told to have.
    pub told: Vec<IpAddr>,
    /// Pods that may run here.
    pub max_pods: u32,
    /// The API server.
    pub clients: Clients,
    /// Where it is remembered when the API server was last heard.
    pub heard: Heard,
    /// The runtime.
    pub runtime: pinnace_cri::client::Client,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The clocks.
    pub clock: Clock,
    /// Events, and the end of them that goes to the API.
    pub events: (EventLog, Feed),
    /// Writes of events per second, 0 for no limit, and at once: `eventRecordQPS` and `eventBurst`.
    pub event_rate: (u32, u32),
    /// Where the node's labels, taints and room are told to admission.
    pub place: watch::Sender<Arc<Place>>,
    /// The root directory was made by this start.
    pub is_new_root: bool,
    /// Seed of what spreads nodes over time.
    pub seed: u64,
}

/// What keeps the node from being a good member of its cluster.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The kubeconfig.
    link: watch::Receiver<crate::api::link::LinkState>,
    /// The source.
    source: watch::Receiver<String>,
    /// What became of events.
    tally: watch::Receiver<event_sink::Tally>,
    /// The node's object.
    pub node: NodeHandle,
}

impl Membership {
    /// Problems in words, empty when there are none.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let link = Some(self.link.borrow().problem.clone());
        let source = Some(self.source.borrow().clone());
        let node = self.node.problem.borrow().clone();
        let refused = self.node.refused.borrow().as_ref().map(ToString::to_string);
        let lost = lost(&self.tally.borrow());
        [link, source, node, refused, lost]
            .into_iter()
            .flatten()
            .filter(|problem| !problem.is_empty())
            .collect()
    }
}

/// Events that the API server was never told. Pure.
fn lost(tally: &event_sink::Tally) -> Option<String> {
    let counts = [(tally.lost_warnings, "warnings"), (tally.shed, "other events")];
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let counts = counts.join(" and ");
    (!counts.is_empty())
        .then(|| format!("{counts} were too many for the API server; pinnace events has the newest"))
}

/// The API as a source. Nothing is asked yet.
#[must_use]
pub fn source(node: &str, clients: &Clients, admitted: Vec<Arc<DesiredPod>>) -> Source {
    let (desired, desired_reader) = watch::channel(Arc::new(Desired::default()));
    let (mirrors, mirrors_reader) = watch::channel(Arc::default());
    let changed = Arc::new(Changed::default());
    let (problem, problem_reader) = watch::channel(String::new());
    let objects = ApiPods::default();
    let out = Outlets { desired, objects: objects.clone(), mirrors, changed: Arc::clone(&changed), problem };
    let server =
        ApiServer::new(node.to_owned(), clients.shared.clone(), clients.state.clone(), admitted, out);
    Source {
        server,
        desired: desired_reader,
        objects,
        mirrors: mirrors_reader,
        changed,
        problem: problem_reader,
    }
}

/// Starts everything that speaks to the API server.
#[must_use]
pub fn join(parts: Parts, source: Source, board: &Board, supervisor: &Supervisor) -> Membership {
    let Parts { name, settings, clients, clock, events: (events, feed), .. } = parts;
    let stop = supervisor.stop_token();
    let node = node::start(
        node::Parts {
            name: name.clone(),
            settings,
            told: parts.told,
            max_pods: parts.max_pods,
            clients: node::Clients {
                api: clients.shared.clone(),
                lease: clients.lease.clone(),
                runtime: parts.runtime,
            },
            runtime: board.runtime.clone(),
            list: board.relist.clone(),
            host: parts.host,
            clock: clock.clone(),
            events: events.clone(),
            is_new_root: parts.is_new_root,
            seed: parts.seed,
        },
        supervisor,
    );
    let stuck = pass_on(Arc::clone(&node.lease_stuck), Arc::clone(&clients.lease_stuck), stop.clone());
    supervisor.spawn_core("lease's connection", stuck);
    let pulled = pass_on(Arc::clone(&board.pulled), Arc::clone(&node.images), stop.clone());
    supervisor.spawn_core("pulled images", pulled);
    let (desired, problem) = (source.desired.clone(), source.problem.clone());
    let signs = Signs { node: node.node.clone(), desired, problem };
    supervisor.spawn_core("word of the API", parts.heard.keep(signs, clock.clone(), stop.clone()));
    supervisor.spawn_core("place", place::keep(node.clone(), parts.place, stop.clone()));
    let (ips, host_ips) = watch::channel(Vec::new());
    supervisor.spawn_core("node addresses", place::addresses(node.node.clone(), ips, stop.clone()));

    let member = node.uid.clone();
    supervisor.spawn_core(
        "pods of the API",
        once(member.clone(), Option::is_some, source.server.run(stop.clone()), stop.clone()),
    );
    let marks = forward(source.changed, board.cards.changed(), stop.clone());
    supervisor.spawn_core("changed objects", marks);

    let sources = mirror::Sources {
        desired: board.desired.clone(),
        mirrors: source.mirrors,
        node: node.node.clone(),
        cards: Arc::clone(&board.cards),
        observed: board.observed.clone(),
    };
    let (mirrors, translation) = Mirrors::new(clients.shared.clone(), sources, events, clock.clone());
    let mirrors = once(source.desired, |desired| desired.synced, mirrors.run(stop.clone()), stop.clone());
    supervisor.spawn_core("mirror pods", once(member, Option::is_some, mirrors, stop.clone()));
    report::start(
        report::Parts {
            client: clients.shared.clone(),
            cards: Arc::clone(&board.cards),
            observed: board.observed.clone(),
            reported: Arc::new(source.objects.clone()),
            mirrors: translation,
            runtime: board.runtime.clone(),
            host_ips,
            dirs: board.dirs.clone(),
            clock: clock.clone(),
        },
        supervisor,
    );
    let config = event_sink::Config {
        qps: parts.event_rate.0,
        burst: parts.event_rate.1,
        ..event_sink::Config::new(name)
    };
    let pods: Arc<dyn KnownPods> = Arc::new(source.objects);
    let (sink, tally) = Sink::new(config, clients.shared, feed, pods, clock, board.starts.clone());
    supervisor.spawn_core("events", sink.run(stop));
    Membership { link: clients.state, source: source.problem, tally, node }
}

/// Runs a loop once a value is as wanted: the node's object is certain to be this machine's, for what the API server of
/// another cluster says of pods must not be obeyed; the API's pods were listed, for what is there must not be made again.
async fn once<T>(
    mut value: watch::Receiver<T>,
    is_so: impl FnMut(&T) -> bool,
    task: impl Future<Output = ()>,
    stop: CancellationToken,
) {
    let so = async {
        if value.wait_for(is_so).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = so => task.await,
    }
}

/// Passes notices on, until `stop`. Each side makes its own, so that neither knows the other.
async fn pass_on(from: Arc<Notify>, to: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = from.notified() => to.notify_one(),
        }
    }
}

/// Marks the pods whose objects changed, until `stop`.
async fn forward(from: Arc<Changed>, to: Arc<Changed>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            uids = from.take(AT_ONCE) => uids.iter().for_each(|uid| to.mark(uid)),
        }
    }
}

impl Reported for ApiPods {
    fn get(&self, uid: &PodUid) -> Option<Arc<Pod>> {
        Self::get(self, uid)
    }
}

impl KnownPods for ApiPods {
    fn find(&self, namespace: &str, name: &str, uid: Option<&PodUid>) -> Option<Arc<Pod>> {
        if let Some(uid) = uid {
            return Self::get(self, uid);
        }
        self.all().into_values().find(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace) && pod.metadata.name.as_deref() == Some(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_were_dropped_are_told_by_kind() {
        let told =
            |lost_warnings, shed| lost(&event_sink::Tally { lost_warnings, shed, ..Default::default() });
        assert_eq!(told(0, 0), None);
        assert!(told(0, 7).is_some_and(|text| text.starts_with("7 other events were too many")));
        assert!(told(2, 7).is_some_and(|text| text.starts_with("2 warnings and 7 other events were")));
    }
}
