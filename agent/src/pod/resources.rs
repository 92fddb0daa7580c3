//! From resource requests and limits to what the runtime sets on a cgroup. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pinnace_cri::v1::LinuxContainerResources;

use crate::quantity::Quantity;

/// Least and most CPU shares (`MinShares`, `MaxShares` of `pkg/kubelet/cm/helpers_linux.go`).
const SHARES: (i64, i64) = (2, 262_144);
/// Least CPU quota in microseconds per period (`MinQuotaPeriod`).
const MIN_QUOTA: i64 = 1_000;
/// Priority from which a pod counts as critical to its node or cluster (2e9).
const CRITICAL: i32 = 2_000_000_000;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Memory in bytes.
    pub memory: i64,
    /// Length of a CPU quota period in microseconds; none turns quotas off (`cpuCFSQuota: false`).
    pub cfs_period: Option<i64>,
}

fn amount(list: Option<&BTreeMap<String, Text>>, resource: &str) -> Option<Quantity> {
    Quantity::parse(&list?.get(resource)?.0).ok()
}

fn limit(needs: Option<&ResourceRequirements>, resource: &str) -> Option<Quantity> {
    amount(needs?.limits.as_ref(), resource)
}

/// A limit without a request is also the request.
fn request(needs: Option<&ResourceRequirements>, resource: &str) -> Option<Quantity> {
    amount(needs?.requests.as_ref(), resource).or_else(|| limit(needs, resource))
}

fn milli(quantity: Option<Quantity>) -> i64 {
    quantity.and_then(|quantity| quantity.milli()).unwrap_or(0).max(0)
}

fn whole(quantity: Option<Quantity>) -> i64 {
    quantity.map_or(0, |quantity| quantity.value()).max(0)
}

/// The pod's class.
#[must_use]
pub fn qos(spec: &PodSpec) -> Qos {
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

/// What a container asks of its node: CPU in thousandths, all else in whole units.
#[must_use]
pub fn requests(container: &Container) -> BTreeMap<String, i64> {
    let needs = container.resources.as_ref();
    let lists = needs.map(|needs| [needs.requests.as_ref(), needs.limits.as_ref()]).into_iter().flatten();
    let names = lists.flatten().flat_map(BTreeMap::keys);
    let amount = |name: &String| match name.as_str() {
        "cpu" => milli(request(needs, name)),
        name => whole(request(needs, name)),
    };
    names.map(|name| (name.clone(), amount(name))).collect()
}

/// Whether the pod is critical to its node or cluster, by its priority.
#[must_use]
pub fn is_critical(spec: &PodSpec) -> bool {
    spec.priority.is_some_and(|priority| priority >= CRITICAL)
}

/// How gladly the kernel kills the container's processes when memory runs out: -997 to 1000.
#[must_use]
pub fn oom_score_adj(spec: &PodSpec, container: &Container, node: Node) -> i64 {
    if is_critical(spec) {
        return -997;
    }
    match qos(spec) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let wanted = whole(request(container.resources.as_ref(), "memory"));
            let share = i128::from(wanted) * 1000 / i128::from(node.memory.max(1));
            i64::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { SHARES.0 } else { (milli_cpu.saturating_mul(1024) / 1000).clamp(SHARES.0, SHARES.1) }
}

fn quota(milli_cpu: i64, period: i64) -> i64 {
    if milli_cpu == 0 { 0 } else { (milli_cpu.saturating_mul(period) / 1000).max(MIN_QUOTA) }
}

/// What the runtime sets for a container.
#[must_use]
pub fn of_container(spec: &PodSpec, container: &Container, node: Node) -> LinuxContainerResources {
    let needs = container.resources.as_ref();
    let period = node.cfs_period.unwrap_or(0);
    LinuxContainerResources {
        cpu_shares: shares(milli(request(needs, "cpu"))),
        cpu_quota: quota(milli(limit(needs, "cpu")), period),
        cpu_period: period,
        memory_limit_in_bytes: whole(limit(needs, "memory")),
        oom_score_adj: oom_score_adj(spec, container, node),
        ..LinuxContainerResources::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODE: Node = Node { memory: 4 << 30, cfs_period: Some(100_000) };

    fn spec(resources: serde_json::Value) -> PodSpec {
        serde_json::from_value(json!({ "containers": [{ "name": "c", "resources": resources }] })).unwrap()
    }

    fn class(resources: serde_json::Value) -> (Qos, i64) {
        let spec = spec(resources);
        (qos(&spec), oom_score_adj(&spec, &spec.containers[0], NODE))
    }

    #[test]
    fn class_and_oom_score_follow_requests_and_limits() {
        assert_eq!(class(json!({})), (Qos::BestEffort, 1000));
        assert_eq!(class(json!({ "limits": { "cpu": "1", "memory": "1Gi" } })), (Qos::Guaranteed, -997));
        assert_eq!(class(json!({ "requests": { "memory": "1Gi" } })), (Qos::Burstable, 750));
        assert_eq!(class(json!({ "requests": { "memory": "64Gi" } })), (Qos::Burstable, 3));
        assert_eq!(class(json!({ "requests": { "cpu": "1m" } })), (Qos::Burstable, 999));
    }

    #[test]
    fn shares_quota_and_memory_are_the_kubelets() {
        let set = |resources| {
            let spec = spec(resources);
            let set = of_container(&spec, &spec.containers[0], NODE);
            (set.cpu_shares, set.cpu_quota, set.memory_limit_in_bytes)
        };
        assert_eq!(set(json!({})), (2, 0, 0));
        assert_eq!(set(json!({ "limits": { "cpu": "500m", "memory": "64Mi" } })), (512, 50_000, 64 << 20));
        assert_eq!(set(json!({ "requests": { "cpu": "1m" }, "limits": { "cpu": "1m" } })), (2, 1_000, 0));
        assert_eq!(set(json!({ "requests": { "cpu": "100000" } })), (262_144, 0, 0));
    }

    #[test]
    fn a_critical_pod_is_killed_last() {
        let mut spec = spec(json!({}));
        spec.priority = Some(CRITICAL);
        assert_eq!(oom_score_adj(&spec, &spec.containers[0], NODE), -997);
    }
}
