//! ConfigMaps and Secrets from files beside the static pods, for a node without an API server. Owns what the last look
//! at the files found; written by the loop that looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Data, FetchError, Reference};

/// All of them.
pub type Found = Arc<BTreeMap<Reference, Arc<Data>>>;

/// What was found. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Manifests(Arc<watch::Sender<Option<Found>>>);

impl Default for Manifests {
    /// None, and none to wait for.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Some(Found::default()))))
    }
}

impl Manifests {
    /// They are read only now: whoever wants one waits for `Manifests::set`.
    pub fn expect(&self) {
        self.0.send_replace(None);
    }

    /// These are all. Returns which were not so before.
    pub(super) fn set(&self, found: Found) -> Vec<Reference> {
        let before = self.0.send_replace(Some(Arc::clone(&found))).unwrap_or_default();
        let differs = |reference: &&Reference| match (before.get(*reference), found.get(*reference)) {
            (Some(before), Some(after)) => !before.is_same(after),
            (before, after) => before.is_some() != after.is_some(),
        };
        let all: std::collections::BTreeSet<&Reference> = before.keys().chain(found.keys()).collect();
        all.into_iter().filter(differs).cloned().collect()
    }

    /// One of them; none if there is no such file. Waits so long for the first look.
    pub(super) async fn get(
        &self,
        reference: &Reference,
        patience: Duration,
    ) -> Result<Option<Arc<Data>>, FetchError> {
        let mut all = self.0.subscribe();
        let found = tokio::time::timeout(patience, all.wait_for(Option::is_some)).await;
        match found.map(|found| found.ok().and_then(|found| found.as_ref()?.get(reference).cloned())) {
            Ok(found) => Ok(found),
            Err(_) => Err(FetchError::NotRead),
        }
    }
}
