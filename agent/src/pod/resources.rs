//! From resource requests and limits to what the runtime sets on a container's cgroup. Pure.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use pinnace_cri::v1::LinuxContainerResources;

mod hugepages;
pub mod sandbox;
pub mod sums;
mod swap;
#[cfg(test)]
mod tests;

pub use hugepages::{LIST as HUGEPAGES, size_of as hugepage_size, unit as hugepage_unit};
pub use sums::requests;
use sums::{limit, milli, request, whole};
pub use swap::Swap;

/// Least and most CPU shares (`MinShares`, `MaxShares` of `pkg/kubelet/cm/helpers_linux.go`).
const SHARES: (i64, i64) = (2, 262_144);
/// Least CPU quota in microseconds per period (`MinQuotaPeriod`).
const MIN_QUOTA: i64 = 1_000;
/// Priority from which a pod counts as critical to its node or cluster (2e9).
const CRITICAL: i32 = 2_000_000_000;
/// Class of pods that the node itself depends on (`pkg/apis/scheduling/types.go`).
const NODE_CRITICAL: &str = "system-node-critical";

/// Quality-of-service class of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Every container has CPU and memory limits equal to its requests.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

/// What of the node enters the figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Memory in bytes.
    pub memory: i64,
    /// Length of a CPU quota period in microseconds; none turns quotas off (`cpuCFSQuota: false`).
    pub cfs_period: Option<i64>,
    /// How containers are kept from swap.
    pub swap: Swap,
    /// Sizes of huge pages that the machine knows, in bytes.
    pub hugepage_sizes: Vec<i64>,
    /// Out of memory, all processes of a container are killed together: on cgroup v2, unless `singleProcessOOMKill`.
    pub group_kill: bool,
}

/// The pod's class. Requirements of the pod as a whole stand for those of its containers.
#[must_use]
pub fn qos(spec: &PodSpec) -> Qos {
    if let Some(level) = sums::of_the_whole(spec) {
        return class_of_whole(spec, level);
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let all = || spec.containers.iter().chain(init).map(|container| container.resources.as_ref());
    let set = |needs, resource| milli(limit(needs, resource)) > 0 || milli(request(needs, resource)) > 0;
    if !all().any(|needs| set(needs, "cpu") || set(needs, "memory")) {
        return Qos::BestEffort;
    }
    let full = |needs, resource| {
        let limit = milli(limit(needs, resource));
        limit > 0 && limit == milli(request(needs, resource))
    };
    if all().all(|needs| full(needs, "cpu") && full(needs, "memory")) {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

fn class_of_whole(spec: &PodSpec, level: &ResourceRequirements) -> Qos {
    let requests = sums::requests_of_pod(spec);
    let limited = |resource| sums::amount_of(resource, limit(Some(level), resource));
    let asked = |resource: &str| requests.get(resource).copied().unwrap_or(0);
    let named =
        |resource| milli(limit(Some(level), resource)) > 0 || milli(request(Some(level), resource)) > 0;
    if !named("cpu") && !named("memory") {
        return Qos::BestEffort;
    }
    let full = |resource| limited(resource) > 0 && limited(resource) == asked(resource);
    if full("cpu") && full("memory") { Qos::Guaranteed } else { Qos::Burstable }
}

/// Whether the pod is critical to its node or cluster, by its priority.
#[must_use]
pub fn is_critical(spec: &PodSpec) -> bool {
    spec.priority.is_some_and(|priority| priority >= CRITICAL)
}

/// Whether the node itself depends on the pod: its processes are the last to be killed.
fn is_node_critical(spec: &PodSpec) -> bool {
    is_critical(spec) && spec.priority_class_name.as_deref() == Some(NODE_CRITICAL)
}

/// How gladly the kernel kills the container's processes when memory runs out: -997 to 1000
/// (`GetContainerOOMScoreAdjust` in `pkg/kubelet/qos/policy.go`).
#[must_use]
pub fn oom_score_adj(spec: &PodSpec, container: &Container, node: &Node) -> i64 {
    if is_node_critical(spec) {
        return -997;
    }
    match qos(spec) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let wanted = asked_at_least(spec, container).saturating_add(sums::spare_memory(spec));
            let share = i128::from(wanted) * 1000 / i128::from(node.memory.max(1));
            i64::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// What a container asks for of memory. An init container that is restarted for ever counts as asking for no less than
/// the pod's least container, so that it is not killed before all of those whom it serves.
fn asked_at_least(spec: &PodSpec, container: &Container) -> i64 {
    let asked = |container: &Container| whole(request(container.resources.as_ref(), "memory"));
    let is_listed = |other: &Container| other.name == container.name;
    let serves = container.restart_policy.as_deref() == Some("Always")
        && spec.init_containers.iter().flatten().any(is_listed);
    let least = spec.containers.iter().map(asked).min().filter(|_| serves);
    asked(container).max(least.unwrap_or(0))
}

/// CPU shares from thousandths of a processor.
#[must_use]
pub fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { SHARES.0 } else { (milli_cpu.saturating_mul(1024) / 1000).clamp(SHARES.0, SHARES.1) }
}

/// CPU quota in microseconds per period, from thousandths of a processor; 0 for none.
#[must_use]
pub fn quota(milli_cpu: i64, period: i64) -> i64 {
    if milli_cpu == 0 { 0 } else { (milli_cpu.saturating_mul(period) / 1000).max(MIN_QUOTA) }
}

/// A container's limit, or that of its pod where it has none of its own.
fn limit_of(spec: &PodSpec, container: &Container, resource: &str) -> Option<crate::quantity::Quantity> {
    let own = limit(container.resources.as_ref(), resource).filter(|quantity| whole(Some(*quantity)) > 0);
    own.or_else(|| limit(sums::of_the_whole(spec), resource))
}

/// CPU and memory as a message has them: thousandths of a processor requested, limited, and bytes.
fn linux(requested: i64, limited: i64, memory: i64, node: &Node) -> LinuxContainerResources {
    let period = node.cfs_period.unwrap_or(0);
    let mut set = LinuxContainerResources {
        cpu_shares: shares(requested),
        cpu_quota: node.cfs_period.map_or(0, |period| quota(limited, period)),
        cpu_period: period,
        memory_limit_in_bytes: memory,
        ..LinuxContainerResources::default()
    };
    if node.group_kill {
        set.unified.insert("memory.oom.group".to_owned(), "1".to_owned());
    }
    set
}

/// What the runtime sets for a container.
#[must_use]
pub fn of_container(spec: &PodSpec, container: &Container, node: &Node) -> LinuxContainerResources {
    let limited = |resource: &str| limit_of(spec, container, resource);
    let requested = request(container.resources.as_ref(), "cpu").or_else(|| limited("cpu"));
    let mut set = linux(milli(requested), milli(limited("cpu")), whole(limited("memory")), node);
    set.oom_score_adj = oom_score_adj(spec, container, node);
    set.hugepage_limits = hugepages::limits(&node.hugepage_sizes, |name| whole(limited(name)));
    swap::keep_from(&mut set, spec, container, node);
    set
}
