//! What the fleet does about the node's verdict on a pod: whom it asks, whom it tells, and whom it sends away for it.

use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::time::Instant;

use super::{Fleet, Member};
use crate::journal::history::Class;
use crate::pod::admit::{LABEL_PATIENCE, Neighbour, Verdict, judge, preempt};
use crate::pod::plan::Wish;
use crate::pod::worker::admission;
use crate::source::desired::DesiredPod;

/// How often what waits is judged anew: that a neighbour has come to its end, with its object still there, is told to
/// nobody.
const AGAIN: Duration = Duration::from_secs(1);

impl Fleet {
    /// What the node says to a pod that nobody has judged yet. Whoever has to make room for it is told to.
    pub(super) fn judge(&self, pod: &DesiredPod, waited: Duration) -> Wish {
        let neighbours = self.neighbours(&pod.uid);
        let others: Vec<_> =
            neighbours.iter().map(|(_, pod, leaving)| Neighbour { pod, leaving: *leaving }).collect();
        match judge(pod, &self.place.borrow(), &others, waited) {
            Verdict::Admit => Wish::Run,
            Verdict::Wait { waiting_for, .. } => Wish::Wait(waiting_for),
            Verdict::Preempt { victims, waiting_for } => {
                for (member, _, _) in victims.iter().filter_map(|place| neighbours.get(*place)) {
                    self.preempt(member, pod);
                }
                Wish::Wait(waiting_for)
            }
            Verdict::Reject { reason, message } => Wish::Refused { reason, message },
        }
    }

    /// The other pods that have a place on the node, and whether they are about to leave it.
    fn neighbours(&self, uid: &PodUid) -> Vec<(&Member, Arc<DesiredPod>, bool)> {
        let others = self.members.iter().filter(|(other, _)| *other != uid);
        let placed = others.filter_map(|(_, member)| {
            let leaving = match &*member.wish.borrow() {
                Wish::Run => false,
                Wish::Evicted { .. } | Wish::Gone(_) => true,
                Wish::Wait(_) | Wish::Refused { .. } => return None,
            };
            Some((member, member.card.pod()?, leaving)).filter(|_| !member.card.is_finished())
        });
        placed.collect()
    }

    /// A pod ends, failed, with its whole grace, so that a critical one can run.
    fn preempt(&self, member: &Member, critical: &DesiredPod) {
        let (reason, message) = (preempt::REASON, preempt::MESSAGE);
        tracing::warn!(
            pod = &*member.full_name,
            critical = critical.full_name(),
            "pod makes room for a critical one"
        );
        let wall = self.tools.actor.clock.now().wall;
        self.tools.actor.events.warning(member.card.object(), reason, message, wall);
        let wish = Wish::Evicted { reason: reason.to_owned(), message: message.to_owned() };
        member.card.update(|face| face.wish = wish.clone());
        member.wish.send_replace(wish);
    }

    pub(super) fn tell_verdict(&self, pod: &DesiredPod, wish: &Wish) {
        let name = pod.full_name();
        match wish {
            Wish::Run => tracing::info!(pod = name, uid = %pod.uid, "pod admitted"),
            Wish::Wait(what) => tracing::info!(pod = name, uid = %pod.uid, what, "pod waits to be admitted"),
            Wish::Refused { reason, message } | Wish::Evicted { reason, message } => {
                tracing::warn!(pod = name, uid = %pod.uid, reason, message, "pod refused");
                let wall = self.tools.actor.clock.now().wall;
                self.tools.actor.events.warning(pod.object(), reason, message, wall);
            }
            Wish::Gone(_) => tracing::info!(pod = name, uid = %pod.uid, "pod is being deleted"),
        }
    }

    /// What keeps a pod from being started although it is admitted: people look for that among its events.
    pub(super) fn tell_held(&self, pod: &DesiredPod) {
        let wall = self.tools.actor.clock.now().wall;
        for held in &pod.held {
            let (reason, message) = held.event();
            self.tools.actor.events.warning(pod.object(), reason, &message, wall);
        }
    }

    /// Judges anew what waits: a neighbour may be gone, a label there, or patience at its end.
    pub(super) fn judge_waiting(&mut self) {
        self.judge_again = None;
        let waits = |member: &&Member| matches!(*member.wish.borrow(), Wish::Wait(_));
        let mut waiting: Vec<_> = self
            .members
            .values()
            .filter(waits)
            .filter_map(|member| Some((member.since, member.card.pod()?)))
            .collect();
        waiting.sort_by_key(|(since, _)| *since);
        self.anyone_waits = !waiting.is_empty();
        for (since, pod) in waiting {
            let wish = self.judge(&pod, since.elapsed());
            let Some(member) = self.members.get(&pod.uid) else { continue };
            if matches!(wish, Wish::Wait(_)) {
                let now = Instant::now();
                let end = Some(since + LABEL_PATIENCE).filter(|end| *end > now);
                self.judge_again = self.judge_again.into_iter().chain(end).chain([now + AGAIN]).min();
            } else {
                self.tell_verdict(&pod, &wish);
                let entry = admission(&pod, &self.tools.actor.clock.now());
                self.tools.actor.journal.record(entry, Class::BeforeEffect);
            }
            if *member.wish.borrow() != wish {
                member.card.update(|face| face.wish = wish.clone());
                member.wish.send_replace(wish);
            }
        }
    }
}
