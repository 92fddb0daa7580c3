//! What a pod asks for that this node may not be able to enforce. Pure; the kubelet's words.

use k8s_openapi::api::core::v1::PodSpec;

use super::{Place, Verdict, reject, wait};
use crate::pod::security::app_armor;
use crate::source::desired::DesiredPod;

/// Kernel parameters (`pkg/kubelet/sysctl/allowlist.go`).
pub(super) fn sysctls(spec: &PodSpec, place: &Place) -> Option<Verdict> {
    place.sysctls.refusal(spec).map(|why| reject("SysctlForbidden", &why))
}

/// Groups from the spec alone, which a runtime must know how to give (`pkg/kubelet/lifecycle/predicate.go`).
pub(super) fn groups(spec: &PodSpec, place: &Place) -> Option<Verdict> {
    let context = spec.security_context.as_ref();
    let policy = context.and_then(|context| context.supplemental_groups_policy.as_deref());
    match place.strict_groups {
        _ if policy != Some("Strict") => None,
        Some(true) => None,
        Some(false) => {
            let message = "SupplementalGroupsPolicy=Strict is not supported in this node";
            Some(reject("SupplementalGroupsPolicyNotSupported", message))
        }
        None => Some(wait("the runtime to say whether it supports supplementalGroupsPolicy: Strict")),
    }
}

/// AppArmor (`pkg/kubelet/lifecycle/handlers.go`).
pub(super) fn app_armor(pod: &DesiredPod, place: &Place) -> Option<Verdict> {
    let lacking = !place.app_armor && app_armor::is_required(&pod.pod);
    lacking.then(|| reject("AppArmor", &format!("Cannot enforce AppArmor: {}", app_armor::DISABLED)))
}
