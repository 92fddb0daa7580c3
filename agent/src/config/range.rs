//! Which values of a configuration are out of range. Pure; the limits are those of the kubelet's validation
//! (`pkg/kubelet/apis/config/validation/validation.go`), zero meaning "the default" where it does there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::duration::GoDuration;
use super::enforced::{ENFORCEABLE, Enforced};
use super::file::KubeletConfiguration;
use crate::pod::security::sysctl::Allowlist;
use crate::pod::userns::blocks::UNIT;

/// A field and what is wrong with it.
pub type Fault = (String, String);

const MILLISECOND: GoDuration = GoDuration::from_nanos(1_000_000);
const SECOND: GoDuration = GoDuration::from_secs(1);
/// Longest restart delay that may be configured (KEP-4603).
const MAX_RESTART_PERIOD: GoDuration = GoDuration::from_secs(300);

/// Every fault, in no particular order.
#[must_use]
pub fn faults(config: &KubeletConfiguration) -> Vec<Fault> {
    let mut found = Vec::new();
    numbers(config, &mut found);
    periods(config, &mut found);
    addresses(config, &mut found);
    words(config, &mut found);
    relations(config, &mut found);
    eviction(config, &mut found);
    pods(config, &mut found);
    allocatable(config, &mut found);
    found
}

fn add(found: &mut Vec<Fault>, field: &str, reason: impl Into<String>) {
    found.push((field.to_owned(), reason.into()));
}

fn numbers(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    let wide = |value: Option<i32>| value.map(i64::from);
    let most = i64::from(i32::MAX);
    let bounds = [
        ("port", wide(config.port), 0, 65_535),
        ("readOnlyPort", wide(config.read_only_port), 0, 65_535),
        ("healthzPort", wide(config.healthz_port), 0, 65_535),
        ("maxPods", wide(config.max_pods), 0, most),
        ("podsPerCore", wide(config.pods_per_core), 0, most),
        ("podPidsLimit", config.pod_pids_limit, -1, i64::MAX),
        ("maxOpenFiles", config.max_open_files, 0, i64::MAX),
        ("oomScoreAdj", wide(config.oom_score_adj), -1_000, 1_000),
        ("nodeLeaseDurationSeconds", wide(config.node_lease_duration_seconds), 0, most),
        ("nodeStatusMaxImages", wide(config.node_status_max_images), -1, most),
        ("imageGCHighThresholdPercent", wide(config.image_gc_high_threshold_percent), 0, 100),
        ("imageGCLowThresholdPercent", wide(config.image_gc_low_threshold_percent), 0, 100),
        ("maxParallelImagePulls", wide(config.max_parallel_image_pulls), 1, most),
        ("registryPullQPS", wide(config.registry_pull_qps), 0, most),
        ("registryBurst", wide(config.registry_burst), 0, most),
        ("eventRecordQPS", wide(config.event_record_qps), 0, most),
        ("eventBurst", wide(config.event_burst), 0, most),
        ("kubeAPIBurst", wide(config.kube_api_burst), 0, most),
        ("containerLogMaxFiles", wide(config.container_log_max_files), 2, most),
        ("containerLogMaxWorkers", wide(config.container_log_max_workers), 1, most),
        ("iptablesMasqueradeBit", wide(config.iptables_masquerade_bit), 0, 31),
        ("iptablesDropBit", wide(config.iptables_drop_bit), 0, 31),
        ("evictionMaxPodGracePeriod", wide(config.eviction_max_pod_grace_period), 0, most),
    ];
    for (field, value, low, high) in bounds {
        match value {
            Some(value) if value < low => add(found, field, format!("must be at least {low}, is {value}")),
            Some(value) if value > high => add(found, field, format!("must be at most {high}, is {value}")),
            _ => {}
        }
    }
    if config.memory_throttling_factor.is_some_and(|factor| !(factor > 0.0 && factor <= 1.0)) {
        add(found, "memoryThrottlingFactor", "must be above 0 and at most 1");
    }
}

fn periods(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    let not_negative = [
        ("syncFrequency", config.sync_frequency),
        ("fileCheckFrequency", config.file_check_frequency),
        ("httpCheckFrequency", config.http_check_frequency),
        ("runtimeRequestTimeout", config.runtime_request_timeout),
        ("streamingConnectionIdleTimeout", config.streaming_connection_idle_timeout),
        ("nodeStatusUpdateFrequency", config.node_status_update_frequency),
        ("nodeStatusReportFrequency", config.node_status_report_frequency),
        ("imageMinimumGCAge", config.image_minimum_gc_age),
        ("imageMaximumGCAge", config.image_maximum_gc_age),
        ("evictionPressureTransitionPeriod", config.eviction_pressure_transition_period),
        ("cpuManagerReconcilePeriod", config.cpu_manager_reconcile_period),
        ("shutdownGracePeriod", config.shutdown_grace_period),
        ("shutdownGracePeriodCriticalPods", config.shutdown_grace_period_critical_pods),
    ];
    for (field, period) in not_negative {
        if let Some(period) = period.filter(|period| *period < GoDuration::default()) {
            add(found, field, format!("must be positive, is {period}"));
        }
    }
    let restart =
        config.crash_loop_back_off.as_ref().and_then(|section| section.max_container_restart_period);
    let bounded = [
        ("cpuCFSQuotaPeriod", config.cpu_cfs_quota_period, MILLISECOND, SECOND),
        ("crashLoopBackOff.maxContainerRestartPeriod", restart, SECOND, MAX_RESTART_PERIOD),
    ];
    for (field, period, low, high) in bounded {
        if let Some(period) = period.filter(|period| *period < low || *period > high) {
            add(found, field, format!("must be between {low} and {high}, is {period}"));
        }
    }
}

fn addresses(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    for (field, text) in [("address", &config.address), ("healthzBindAddress", &config.healthz_bind_address)]
    {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty() && text.parse::<IpAddr>().is_err()) {
            add(found, field, format!("must be an IP address, is {text:?}"));
        }
    }
    for (index, text) in config.cluster_dns.iter().flatten().enumerate() {
        if text.parse::<IpAddr>().is_err() {
            add(found, &format!("clusterDNS[{index}]"), format!("must be an IP address, is {text:?}"));
        }
    }
}

fn words(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    let swap = config.memory_swap.as_ref().and_then(|section| section.swap_behavior.clone());
    let format = config.logging.as_ref().and_then(|section| section.format.clone());
    let choices: [(&str, Option<String>, &[&str]); 7] = [
        ("cgroupDriver", config.cgroup_driver.clone(), &["cgroupfs", "systemd"]),
        ("hairpinMode", config.hairpin_mode.clone(), &["promiscuous-bridge", "hairpin-veth", "none"]),
        ("memorySwap.swapBehavior", swap, &["NoSwap", "LimitedSwap"]),
        ("logging.format", format, &["text", "json"]),
        (
            "configMapAndSecretChangeDetectionStrategy",
            config.config_map_and_secret_change_detection_strategy.clone(),
            &["Get", "Cache", "Watch"],
        ),
        ("topologyManagerScope", config.topology_manager_scope.clone(), &["container", "pod"]),
        (
            "topologyManagerPolicy",
            config.topology_manager_policy.clone(),
            &["none", "best-effort", "restricted", "single-numa-node"],
        ),
    ];
    for (field, value, allowed) in choices {
        if let Some(value) = value.filter(|value| !value.is_empty() && !allowed.contains(&value.as_str())) {
            add(found, field, format!("must be one of {}, is {value:?}", allowed.join(", ")));
        }
    }
}

fn pods(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    for (index, pattern) in config.allowed_unsafe_sysctls.iter().flatten().enumerate() {
        if let Err(reason) = Allowlist::default().allow(pattern) {
            add(found, &format!("allowedUnsafeSysctls[{index}]"), reason);
        }
    }
    let ids = config.user_namespaces.as_ref().and_then(|section| section.ids_per_pod);
    let whole = |ids: i64| u32::try_from(ids).is_ok_and(|ids| ids > 0 && ids.is_multiple_of(UNIT));
    if let Some(ids) = ids.filter(|ids| !whole(*ids)) {
        let reason = format!("must be a multiple of {UNIT} below 4294967296, is {ids}");
        add(found, "userNamespaces.idsPerPod", reason);
    }
}

fn relations(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    if config.serialize_image_pulls == Some(true) && config.max_parallel_image_pulls.is_some_and(|n| n > 1) {
        add(found, "maxParallelImagePulls", "must be 1 while serializeImagePulls is true");
    }
    let high = config.image_gc_high_threshold_percent.unwrap_or(85);
    let low = config.image_gc_low_threshold_percent.unwrap_or(80);
    if low >= high {
        let reason = format!("must be below imageGCHighThresholdPercent ({high}), is {low}");
        add(found, "imageGCLowThresholdPercent", reason);
    }
    let critical = config.shutdown_grace_period_critical_pods.unwrap_or_default();
    if critical > config.shutdown_grace_period.unwrap_or_default() {
        add(found, "shutdownGracePeriodCriticalPods", "must not be above shutdownGracePeriod");
    }
}

/// What `enforceNodeAllocatable` may hold beside `pods` and `none`: a reservation whose cgroup has to be named.
fn allocatable(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    const FIELD: &str = "enforceNodeAllocatable";
    let list = config.enforce_node_allocatable.as_deref().unwrap_or_default();
    let has = |word: &str| list.iter().any(|listed| listed == word);
    let known = |word: &str| matches!(word, "pods" | "none") || Enforced::parse(word).is_some();
    for word in list.iter().filter(|word| !known(word)) {
        add(found, FIELD, format!("must be of {}, has {word:?}", ENFORCEABLE.join(", ")));
    }
    for enforced in list.iter().filter_map(|word| Enforced::parse(word)) {
        if enforced.cgroup(config).is_none() {
            add(found, enforced.key, format!("must name the cgroup, since {FIELD} has {}", enforced.word));
        }
        if enforced.is_compressible && has(enforced.word.trim_end_matches("-compressible")) {
            add(found, FIELD, format!("must not have {} beside the same of all resources", enforced.word));
        }
    }
    if has("none") && list.len() > 1 {
        add(found, FIELD, "must have none alone");
    }
    if config.cgroups_per_qos == Some(false) && list.iter().any(|word| word != "none") {
        add(found, FIELD, "must be empty or none while cgroupsPerQOS is false");
    }
}

/// Eviction signals (`pkg/kubelet/eviction/api/types.go`).
const SIGNALS: [&str; 9] = [
    "memory.available",
    "allocatableMemory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];

fn eviction(config: &KubeletConfiguration, found: &mut Vec<Fault>) {
    let empty = BTreeMap::new();
    let maps = [
        ("evictionHard", &config.eviction_hard),
        ("evictionSoft", &config.eviction_soft),
        ("evictionMinimumReclaim", &config.eviction_minimum_reclaim),
    ];
    for (field, map) in maps {
        for (signal, threshold) in map.as_ref().unwrap_or(&empty) {
            let path = format!("{field}[{signal}]");
            if !SIGNALS.contains(&signal.as_str()) {
                add(found, &path, "unknown eviction signal");
            } else if !is_threshold(threshold) {
                add(found, &path, format!("must be a quantity or 0% to 100%, is {threshold:?}"));
            }
        }
    }
    let grace = config.eviction_soft_grace_period.as_ref().unwrap_or(&empty);
    for signal in config.eviction_soft.as_ref().unwrap_or(&empty).keys() {
        if !grace.contains_key(signal) {
            add(found, &format!("evictionSoft[{signal}]"), "needs an entry in evictionSoftGracePeriod");
        }
    }
    for (signal, period) in grace {
        if !period.parse().is_ok_and(|period: GoDuration| period > GoDuration::default()) {
            let path = format!("evictionSoftGracePeriod[{signal}]");
            add(found, &path, format!("must be a positive duration, is {period:?}"));
        }
    }
}

fn is_threshold(text: &str) -> bool {
    match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().is_ok_and(|percent| (0.0..=100.0).contains(&percent)),
        None => is_quantity(text),
    }
}

/// A resource quantity that is not negative: digits, a fraction, and a suffix.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, suffix) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i8>().is_ok());
    number.parse::<f64>().is_ok() && (exponent || SUFFIXES.contains(&suffix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: serde_json::Value, wanted: &[&str]) {
        let config: KubeletConfiguration = serde_json::from_value(value.clone()).unwrap();
        let found: Vec<String> =
            faults(&config).into_iter().map(|(field, reason)| format!("{field}: {reason}")).collect();
        assert_eq!(found, wanted, "{value}");
    }

    #[test]
    fn an_empty_file_and_zeros_are_fine() {
        check(json!({}), &[]);
        check(
            json!({"syncFrequency": "0s", "maxPods": 0, "healthzPort": 0, "address": "", "podPidsLimit": -1,
                "imageMinimumGCAge": "0s", "nodeLeaseDurationSeconds": 0, "hairpinMode": ""}),
            &[],
        );
    }

    #[test]
    fn what_is_out_of_range_says_the_range() {
        check(json!({"healthzPort": 65_536}), &["healthzPort: must be at most 65535, is 65536"]);
        check(json!({"podPidsLimit": -2}), &["podPidsLimit: must be at least -1, is -2"]);
        check(json!({"syncFrequency": "-1s"}), &["syncFrequency: must be positive, is -1s"]);
        check(
            json!({"crashLoopBackOff": {"maxContainerRestartPeriod": "301s"}}),
            &["crashLoopBackOff.maxContainerRestartPeriod: must be between 1s and 5m0s, is 5m1s"],
        );
        check(
            json!({"crashLoopBackOff": {"maxContainerRestartPeriod": "999ms"}}),
            &["crashLoopBackOff.maxContainerRestartPeriod: must be between 1s and 5m0s, is 999ms"],
        );
        check(json!({"crashLoopBackOff": {"maxContainerRestartPeriod": "300s"}}), &[]);
        check(json!({"crashLoopBackOff": {"maxContainerRestartPeriod": "1s"}}), &[]);
        check(json!({"cpuCFSQuotaPeriod": "2s"}), &["cpuCFSQuotaPeriod: must be between 1ms and 1s, is 2s"]);
        check(
            json!({"cgroupDriver": "cgroup"}),
            &["cgroupDriver: must be one of cgroupfs, systemd, is \"cgroup\""],
        );
        check(json!({"clusterDNS": ["x"]}), &["clusterDNS[0]: must be an IP address, is \"x\""]);
        check(
            json!({"serializeImagePulls": true, "maxParallelImagePulls": 2}),
            &["maxParallelImagePulls: must be 1 while serializeImagePulls is true"],
        );
        check(
            json!({"imageGCHighThresholdPercent": 50}),
            &["imageGCLowThresholdPercent: must be below imageGCHighThresholdPercent (50), is 80"],
        );
    }

    #[test]
    fn what_pods_may_have_is_checked() {
        check(
            json!({"allowedUnsafeSysctls": ["net.*", "kernel/msgmax"], "userNamespaces": {"idsPerPod": 131_072}}),
            &[],
        );
        check(
            json!({"allowedUnsafeSysctls": ["net.core.somaxconn", "vm.swappiness", "net.*x"],
                "userNamespaces": {"idsPerPod": 65_537}}),
            &[
                "allowedUnsafeSysctls[1]: \"vm.swappiness\" is not known to be namespaced",
                "allowedUnsafeSysctls[2]: \"net.*x\" is no sysctl and no beginning of one with * behind it",
                "userNamespaces.idsPerPod: must be a multiple of 65536 below 4294967296, is 65537",
            ],
        );
    }

    #[test]
    fn eviction_thresholds_are_read() {
        check(json!({"evictionHard": {"memory.available": "100Mi", "nodefs.available": "10%"}}), &[]);
        check(
            json!({"evictionHard": {"memory.availble": "1", "pid.available": "101%"}}),
            &[
                "evictionHard[memory.availble]: unknown eviction signal",
                "evictionHard[pid.available]: must be a quantity or 0% to 100%, is \"101%\"",
            ],
        );
        check(
            json!({"evictionSoft": {"memory.available": "1.5Gi"}}),
            &["evictionSoft[memory.available]: needs an entry in evictionSoftGracePeriod"],
        );
        check(
            json!({"evictionSoft": {"memory.available": "1e9"},
                "evictionSoftGracePeriod": {"memory.available": "0s"}}),
            &["evictionSoftGracePeriod[memory.available]: must be a positive duration, is \"0s\""],
        );
    }

    #[test]
    fn reservations_are_enforced_in_cgroups_that_are_named() {
        let list = |words: serde_json::Value| json!({"enforceNodeAllocatable": words});
        check(list(json!(["pods"])), &[]);
        check(list(json!([])), &[]);
        check(list(json!(["none"])), &[]);
        check(list(json!(["none", "pods"])), &["enforceNodeAllocatable: must have none alone"]);
        check(
            list(json!(["nodes", "kube-reserved"])),
            &[
                "enforceNodeAllocatable: must be of pods, none, system-reserved, system-reserved-compressible, \
                 kube-reserved, kube-reserved-compressible, has \"nodes\"",
                "kubeReservedCgroup: must name the cgroup, since enforceNodeAllocatable has kube-reserved",
            ],
        );
        check(
            json!({"enforceNodeAllocatable": ["system-reserved", "system-reserved-compressible"],
                "systemReservedCgroup": "/system"}),
            &[
                "enforceNodeAllocatable: must not have system-reserved-compressible beside the same of all resources",
            ],
        );
        check(
            json!({"enforceNodeAllocatable": ["pods"], "cgroupsPerQOS": false}),
            &["enforceNodeAllocatable: must be empty or none while cgroupsPerQOS is false"],
        );
        check(json!({"cgroupsPerQOS": false}), &[]);
    }
}
