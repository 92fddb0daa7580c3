//! The relist loop: asks the runtime what it holds, and is the only writer of the snapshot.
//!
//! Owns the drafts, the calls under way, the snapshot and the stream's reputation. Woken by requests to look, answers,
//! and its own timer (next list, repeated look, retry of a quarantined pod, a slow call giving back its slot). Ends with
//! the stop token, or when the reader of events is gone.
//!
//! No call is awaited in line: each is a task, so a hung one holds up nothing. A pass takes in what was answered,
//! starts what is due and commits. A commit first replaces the snapshot and then delivers its events, from a queue
//! that keeps them until they are taken: a worker woken by an event therefore always finds the snapshot that shows
//! it, and a full channel loses nothing. While events wait, nothing further is taken in or committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::ask::{Ask, Asked, Asks, Looker};
use crate::cadence::Cadence;
use crate::calls::{Answer, Calls, Ended};
use crate::diff::PodLifecycleEvent;
use crate::draft::Drafts;
use crate::health::Health;
use crate::hint::HintReader;
use crate::repeat::Repeats;
use crate::seam::{Listed, Runtime, Unanswered};
use crate::sequence::Sequence;
use crate::slots::{Kind, LENT_FOR};
use crate::snapshot::Snapshot;
use crate::trust::{STRETCHED, Trust};
use crate::unplaced::Unplaced;

/// Of lists that fail in a row, the first and then each of this number is logged: about one a minute.
const LOG_EVERY: u32 = 60;

/// How patient the loop is, and how much it queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Deadline of a call about one pod or object.
    pub call_deadline: Duration,
    /// Deadline of a complete list: short enough that a runtime which answers again after a hang is noticed
    /// within 30 s.
    pub list_deadline: Duration,
    /// Events that wait for their reader: as the kubelet's `plegChannelCapacity` (pkg/kubelet/kubelet.go), three
    /// events for each of 300 pods.
    pub event_capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        let (call_deadline, list_deadline) = (Duration::from_secs(10), Duration::from_secs(25));
        Self { call_deadline, list_deadline, event_capacity: 1000 }
    }
}

/// The ends that the rest of the agent holds.
#[derive(Debug)]
pub struct Handles {
    /// Asks for looks.
    pub looker: Looker,
    /// What the runtime holds; replaced before the events of the same commit are delivered.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What happened. Must be read: while it is full, nothing new is observed.
    pub events: mpsc::Receiver<PodLifecycleEvent>,
    /// What the loop says of itself; see [`crate::health::verdict`].
    pub health: watch::Receiver<Health>,
}

/// The loop.
pub struct Relist<R> {
    config: Config,
    sequence: Sequence,
    asks: Arc<Asks>,
    calls: Calls<R>,
    drafts: Drafts,
    trust: Trust,
    repeats: Repeats,
    /// Exits of what no list has shown yet.
    unplaced: Unplaced,
    /// A list or look found a difference since those were last tried.
    newcomers: bool,
    /// Looks that are asked for and not started.
    wanted: BTreeMap<PodUid, Ask>,
    /// Looks under way, with the start of the newest.
    looking: BTreeMap<PodUid, Instant>,
    cadence: Cadence,
    /// Something is to be committed.
    news: bool,
    undelivered: VecDeque<PodLifecycleEvent>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    events: mpsc::Sender<PodLifecycleEvent>,
    health: watch::Sender<Health>,
}

/// Makes the two loops and the ends that the rest of the agent holds. The first list is due at once.
#[must_use]
pub fn new<R: Runtime>(
    runtime: Arc<R>,
    config: Config,
    sequence: Sequence,
) -> (Relist<R>, HintReader<R>, Handles) {
    let now = Instant::now();
    let asks = Arc::new(Asks::default());
    let (snapshots, snapshots_out) = watch::channel(Arc::default());
    let (events, events_out) = mpsc::channel(config.event_capacity.max(1));
    let (health, health_out) = watch::channel(Health::starting(now));
    let looker = Looker::new(Arc::clone(&asks));
    let hints = HintReader::new(Arc::clone(&runtime), Arc::clone(&asks));
    let relist = Relist {
        config,
        sequence,
        asks,
        calls: Calls::new(runtime),
        drafts: Drafts::default(),
        trust: Trust::default(),
        repeats: Repeats::default(),
        unplaced: Unplaced::default(),
        newcomers: false,
        wanted: BTreeMap::new(),
        looking: BTreeMap::new(),
        cadence: Cadence::default(),
        news: false,
        undelivered: VecDeque::new(),
        snapshots,
        events,
        health,
    };
    (relist, hints, Handles { looker, snapshots: snapshots_out, events: events_out, health: health_out })
}

impl<R: Runtime> Relist<R> {
    /// Observes until `stop`, or until the receiver of events is dropped.
    pub async fn run(mut self, stop: CancellationToken) {
        let (asks, events) = (Arc::clone(&self.asks), self.events.clone());
        loop {
            let now = Instant::now();
            if self.undelivered.is_empty() {
                self.pass(now);
            }
            self.report(now);
            let idle = self.undelivered.is_empty();
            let due = self.next_due(now);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                permit = events.reserve(), if !idle => match (permit, self.undelivered.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => return,
                },
                ended = self.calls.ended(), if idle => self.take(ended, Instant::now()),
                () = asks.news(), if idle => {}
                () = sleep_until(due), if idle => {}
            }
        }
    }

    /// Takes in what was answered, starts what is due, commits what can be shown.
    fn pass(&mut self, now: Instant) {
        while let Some(ended) = self.calls.try_ended() {
            self.take(ended, now);
        }
        let asked = self.asks.take();
        self.take_asked(asked, now);
        self.trust.expire(now);
        self.start_list(now);
        self.start_looks(now);
        self.start_inspections(now);
        self.commit();
    }

    fn take(&mut self, ended: Ended, now: Instant) {
        self.news = true;
        match ended.answer {
            Answer::List(listed) => self.take_list(listed, ended.begin, now),
            Answer::Look(uid, Ok(listing)) => {
                self.looking.remove(&uid);
                if self.drafts.take_look(&uid, &listing, ended.begin) {
                    self.trust.found_by_look(&uid);
                    self.newcomers = true;
                }
                self.repeats.looked(&uid, now, |container| self.drafts.runs(&uid, container));
            }
            Answer::Look(uid, Err(error)) => {
                debug!(%uid, %error, "failed to look at a pod, the next list covers it");
                self.looking.remove(&uid);
                self.repeats.looked(&uid, now, |container| self.drafts.runs(&uid, container));
                self.cadence.hurry();
            }
            Answer::Status(asked, status) => {
                if let Err(error) = &status {
                    warn!(uid = %asked.uid, object = %asked.target, %error, "failed to inspect");
                }
                let status = status.map_err(|error| error.to_string());
                self.drafts.take_status(&asked, status, ended.begin, now);
            }
        }
    }

    fn take_list(&mut self, listed: Result<Listed, Unanswered>, begin: u64, now: Instant) {
        self.cadence.ended(now);
        let full = match listed.map(|listed| self.drafts.take_full(listed, begin)) {
            Ok(Some(full)) => full,
            Ok(None) => {
                return self.list_failed(&Unanswered("the first list refers to one before it".into()));
            }
            Err(error) => return self.list_failed(&error),
        };
        if full.again {
            self.cadence.ask();
        }
        self.newcomers |= !full.changed.is_empty();
        self.trust.listed(begin, &full.changed, now);
        self.health.send_modify(|health| {
            health.last_list_ok = now;
            health.consecutive_failures = 0;
            health.last_error = None;
        });
    }

    /// Concludes nothing but that the next one is not to wait long.
    fn list_failed(&mut self, error: &Unanswered) {
        self.cadence.hurry();
        let mut failures = 0u32;
        self.health.send_modify(|health| {
            failures = health.consecutive_failures.saturating_add(1);
            health.consecutive_failures = failures;
            health.last_error = Some(error.to_string());
        });
        if failures % LOG_EVERY == 1 {
            warn!(%error, failures, "failed to list what the runtime holds");
        }
    }

    fn take_asked(&mut self, mut asked: Asked, now: Instant) {
        if let Some(open) = asked.stream {
            self.trust.connected(open);
        }
        self.place(&mut asked, now);
        let at = self.sequence.current();
        for (uid, ask) in asked.looks {
            self.trust.asked(&uid, at, ask.hint);
            for container in &ask.exits {
                self.repeats.announced(&uid, container.clone());
            }
            let waiting = self.wanted.entry(uid).or_default();
            waiting.own |= ask.own;
            waiting.hint |= ask.hint;
        }
        for uid in self.repeats.take_due(now) {
            self.wanted.entry(uid).or_default().own = true;
        }
        if asked.list {
            self.cadence.ask();
        }
    }

    /// Finds the pods of what was named by its id alone. An exit of something that no list has shown yet is kept for a
    /// while: it may have started and ended within one look.
    fn place(&mut self, asked: &mut Asked, now: Instant) {
        let fresh = std::mem::take(&mut asked.objects);
        let kept = if std::mem::take(&mut self.newcomers) { self.unplaced.fresh(now) } else { Vec::new() };
        for (id, exit) in kept.into_iter().map(|id| (id, true)).chain(fresh) {
            match self.drafts.owner(&id) {
                Some(uid) => {
                    self.unplaced.placed(&id);
                    asked.hint(uid, Some(id), exit);
                }
                None if exit => self.unplaced.keep(id, now),
                None => {}
            }
        }
    }

    fn start_list(&mut self, now: Instant) {
        let early = self.cadence.due(self.trust.period(now)).is_some_and(|due| now < due);
        if early || self.calls.lists() {
            return;
        }
        self.cadence.started(now);
        self.calls.list(self.sequence.begin(), self.config.list_deadline, now);
    }

    fn start_looks(&mut self, now: Instant) {
        let mut free = self.calls.free(Kind::Look, now);
        let looking = &self.looking;
        let idle = |uid: &PodUid| looking.get(uid).is_none_or(|since| later(*since, LENT_FOR) <= now);
        let ready: Vec<PodUid> = self.wanted.keys().filter(|uid| idle(uid)).cloned().collect();
        for uid in ready {
            if free == 0 {
                return;
            }
            free = free.saturating_sub(1);
            self.wanted.remove(&uid);
            self.looking.insert(uid.clone(), now);
            self.calls.look(uid, self.sequence.begin(), self.config.call_deadline, now);
        }
    }

    fn start_inspections(&mut self, now: Instant) {
        let (fresh, retries) = (self.calls.free(Kind::Inspection, now), self.calls.free(Kind::Retry, now));
        for inspection in self.drafts.start_wanted(now, fresh, retries) {
            self.calls.inspect(inspection, self.sequence.begin(), self.config.call_deadline, now);
        }
    }

    /// Replaces the snapshot, then queues and delivers its events.
    fn commit(&mut self) {
        if !std::mem::take(&mut self.news) {
            return;
        }
        let mut changes = Vec::new();
        let mut seq = 0;
        self.snapshots.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            changes = self.drafts.commit(snapshot);
            seq = snapshot.seq;
        });
        let events = changes.into_iter().map(|(uid, change)| PodLifecycleEvent { uid, seq, change });
        self.undelivered.extend(events);
        while let Some(event) = self.undelivered.pop_front() {
            if let Err(refused) = self.events.try_send(event) {
                self.undelivered.push_front(refused.into_inner());
                return;
            }
        }
    }

    /// Says how it goes, if that differs from before.
    fn report(&mut self, now: Instant) {
        let (stream, oddities) = (self.trust.stream(now), self.drafts.oddities());
        let (oldest_inflight, quarantined) = (self.calls.oldest(), self.drafts.quarantined());
        let waits = !self.undelivered.is_empty();
        self.health.send_if_modified(|health| {
            let undelivered_since = waits.then(|| health.undelivered_since.unwrap_or(now));
            let said = Health {
                oldest_inflight,
                quarantined,
                stream,
                oddities,
                undelivered_since,
                ..health.clone()
            };
            let differs = *health != said;
            *health = said;
            differs
        });
    }

    /// When there is something to do even if nothing happens.
    fn next_due(&self, now: Instant) -> Instant {
        let list = if self.calls.lists() { None } else { self.cadence.due(self.trust.period(now)) };
        let waits = !self.wanted.is_empty() || self.drafts.waits();
        let lent = if waits { self.calls.next_lent(now) } else { None };
        let dues = [list, lent, self.repeats.next(), self.drafts.next_retry(now), self.trust.next()];
        let limit = later(now, STRETCHED);
        dues.into_iter().flatten().min().unwrap_or(limit)
    }
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests;
