//! When an API pod's object is given up. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::pod::api_status::is_terminal;
use crate::pod::card::Face;
use crate::pod::plan::Rest;
use crate::source::apiserver::pod::is_mirror;

/// Whether the object may be deleted for good, with grace 0: its deletion was asked for, the API server has the last
/// status (`acked`: nothing is left to write) and a terminal phase, and its worker says that nothing of it is left.
/// Never for a mirror: its static pod lives on.
#[must_use]
pub fn may_delete(face: &Face, object: &Pod, acked: bool) -> bool {
    let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
    let mirror = is_mirror(object);
    let asked_for = object.metadata.deletion_timestamp.is_some();
    asked_for
        && acked
        && !mirror
        && phase.is_some_and(is_terminal)
        && matches!(face.rest, Rest::Emptied | Rest::Vanished)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;
    use crate::journal::history::{PodHistory, TerminationCause};
    use crate::pod::plan::Wish;
    use crate::source::static_pod::MIRROR_ANNOTATION as MIRROR;

    fn face(rest: Rest) -> Face {
        Face {
            namespace: "ns".into(),
            name: "web".into(),
            pod: None,
            wish: Wish::Gone(TerminationCause::Removed),
            history: PodHistory::default(),
            waits: Vec::new(),
            rest,
            retries: BTreeMap::new(),
            busy: BTreeSet::new(),
            quarantined: None,
        }
    }

    #[test]
    fn i5_the_object_goes_last() {
        let object = |deleted: bool, mirror: bool, phase: &str| -> Pod {
            let mut metadata = json!({ "name": "web" });
            if deleted {
                metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            if mirror {
                metadata["annotations"] = json!({ MIRROR: "x" });
            }
            serde_json::from_value(json!({ "metadata": metadata, "status": { "phase": phase } })).unwrap()
        };
        let gone = face(Rest::Vanished);
        assert!(may_delete(&gone, &object(true, false, "Failed"), true));
        assert!(may_delete(&gone, &object(true, false, "Succeeded"), true));
        assert!(!may_delete(&gone, &object(true, false, "Succeeded"), false), "the last status is not in");
        assert!(!may_delete(&gone, &object(true, false, "Running"), true));
        assert!(!may_delete(&gone, &object(false, false, "Failed"), true), "nobody asked for it");
        assert!(!may_delete(&gone, &object(true, true, "Failed"), true), "a mirror");
        assert!(
            !may_delete(&face(Rest::Settled), &object(true, false, "Failed"), true),
            "its files are left"
        );
    }
}
