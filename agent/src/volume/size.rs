//! How large a directory in memory may grow. Pure.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};

use crate::quantity::Quantity;

/// Most bytes of a volume in memory: the least of what the volume, the pod and the node's pods together may have. A pod
/// is limited if it says so itself or if each of its containers is. Facts: `calculateEmptyDirMemorySize` of
/// `pkg/volume/emptydir/empty_dir.go`.
#[must_use]
pub fn of(limit: Option<u64>, spec: Option<&PodSpec>, allocatable: u64) -> u64 {
    [limit, spec.and_then(of_pod)].into_iter().flatten().fold(allocatable, u64::min)
}

/// The memory that the pod may use.
fn of_pod(spec: &PodSpec) -> Option<u64> {
    if let Some(own) = memory(spec.resources.as_ref()) {
        return Some(own);
    }
    let of_container = |container: &Container| memory(container.resources.as_ref());
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let lasting = spec.containers.iter().chain(init.iter().filter(is_sidecar));
    let together = lasting.map(of_container).try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)))?;
    let passing = init.iter().filter(|container| !is_sidecar(container)).map(of_container);
    passing.into_iter().try_fold(together, |most, one| Some(most.max(one?)))
}

/// A limit of zero is none.
fn memory(needs: Option<&ResourceRequirements>) -> Option<u64> {
    let limit = Quantity::parse(&needs?.limits.as_ref()?.get("memory")?.0).ok()?;
    u64::try_from(limit.value()).ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn size(limit: Option<u64>, containers: &[Option<&str>], init: &[Option<&str>]) -> u64 {
        let container = |memory: &Option<&str>| -> Value {
            match memory {
                Some(memory) => json!({ "name": "c", "resources": { "limits": { "memory": memory } } }),
                None => json!({ "name": "c" }),
            }
        };
        let all = |list: &[Option<&str>]| list.iter().map(container).collect::<Vec<_>>();
        let spec = json!({ "containers": all(containers), "initContainers": all(init) });
        of(limit, Some(&serde_json::from_value(spec).unwrap()), 1 << 30)
    }

    #[test]
    fn the_least_of_volume_pod_and_node() {
        assert_eq!(size(None, &[None], &[]), 1 << 30);
        assert_eq!(size(Some(5), &[None], &[]), 5);
        assert_eq!(size(Some(1 << 40), &[None], &[]), 1 << 30);
        assert_eq!(size(None, &[Some("1Ki"), Some("1Ki")], &[]), 2048);
        assert_eq!(size(Some(7), &[Some("1Ki")], &[]), 7);
        // One without a limit leaves its pod without one.
        assert_eq!(size(None, &[Some("1Ki"), None], &[]), 1 << 30);
        assert_eq!(size(None, &[Some("1Ki")], &[Some("4Ki")]), 4096);
        assert_eq!(size(None, &[Some("0")], &[]), 1 << 30);
        let own = json!({ "containers": [{ "name": "c" }], "resources": { "limits": { "memory": "3" } } });
        assert_eq!(of(None, Some(&serde_json::from_value(own).unwrap()), 1 << 30), 3);
    }
}
