//! Who refers to what, and what was last heard of it. No I/O and no waiting: whoever follows an object writes here,
//! whoever wants it reads here.
//!
//! An object is followed from the first reference or question on, and for [`UNUSED`] after the last: pods of one owner
//! come one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Reference;
use super::data::Data;
use super::fetch::FetchError;
use super::service::ServiceInfo;
use super::trust::Bundles;
use crate::pod::changed::Changed;

/// How long what nobody refers to is kept: upstream drops a watch after five times its sync period of 1 min
/// (`pkg/kubelet/util/manager/watch_based_manager.go`).
pub(super) const UNUSED: Duration = Duration::from_secs(300);

/// What can be followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// One object.
    Object(Reference),
    /// All Services.
    Services,
    /// All ClusterTrustBundles.
    Bundles,
}

/// Services by namespace, each namespace's by name.
pub(super) type Services = BTreeMap<String, Arc<[ServiceInfo]>>;

/// Services in their order, parted by namespace.
pub(super) fn by_namespace(all: impl IntoIterator<Item = ServiceInfo>) -> Services {
    let mut found: BTreeMap<String, Vec<ServiceInfo>> = BTreeMap::new();
    for service in all {
        found.entry(service.namespace.clone()).or_default().push(service);
    }
    found.into_iter().map(|(namespace, services)| (namespace, services.into())).collect()
}

/// What was heard of a subject.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// The object; none if it does not exist.
    Object(Option<Arc<Data>>),
    /// All Services.
    Services(Arc<Services>),
    /// All ClusterTrustBundles.
    Bundles(Arc<Bundles>),
}

/// The last word on a subject.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// Answers and failures so far.
    pub(super) tries: u64,
    /// When the last of them came.
    pub(super) at: Option<Instant>,
    /// The last answer; it stays when later tries fail.
    pub(super) known: Option<Answer>,
    /// Why the last try failed; none if it did not.
    pub(super) failure: Option<FetchError>,
}

/// How one follows a subject.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) subject: Subject,
    /// Cancelled when nobody wants it any more.
    pub(super) over: CancellationToken,
    /// Notified when somebody wants a fresh answer.
    pub(super) asked: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Entry {
    holders: BTreeSet<PodUid>,
    /// Since when nobody holds it; none while somebody does.
    unused_since: Option<Instant>,
    /// Somebody follows it, or did until there was nothing more to hear.
    is_followed: bool,
    over: CancellationToken,
    asked: Arc<Notify>,
    slot: watch::Sender<Slot>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: BTreeMap<Subject, Entry>,
    /// What each pod holds.
    pods: BTreeMap<PodUid, BTreeSet<Subject>>,
    /// How many words there were for each pod that listens.
    words: BTreeMap<PodUid, watch::Sender<u64>>,
}

/// The book. Shared by all who read and write it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
    /// Pods of which something changed that they hold.
    pub(super) changed: Changed,
    /// Notified when there may be something to follow or to drop.
    pub(super) wake: Notify,
    /// Notified when the list of Services is another.
    pub(super) services_changed: Notify,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod holds exactly these from now on.
    pub(super) fn hold(&self, uid: &PodUid, subjects: BTreeSet<Subject>, now: Instant) {
        let mut pages = self.pages();
        let Pages { entries, pods, .. } = &mut *pages;
        let before = pods.get(uid).cloned().unwrap_or_default();
        if before == subjects {
            return;
        }
        for lost in before.difference(&subjects) {
            drop_holder(entries, lost, uid, now);
        }
        for won in subjects.difference(&before) {
            let entry = entries.entry(won.clone()).or_default();
            entry.holders.insert(uid.clone());
            entry.unused_since = None;
        }
        if subjects.is_empty() {
            pods.remove(uid);
        } else {
            pods.insert(uid.clone(), subjects);
        }
        self.wake.notify_one();
    }

    /// The pod holds nothing any more.
    pub(super) fn release(&self, uid: &PodUid, now: Instant) {
        self.hold(uid, BTreeSet::new(), now);
        self.pages().words.remove(uid);
    }

    /// How many words there were for a pod: see [`super::Objects::words`].
    pub(super) fn words(&self, uid: &PodUid) -> watch::Receiver<u64> {
        self.pages().words.entry(uid.clone()).or_default().subscribe()
    }

    /// The word on a subject as it comes, and what to notify for a fresh one. It is followed if it was not.
    pub(super) fn read(&self, subject: &Subject, now: Instant) -> (watch::Receiver<Slot>, Arc<Notify>) {
        let mut pages = self.pages();
        let entry = pages.entries.entry(subject.clone()).or_default();
        if entry.holders.is_empty() {
            entry.unused_since = Some(now);
        }
        if !entry.is_followed {
            self.wake.notify_one();
        }
        (entry.slot.subscribe(), Arc::clone(&entry.asked))
    }

    /// What a subject's follower has heard. Whoever holds an object that is not as it was is told.
    pub(super) fn write(&self, subject: &Subject, heard: Result<Answer, FetchError>, now: Instant) {
        let mut pages = self.pages();
        let Pages { entries, words, .. } = &mut *pages;
        let Some(entry) = entries.get_mut(subject) else { return };
        let (mut is_first, mut is_new, mut is_back) = (false, false, false);
        entry.slot.send_modify(|slot| {
            slot.tries = slot.tries.wrapping_add(1);
            slot.at = Some(now);
            match heard {
                Ok(answer) => {
                    // Who came before the first answer waits for it, and knows what it is.
                    is_first = slot.known.is_none();
                    is_new = slot.known.as_ref().is_some_and(|known| !known.is_same(&answer));
                    slot.known = Some(answer);
                    // Who came since has gone away with the failure.
                    is_back = slot.failure.take().is_some();
                }
                Err(error) => slot.failure = Some(error),
            }
        });
        // Services change all the time, and nobody who has a list waits for another.
        let is_news = is_new && *subject != Subject::Services;
        // After the slot: whoever is woken by this finds what it is about.
        if is_back || is_news {
            entry.holders.iter().for_each(|uid| tell(words, uid));
        }
        if is_news {
            entry.holders.iter().for_each(|uid| self.changed.mark(uid));
        }
        if *subject == Subject::Services && (is_first || is_new) {
            self.services_changed.notify_one();
        }
    }

    /// The last list of Services; none before the first, and while nobody wants it.
    pub(super) fn services(&self) -> Option<Arc<Services>> {
        match &self.pages().entries.get(&Subject::Services)?.slot.borrow().known {
            Some(Answer::Services(services)) => Some(Arc::clone(services)),
            Some(Answer::Object(_) | Answer::Bundles(_)) | None => None,
        }
    }

    /// Whether the pod does not hold exactly these.
    pub(super) fn holds_other(&self, uid: &PodUid, subjects: &BTreeSet<Subject>) -> bool {
        self.pages().pods.get(uid) != Some(subjects)
    }

    /// What is known of these counts as old.
    pub(super) fn age(&self, subjects: &BTreeSet<Subject>) {
        let pages = self.pages();
        for entry in subjects.iter().filter_map(|subject| pages.entries.get(subject)) {
            entry.slot.send_modify(|slot| slot.at = None);
        }
    }

    /// Tells the pods that hold one of these.
    pub(super) fn mark<'a>(&self, references: impl Iterator<Item = &'a Reference>) {
        let pages = self.pages();
        for reference in references {
            let entry = pages.entries.get(&Subject::Object(reference.clone()));
            for uid in entry.into_iter().flat_map(|entry| &entry.holders) {
                self.changed.mark(uid);
                tell(&pages.words, uid);
            }
        }
    }

    /// What is to be followed from now on, each told once.
    pub(super) fn take_up(&self) -> Vec<Task> {
        let mut pages = self.pages();
        let new = pages.entries.iter_mut().filter(|(_, entry)| !entry.is_followed);
        new.map(|(subject, entry)| {
            entry.is_followed = true;
            Task { subject: subject.clone(), over: entry.over.clone(), asked: Arc::clone(&entry.asked) }
        })
        .collect()
    }

    /// Drops what nobody has wanted for long enough; when to do so again.
    pub(super) fn drop_unused(&self, now: Instant, after: Duration) -> Option<Instant> {
        let mut pages = self.pages();
        let mut next: Option<Instant> = None;
        pages.entries.retain(|_, entry| {
            let Some(due) = entry.unused_since.map(|since| since + after) else { return true };
            if due <= now {
                entry.over.cancel();
                return false;
            }
            next = Some(next.map_or(due, |next| next.min(due)));
            true
        });
        next
    }

    /// Whether some pod holds it.
    pub(super) fn is_held(&self, subject: &Subject) -> bool {
        self.pages().entries.get(subject).is_some_and(|entry| !entry.holders.is_empty())
    }

    /// Drops a subject that nobody holds, for a follower that would have to begin anew: true if so. What no pod refers to
    /// a node may not read.
    pub(super) fn give_up(&self, subject: &Subject) -> bool {
        let mut pages = self.pages();
        let is_unused = pages.entries.get(subject).is_none_or(|entry| entry.holders.is_empty());
        if is_unused {
            pages.entries.remove(subject);
        }
        is_unused
    }

    /// How many are followed or kept.
    pub(super) fn len(&self) -> usize {
        self.pages().entries.len()
    }
}

fn tell(words: &BTreeMap<PodUid, watch::Sender<u64>>, uid: &PodUid) {
    if let Some(words) = words.get(uid) {
        words.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn drop_holder(entries: &mut BTreeMap<Subject, Entry>, subject: &Subject, uid: &PodUid, now: Instant) {
    let Some(entry) = entries.get_mut(subject) else { return };
    entry.holders.remove(uid);
    if entry.holders.is_empty() {
        entry.unused_since = Some(now);
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(one) => write!(out, "{} {}/{}", one.kind.word(), one.namespace, one.name),
            Self::Services => out.write_str("services"),
            Self::Bundles => out.write_str("clustertrustbundles"),
        }
    }
}

impl Answer {
    /// Whether a pod sees no difference: a version alone is none.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(None), Self::Object(None)) => true,
            (Self::Object(Some(one)), Self::Object(Some(other))) => one.is_same(other),
            (Self::Services(one), Self::Services(other)) => one == other,
            (Self::Bundles(one), Self::Bundles(other)) => one == other,
            _ => false,
        }
    }
}

impl Slot {
    /// The object by the last word on it, whether that was good or bad.
    pub(super) fn object(&self) -> Result<Option<Arc<Data>>, FetchError> {
        match (&self.known, &self.failure) {
            // What is known is good while nothing newer is heard; that there is nothing is not.
            (Some(Answer::Object(Some(data))), _) => Ok(Some(Arc::clone(data))),
            (_, Some(failure)) => Err(failure.clone()),
            (Some(Answer::Object(None)), None) => Ok(None),
            (None | Some(Answer::Services(_) | Answer::Bundles(_)), None) => Err(FetchError::Silent),
        }
    }

    /// Whether an answer is no older than this.
    pub(super) fn is_fresh(&self, now: Instant, limit: Duration) -> bool {
        self.failure.is_none()
            && self.known.is_some()
            && self.at.is_some_and(|at| now.saturating_duration_since(at) < limit)
    }
}

#[cfg(test)]
mod tests;
