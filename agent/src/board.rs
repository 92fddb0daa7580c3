//! The board: what the agent answers when people ask. Reads cards, the newest snapshot and the loops' own words;
//! changes nothing and waits for nothing.

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use pinnace_pleg::health::{self, Health};
use pinnace_pleg::snapshot::Snapshot;
use tokio::sync::{Notify, watch};

use crate::cgroup::Cgroups;
use crate::events::EventLog;
use crate::image::Images;
use crate::image::name::Name;
use crate::join::Membership;
use crate::pod::admit::Place;
use crate::pod::card::{Card, Cards};
use crate::pod::paths::Dirs;
use crate::pod::status::{self, Subject};
use crate::pod::step::Key;
use crate::pod::traces;
use crate::runtime::watch::RuntimeState;
use crate::server::https::Pods;
use crate::server::lookup;
use crate::server::views::{LookupError, Views};
use crate::source::apiserver::ApiPods;
use crate::source::desired::Desired;
use crate::view::{ContainerView, EventView, ExplainView, PodView, StepView};

/// Why a pod has no status yet.
const NOT_TOLD: &str = "the runtime has not told of it since Pinnace started";

/// The board.
#[derive(Debug, Clone)]
pub struct Board {
    /// Name of the node, which static pods' names end in.
    pub node: String,
    /// Where files are.
    pub dirs: Dirs,
    /// The pods.
    pub cards: Arc<Cards>,
    /// What the runtime holds.
    pub observed: watch::Receiver<Arc<Snapshot>>,
    /// The relist loop's own word.
    pub relist: watch::Receiver<Health>,
    /// The runtime's own word.
    pub runtime: watch::Receiver<RuntimeState>,
    /// The node as pods find it.
    pub place: watch::Receiver<Arc<Place>>,
    /// What the sources want, and what of it cannot be used.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// What keeps the journal from being written.
    pub journal: watch::Receiver<Option<String>>,
    /// Events.
    pub events: EventLog,
    /// Whether pods are being started.
    pub starts: watch::Receiver<bool>,
    /// Cgroups of pods.
    pub cgroups: Cgroups,
    /// Notified when an image was pulled.
    pub pulled: Arc<Notify>,
    /// Images that are being pulled.
    pub images: Images,
    /// Pods as the API has them; none without one.
    pub objects: Option<ApiPods>,
    /// What the cluster makes of this node; none without one.
    pub membership: Option<Membership>,
}

impl Board {
    fn with<T>(&self, card: &Card, look: impl FnOnce(&Subject<'_>) -> T) -> T {
        let snapshot = self.observed.borrow().clone();
        let face = card.face();
        let seen = snapshot.pod(&card.uid).map(AsRef::as_ref);
        look(&Subject { uid: &card.uid, face: &face, seen, dirs: &self.dirs })
    }

    /// Whether the runtime has not said yet what it holds of the pod. It may run: what happened in the last moments
    /// of the process before is not in the journal.
    fn is_unknown(&self, card: &Card) -> bool {
        self.observed.borrow().freshness(&card.uid) == 0 && card.face().history.terminal.is_none()
    }

    fn pod(&self, card: &Card) -> PodView {
        let ips = self.place.borrow().ips.clone();
        let view =
            self.with(card, |subject| PodView { ip: status::ip(subject, &ips), ..status::pod(subject) });
        if !self.is_unknown(card) {
            return view;
        }
        let unknown = "Unknown".to_owned();
        PodView { status: unknown.clone(), phase: unknown, reason: NOT_TOLD.to_owned(), ..view }
    }

    fn containers_of(&self, card: &Card) -> Vec<ContainerView> {
        let mut views = self.with(card, status::containers);
        for view in views.iter_mut().filter(|view| view.state == "Waiting" && self.is_unknown(card)) {
            (view.reason, view.message) = ("Unknown".to_owned(), NOT_TOLD.to_owned());
        }
        views
    }

    /// A step that waits for a pull says how far that is.
    fn with_progress(&self, card: &Card, step: StepView) -> StepView {
        let face = card.face();
        let pulled = face.busy.iter().find_map(|key| match key {
            Key::Image(name) => Some(name),
            _ => None,
        });
        let spec = face.pod.as_ref().and_then(|pod| pod.pod.spec.as_ref());
        let all = spec.map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let image = all.into_iter().flatten().find(|container| Some(&container.name) == pulled);
        let name = image.and_then(|container| Name::parse(container.image.as_deref()?).ok());
        match name.and_then(|name| self.images.progress.of(&name.asked)) {
            Some(progress) => {
                StepView { waiting_for: format!("{}; image: {progress}", step.waiting_for), ..step }
            }
            None => step,
        }
    }

    fn find(&self, query: &str) -> Result<Arc<Card>, LookupError> {
        let cards: Vec<_> = self.cards.all().into_iter().map(|card| (card.face(), card)).collect();
        let known =
            cards.iter().map(|(face, card)| (face.namespace.as_str(), face.name.as_str(), card.uid.as_str()));
        let uid = lookup::find(query, &self.node, known)?;
        let found = cards.iter().find(|(_, card)| card.uid.as_str() == uid).map(|(_, card)| Arc::clone(card));
        found.ok_or_else(|| LookupError::NotFound(format!("pod {query:?} not found")))
    }
}

impl Pods for Board {
    /// Each with the status that the API has of it, or else, without an API, none.
    fn pods(&self) -> Vec<Pod> {
        let whole = |card: &Arc<Card>| {
            let mut pod = Pod::clone(&card.pod()?.pod);
            let object = self.objects.as_ref().and_then(|objects| objects.get(&card.uid));
            pod.status = object.and_then(|object| object.status.clone()).or(pod.status);
            Some(pod)
        };
        self.cards.all().iter().filter_map(whole).collect()
    }
}

impl Views for Board {
    fn pods(&self) -> Vec<PodView> {
        self.cards.all().iter().map(|card| self.pod(card)).collect()
    }

    fn containers(&self) -> Vec<ContainerView> {
        self.cards.all().iter().flat_map(|card| self.containers_of(card)).collect()
    }

    fn explain(&self, pod: &str) -> Result<ExplainView, LookupError> {
        let card = self.find(pod)?;
        let (pod, containers) = (self.pod(&card), self.containers_of(&card));
        let held = self.with(&card, |subject| {
            let held = subject.face.pod.as_ref().map(|pod| pod.held.as_slice()).unwrap_or_default();
            held.iter().map(|held| format!("{}: {}", held.field, held.reason)).collect()
        });
        let timeline = card.timeline();
        Ok(ExplainView {
            pod,
            containers,
            step: timeline.step().cloned().map(|step| self.with_progress(&card, step)),
            last_error: timeline.last_error().cloned(),
            held,
            timeline: timeline.entries(),
        })
    }

    fn events(&self) -> Vec<EventView> {
        self.events.list()
    }

    fn health(&self) -> Result<(), String> {
        health::verdict(&self.relist.borrow(), tokio::time::Instant::now())
    }

    fn problems(&self) -> Vec<String> {
        let manifests = self.desired.borrow().problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let runtime = self.runtime.borrow().problem.clone();
        let journal = self.journal.borrow().clone();
        let cluster = self.membership.as_ref().map(Membership::problems).unwrap_or_default();
        let others = [Some(runtime).filter(|problem| !problem.is_empty()), journal, self.health().err()];
        let remains = self.cards.all().into_iter().filter_map(|card| traces::problem(&card.face()));
        others.into_iter().flatten().chain(cluster).chain(manifests).chain(remains).collect()
    }

    fn log_path(&self, pod: &str, container: Option<&str>, previous: bool) -> Result<PathBuf, LookupError> {
        let card = self.find(pod)?;
        let containers = self.with(&card, status::containers);
        let found = match container {
            Some(name) => containers.iter().find(|container| container.name == name),
            None if containers.len() > 1 => {
                let names = containers.into_iter().map(|container| container.name).collect();
                return Err(LookupError::Ambiguous(names));
            }
            None => containers.first(),
        };
        let Some(found) = found else {
            let name = container.unwrap_or_default();
            return Err(LookupError::NotFound(format!("container {name:?} not found in pod {pod:?}")));
        };
        let path = if previous { &found.previous_log_path } else { &found.log_path };
        path.as_ref().map(PathBuf::from).ok_or_else(|| {
            let what = if previous { "previous terminated container" } else { "container" };
            LookupError::NotFound(format!("{what} {:?} in pod {pod:?} has no log yet", found.name))
        })
    }
}
