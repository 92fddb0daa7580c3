//! What is known of one pod, for everyone who asks: written by the pod's worker and fleet, read by views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use pinnace_cri::id::PodUid;
use tokio::sync::Notify;

use crate::events::Object;
use crate::journal::history::PodHistory;
use crate::pod::changed::Changed;
use crate::pod::plan::{Rest, Retry, Wait, Wish};
use crate::pod::step::Key;
use crate::source::desired::DesiredPod;
use crate::timeline::Timeline;

/// The worker's last word on a pod.
#[derive(Debug, Clone)]
pub struct Face {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The spec; none for a pod that only the runtime knows.
    pub pod: Option<Arc<DesiredPod>>,
    /// What the sources want.
    pub wish: Wish,
    /// What is remembered.
    pub history: PodHistory,
    /// What it waits for.
    pub waits: Vec<Wait>,
    /// Where it has got to.
    pub rest: Rest,
    /// Steps that failed.
    pub retries: BTreeMap<Key, Retry>,
    /// Steps under way.
    pub busy: BTreeSet<Key>,
    /// Why the worker is not running, if it panicked.
    pub quarantined: Option<String>,
}

/// A pod's face and its timeline.
#[derive(Debug)]
pub struct Card {
    /// UID.
    pub uid: PodUid,
    face: Mutex<Face>,
    timeline: Mutex<Timeline>,
    /// Told of each change; set once the card is among [`Cards`].
    changed: OnceLock<Arc<Changed>>,
    /// What was announced last, by subject.
    announced: Mutex<BTreeMap<String, u32>>,
}

impl Card {
    /// The card of a pod.
    #[must_use]
    pub fn new(uid: PodUid, face: Face) -> Self {
        Self {
            uid,
            face: Mutex::new(face),
            timeline: Mutex::default(),
            changed: OnceLock::new(),
            announced: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Face> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The face as it is now.
    #[must_use]
    pub fn face(&self) -> Face {
        self.lock().clone()
    }

    /// The spec as the sources have it now.
    #[must_use]
    pub fn pod(&self) -> Option<Arc<DesiredPod>> {
        self.lock().pod.clone()
    }

    /// Whether it has ended for good: nothing of it runs or will, though its object or manifest is still there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let face = self.lock();
        face.history.terminal.is_some() && face.rest != Rest::Working
    }

    /// Whether the node took it in: it runs, or is on its way out after it did.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.lock().history.admitted.is_some()
    }

    /// Changes the face. Nothing in `change` may wait.
    pub fn update(&self, change: impl FnOnce(&mut Face)) {
        change(&mut self.lock());
        if let Some(changed) = self.changed.get() {
            changed.mark(&self.uid);
        }
    }

    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let face = self.lock();
        format!("{}/{}", face.namespace, face.name)
    }

    /// The pod as events name it.
    #[must_use]
    pub fn object(&self) -> Object {
        let face = self.lock();
        Object::pod(face.namespace.as_str(), face.name.as_str(), self.uid.clone())
    }

    /// One of its containers as events name it.
    #[must_use]
    pub fn container(&self, name: &str) -> Object {
        let object = self.object();
        self.pod().map_or_else(|| object.clone(), |pod| object.container(&pod.pod, name))
    }

    /// Whether this number of a subject is to be announced: true once, until there is another.
    #[must_use]
    pub fn announces(&self, subject: &str, number: u32) -> bool {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        announced.insert(subject.to_owned(), number) != Some(number)
    }

    /// The timeline. The guard must not be held across a wait.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All cards.
#[derive(Debug, Default)]
pub struct Cards {
    all: RwLock<BTreeMap<PodUid, Arc<Card>>>,
    changed: Arc<Changed>,
    removed: Arc<Notify>,
}

impl Cards {
    /// Pods whose card was added, changed or taken away.
    #[must_use]
    pub fn changed(&self) -> Arc<Changed> {
        Arc::clone(&self.changed)
    }

    /// Told when a card was taken away: nothing is left of its pod. For one reader.
    #[must_use]
    pub fn removed(&self) -> Arc<Notify> {
        Arc::clone(&self.removed)
    }

    /// Adds a card.
    pub fn put(&self, card: Arc<Card>) {
        let _set_before = card.changed.set(Arc::clone(&self.changed));
        let uid = card.uid.clone();
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(uid.clone(), card);
        self.changed.mark(&uid);
    }

    /// Takes a card away.
    pub fn remove(&self, uid: &PodUid) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.changed.mark(uid);
        self.removed.notify_one();
    }

    /// The card of a pod.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<Arc<Card>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// All cards, by UID.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Card>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
