//! Which volumes of which pods had their image resolved in the start of their pod. Pure but for its lock.
//!
//! The API resolves the image of a volume once, when its pod starts: a set-up that is tried again because of something
//! else pulls nothing twice, whatever the policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pinnace_cri::id::PodUid;

/// Names of volumes by pod. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    by_pod: Arc<Mutex<BTreeMap<PodUid, BTreeSet<String>>>>,
}

impl Resolved {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodUid, BTreeSet<String>>> {
        self.by_pod.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this volume's image is not to be resolved any more.
    #[must_use]
    pub fn has(&self, pod: &PodUid, volume: &str) -> bool {
        self.lock().get(pod).is_some_and(|volumes| volumes.contains(volume))
    }

    /// This volume's image was resolved.
    pub fn add(&self, pod: &PodUid, volume: &str) {
        self.lock().entry(pod.clone()).or_default().insert(volume.to_owned());
    }

    /// The pod's volumes are taken down.
    pub fn forget(&self, pod: &PodUid) {
        self.lock().remove(pod);
    }
}
