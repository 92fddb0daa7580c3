//! What a start with a kubeconfig adds to one without.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::guard::Guard;
use crate::api::link::{Clients, Link};
use crate::board::Board;
use crate::clock::Clock;
use crate::config::effective::Config;
use crate::disk::Disk;
use crate::events::{EventLog, Feed};
use crate::host::machine::ThisHost;
use crate::join::{self, Membership, Source};
use crate::journal::Opened;
use crate::objects::{Objects, Strategy};
use crate::pod::admit::Place;
use crate::runtime::class::RuntimeClasses;
use crate::source::apiserver::heard::Heard;
use crate::source::apiserver::{ApiPods, age};
use crate::source::desired::{Desired, DesiredPod, Origin};
use crate::source::merge;
use crate::supervise::Supervisor;

/// A cluster that this node is about to join.
pub(super) struct Cluster {
    clients: Clients,
    source: Source,
    feed: Feed,
    heard: Heard,
    /// Told the UID of the node's object.
    owner: watch::Sender<Option<Arc<str>>>,
}

impl Cluster {
    /// Reads the kubeconfig at `kubeconfig`. One that cannot be used is a problem that is shown, and is read again.
    pub(super) async fn new(
        kubeconfig: &Path,
        config: &Config,
        clock: &Clock,
        disk: &Arc<dyn Disk>,
        opened: &Opened,
        supervisor: &Supervisor,
    ) -> (Self, EventLog) {
        let (owner, uid) = watch::channel(None);
        let guard = Guard::new(config.node_name.clone(), uid);
        let (link, clients) = Link::new(kubeconfig.to_owned(), clock.clone(), guard).await;
        supervisor.spawn_core("kubeconfig", link.run(supervisor.stop_token()));
        let heard = Heard::new(Arc::clone(disk), config.root_dir.join("pinnace"));
        let known = admitted(opened, |origin| *origin == Origin::Api);
        let known = age::held(known, heard.read().await, clock.now().wall);
        let source = join::source(&config.node_name, &clients, known);
        let (events, feed) = EventLog::feeding();
        (Self { clients, source, feed, heard, owner }, events)
    }

    /// What the manifests and the API want together.
    pub(super) fn merged(
        &self,
        manifests: watch::Receiver<Arc<Desired>>,
        supervisor: &Supervisor,
    ) -> watch::Receiver<Arc<Desired>> {
        let (out, desired) = watch::channel(Arc::new(Desired::default()));
        let stop = supervisor.stop_token();
        supervisor.spawn_core("sources", merge::run(manifests, self.source.desired.clone(), out, stop));
        desired
    }

    /// Pods as the API has them.
    pub(super) fn objects(&self) -> ApiPods {
        self.source.objects.clone()
    }

    /// ConfigMaps, Secrets and Services of the API.
    pub(super) fn referenced(
        &self,
        config: &Config,
        disk: Arc<dyn Disk>,
        supervisor: &Supervisor,
    ) -> Objects {
        let strategy = config.file.config_map_and_secret_change_detection_strategy.as_deref();
        let strategy = Strategy::named(strategy.unwrap_or_default());
        let (calls, watches) = (self.clients.shared.clone(), self.clients.watches.clone());
        let (objects, keeper) = Objects::following(calls, watches, strategy);
        let stop = supervisor.stop_token();
        supervisor.spawn_core("objects", keeper.run(stop.clone()));
        let (objects, kept) = objects.remembering(disk, &config.root_dir.join("pinnace"), stop);
        supervisor.spawn_core("last services", kept);
        objects
    }

    /// Runtime classes of the API.
    pub(super) fn classes(&self) -> RuntimeClasses {
        RuntimeClasses::new(self.clients.shared.clone())
    }

    /// Starts the loops that speak to the API server.
    pub(super) fn join(self, config: &Config, around: Around<'_>) -> Membership {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let parts = join::Parts {
            name: config.node_name.clone(),
            settings: config.node.clone(),
            told: config.node_ips.clone(),
            max_pods: config.max_pods,
            clients: self.clients,
            heard: self.heard,
            runtime: around.runtime,
            host: Arc::new(ThisHost::new(&config.root_dir)),
            clock: around.clock,
            events: (around.board.events.clone(), self.feed),
            event_rate: event_rate(config),
            place: around.place,
            is_new_root: around.is_new_root,
            seed: RandomState::new().build_hasher().finish(),
        };
        let membership = join::join(parts, self.source, around.board, around.supervisor);
        let told = tell(membership.node.uid.clone(), self.owner, around.supervisor.stop_token());
        around.supervisor.spawn_core("node's identity", told);
        membership
    }
}

/// Passes the UID of the node's object on to the link, which was there first, until `stop`.
async fn tell(
    mut from: watch::Receiver<Option<Arc<str>>>,
    to: watch::Sender<Option<Arc<str>>>,
    stop: CancellationToken,
) {
    loop {
        to.send_replace(from.borrow_and_update().clone());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = from.changed() => {}
        }
    }
}

/// The kubelet's defaults are 50 and 100 (`pkg/kubelet/apis/config/v1beta1/defaults.go`).
fn event_rate(config: &Config) -> (u32, u32) {
    let value =
        |given: Option<i32>, default| given.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(default);
    (value(config.file.event_record_qps, 50), value(config.file.event_burst, 100))
}

/// What joining needs of the rest of the agent.
pub(super) struct Around<'a> {
    pub(super) board: &'a Board,
    pub(super) runtime: pinnace_cri::client::Client,
    pub(super) clock: Clock,
    pub(super) place: watch::Sender<Arc<Place>>,
    pub(super) is_new_root: bool,
    pub(super) supervisor: &'a Supervisor,
}

/// Pods of such an origin that were running when the agent last ended.
pub(super) fn admitted(opened: &Opened, is_wanted: impl Fn(&Origin) -> bool) -> Vec<Arc<DesiredPod>> {
    let going_on = opened.histories.values().filter(|history| history.termination.is_none());
    let pods = going_on.filter_map(|history| history.admitted.clone());
    pods.filter(|pod| is_wanted(&pod.origin)).collect()
}
