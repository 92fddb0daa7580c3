//! Joins what the sources want into one value. Woken by either; writes the merged [`Desired`]; ends with its stop
//! token or the sources.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desired::Desired;

/// What both sources want together. Pure.
///
/// UIDs of the two never meet: a static pod's is a hash, and its mirror is left out by the API's source.
#[must_use]
pub fn merge(manifests: &Desired, api: &Desired) -> Desired {
    let mut pods = api.pods.clone();
    pods.extend(manifests.pods.iter().map(|(uid, pod)| (uid.clone(), Arc::clone(pod))));
    Desired {
        synced: manifests.synced && api.synced,
        manifests_synced: manifests.synced,
        pods,
        problems: manifests.problems.iter().chain(&api.problems).cloned().collect(),
        removed: Arc::clone(&api.removed),
    }
}

/// Keeps `out` what the sources want together, until `stop`.
pub async fn run(
    mut manifests: watch::Receiver<Arc<Desired>>,
    mut api: watch::Receiver<Arc<Desired>>,
    out: watch::Sender<Arc<Desired>>,
    stop: CancellationToken,
) {
    loop {
        let merged = merge(&manifests.borrow_and_update(), &api.borrow_and_update());
        out.send_replace(Arc::new(merged));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = manifests.changed() => if changed.is_err() { return },
            changed = api.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::desired::Origin;

    #[test]
    fn all_have_synced_once_both_have_and_manifests_may_be_earlier() {
        let synced = |synced| Desired { synced, ..Desired::default() };
        let file = Origin::File("/m".into());
        for (manifests, api) in [(false, false), (true, false), (false, true), (true, true)] {
            let merged = merge(&synced(manifests), &synced(api));
            assert_eq!(merged.synced, manifests && api);
            assert_eq!(merged.is_complete_for(Some(&file)), manifests);
            assert_eq!(merged.is_complete_for(Some(&Origin::Api)), manifests && api);
            assert_eq!(merged.is_complete_for(None), manifests && api);
        }
    }
}
