//! Checks every history that a test makes against the invariants I1-I4, I6 and I8.
//!
//! Runtime side: a tap on the fake sees each mutating call at its arrival and at its effect, and takes the whole
//! state of the fake then, so that not even a state that lasts for no time at all is missed (I1, I3, I4). Agent
//! side: the views are sampled every 100 ms of virtual time (I2, I3). [`Checker::at_rest`] evaluates I6 and I8.
//!
//! What it cannot see: a view that is wrong for less than a sample; what the agent writes to disk; network
//! namespaces and cgroups, which the fake does not have; the cause of an end that a test itself brought about
//! (`kill`, `exit_now`: those are the test's word); calls that only look. A container that a create made twice under
//! one attempt counts as a reused attempt even if the first was removed before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pinnace::board::Board;
use pinnace::pod::card::Card;
use pinnace::pod::status::{self, Subject};
use pinnace::server::views::Views;
use pinnace::source::desired::DesiredPod;
use pinnace::view::{ContainerView, PodView};
use pinnace_cri::call::Call;
use pinnace_cri::fake::{CallRecord, Container, Fake, Moment, Phase, Snapshot};
use pinnace_cri::labels;

use super::{NODE, Node, entries};

/// The checker of one fake, across restarts of the agent.
#[derive(Clone)]
pub struct Checker {
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    violations: Vec<String>,
    /// What the sources want by UID; none before they have answered.
    wanted: Option<BTreeMap<String, Wanted>>,
    /// Pods that were wanted once and no longer: their termination is never taken back.
    dismissed: BTreeSet<String>,
    /// Pods of which nothing was left after they were dismissed: what comes later under the same UID is a new life.
    ended: BTreeSet<String>,
    containers: BTreeMap<(String, String, u32), String>,
    sandboxes: BTreeMap<(String, u32), String>,
    endings: BTreeMap<String, i32>,
    shown: BTreeMap<String, (Option<i32>, String, Option<jiff::Timestamp>)>,
    phases: BTreeMap<String, String>,
    restarts: BTreeMap<(String, String), u32>,
}

struct Wanted {
    images: BTreeMap<String, String>,
    has_deadline: bool,
}

/// Calls that change something in the runtime.
pub fn mutates(call: Call) -> bool {
    matches!(
        call,
        Call::RunPodSandbox
            | Call::StopPodSandbox
            | Call::RemovePodSandbox
            | Call::CreateContainer
            | Call::StartContainer
            | Call::StopContainer
            | Call::RemoveContainer
            | Call::PullImage
            | Call::RemoveImage
    )
}

fn tears_down(call: Call) -> bool {
    matches!(
        call,
        Call::StopPodSandbox | Call::RemovePodSandbox | Call::StopContainer | Call::RemoveContainer
    )
}

impl Checker {
    /// Watches `fake` from now on. Takes the fake's tap.
    pub fn attach(fake: &Fake) -> Self {
        let checker = Self { book: Arc::default() };
        let (own, watched) = (checker.clone(), fake.clone());
        // A tap may not ask for the calls, whose lock is held; the state has a lock of its own.
        fake.set_tap(move |moment, record| {
            if mutates(record.call) {
                own.lock().called(moment, record, &watched.snapshot());
            }
        });
        checker
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sources have not answered (again).
    pub fn unsynced(&self) {
        self.lock().wanted = None;
    }

    /// The sources want exactly these pods.
    pub fn wants(&self, pods: &[DesiredPod]) {
        let mut book = self.lock();
        let now: BTreeSet<String> = pods.iter().map(|pod| pod.uid.to_string()).collect();
        let known: Vec<String> = book
            .wanted
            .iter()
            .flatten()
            .map(|(uid, _)| uid.clone())
            .filter(|uid| !now.contains(uid))
            .collect();
        book.dismissed.extend(known);
        book.wanted = Some(pods.iter().map(|pod| (pod.uid.to_string(), Wanted::of(pod))).collect());
    }

    /// Samples what the agent says.
    pub fn sample(&self, board: &Board) {
        for card in board.cards.all() {
            let (pod, containers) = view_of(board, &card);
            self.lock().shown(&pod, &containers);
        }
    }

    /// Fails if anything was violated.
    pub fn verify(&self) {
        let book = self.lock();
        assert!(book.violations.is_empty(), "invariants violated:\n{}", book.violations.join("\n"));
    }

    /// To be called two minutes after the last change: nothing is left over (I6) and the views are true (I8).
    pub fn at_rest(&self, node: &Node) {
        let snapshot = node.fake.snapshot();
        let mut book = self.lock();
        book.see(&snapshot);
        book.left_over(node, &snapshot);
        book.true_views(node, &snapshot);
        drop(book);
        self.verify();
    }
}

/// What the board shows of one pod, without asking it for all.
pub fn view_of(board: &Board, card: &Card) -> (PodView, Vec<ContainerView>) {
    let snapshot = board.observed.borrow().clone();
    let (face, seen) = (card.face(), snapshot.pod(&card.uid).map(AsRef::as_ref));
    let subject = Subject { uid: &card.uid, face: &face, seen, dirs: &board.dirs };
    (status::pod(&subject), status::containers(&subject))
}

impl Wanted {
    fn of(pod: &DesiredPod) -> Self {
        let spec = pod.pod.spec.clone().unwrap_or_default();
        let images = spec.containers.into_iter().map(|c| (c.name, c.image.unwrap_or_default())).collect();
        Self { images, has_deadline: spec.active_deadline_seconds.is_some() }
    }
}

fn uid_of<'a>(snapshot: &'a Snapshot, container: &Container) -> &'a str {
    let sandbox = snapshot.sandboxes.get(&container.sandbox_id);
    sandbox.and_then(|sandbox| sandbox.config.metadata.as_ref()).map_or("", |metadata| &metadata.uid)
}

fn is_running(container: &Container) -> bool {
    matches!(container.phase, Phase::Running { .. })
}

fn is_ready(sandbox: &pinnace_cri::fake::Sandbox) -> bool {
    sandbox.state == pinnace_cri::v1::PodSandboxState::SandboxReady
}

impl Book {
    fn violated(&mut self, invariant: &str, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(format!("{invariant}: {what}"));
        }
    }

    fn called(&mut self, moment: Moment, record: &CallRecord, snapshot: &Snapshot) {
        self.see(snapshot);
        if moment == Moment::Began && tears_down(record.call) {
            self.of_a_foreign_owner(record, snapshot);
            self.causeless(record, snapshot);
        }
    }

    fn of_a_foreign_owner(&mut self, record: &CallRecord, snapshot: &Snapshot) {
        let id = record.subject.sandbox_id.as_deref().unwrap_or_default();
        let Some(sandbox) = snapshot.sandboxes.get(id) else { return };
        if sandbox.config.labels.get(labels::OWNER).is_some_and(|owner| owner != NODE) {
            self.violated("owner", format!("{} of another owner's sandbox {id}", record.call));
        }
    }

    /// I1: what would end a running container needs a cause.
    fn causeless(&mut self, record: &CallRecord, snapshot: &Snapshot) {
        let about = |container: &&Container| match &record.subject.container_id {
            Some(id) => container.id == *id,
            None => record.subject.sandbox_id.as_deref() == Some(container.sandbox_id.as_str()),
        };
        let ends: Vec<_> =
            snapshot.containers.values().filter(|c| is_running(c)).filter(about).cloned().collect();
        for container in ends {
            if !self.has_cause(&container, snapshot) {
                let name = container.metadata().name;
                let uid = uid_of(snapshot, &container);
                let what = format!("{} would end running container {name} of wanted pod {uid}", record.call);
                self.violated("I1", what);
            }
        }
    }

    fn has_cause(&self, container: &Container, snapshot: &Snapshot) -> bool {
        let uid = uid_of(snapshot, container);
        if self.dismissed.contains(uid) {
            return true;
        }
        let Some(wanted) = &self.wanted else { return false };
        let Some(pod) = wanted.get(uid) else { return true };
        let made_from = container.config.image.as_ref().map(|image| &image.user_specified_image);
        let image_changed = pod.images.get(&container.metadata().name) != made_from;
        let sandbox_up = snapshot.sandboxes.get(&container.sandbox_id).is_some_and(is_ready);
        pod.has_deadline || image_changed || !sandbox_up
    }

    /// A dismissed pod of which the runtime holds nothing has ended; its UID may live again from the start.
    fn see_ends(&mut self, snapshot: &Snapshot) {
        let held: BTreeSet<&str> = snapshot
            .sandboxes
            .values()
            .filter_map(|s| Some(s.config.metadata.as_ref()?.uid.as_str()))
            .collect();
        let gone: Vec<_> =
            self.dismissed.iter().filter(|uid| !held.contains(uid.as_str())).cloned().collect();
        for uid in gone {
            self.containers.retain(|(of, _, _), _| *of != uid);
            self.sandboxes.retain(|(of, _), _| *of != uid);
            if self.wanted.as_ref().is_some_and(|wanted| wanted.contains_key(&uid)) {
                self.dismissed.remove(&uid);
            }
            self.ended.insert(uid);
        }
    }

    /// I3 and I4 of one state of the runtime.
    fn see(&mut self, snapshot: &Snapshot) {
        self.see_ends(snapshot);
        let mut running: BTreeMap<(String, String), u32> = BTreeMap::new();
        for container in snapshot.containers.values() {
            let (uid, metadata) = (uid_of(snapshot, container).to_owned(), container.metadata());
            if is_running(container) {
                *running.entry((uid.clone(), metadata.name.clone())).or_default() += 1;
            }
            if let Some(code) = container.exit_code() {
                self.endings.insert(container.id.clone(), code);
            }
            let key = (uid, metadata.name, metadata.attempt);
            let known = self.containers.entry(key.clone()).or_insert_with(|| container.id.clone()).clone();
            if known != container.id {
                self.violated("I3", format!("attempt used twice: {key:?}"));
            }
        }
        for (key, _) in running.into_iter().filter(|(_, count)| *count > 1) {
            self.violated("I4", format!("two running containers of {key:?}"));
        }
        self.see_sandboxes(snapshot);
    }

    fn see_sandboxes(&mut self, snapshot: &Snapshot) {
        let mut ready: BTreeMap<String, u32> = BTreeMap::new();
        let mut live: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for sandbox in snapshot.sandboxes.values() {
            let Some(metadata) = &sandbox.config.metadata else { continue };
            let key = (metadata.uid.clone(), metadata.attempt);
            let known = self.sandboxes.entry(key.clone()).or_insert_with(|| sandbox.id.clone()).clone();
            if known != sandbox.id {
                self.violated("I3", format!("sandbox attempt used twice: {key:?}"));
            }
            if is_ready(sandbox) {
                *ready.entry(metadata.uid.clone()).or_default() += 1;
                let name = (metadata.namespace.clone(), metadata.name.clone());
                live.entry(name).or_default().insert(metadata.uid.clone());
            }
        }
        for (uid, _) in ready.into_iter().filter(|(_, count)| *count > 1) {
            self.violated("I4", format!("two ready sandboxes of {uid}"));
        }
        for (name, uids) in live.into_iter().filter(|(_, uids)| uids.len() > 1) {
            self.violated("I4", format!("two live pods of one name {name:?}: {uids:?}"));
        }
    }

    /// I2 and I3 of what the agent says.
    fn shown(&mut self, pod: &PodView, containers: &[ContainerView]) {
        if let Some(known) = self.phases.get(&pod.uid)
            && *known != pod.phase
            && !self.ended.contains(&pod.uid)
        {
            self.violated("I2", format!("terminal phase {known} of {} became {}", pod.uid, pod.phase));
        }
        if matches!(pod.phase.as_str(), "Succeeded" | "Failed") {
            self.phases.insert(pod.uid.clone(), pod.phase.clone());
        }
        for container in containers {
            self.shown_container(&pod.uid, container);
        }
    }

    fn shown_container(&mut self, uid: &str, view: &ContainerView) {
        let key = (uid.to_owned(), view.name.clone());
        let before = self.restarts.insert(key.clone(), view.restarts).unwrap_or(0);
        if before > view.restarts && !self.ended.contains(uid) {
            self.violated("I3", format!("restarts of {key:?} fell from {before} to {}", view.restarts));
        }
        let Some(id) = view.id.clone().filter(|_| view.state == "Terminated") else { return };
        let said = (view.exit_code, view.reason.clone(), view.finished);
        if let (Some(truth), Some(code)) = (self.endings.get(&id), view.exit_code)
            && *truth != code
        {
            self.violated("I2", format!("{key:?} ended with {truth}, the view says {code}"));
        }
        let known = self.shown.entry(id).or_insert_with(|| said.clone()).clone();
        if known != said {
            self.violated("I2", format!("exit of {key:?} changed from {known:?} to {said:?}"));
        }
    }

    fn left_over(&mut self, node: &Node, snapshot: &Snapshot) {
        let wanted: BTreeSet<String> = self.wanted.iter().flatten().map(|(uid, _)| uid.clone()).collect();
        let own = |sandbox: &&pinnace_cri::fake::Sandbox| {
            sandbox.config.labels.get(labels::OWNER).is_none_or(|owner| owner == NODE)
        };
        for sandbox in snapshot.sandboxes.values().filter(own) {
            let uid = sandbox.config.metadata.as_ref().map_or("", |metadata| &metadata.uid);
            if !wanted.contains(uid) {
                self.violated("I6", format!("sandbox {} of unwanted pod {uid}", sandbox.id));
            }
        }
        let dirs = [node.dir.path().join("logs"), node.dir.path().join("root").join("pods")];
        for path in dirs.iter().flat_map(|dir| entries(dir)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !wanted.iter().any(|uid| name.ends_with(uid.as_str())) {
                self.violated("I6", format!("{} is of no wanted pod", path.display()));
            }
        }
    }

    fn true_views(&mut self, node: &Node, snapshot: &Snapshot) {
        for pod in node.board.pods() {
            let Ok(explained) = node.board.explain(&pod.uid) else { continue };
            for view in explained.containers {
                let of_name = snapshot.containers_of(&pod.uid).into_iter();
                let runs: Vec<_> =
                    of_name.filter(|c| is_running(c) && c.metadata().name == view.name).collect();
                let said = (view.state == "Running").then(|| view.id.clone()).flatten();
                if said.as_deref() != runs.first().map(|container| container.id.as_str()) {
                    self.violated("I8", format!("view of {} {} is {}", pod.name, view.name, view.state));
                }
            }
        }
        let shown: BTreeSet<String> = node.board.pods().into_iter().map(|pod| pod.uid).collect();
        let wanted: BTreeSet<String> = self.wanted.iter().flatten().map(|(uid, _)| uid.clone()).collect();
        if shown != wanted {
            self.violated("I8", format!("pods shown {shown:?}, wanted {wanted:?}"));
        }
    }
}
