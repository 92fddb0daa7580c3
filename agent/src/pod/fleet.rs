//! The fleet: one worker per pod. Owns the set of workers. Woken by a changed wish of the sources, lifecycle events
//! of the relist loop, a new snapshot while pods are unaccounted for, and workers that end. Writes wishes, wake-ups
//! and admissions. Ends with the stop token, and tells its workers to.
//!
//! Nothing is cleaned up before every source has synced and the runtime was listed; two pods of one full name
//! never run at once: the younger waits until the older is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use pinnace_cri::id::PodUid;
use pinnace_pleg::diff::PodLifecycleEvent;
use pinnace_pleg::snapshot::Snapshot;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::journal::history::{Class, Entry, Histories, PodHistory, TerminationCause, What};
use crate::pod::admit::Place;
use crate::pod::card::{Card, Cards, Face};
use crate::pod::plan::{Rest, Wish};
use crate::pod::roster::{self, Known, Move};
use crate::pod::worker::{Orders, Tools, Worker, admission, place};
use crate::source::desired::{Desired, DesiredPod};
use crate::supervise::WorkerPanic;
use crate::wait::{at, doubled};

mod admission;

/// First delay before a worker that panicked is started again; doubles with each panic up to five minutes.
const QUARANTINE: Duration = Duration::from_secs(10);
/// Longest quarantine.
const QUARANTINE_CAP: Duration = Duration::from_secs(300);

/// The fleet.
pub struct Fleet {
    tools: Tools,
    desired: watch::Receiver<Arc<Desired>>,
    observed: watch::Receiver<Arc<Snapshot>>,
    /// What of the node pods are held against.
    place: watch::Receiver<Arc<Place>>,
    /// When time alone may change the verdict on a pod that waits to be admitted.
    judge_again: Option<Instant>,
    events: mpsc::Receiver<PodLifecycleEvent>,
    /// What the journal remembered at the start, until a worker takes it over.
    remembered: Histories,
    /// Pods that had a directory at the start and were not met yet.
    on_disk: BTreeSet<PodUid>,
    cards: Arc<Cards>,
    members: BTreeMap<PodUid, Member>,
    ends: FuturesUnordered<BoxFuture<'static, (PodUid, End)>>,
    admitted: u64,
    /// The runtime may hold a pod whose name is not known yet.
    unseen: bool,
    /// A member waits to be admitted.
    anyone_waits: bool,
}

#[derive(Debug)]
struct Member {
    card: Arc<Card>,
    /// `namespace/name`.
    full_name: Arc<str>,
    wish: watch::Sender<Wish>,
    alone: watch::Sender<bool>,
    wake: Arc<Notify>,
    place: u64,
    panics: u32,
    since: Instant,
}

#[derive(Debug)]
enum End {
    /// Nothing of the pod is left.
    Vanished,
    /// The stop token.
    Stopped,
    /// A bug of ours.
    Panicked(WorkerPanic),
    /// The quarantine of a worker that panicked is over.
    Released,
}

impl Fleet {
    /// A fleet without members.
    #[must_use]
    pub fn new(
        tools: Tools,
        desired: watch::Receiver<Arc<Desired>>,
        place: watch::Receiver<Arc<Place>>,
        events: mpsc::Receiver<PodLifecycleEvent>,
        remembered: Histories,
        on_disk: BTreeSet<PodUid>,
        cards: Arc<Cards>,
    ) -> Self {
        let observed = tools.observed.clone();
        let members = BTreeMap::new();
        let ends = FuturesUnordered::new();
        Self {
            tools,
            desired,
            observed,
            place,
            judge_again: None,
            events,
            remembered,
            on_disk,
            cards,
            members,
            ends,
            admitted: 0,
            unseen: true,
            anyone_waits: false,
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut due = true;
        loop {
            if std::mem::replace(&mut due, true) {
                self.pass(&stop);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((uid, end)) = self.ends.next() => self.ended(&uid, end, &stop),
                changed = self.desired.changed() => if changed.is_err() { return },
                event = self.events.recv() => match event {
                    Some(event) => due = self.wake(&event),
                    None => return,
                },
                _ = self.observed.changed(), if self.unseen => {}
                // A node whose object is no longer told of stays as it was.
                Ok(()) = self.place.changed() => {}
                () = at(self.judge_again) => {}
            }
        }
    }

    /// Wakes the pod's worker; whether the event concerns others, too: nobody's pod, or one that makes room.
    fn wake(&self, event: &PodLifecycleEvent) -> bool {
        let member = self.members.get(&event.uid);
        member.inspect(|member| member.wake.notify_one()).is_none() || self.anyone_waits
    }

    fn pass(&mut self, stop: &CancellationToken) {
        let desired = self.desired.borrow_and_update().clone();
        let snapshot = self.observed.borrow_and_update().clone();
        let known = self.known();
        let mut moves = roster::moves(&known, &desired, &self.remembered, &snapshot);
        moves.extend(roster::leftovers(&known, &desired, &self.remembered, &snapshot, &self.on_disk));
        for next in moves {
            match next {
                Move::Admit(pod) => self.admit(&pod, stop),
                Move::TakeUp { uid, cause } => self.take_up(&uid, cause, &snapshot, stop),
                Move::Dismiss { uid, cause } => self.dismiss(&uid, cause, &desired),
                Move::Update(pod) => self.update(&pod),
            }
        }
        self.judge_waiting();
        let known = self.known();
        self.unseen = snapshot.listed == 0 || roster::is_anyone_unseen(&known, &snapshot);
        if !self.unseen {
            self.line_up(&known);
        }
    }

    fn known(&self) -> BTreeMap<PodUid, Known> {
        let known = |member: &Member| Known {
            full_name: Arc::clone(&member.full_name),
            leaving: match &*member.wish.borrow() {
                Wish::Gone(cause) => Some(cause.clone()),
                Wish::Run | Wish::Wait(_) | Wish::Refused { .. } | Wish::Evicted { .. } => None,
            },
            pod: member.card.pod(),
        };
        self.members.iter().map(|(uid, member)| (uid.clone(), known(member))).collect()
    }

    /// A pod that the sources want.
    fn admit(&mut self, pod: &Arc<DesiredPod>, stop: &CancellationToken) {
        let history = self.remembered.remove(&pod.uid).unwrap_or_default();
        let now = self.tools.actor.clock.now();
        let entry = admission(pod, &now);
        let mut history = history;
        let deleted = pod.is_being_deleted();
        // What was admitted once is never judged again: a restart is no reason to take a running pod's place away.
        let known = history.admitted.is_some() || history.terminal.is_some();
        let wish = match deleted {
            // Its object may be on its way out already: then it is only taken down.
            true => Wish::Gone(TerminationCause::Deleted),
            false if known => Wish::Run,
            false => self.judge(pod, Duration::ZERO),
        };
        // A refused pod too has a first sight, which its status and the next start go by.
        if matches!(wish, Wish::Run | Wish::Refused { .. }) && history.admitted.as_ref() != Some(pod) {
            history.apply(&entry.what);
            // At once, though nothing waits for it: should the manifest break and the agent die in the next moment, this
            // is all that says what the running pod is.
            self.tools.actor.journal.record(entry, Class::BeforeEffect);
        }
        self.tell_verdict(pod, &wish);
        self.tell_held(pod);
        let face = face(&pod.namespace, &pod.name, Some(Arc::clone(pod)), wish, history);
        self.enlist(pod.uid.clone(), face, stop);
    }

    /// A pod that nobody wants: the journal knows it, or only the runtime does.
    fn take_up(
        &mut self,
        uid: &PodUid,
        cause: TerminationCause,
        snapshot: &Snapshot,
        stop: &CancellationToken,
    ) {
        let history = self.remembered.remove(uid).unwrap_or_default();
        let seen = snapshot.pod(uid);
        let pod = history.admitted.clone();
        let named = pod.as_ref().map(|pod| (pod.namespace.clone(), pod.name.clone()));
        let (namespace, name) = named
            .or_else(|| seen.map(|seen| (seen.namespace.clone(), seen.name.clone())))
            // Only a directory is left. It is shown by what is known of it.
            .unwrap_or_else(|| (String::new(), uid.to_string()));
        tracing::info!(pod = format!("{namespace}/{name}"), %uid, ?cause, "pod is not wanted, taking it down");
        let face = face(&namespace, &name, pod, Wish::Gone(cause), history);
        self.enlist(uid.clone(), face, stop);
    }

    fn enlist(&mut self, uid: PodUid, face: Face, stop: &CancellationToken) {
        // One that is to go starts nothing, and the node may have lost the right to read what it refers to.
        if let Some(pod) = face.pod.as_ref().filter(|_| !face.wish.is_gone()) {
            self.tools.actor.objects.hold(pod);
        }
        let (wish, _) = watch::channel(face.wish.clone());
        let card = Arc::new(Card::new(uid.clone(), face));
        self.cards.put(Arc::clone(&card));
        let (alone, _) = watch::channel(false);
        let place = self.admitted;
        self.admitted += 1;
        let since = Instant::now();
        let full_name = card.full_name().into();
        let member = Member { card, full_name, wish, alone, wake: Arc::default(), place, panics: 0, since };
        self.ends.push(self.start(&uid, &member, stop));
        self.on_disk.remove(&uid);
        self.members.insert(uid, member);
    }

    fn start(
        &self,
        uid: &PodUid,
        member: &Member,
        stop: &CancellationToken,
    ) -> BoxFuture<'static, (PodUid, End)> {
        let orders = Orders {
            wish: member.wish.subscribe(),
            alone: member.alone.subscribe(),
            wake: Arc::clone(&member.wake),
        };
        let face = member.card.face();
        let place = place(face.pod.as_deref(), member.place);
        let worker = Worker::new(uid.clone(), Arc::clone(&member.card), place, self.tools.clone(), orders);
        let name = format!("worker of {}", member.card.full_name());
        let task = self.tools.supervisor.spawn_pod(name, worker.run(stop.clone()));
        let uid = uid.clone();
        Box::pin(async move {
            match task.await {
                Ok(true) => (uid, End::Vanished),
                Ok(false) => (uid, End::Stopped),
                Err(panic) => (uid, End::Panicked(panic)),
            }
        })
    }

    /// The same pod with another spec, as a manifest that names its UID may have.
    fn update(&self, pod: &Arc<DesiredPod>) {
        let Some(member) = self.members.get(&pod.uid) else { return };
        if !member.card.is_finished() {
            self.tools.actor.objects.hold(pod);
        }
        member.card.update(|face| face.pod = Some(Arc::clone(pod)));
        self.tools.actor.volumes.update(pod);
        // Whom the journal names as admitted a restart lets in unasked.
        if matches!(*member.wish.borrow(), Wish::Run | Wish::Evicted { .. } | Wish::Gone(_)) {
            self.tools.actor.journal.record(admission(pod, &self.tools.actor.clock.now()), Class::Soon);
        }
        member.wake.notify_one();
    }

    fn dismiss(&self, uid: &PodUid, cause: TerminationCause, desired: &Desired) {
        let Some(member) = self.members.get(uid) else { return };
        if let (Some(pod), Some(grace)) = (member.card.pod(), desired.removed.get(uid)) {
            let pod = Arc::new(pod.with_deletion_grace(*grace));
            member.card.update(|face| face.pod = Some(pod));
        }
        tracing::info!(pod = member.card.full_name(), %uid, ?cause, "pod is no longer wanted");
        member.card.update(|face| face.wish = Wish::Gone(cause.clone()));
        member.wish.send_replace(Wish::Gone(cause));
    }

    /// Tells each member whether it is alone in its name: a pod that is to run waits for those that are to go.
    fn line_up(&self, known: &BTreeMap<PodUid, Known>) {
        let not_alone = roster::not_alone(known);
        for (uid, member) in &self.members {
            let alone = !not_alone.contains(uid);
            member.alone.send_if_modified(|was| std::mem::replace(was, alone) != alone);
        }
    }

    fn ended(&mut self, uid: &PodUid, end: End, stop: &CancellationToken) {
        match end {
            End::Stopped => {}
            End::Vanished => {
                self.members.remove(uid);
                self.cards.remove(uid);
                self.tools.actor.objects.release(uid);
                let entry = Entry { uid: uid.clone(), what: What::Forgotten };
                self.tools.actor.journal.record(entry, Class::Soon);
                tracing::info!(%uid, "pod is gone");
            }
            End::Panicked(panic) => self.quarantine(uid, &panic),
            End::Released => {
                let Some(member) = self.members.get(uid) else { return };
                member.card.update(|face| face.quarantined = None);
                let worker = self.start(uid, member, stop);
                self.ends.push(worker);
            }
        }
    }

    /// A bug in one pod's worker stops that pod alone, and not for ever.
    fn quarantine(&mut self, uid: &PodUid, panic: &WorkerPanic) {
        let Some(member) = self.members.get_mut(uid) else { return };
        member.panics = member.panics.saturating_add(1);
        let delay = doubled(QUARANTINE, member.panics, QUARANTINE_CAP);
        let message = format!("worker panicked, next try in {} s: {}", delay.as_secs(), panic.message);
        let wall = self.tools.actor.clock.now().wall;
        self.tools.actor.events.warning(member.card.object(), "WorkerPanicked", &message, wall);
        member.card.update(|face| face.quarantined = Some(message));
        let uid = uid.clone();
        self.ends.push(Box::pin(async move {
            tokio::time::sleep(delay).await;
            (uid, End::Released)
        }));
    }
}

fn face(namespace: &str, name: &str, pod: Option<Arc<DesiredPod>>, wish: Wish, history: PodHistory) -> Face {
    Face {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        pod,
        wish,
        history,
        waits: Vec::new(),
        rest: Rest::Working,
        retries: BTreeMap::new(),
        busy: BTreeSet::new(),
        quarantined: None,
    }
}
