//! One pod's worker. Owns the pod's history and everything under way for it. Woken by lifecycle events of the
//! pod, a changed wish, an answered call, and time. Writes to the runtime and the pod's files by steps, to the
//! journal, and to the pod's [`Card`], which views read. Ends when nothing of the pod is left, or with the stop
//! token: containers live on.
//!
//! A pass takes no input: it reads the newest snapshot and wish, plans, and starts the steps. Steps run as tasks
//! of the supervisor, so a pass never waits for the runtime and a call is never dropped half-way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use pinnace_cri::id::PodUid;
use pinnace_pleg::Looker;
use pinnace_pleg::sequence::Sequence;
use pinnace_pleg::snapshot::{PodObserved, Snapshot};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Now;
use crate::journal::Journal;
use crate::journal::history::{Class, Entry, What};
use crate::pod::act::Actor;
use crate::pod::card::Card;
use crate::pod::job::{Done, Failure, Job};
use crate::pod::message;
use crate::pod::mind::{Around, Mind, Pace};
use crate::pod::paths::PodNames;
use crate::pod::plan::{Plan, Rest, Wish};
use crate::pod::resources::is_critical;
use crate::pod::slots::Order;
use crate::pod::step::Step;
use crate::pod::telling;
use crate::runtime::watch::RuntimeState;
use crate::source::desired::DesiredPod;
use crate::supervise::Supervisor;
use crate::wait;

/// Least time between two passes that time alone asks for: a plan that is due at once and changes nothing must
/// not spin.
const LEAST_PAUSE: Duration = Duration::from_millis(5);
/// How long a pass waits for the journal to be on disk before it goes on without: a full disk stops no pod.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(2);

/// What all workers share.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Carries out steps.
    pub actor: Arc<Actor>,
    /// Owns tasks.
    pub supervisor: Supervisor,
    /// Asks for looks.
    pub looker: Looker,
    /// Orders actions and observations.
    pub sequence: Sequence,
    /// How failed steps are tried again.
    pub pace: Pace,
    /// What the runtime holds.
    pub observed: watch::Receiver<Arc<Snapshot>>,
    /// Whether the runtime can run pods.
    pub runtime: watch::Receiver<RuntimeState>,
}

/// What a worker is told from outside.
#[derive(Debug, Clone)]
pub struct Orders {
    /// What the sources want.
    pub wish: watch::Receiver<Wish>,
    /// No older pod of the same name is left.
    pub alone: watch::Receiver<bool>,
    /// Look again.
    pub wake: Arc<Notify>,
}

/// The worker.
#[derive(Debug)]
pub struct Worker {
    uid: PodUid,
    pod: Option<Arc<DesiredPod>>,
    names: Option<PodNames>,
    place: Order,
    tools: Tools,
    orders: Orders,
    mind: Mind,
    card: Arc<Card>,
    leaving: CancellationToken,
    /// How many words there were on what the pod refers to.
    words: watch::Receiver<u64>,
    calls: FuturesUnordered<BoxFuture<'static, Answered>>,
}

type Answered = (Step, Duration, Result<Done, Failure>);

impl Worker {
    /// A worker for a pod, going on from what the journal remembers of it.
    #[must_use]
    pub fn new(uid: PodUid, card: Arc<Card>, place: Order, tools: Tools, orders: Orders) -> Self {
        let face = card.face();
        let pod = face.pod.clone();
        let words = tools.actor.objects.words(&uid);
        Self {
            names: PodNames::new(&face.namespace, &face.name, &uid),
            uid,
            pod,
            place,
            tools,
            orders,
            mind: Mind::new(face.history.clone()),
            card,
            leaving: CancellationToken::new(),
            words,
            calls: FuturesUnordered::new(),
        }
    }

    /// Runs until nothing of the pod is left: true, or until `stop`: false.
    pub async fn run(mut self, stop: CancellationToken) -> bool {
        loop {
            let plan = self.pass().await;
            if plan.rest == Rest::Vanished {
                return true;
            }
            if !self.wait(&plan, &stop).await {
                return false;
            }
        }
    }

    /// Waits for a reason to look again; false on `stop`.
    async fn wait(&mut self, plan: &Plan, stop: &CancellationToken) -> bool {
        let pause = plan.due().map(|due| due.max(LEAST_PAUSE));
        let unseen = !self.mind.is_fresh() || self.mind.wants_looks();
        let beyond = self.mind.seen_until();
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            Some(answered) = self.calls.next() => self.settle(answered),
            _ = self.orders.wish.changed() => {}
            _ = self.orders.alone.changed() => {}
            () = self.orders.wake.notified() => {}
            () = fresher(&mut self.tools.observed, &self.uid, beyond), if unseen => {}
            _ = self.tools.runtime.changed() => {}
            // No more words come to a pod that was released.
            Ok(()) = self.words.changed() => {}
            () = wait::pause(pause) => {}
        }
        true
    }

    async fn pass(&mut self) -> Plan {
        let now = self.tools.actor.clock.now();
        let snapshot = self.tools.observed.borrow_and_update().clone();
        let wish = self.orders.wish.borrow_and_update().clone();
        if wish.is_end() || self.mind.history.termination.is_some() {
            self.leaving.cancel();
        }
        self.mind.hear(*self.words.borrow_and_update());
        self.mind.observe(snapshot.freshness(&self.uid));
        if self.mind.wants_looks() && self.mind.is_fresh() {
            self.tools.looker.look(&self.uid);
        }
        let seen = snapshot.pod(&self.uid).cloned();
        self.learn_names(seen.as_deref());
        self.mind.forget_overtaken(seen.as_deref());
        let alone = *self.orders.alone.borrow_and_update();
        let network_ready = self.tools.runtime.borrow_and_update().network_ready;
        self.pod = self.card.pod();
        let pod = self.pod.clone();
        let judged = matches!(wish, Wish::Run | Wish::Refused { .. });
        if let (true, Some(pod), None) = (judged, &pod, &self.mind.history.admitted) {
            // Judged after a wait; the fleet has told the journal.
            self.mind.remember(&What::Admitted { pod: Arc::clone(pod), at: now.stamp() });
        }
        let around = Around {
            wish: &wish,
            pod: pod.as_deref(),
            seen: seen.as_deref(),
            alone,
            network_ready,
            backoff_cap: self.tools.pace.backoff_cap,
            now: &now,
        };
        let plan = self.decide(around).await;
        if self.mind.history.termination.is_some() {
            // Begun in this pass: the steps of its plan are to know.
            self.leaving.cancel();
        }
        for step in &plan.steps {
            self.begin(step, &around);
        }
        self.show(&around, &plan);
        plan
    }

    /// A pod that only a directory told of gets its names from the runtime, if that still has it.
    fn learn_names(&mut self, seen: Option<&PodObserved>) {
        let Some(seen) = seen.filter(|_| self.names.is_none()) else { return };
        self.names = PodNames::new(&seen.namespace, &seen.name, &self.uid);
        if self.names.is_some() {
            self.card.update(|face| {
                face.namespace.clone_from(&seen.namespace);
                face.name.clone_from(&seen.name);
            });
        }
    }

    /// Plans until there is nothing more to remember.
    async fn decide(&mut self, around: Around<'_>) -> Plan {
        loop {
            let plan = self.mind.plan(around);
            if plan.notes.is_empty() {
                return plan;
            }
            self.remember(plan.notes, &around).await;
        }
    }

    async fn remember(&mut self, notes: Vec<What>, around: &Around<'_>) {
        let mut first = Vec::new();
        for mut what in notes {
            if let What::Exited { name, exit, .. } = &mut what {
                message::complete(exit, name, around).await;
            }
            telling::of_note(&what, &self.card, &self.tools.actor.events, around.now);
            self.mind.remember(&what);
            let urgent = matches!(what, What::Terminating(_) | What::Terminal(_));
            let entry = Entry { uid: self.uid.clone(), what };
            if urgent {
                first.push(entry);
            } else {
                self.tools.actor.journal.record(entry, Class::Soon);
            }
        }
        write_first(self.tools.actor.journal.clone(), first).await;
    }

    /// Starts a step as a task of the supervisor.
    fn begin(&mut self, step: &Step, around: &Around<'_>) {
        for what in self.announced(step, around) {
            self.mind.remember(&what);
            self.tools.actor.journal.record(Entry { uid: self.uid.clone(), what }, Class::Soon);
        }
        self.mind.begin(step);
        let job = Job {
            step: step.clone(),
            pod: self.pod.clone(),
            uid: self.uid.clone(),
            names: self.names.clone(),
            object: self.card.object(),
            place: Order { starts: !step.is_teardown(), ..self.place },
            leaving: self.leaving.clone(),
            ips: sandbox_ips(step, around.seen),
            first: self.mind.history.containers.values().all(|known| known.attempt.is_none()),
            before: self.before(step),
        };
        let actor = Arc::clone(&self.tools.actor);
        let step = step.clone();
        let began = tokio::time::Instant::now();
        let call = self.tools.supervisor.spawn_call(format!("{step} of {}", job.object), actor.perform(job));
        self.calls.push(Box::pin(async move {
            let result = call.await.unwrap_or_else(|panic| Err(Failure::panicked(&panic)));
            (step, began.elapsed(), result)
        }));
    }

    /// What is remembered when a step begins.
    fn announced(&self, step: &Step, around: &Around<'_>) -> Vec<What> {
        match step {
            Step::RunSandbox { attempt } => vec![What::SandboxAttempt(*attempt)],
            Step::StartContainer { name, attempt, .. } => {
                let image = self.image_of(name);
                let asked = What::ContainerAttempt { name: name.clone(), attempt: *attempt, image };
                let backoff = self.mind.backoff_of_start(name, *attempt, around);
                asked_with(asked, name, backoff)
            }
            _ => Vec::new(),
        }
    }

    fn image_of(&self, name: &str) -> String {
        let spec = self.pod.as_ref().and_then(|pod| pod.pod.spec.as_ref());
        let container = spec.and_then(|spec| spec.containers.iter().find(|container| container.name == name));
        container.and_then(|container| container.image.clone()).unwrap_or_default()
    }

    /// The exit that must be on disk before its instance is removed.
    fn before(&self, step: &Step) -> Vec<Entry> {
        let Step::RemoveContainer { name, .. } = step else { return Vec::new() };
        let Some(history) = self.mind.history.containers.get(name) else { return Vec::new() };
        let (Some(exit), Some(seen)) = (&history.last_exit, &history.exit_seen) else { return Vec::new() };
        let what = What::Exited { name: name.clone(), exit: exit.clone(), seen: seen.clone() };
        vec![Entry { uid: self.uid.clone(), what }]
    }

    fn settle(&mut self, (step, took, result): Answered) {
        let now = self.tools.actor.clock.now();
        let acted_at = self.tools.sequence.current();
        self.mind.settle(&step, &result, acted_at, &self.tools.pace, &now);
        telling::of_answer(&self.card, &step, took, &result, &now);
        self.tools.looker.look(&self.uid);
    }

    fn show(&self, around: &Around<'_>, plan: &Plan) {
        self.card.update(|face| {
            face.history = self.mind.history.clone();
            face.waits.clone_from(&plan.waits);
            face.rest = plan.rest;
            face.retries = self.mind.retries(around.now);
            face.busy = self.mind.busy().clone();
        });
        if plan.rest == Rest::Emptied || self.card.is_finished() {
            self.tools.actor.objects.release(&self.uid);
        }
        let events = &self.tools.actor.events;
        telling::of_waits(&self.card, plan, events, around.now);
        if !around.network_ready {
            let problem = self.tools.runtime.borrow().problem.clone();
            telling::of_network(&self.card, plan, &problem, events, around.now);
        }
    }
}

/// Addresses of the sandbox that an instance is started in, as the pass saw them.
fn sandbox_ips(step: &Step, seen: Option<&PodObserved>) -> Vec<IpAddr> {
    let Step::StartContainer { sandbox, .. } = step else { return Vec::new() };
    let sandboxes = seen.map(|seen| seen.sandboxes.as_slice()).unwrap_or_default();
    let found = sandboxes.iter().find(|known| known.record.id == *sandbox);
    found.and_then(|found| found.status.as_ref()).map(|status| status.ips.clone()).unwrap_or_default()
}

/// A verdict is on disk before its effect; but a disk that cannot take it holds up no pod for long.
async fn write_first(journal: Journal, entries: Vec<Entry>) {
    if entries.is_empty() {
        return;
    }
    let written = journal.record_before_effect(entries);
    match tokio::time::timeout(JOURNAL_PATIENCE, written).await {
        Ok(Ok(())) => {}
        // The journal's own condition says so, once.
        Ok(Err(_)) | Err(_) => tracing::debug!("going on before the journal is written"),
    }
}

fn asked_with(asked: What, name: &str, backoff: Option<crate::journal::history::Backoff>) -> Vec<What> {
    let raised = backoff.map(|backoff| What::Backoff { name: name.to_owned(), backoff: Some(backoff) });
    std::iter::once(asked).chain(raised).collect()
}

/// Waits for an observation of this pod that is newer than `beyond`. Every commit wakes every pod that waits, so what
/// happens here for the others' commits must cost next to nothing. Cancel-safe: the newest snapshot is always looked at.
async fn fresher(observed: &mut watch::Receiver<Arc<Snapshot>>, uid: &PodUid, beyond: u64) {
    let found = observed.wait_for(|snapshot| snapshot.freshness(uid) > beyond).await.is_ok();
    if !found {
        // The relist loop is gone, which ends the process; nothing more will be seen.
        std::future::pending().await
    }
}

/// Whether a pod has priority in the line for slots.
#[must_use]
pub fn place(pod: Option<&DesiredPod>, admitted: u64) -> Order {
    let spec = pod.and_then(|pod| pod.pod.spec.as_ref());
    Order { starts: true, ordinary: !spec.is_some_and(is_critical), admitted }
}

/// When the journal is first told of a pod.
#[must_use]
pub fn admission(pod: &Arc<DesiredPod>, now: &Now) -> Entry {
    let what = What::Admitted { pod: Arc::clone(pod), at: now.stamp() };
    Entry { uid: pod.uid.clone(), what }
}
