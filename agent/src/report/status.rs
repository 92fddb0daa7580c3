//! Tells the API server how pods fare: the only writer of pod status, and the only one that deletes API pods. Owns the
//! slots and what is known of each object. Woken by pods that changed here or there ([`crate::pod::changed::Changed`]),
//! answers, due times, and every 10 s by itself. Writes patches and final deletions; ends with the stop token.
//!
//! ```text
//!  cards, snapshot ─▶ status ─┐
//!                             ├─▶ differs? ─▶ slot (latest wins) ─▶ 16 writers, one per pod ─▶ PATCH
//!  watch, answers ─▶ object ──┘         └─ no, and all is over ─▶ DELETE with grace 0
//! ```
//!
//! Everything is read anew at each look: a lost event costs time, never truth. Nothing is read from the API server before
//! a write. Nothing is said of a pod before the runtime has told what it holds of it, so that a restart of the agent
//! never makes a pod look unready.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use pinnace_cri::id::PodUid;
use pinnace_pleg::snapshot::Snapshot;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::deletion::may_delete;
use super::hush::Hush;
use super::known::{Known, Reported};
use super::patch::{self, Lane};
use super::slots::{Settled, Slots, WRITERS};
use super::write::{self, Answer, Cause};
use crate::clock::Clock;
use crate::pod::api_status::{self, Host};
use crate::pod::card::{Cards, Face};
use crate::pod::paths::Dirs;
use crate::pod::status::Subject;
use crate::runtime::watch::RuntimeState;
use crate::source::desired::Origin;
use crate::supervise::Supervisor;
use crate::wait::at;

/// Period of the look at every pod, which corrects what no event told of.
const SWEEP: Duration = Duration::from_secs(10);
/// Refusals in a minute from which they are no lag any more.
const LAGGING: u64 = 10;
/// Pods that are looked at before writes are started again.
const AT_ONCE: usize = 64;

/// What the reporter is made from.
#[derive(Clone)]
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// The pods. Whoever keeps the watch marks each pod whose object changed in [`Cards::changed`], by the object's UID.
    pub cards: Arc<Cards>,
    /// What the runtime holds.
    pub observed: watch::Receiver<Arc<Snapshot>>,
    /// The API server's last known objects, mirrors included.
    pub reported: Arc<dyn Reported>,
    /// UID of the mirror by UID of the static pod.
    pub mirrors: watch::Receiver<Arc<BTreeMap<PodUid, PodUid>>>,
    /// The runtime's own word, for its name. Nothing is written before it is known.
    pub runtime: watch::Receiver<RuntimeState>,
    /// Addresses of the node, the primary one first, at most one of each family.
    pub host_ips: watch::Receiver<Vec<IpAddr>>,
    /// Where files are.
    pub dirs: Dirs,
    /// The clocks.
    pub clock: Clock,
}

/// Starts the reporter.
pub fn start(parts: Parts, supervisor: &Supervisor) {
    let reporter = Reporter::new(parts);
    supervisor.spawn_core("pod status", reporter.run(supervisor.stop_token()));
}

/// What is to be written for a pod.
#[derive(Debug)]
enum Work {
    Patch(Arc<Pod>, Value),
    Delete(Arc<Pod>),
}

struct Reporter {
    parts: Parts,
    slots: Slots,
    known: BTreeMap<PodUid, Known>,
    writes: FuturesUnordered<BoxFuture<'static, (PodUid, Answer)>>,
    hush: Hush,
    /// Writes that failed since the last that did not.
    failures: usize,
}

impl Reporter {
    fn new(parts: Parts) -> Self {
        Self {
            parts,
            slots: Slots::default(),
            known: BTreeMap::new(),
            writes: FuturesUnordered::new(),
            hush: Hush::default(),
            failures: 0,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let changed = self.parts.cards.changed();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill();
            let due = self.slots.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((uid, answer)) = self.writes.next() => self.settle(&uid, answer),
                uids = changed.take(AT_ONCE) => self.look_at(&uids),
                () = at(due) => {}
                () = change(&mut self.parts.mirrors) => self.look_at_all(),
                () = change(&mut self.parts.host_ips) => self.look_at_all(),
                () = change(&mut self.parts.runtime) => self.look_at_all(),
                _ = sweep.tick() => self.look_at_all(),
            }
        }
    }

    /// Starts as many writes as may be under way, each of the newest status.
    fn fill(&mut self) {
        let now = Instant::now();
        while let Some(uid) = self.slots.take(now) {
            let Some((work, _)) = self.work(&uid, now) else {
                self.slots.settle(&uid, Settled::Done, now);
                continue;
            };
            self.remember_sent(&uid, &work);
            let client = self.parts.client.clone();
            self.writes.push(Box::pin(async move {
                let answer = match work {
                    Work::Patch(object, difference) => write::status(client, object, difference).await,
                    Work::Delete(object) => write::delete(client, object).await,
                };
                (uid, answer)
            }));
        }
    }

    fn remember_sent(&mut self, uid: &PodUid, work: &Work) {
        if let (Work::Patch(_, difference), Some(known)) = (work, self.known.get_mut(uid)) {
            known.sent = known.ours.clone().map(|ours| (ours, difference.clone()));
        }
    }

    fn look_at_all(&mut self) {
        let uids: Vec<_> = self.parts.cards.all().iter().map(|card| card.uid.clone()).collect();
        let gone = |uid: &&PodUid| !uids.contains(uid);
        let gone: Vec<_> = self.known.keys().filter(gone).cloned().collect();
        self.look_at(&gone);
        self.look_at(&uids);
    }

    fn look_at(&mut self, uids: &[PodUid]) {
        let now = Instant::now();
        for uid in uids {
            let uid = self.local(uid);
            match self.work(&uid, now) {
                Some((_, lane)) => self.slots.want(&uid, lane, now),
                None => self.slots.unwant(&uid),
            }
        }
    }

    /// The pod that a UID of the API server stands for: itself, or the static pod that it is the mirror of.
    fn local(&self, uid: &PodUid) -> PodUid {
        let mirrors = self.parts.mirrors.borrow();
        let of = mirrors.iter().find(|(_, mirror)| *mirror == uid);
        of.map_or(uid, |(of, _)| of).clone()
    }

    /// The object that has this pod's status, as the watch knows it.
    fn reported(&self, uid: &PodUid, face: &Face) -> Option<Arc<Pod>> {
        let is_static = face.pod.as_ref().is_some_and(|pod| matches!(pod.origin, Origin::File(_)));
        if !is_static {
            return self.parts.reported.get(uid);
        }
        let mirror = self.parts.mirrors.borrow().get(uid).cloned()?;
        self.parts.reported.get(&mirror)
    }

    /// What is to be written now, from what is known now.
    fn work(&mut self, uid: &PodUid, now: Instant) -> Option<(Work, Lane)> {
        let Some(card) = self.parts.cards.get(uid) else {
            self.known.remove(uid);
            self.slots.forget(uid);
            return None;
        };
        let snapshot = self.parts.observed.borrow().clone();
        let host = self.host().filter(|_| snapshot.freshness(uid) > 0)?;
        let face = card.face();
        let reported = self.reported(uid, &face);
        let known = self.known.entry(uid.clone()).or_default();
        let object = known.object(reported, now)?;
        let seen = snapshot.pod(uid).map(AsRef::as_ref);
        let subject = Subject { uid, face: &face, seen, dirs: &self.parts.dirs };
        let before = api_status::basis(known.ours.as_ref(), object.status.as_ref());
        let new = api_status::status(&subject, before.as_ref(), &host, &self.parts.clock.now());
        let difference = patch::diff(object.status.as_ref(), &new);
        let lane = patch::lane(&object, &new);
        known.ours = Some(new);
        match difference {
            Some(difference) if known.left_out.as_ref() != Some(&difference) => {
                Some((Work::Patch(object, difference), lane))
            }
            _ if !known.deleted && may_delete(&face, &object, true) => {
                Some((Work::Delete(object), Lane::Urgent))
            }
            _ => None,
        }
    }

    /// The node as it is now; none before the runtime's name is known, without which no container has an id.
    fn host(&self) -> Option<Host> {
        let version = self.parts.runtime.borrow().version.clone()?;
        let runtime = version.split_whitespace().next()?.to_owned();
        Some(Host { ips: self.parts.host_ips.borrow().clone(), runtime, recursive_read_only: false })
    }

    fn settle(&mut self, uid: &PodUid, answer: Answer) {
        let now = Instant::now();
        let how = self.learn(uid, answer, now);
        self.slots.settle(uid, how, now);
        self.look_at(std::slice::from_ref(uid));
    }

    fn learn(&mut self, uid: &PodUid, answer: Answer, now: Instant) -> Settled {
        match answer {
            Answer::Failed(cause) => {
                self.failures = self.failures.saturating_add(1);
                self.complain(uid, &cause, now);
                return Settled::Failed;
            }
            Answer::Asked(patience, cause) => {
                self.complain(uid, &cause, now);
                return Settled::Asked(patience);
            }
            _ => {}
        }
        if std::mem::take(&mut self.failures) >= WRITERS {
            self.slots.release();
        }
        let face = self.parts.cards.get(uid).map(|card| card.face());
        let reported = face.and_then(|face| self.reported(uid, &face));
        let Some(known) = self.known.get_mut(uid) else { return Settled::Done };
        match answer {
            Answer::Written(pod) => {
                known.left_out = known
                    .sent
                    .take()
                    .and_then(|(sent, difference)| patch::left_out(pod.status.as_ref(), &sent, &difference));
                known.answered(pod, now);
            }
            Answer::Refetched(pod) => {
                known.answered(pod, now);
                return Settled::Refetched;
            }
            Answer::Deleted => known.deleted = true,
            Answer::Gone => known.vanished(reported.as_deref(), now),
            Answer::Asked(..) | Answer::Failed(_) => {}
        }
        Settled::Done
    }

    fn complain(&mut self, uid: &PodUid, cause: &Cause, now: Instant) {
        if let Some(held_back) = self.hush.may_say(&cause.kind, now) {
            let pod = self.parts.cards.get(uid).map(|card| card.full_name()).unwrap_or_default();
            let error = &cause.detail;
            if cause.kind == write::LAG && held_back < LAGGING {
                tracing::debug!(pod, error, "the authorizer does not know the pod yet, or no longer");
                return;
            }
            tracing::warn!(pod, error, held_back, "failed to write a pod's status, it is tried again");
        }
    }
}

/// Waits for a new value; for ever once nobody can give one.
async fn change<T>(value: &mut watch::Receiver<T>) {
    if value.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
