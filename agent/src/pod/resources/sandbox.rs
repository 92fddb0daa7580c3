//! What a sandbox is told of its pod's resources and of its place among cgroups. Pure.

use k8s_openapi::api::core::v1::PodSpec;
use pinnace_cri::v1::PodSandboxConfig;

use super::sums::{self, Amounts};
use super::{Node, linux};

/// Completes the message: the pod's cgroup (empty for the runtime's own choice), the sum of its containers, and what
/// running it costs beside them, which is requested and limited in one.
#[must_use]
pub fn completed(
    mut config: PodSandboxConfig,
    spec: &PodSpec,
    node: &Node,
    cgroup_parent: &str,
) -> PodSandboxConfig {
    let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
    let (requests, limits) = (sums::requests_of_pod(spec), sums::limits_of_pod(spec));
    let overhead = sums::overhead(spec);
    let beside = of(&overhead, "cpu");
    let set = config.linux.get_or_insert_default();
    cgroup_parent.clone_into(&mut set.cgroup_parent);
    set.resources = Some(linux(of(&requests, "cpu"), of(&limits, "cpu"), of(&limits, "memory"), node));
    set.overhead = match spec.overhead {
        Some(_) => Some(linux(beside, beside, of(&overhead, "memory"), node)),
        None => Some(pinnace_cri::v1::LinuxContainerResources::default()),
    };
    config
}
