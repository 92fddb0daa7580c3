//! Which pods have something new to tell: a set that keeps each pod once, with one reader.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pinnace_cri::id::PodUid;
use tokio::sync::Notify;

/// The set. Marking is cheap and never waits; the reader sees every pod that was marked, however often, at least once
/// after the last mark.
#[derive(Debug, Default)]
pub struct Changed {
    set: Mutex<BTreeSet<PodUid>>,
    wake: Notify,
}

impl Changed {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PodUid>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of this pod may have changed: what is known of it here, or its object in the API server.
    pub fn mark(&self, uid: &PodUid) {
        // A set that holds it already has its reader woken.
        if self.lock().insert(uid.clone()) {
            self.wake.notify_one();
        }
    }

    /// Waits until a pod is marked, and takes up to `most` of them. For one reader; cancel-safe.
    pub async fn take(&self, most: usize) -> Vec<PodUid> {
        loop {
            let taken = self.take_now(most);
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }

    fn take_now(&self, most: usize) -> Vec<PodUid> {
        let mut set = self.lock();
        std::iter::from_fn(|| set.pop_first()).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_kept_once_and_none_is_lost() {
        let changed = Changed::default();
        let [a, b] = ["a", "b"].map(|uid| PodUid::new(uid).unwrap());
        for _ in 0..1_000 {
            changed.mark(&a);
            changed.mark(&b);
        }
        assert_eq!(changed.take(1).await, std::slice::from_ref(&a));
        changed.mark(&a);
        assert_eq!(changed.take(9).await, [a, b]);
        let idle = tokio::time::timeout(std::time::Duration::from_secs(9), changed.take(9)).await;
        assert!(idle.is_err(), "nothing was marked");
    }
}
