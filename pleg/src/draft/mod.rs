//! What was observed and is not all shown yet: one draft per pod, and the rules by which a draft becomes visible.
//!
//! Observations arrive in any order. One that began before the newest list of a pod says nothing about that pod any
//! more; a status overrules an older record. An absence is never believed at once: the object's status must say so,
//! or, when that cannot be had, a second list. Pure: values in, values out.

mod pod;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use pinnace_cri::container::{ContainerState, ContainerStatus};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::{SandboxState, SandboxStatus};
use tokio::time::Instant;

use crate::diff::{Change, diff};
use crate::health::Oddities;
use crate::quarantine::Quarantine;
use crate::seam::{Listed, Listing};
use crate::slots::Kind;
use crate::snapshot::{PodObserved, Snapshot};
use pod::Draft;
use shelf::{Outcome, Taken};

/// When more objects than this vanish in one list, a second list comes before their statuses: an empty list of a
/// full node would otherwise cost a call per object.
const MANY_VANISHED: usize = 32;

/// The object that a status call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Sandbox(SandboxId),
    Container(ContainerId),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(id) => write!(out, "PodSandboxStatus {id}"),
            Self::Container(id) => write!(out, "ContainerStatus {id}"),
        }
    }
}

/// A status call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) uid: PodUid,
    pub(crate) target: Target,
    pub(crate) kind: Kind,
}

/// The answer of a status call.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    Sandbox(Option<Arc<SandboxStatus>>),
    Container(Option<Arc<ContainerStatus>>),
}

/// What a complete list said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FullList {
    /// Pods that differ from what was known.
    pub(crate) changed: Vec<PodUid>,
    /// So much vanished that a second list must confirm it.
    pub(crate) again: bool,
}

/// All drafts.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    pods: BTreeMap<PodUid, Draft>,
    /// Pods whose visible state may differ at the next commit.
    touched: BTreeSet<PodUid>,
    /// Pods with an object that waits for an answer.
    unsettled: BTreeSet<PodUid>,
    listed: u64,
    looked: BTreeMap<PodUid, u64>,
    last_list: Listing,
    /// The drafts hold exactly what the last complete list said.
    agrees: bool,
    order: u64,
    odd: Oddities,
}

impl Drafts {
    /// Begin of the newest list that covered the pod.
    fn covered(&self, uid: &PodUid) -> u64 {
        self.listed.max(self.looked.get(uid).copied().unwrap_or(0))
    }

    pub(crate) fn oddities(&self) -> Oddities {
        self.odd
    }

    pub(crate) fn quarantined(&self) -> usize {
        self.unsettled
            .iter()
            .filter_map(|uid| self.pods.get(uid))
            .filter(|pod| pod.quarantine.is_some())
            .count()
    }

    /// Takes in a complete list that began at `begin`; lists arrive in the order in which they began. None when it
    /// says no more than "as before" and there is no before.
    pub(crate) fn take_full(&mut self, answer: Listed, begin: u64) -> Option<FullList> {
        match answer {
            Listed::Unchanged if self.listed == 0 => return None,
            Listed::Unchanged if self.agrees => {
                self.listed = begin;
                self.looked.retain(|_, looked| *looked > begin);
                return Some(FullList::default());
            }
            Listed::Unchanged => {}
            Listed::Changed(listing) => self.last_list = listing,
        }
        let listing = std::mem::take(&mut self.last_list);
        let full = self.take_grouped(&listing, begin);
        self.last_list = listing;
        Some(full)
    }

    fn take_grouped(&mut self, listing: &Listing, begin: u64) -> FullList {
        let before = self.odd;
        let grouped = group(listing, &mut self.odd);
        let nothing = pod::Listed::default();
        let known: Vec<PodUid> =
            self.pods.keys().filter(|uid| !grouped.contains_key(*uid)).cloned().collect();
        let here = grouped.iter().map(|(uid, listed)| (*uid, listed));
        let gone = known.iter().map(|uid| (uid, &nothing));
        let (mut full, mut vanished, mut disputed) = (FullList::default(), 0usize, false);
        for (uid, listed) in here.chain(gone) {
            if begin < self.covered(uid) {
                disputed = true;
                continue;
            }
            let taken = self.take_pod(uid, listed, begin);
            vanished = vanished.saturating_add(taken.vanished);
            disputed |= taken.disputed;
            if taken.differs() {
                full.changed.push(uid.clone());
            }
        }
        if vanished > MANY_VANISHED {
            full.again = true;
            for draft in self.pods.values_mut() {
                shelf::hold_vanished(&mut draft.sandboxes, begin);
                shelf::hold_vanished(&mut draft.containers, begin);
            }
        }
        self.listed = begin;
        self.looked.retain(|_, looked| *looked > begin);
        self.agrees = !disputed && self.unsettled.is_empty() && self.odd == before;
        full
    }

    /// Takes in the list of one pod; whether it differs from what was known.
    pub(crate) fn take_look(&mut self, uid: &PodUid, listing: &Listing, begin: u64) -> bool {
        if begin < self.covered(uid) {
            return false;
        }
        let mut grouped = group(listing, &mut self.odd);
        let listed = grouped.remove(uid).unwrap_or_default();
        let misfiled =
            grouped.values().map(|other| other.sandboxes.len().saturating_add(other.containers.len()));
        self.odd.misfiled = misfiled.fold(self.odd.misfiled, |sum, more| sum.saturating_add(more as u64));
        let taken = self.take_pod(uid, &listed, begin);
        self.looked.insert(uid.clone(), begin);
        self.agrees &= !taken.differs();
        taken.differs()
    }

    fn take_pod(&mut self, uid: &PodUid, listed: &pod::Listed<'_>, begin: u64) -> Taken {
        let covered = self.covered(uid);
        if !self.pods.contains_key(uid) {
            if listed.sandboxes.is_empty() && listed.containers.is_empty() {
                return Taken::default();
            }
            self.pods.insert(uid.clone(), Draft::new(covered));
        }
        let Some(draft) = self.pods.get_mut(uid) else { return Taken::default() };
        let was_settled = draft.settled();
        if !self.touched.contains(uid) {
            draft.freeze(covered);
        }
        let taken = draft.take_list(listed, begin, &mut self.order, &mut self.odd);
        if taken.differs() || !was_settled {
            self.touch(uid);
        }
        taken
    }

    /// Takes in the answer of a status call that began at `begin`; an error puts the pod into quarantine at `now`.
    pub(crate) fn take_status(
        &mut self,
        asked: &Inspection,
        answer: Result<Status, String>,
        begin: u64,
        now: Instant,
    ) {
        let covered = self.covered(&asked.uid);
        let Some(draft) = self.pods.get_mut(&asked.uid) else { return };
        self.agrees = false;
        if !self.touched.contains(&asked.uid) {
            draft.freeze(covered);
        }
        let outcome = match (&asked.target, answer) {
            (Target::Sandbox(id), Ok(Status::Sandbox(status))) => {
                Ok(shelf::take_status(&mut draft.sandboxes, id, status, begin, covered, &mut self.odd))
            }
            (Target::Container(id), Ok(Status::Container(status))) => {
                Ok(shelf::take_status(&mut draft.containers, id, status, begin, covered, &mut self.odd))
            }
            (_, Ok(_)) => Err("the answer is about another kind of object".to_owned()),
            (_, Err(error)) => Err(error),
        };
        match outcome {
            Ok(Outcome::Done) => draft.began = draft.began.max(begin),
            Ok(Outcome::AskAgain) => {}
            Ok(Outcome::Wrong(what)) => fail(draft, &asked.target, what.to_owned(), now),
            Err(error) => fail(draft, &asked.target, error, now),
        }
        draft.spare_old_sandboxes();
        self.touch(&asked.uid);
    }

    fn touch(&mut self, uid: &PodUid) {
        let settled = self.pods.get(uid).is_none_or(Draft::settled);
        if settled {
            self.unsettled.remove(uid);
        } else if !self.unsettled.contains(uid) {
            self.unsettled.insert(uid.clone());
        }
        self.touched.insert(uid.clone());
    }

    /// The next status calls that may start at `now`, so many of pods in good standing and so many retries; they
    /// count as started.
    pub(crate) fn start_wanted(&mut self, now: Instant, fresh: usize, retries: usize) -> Vec<Inspection> {
        if fresh == 0 && retries == 0 {
            return Vec::new();
        }
        let drafts = self.unsettled.iter().filter_map(|uid| Some((uid, self.pods.get(uid)?)));
        let (quarantined, good): (Vec<_>, Vec<_>) = drafts.partition(|(_, draft)| draft.quarantine.is_some());
        let good = good.into_iter().flat_map(|(uid, draft)| draft.wanted(uid, now)).take(fresh);
        let quarantined =
            quarantined.into_iter().flat_map(|(uid, draft)| draft.wanted(uid, now)).take(retries);
        let wanted: Vec<_> = good.chain(quarantined).collect();
        for Inspection { uid, target, .. } in &wanted {
            let Some(draft) = self.pods.get_mut(uid) else { continue };
            match target {
                Target::Sandbox(id) => {
                    draft.sandboxes.get_mut(id).into_iter().for_each(|held| held.asked = true)
                }
                Target::Container(id) => {
                    draft.containers.get_mut(id).into_iter().for_each(|held| held.asked = true)
                }
            }
        }
        wanted
    }

    /// Whether any pod waits for an answer.
    pub(crate) fn waits(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// When, after `now`, the next quarantined pod is asked again.
    pub(crate) fn next_retry(&self, now: Instant) -> Option<Instant> {
        let quarantines = self.unsettled.iter().filter_map(|uid| self.pods.get(uid)?.quarantine.as_ref());
        quarantines.map(|quarantine| quarantine.next_retry).filter(|retry| *retry > now).min()
    }

    /// Whether the container, or any of the pod when none is named, runs as far as lists go; the id may be a sandbox's.
    pub(crate) fn runs(&self, uid: &PodUid, container: Option<&ContainerId>) -> bool {
        let Some(draft) = self.pods.get(uid) else { return false };
        let named = |id: &ContainerId| container.is_none_or(|wanted| wanted == id);
        let stands = |id: &ContainerId| {
            let sandbox = draft.sandboxes.values().find(|held| held.record.id.as_str() == id.as_str());
            sandbox.is_some_and(|held| held.record.state == SandboxState::Ready)
        };
        draft.containers.iter().any(|(id, held)| named(id) && held.record.state == ContainerState::Running)
            || container.is_some_and(stands)
    }

    /// The pod of the container or sandbox with this id, if it was listed.
    pub(crate) fn owner(&self, id: &ContainerId) -> Option<&PodUid> {
        let holds = |draft: &Draft| {
            let mut sandboxes = draft.sandboxes.keys();
            draft.containers.contains_key(id) || sandboxes.any(|sandbox| sandbox.as_str() == id.as_str())
        };
        self.pods.iter().find(|(_, draft)| holds(draft)).map(|(uid, _)| uid)
    }

    /// Makes visible what can be shown; what happened, in the order of pods.
    pub(crate) fn commit(&mut self, snapshot: &mut Snapshot) -> Vec<(PodUid, Change)> {
        let mut changes = Vec::new();
        for uid in std::mem::take(&mut self.touched) {
            let Some(draft) = self.pods.get_mut(&uid) else { continue };
            if draft.settled() {
                snapshot.lagging.remove(&uid);
            } else {
                snapshot.lagging.insert(uid.clone(), draft.frozen);
            }
            if let Some(shown) = draft.publish(&uid) {
                let happened = show(snapshot, &uid, shown);
                changes.extend(happened.into_iter().map(|change| (uid.clone(), change)));
            }
            if draft.settled() && draft.is_empty() {
                self.pods.remove(&uid);
            }
        }
        snapshot.seq = snapshot.seq.saturating_add(1);
        snapshot.listed = self.listed;
        snapshot.looked.clone_from(&self.looked);
        changes
    }
}

fn show(snapshot: &mut Snapshot, uid: &PodUid, shown: Option<Arc<PodObserved>>) -> Vec<Change> {
    let old = match &shown {
        Some(new) => snapshot.pods.insert(uid.clone(), Arc::clone(new)),
        None => snapshot.pods.remove(uid),
    };
    diff(old.as_deref(), shown.as_deref())
}

fn fail(draft: &mut Draft, target: &Target, error: String, now: Instant) {
    match target {
        Target::Sandbox(id) => shelf::take_failure(&mut draft.sandboxes, id),
        Target::Container(id) => shelf::take_failure(&mut draft.containers, id),
    }
    draft.quarantine = Some(Quarantine::after(draft.quarantine.as_ref(), target.to_string(), error, now));
}

/// Sorts a list by pod; of two records with one id the first counts.
fn group<'a>(listing: &'a Listing, odd: &mut Oddities) -> BTreeMap<&'a PodUid, pod::Listed<'a>> {
    let mut grouped = BTreeMap::<_, pod::Listed<'a>>::new();
    let mut ids = BTreeSet::new();
    for sandbox in &listing.sandboxes {
        if ids.insert(sandbox.id.as_str()) {
            grouped.entry(&sandbox.pod_uid).or_default().sandboxes.push(sandbox);
        } else {
            odd.duplicate = odd.duplicate.saturating_add(1);
        }
    }
    ids.clear();
    for container in &listing.containers {
        if ids.insert(container.id.as_str()) {
            grouped.entry(&container.pod_uid).or_default().containers.push(container);
        } else {
            odd.duplicate = odd.duplicate.saturating_add(1);
        }
    }
    grouped
}
