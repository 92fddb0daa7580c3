//! What is to be in the files of the cgroups that the node makes. Pure (`ResourceConfigForPod` in
//! `pkg/kubelet/cm/helpers_linux.go`, `getCgroupConfig` in `node_container_manager_linux.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;

use crate::config::reserve::Reserved;
use crate::pod::resources::sums::{self, Amounts};
use crate::pod::resources::{HUGEPAGES, Qos, hugepage_size, hugepage_unit, qos, quota, shares};
use crate::quantity::Quantity;

/// Period of a CPU quota where none is in force, in microseconds: the kernel's own.
const PERIOD: i64 = 100_000;
/// The kernel counts memory in pages and forgets the rest.
const PAGE: i64 = 4_096;

/// A file and what is to be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as `cpu.weight`.
    pub file: String,
    /// Its content.
    pub value: String,
}

/// What of the node enters the amounts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: i64,
    /// Processes that the kernel can have; none if it does not say.
    pub pids: Option<i64>,
    /// Bytes set aside in huge pages, by page size in bytes.
    pub hugepages: Vec<(i64, i64)>,
    /// Length of a CPU quota period in microseconds; none turns quotas off.
    pub cfs_period: Option<i64>,
    /// Processes of one pod; none for no limit.
    pub pod_pids: Option<u64>,
    /// What pods together may not use (`enforceNodeAllocatable`).
    pub reserved: Reserved,
    /// Cgroups of others whose reservation is also their limit.
    pub others: Vec<Other>,
}

/// A cgroup that is not of pods, and what is reserved for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Other {
    /// The key that names it, such as `kubeReservedCgroup`.
    pub key: &'static str,
    /// Its name, such as `/system`.
    pub cgroup: String,
    /// By resource name.
    pub amounts: BTreeMap<String, Quantity>,
}

fn setting(file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { file: file.into(), value: value.to_string() }
}

/// Weight on cgroup v2 from thousandths of a processor.
#[must_use]
pub fn weight(milli_cpu: i64) -> i64 {
    1 + (shares(milli_cpu) - 2) * 9_999 / 262_142
}

fn cpu_max(limited: i64, period: Option<i64>) -> Setting {
    let value = match period {
        Some(period) if limited > 0 => format!("{} {period}", quota(limited, period)),
        _ => format!("max {PERIOD}"),
    };
    setting("cpu.max", value)
}

fn memory_max(limit: i64) -> Setting {
    match limit {
        ..=0 => setting("memory.max", "max"),
        limit => setting("memory.max", limit.max(PAGE) / PAGE * PAGE),
    }
}

/// Of a pod. Nothing freezes pods, so what is frozen was so by another.
#[must_use]
pub fn of_pod(spec: &PodSpec, host: &Host) -> Vec<Setting> {
    let (requests, limits) = (sums::requests_in_all(spec), sums::limits_in_all(spec));
    let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
    let limited = |name| if sums::is_limited(spec, name) { of(&limits, name) } else { 0 };
    let cpu = if qos(spec) == Qos::BestEffort { 0 } else { of(&requests, "cpu") };
    let pids = host.pod_pids.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
    let mut settings = vec![
        setting("cpu.weight", weight(cpu)),
        cpu_max(limited("cpu"), host.cfs_period),
        memory_max(limited("memory")),
        setting("pids.max", pids),
    ];
    settings.extend(hugepages(host, |size| asked_in_pages(&requests, size)));
    settings.push(setting("cgroup.freeze", 0));
    settings
}

/// However the size is spelt.
fn asked_in_pages(requests: &Amounts, size: i64) -> i64 {
    let listed = requests.iter().filter(|(name, _)| hugepage_size(name) == Some(size));
    listed.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
}

/// Sizes that nobody asks for are limited to nothing.
fn hugepages(host: &Host, limit: impl Fn(i64) -> i64) -> Vec<Setting> {
    let set = |size: i64| setting(format!("hugetlb.{}.max", hugepage_unit(size)), limit(size));
    host.hugepages.iter().map(|(size, _)| set(*size)).collect()
}

/// Of all pods together: what the machine has, less what is reserved.
#[must_use]
pub fn of_all(host: &Host) -> Vec<Setting> {
    let kept = |name: &str, unit: fn(Quantity) -> i64| {
        let amounts = host.reserved.amounts.get(name).into_iter().flatten();
        amounts.fold(0_i64, |sum, amount| sum.saturating_add(unit(*amount)))
    };
    let left = |all: i64, kept: i64| all.saturating_sub(kept).max(0);
    let milli = |quantity: Quantity| quantity.milli().unwrap_or(i64::MAX);
    let cpu = left(i64::from(host.cpus).saturating_mul(1_000), kept("cpu", milli));
    let memory = left(host.memory, kept("memory", Quantity::value));
    let mut settings = vec![setting("cpu.weight", weight(cpu)), memory_max(memory.max(1))];
    if let Some(pids) = host.pids {
        settings.push(setting("pids.max", left(pids, kept("pid", Quantity::value))));
    }
    let set_aside = |size| {
        let of_size = host.hugepages.iter().find(|(known, _)| *known == size);
        of_size.map_or(0, |(_, bytes)| left(*bytes, kept(&format!("{HUGEPAGES}{size}"), Quantity::value)))
    };
    settings.extend(hugepages(host, set_aside));
    settings
}

/// Of a cgroup that is not of pods: what is reserved for it, and no setting for what is not (`enforceExistingCgroup`).
#[must_use]
pub fn of_other(other: &Other) -> Vec<Setting> {
    let set = |(name, amount): (&String, &Quantity)| match name.as_str() {
        "cpu" => Some(setting("cpu.weight", weight(amount.milli().unwrap_or(i64::MAX)))),
        "memory" => Some(memory_max(amount.value().max(1))),
        "pid" => Some(setting("pids.max", amount.value().max(0))),
        _ => None,
    };
    other.amounts.iter().filter_map(set).collect()
}

/// Of a class: burstable pods share by what they ask for together, the others get what is left.
#[must_use]
pub fn of_class<'a>(class: Qos, pods: impl Iterator<Item = &'a PodSpec>) -> Vec<Setting> {
    let asked = match class {
        Qos::Burstable => pods.filter(|spec| qos(spec) == Qos::Burstable).fold(0_i64, |sum, spec| {
            sum.saturating_add(sums::requests_in_all(spec).get("cpu").copied().unwrap_or(0))
        }),
        Qos::Guaranteed | Qos::BestEffort => 0,
    };
    vec![setting("cpu.weight", weight(asked))]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn host() -> Host {
        Host {
            cpus: 4,
            memory: 8 << 30,
            pids: Some(32_768),
            hugepages: vec![(1 << 30, 0), (2 << 20, 64 << 20)],
            cfs_period: Some(100_000),
            pod_pids: Some(4096),
            reserved: Reserved::default(),
            others: Vec::new(),
        }
    }

    fn shown(settings: &[Setting]) -> String {
        let all: Vec<_> =
            settings.iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect();
        all.join(" ")
    }

    fn pod(containers: Value, overhead: Value) -> PodSpec {
        serde_json::from_value(json!({ "containers": containers, "overhead": overhead })).unwrap()
    }

    fn of(containers: Value) -> String {
        shown(&of_pod(&pod(containers, json!({})), &host()))
    }

    const REST: &str = "pids.max=4096 hugetlb.1GB.max=0 hugetlb.2MB.max=0 cgroup.freeze=0";

    #[test]
    fn a_pods_limits_follow_its_class() {
        let limits = |cpu: &str, memory: &str| json!({ "limits": { "cpu": cpu, "memory": memory } });
        assert_eq!(
            of(json!([{ "name": "a", "resources": limits("500m", "64Mi") }])),
            format!("cpu.weight=20 cpu.max=50000 100000 memory.max=67108864 {REST}")
        );
        // One container without a limit, and the pod has none.
        assert_eq!(
            of(json!([{ "name": "a", "resources": limits("2", "64Mi") }, { "name": "b" }])),
            format!("cpu.weight=79 cpu.max=max 100000 memory.max=max {REST}")
        );
        assert_eq!(
            of(json!([{ "name": "a" }])),
            format!("cpu.weight=1 cpu.max=max 100000 memory.max=max {REST}")
        );
    }

    #[test]
    fn overhead_raises_the_limits_that_there_are() {
        let resources = json!({ "limits": { "cpu": "1", "memory": "1Gi", "hugepages-2Mi": "4Mi" } });
        let overhead = json!({ "cpu": "250m", "memory": "128Mi" });
        let containers = json!([{ "name": "a", "resources": resources }]);
        assert_eq!(
            shown(&of_pod(&pod(containers, overhead.clone()), &host())),
            "cpu.weight=49 cpu.max=125000 100000 memory.max=1207959552 pids.max=4096 \
             hugetlb.1GB.max=0 hugetlb.2MB.max=4194304 cgroup.freeze=0"
        );
        let free = shown(&of_pod(&pod(json!([{ "name": "a" }]), overhead), &host()));
        assert!(free.starts_with("cpu.weight=1 cpu.max=max 100000 memory.max=max "), "{free}");
    }

    #[test]
    fn what_the_pod_as_a_whole_asks_for_limits_it_whatever_its_containers_do() {
        let whole = |resources: Value| -> String {
            let containers =
                json!([{ "name": "a" }, { "name": "b", "resources": { "requests": { "cpu": "1" } } }]);
            let spec =
                json!({ "containers": containers, "resources": resources, "overhead": { "memory": "1Mi" } });
            shown(&of_pod(&serde_json::from_value(spec).unwrap(), &host())).replace(REST, "")
        };
        assert_eq!(
            whole(json!({ "requests": { "cpu": "2" }, "limits": { "cpu": "3", "memory": "64Mi" } })),
            "cpu.weight=79 cpu.max=300000 100000 memory.max=68157440 "
        );
        // One resource of the two, and what the containers ask for stands for the other.
        assert_eq!(
            whole(json!({ "limits": { "memory": "64Mi" } })),
            "cpu.weight=39 cpu.max=max 100000 memory.max=68157440 "
        );
        let pages = whole(json!({ "limits": { "hugepages-2Mi": "6Mi", "memory": "64Mi" } }));
        assert!(pages.contains("hugetlb.2MB.max=6291456 "), "{pages}");
    }

    #[test]
    fn init_containers_count_for_what_is_asked_and_for_whether_all_are_limited() {
        let resources = json!({ "requests": { "cpu": "100m" }, "limits": { "cpu": "1", "memory": "64Mi" } });
        let with = |init: Value| {
            let spec =
                json!({ "containers": [{ "name": "a", "resources": resources }], "initContainers": [init] });
            shown(&of_pod(&serde_json::from_value(spec).unwrap(), &host())).replace(REST, "")
        };
        let limits = json!({ "limits": { "cpu": "2", "memory": "16Mi" } });
        assert_eq!(
            with(json!({ "name": "i", "resources": limits })),
            "cpu.weight=79 cpu.max=200000 100000 memory.max=67108864 "
        );
        let sidecar = with(json!({ "name": "i", "restartPolicy": "Always", "resources": limits }));
        assert_eq!(sidecar, "cpu.weight=82 cpu.max=300000 100000 memory.max=83886080 ");
        assert_eq!(with(json!({ "name": "i" })), "cpu.weight=4 cpu.max=max 100000 memory.max=max ");
    }

    #[test]
    fn quotas_can_be_off_and_processes_without_limit() {
        let spec = pod(json!([{ "name": "a", "resources": { "limits": { "cpu": "1" } } }]), json!({}));
        let text = shown(&of_pod(&spec, &Host { cfs_period: None, pod_pids: None, ..host() }));
        assert!(text.contains("cpu.max=max 100000") && text.contains("pids.max=max"), "{text}");
    }

    #[test]
    fn all_pods_have_what_is_not_reserved() {
        let mut host = host();
        for (name, text) in [("memory", "1Gi"), ("memory", "512Mi"), ("cpu", "500m"), ("pid", "768")] {
            host.reserved.amounts.entry(name.into()).or_default().push(Quantity::parse(text).unwrap());
        }
        assert_eq!(
            shown(&of_all(&host)),
            "cpu.weight=137 memory.max=6979321856 pids.max=32000 hugetlb.1GB.max=0 hugetlb.2MB.max=67108864"
        );
    }

    #[test]
    fn others_are_limited_to_what_is_reserved_for_them() {
        let amounts = [("cpu", "500m"), ("memory", "1Gi"), ("pid", "100"), ("ephemeral-storage", "1Gi")];
        let amounts = amounts.map(|(name, text)| (name.to_owned(), Quantity::parse(text).unwrap()));
        let other = Other { amounts: amounts.into(), ..Other::default() };
        assert_eq!(shown(&of_other(&other)), "cpu.weight=20 memory.max=1073741824 pids.max=100");
        assert_eq!(of_other(&Other::default()), []);
    }

    #[test]
    fn burstable_pods_weigh_what_they_ask_for() {
        let asks =
            |cpu: &str| pod(json!([{ "name": "a", "resources": { "requests": { "cpu": cpu } } }]), json!({}));
        let limited = json!({ "limits": { "cpu": "4", "memory": "1Gi" } });
        let guaranteed = pod(json!([{ "name": "a", "resources": limited }]), json!({}));
        let pods = [asks("1"), asks("500m"), guaranteed];
        assert_eq!(shown(&of_class(Qos::Burstable, pods.iter())), "cpu.weight=59");
        assert_eq!(shown(&of_class(Qos::BestEffort, pods.iter())), "cpu.weight=1");
    }

    proptest! {
        #[test]
        fn weights_and_limits_are_the_kernels(cpu in 0..i64::MAX, memory in 0..i64::MAX) {
            prop_assert!((1..=10_000).contains(&weight(cpu)));
            let limits = json!({ "cpu": format!("{cpu}m"), "memory": memory.to_string() });
            let spec = pod(json!([{ "name": "a", "resources": { "limits": limits } }]), json!({}));
            for setting in of_pod(&spec, &host()).iter().filter(|setting| setting.file == "memory.max") {
                let bytes: i64 = setting.value.parse().unwrap_or(PAGE);
                prop_assert!(bytes > 0 && bytes % PAGE == 0 && (bytes <= memory || bytes == PAGE));
            }
        }
    }
}
