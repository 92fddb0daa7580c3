//! What a pod object of the API becomes on this node. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::state;
use crate::source::desired::{DesiredPod, Origin};
use crate::source::gate;
use crate::source::static_pod::MIRROR_ANNOTATION;

/// Whether the object is the API's view of a static pod, which is never run.
#[must_use]
pub fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|known| known.contains_key(MIRROR_ANNOTATION))
}

/// The desired pod of an object; none if its UID or names cannot be used, or it has no spec.
///
/// The API server has defaulted and validated it, so it is taken as it is: whatever this version does not know or
/// has not built is the gate's to judge.
#[must_use]
pub fn desired(pod: &Pod) -> Option<DesiredPod> {
    let uid = state::uid(pod)?;
    let namespace = pod.metadata.namespace.clone().filter(|name| !name.is_empty())?;
    let name = pod.metadata.name.clone().filter(|name| !name.is_empty())?;
    pod.spec.as_ref()?;
    let mut kept = Pod { metadata: pod.metadata.clone(), spec: pod.spec.clone(), status: terminal(pod) };
    // What changes with every write of a status would make every such write a change of the pod.
    kept.metadata.managed_fields = None;
    kept.metadata.resource_version = None;
    let held = gate::held(&kept);
    Some(DesiredPod { uid, namespace, name, origin: Origin::Api, pod: Arc::new(kept), held })
}

/// A phase that is final in the API is final here.
fn terminal(pod: &Pod) -> Option<PodStatus> {
    let status = pod.status.as_ref()?;
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")).then(|| PodStatus {
        phase: status.phase.clone(),
        reason: status.reason.clone(),
        message: status.message.clone(),
        ..PodStatus::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "ns", "uid": "u1", "resourceVersion": "7",
                          "managedFields": [{ "manager": "m" }] },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_written_status_does_not_change_the_desired_pod() {
        let one = desired(&object(json!({ "phase": "Pending" }))).unwrap();
        let mut written = object(json!({ "phase": "Running", "podIP": "10.0.0.1" }));
        written.metadata.resource_version = Some("8".to_owned());
        assert_eq!(Some(one), desired(&written));
    }

    #[test]
    fn a_final_phase_is_kept() {
        let status = json!({ "phase": "Failed", "reason": "Evicted", "message": "m", "podIP": "10.0.0.1" });
        let kept = desired(&object(status)).unwrap().pod.status.clone().unwrap();
        assert_eq!((kept.phase.as_deref(), kept.reason.as_deref()), (Some("Failed"), Some("Evicted")));
        assert_eq!(kept.pod_ip, None);
    }

    #[test]
    fn an_object_that_no_path_can_be_made_of_is_not_run() {
        let mut pod = object(json!(null));
        pod.metadata.uid = Some("../x".to_owned());
        assert_eq!(desired(&pod), None);
        let mut pod = object(json!(null));
        pod.spec = None;
        assert_eq!(desired(&pod), None);
    }
}
