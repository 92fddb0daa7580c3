//! The configuration that the agent runs with, in the form of a v1beta1 file: the body of `/configz`. Pure.
//!
//! Three layers, the later one wins: the kubelet's defaults, the merged file and flags, and what was settled from
//! them where Pinnace's value is another. A zero in the file stands for the default wherever it does in the kubelet,
//! that is, for every key that is not a pointer in its types.

use serde_json::{Map, Value, json};

use super::duration::GoDuration;
use super::effective::{CgroupDriver, Config};
use super::layer::{API_VERSION, KIND, Layer, merge};

/// Keys in which zero is a value of its own (`k8s.io/kubelet/config/v1beta1/types.go`: pointers).
const ZERO_COUNTS: [&str; 17] = [
    "containerLogMaxFiles",
    "containerLogMaxWorkers",
    "eventRecordQPS",
    "healthzPort",
    "imageGCHighThresholdPercent",
    "imageGCLowThresholdPercent",
    "iptablesDropBit",
    "iptablesMasqueradeBit",
    "kubeAPIQPS",
    "maxParallelImagePulls",
    "memoryThrottlingFactor",
    "nodeStatusMaxImages",
    "oomScoreAdj",
    "podPidsLimit",
    "registryPullQPS",
    "resolvConf",
    "samplingRatePerMillion",
];

/// The body of `/configz`.
#[must_use]
pub fn configz(config: &Config) -> Value {
    json!({"kubeletconfig": effective(config)})
}

/// The configuration as a v1beta1 object.
#[must_use]
pub fn effective(config: &Config) -> Value {
    let mut file = serde_json::to_value(&config.file).unwrap_or_default();
    strip(&mut file);
    let mut defaults = defaults();
    follow(&mut defaults, &file);
    let layers = [("defaults", defaults), ("file", file), ("settled", settled(config))];
    merge(&layers.map(|(name, value)| Layer { name: name.to_owned(), value }))
}

/// Takes away what says nothing, so that the default stays.
fn strip(value: &mut Value) {
    let Value::Object(map) = value else { return };
    map.retain(|key, value| {
        strip(value);
        let is_zero = match value {
            Value::Null => return false,
            Value::String(text) => text.is_empty() || text == "0s",
            Value::Number(number) => number.as_f64() == Some(0.0),
            _ => false,
        };
        !is_zero || ZERO_COUNTS.contains(&key.as_str())
    });
}

/// Defaults that depend on what the file says.
fn follow(defaults: &mut Value, file: &Value) {
    let Value::Object(defaults) = defaults else { return };
    if let Some(period) = file.get("nodeStatusUpdateFrequency") {
        defaults.insert("nodeStatusReportFrequency".to_owned(), period.clone());
    }
    // Thresholds of the file take the place of all defaults, unless it says that they are merged.
    if file.get("evictionHard").is_some()
        && file.get("mergeDefaultEvictionSettings") != Some(&Value::Bool(true))
    {
        defaults.remove("evictionHard");
    }
}

/// Upstream's defaults: `pkg/kubelet/apis/config/v1beta1/defaults.go`, `pkg/kubelet/eviction/defaults_linux.go` and
/// `pkg/kubelet/qos/policy.go` at v1.36; zero durations, which Go's encoder writes, are among them.
fn defaults() -> Value {
    let mut all = Map::new();
    for part in [servers(), node(), resources(), images_and_logs()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn servers() -> Value {
    json!({
        "enableServer": true, "address": "0.0.0.0", "port": 10_250,
        "authentication": {
            "x509": {}, "webhook": {"enabled": true, "cacheTTL": "2m0s"}, "anonymous": {"enabled": false},
        },
        "authorization": {
            "mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
        },
        "enableDebuggingHandlers": true, "enableProfilingHandler": true, "enableDebugFlagsHandler": true,
        "enableSystemLogHandler": true, "healthzPort": 10_248, "healthzBindAddress": "127.0.0.1",
        "streamingConnectionIdleTimeout": "4h0m0s", "oomScoreAdj": -999, "maxOpenFiles": 1_000_000,
        "logging": {
            "format": "text", "flushFrequency": "5s", "verbosity": 0,
            "options": {"text": {"infoBufferSize": "0"}, "json": {"infoBufferSize": "0"}},
        },
    })
}

fn node() -> Value {
    json!({
        "syncFrequency": "1m0s", "fileCheckFrequency": "20s", "httpCheckFrequency": "20s",
        "eventRecordQPS": 50, "eventBurst": 100, "kubeAPIQPS": 50, "kubeAPIBurst": 100,
        "contentType": "application/vnd.kubernetes.protobuf",
        "nodeStatusUpdateFrequency": "10s", "nodeStatusReportFrequency": "5m0s", "nodeLeaseDurationSeconds": 40,
        "nodeStatusMaxImages": 50, "registerNode": true, "maxPods": 110, "podPidsLimit": -1,
        "resolvConf": "/etc/resolv.conf", "hairpinMode": "promiscuous-bridge", "makeIPTablesUtilChains": true,
        "iptablesMasqueradeBit": 14, "iptablesDropBit": 15, "enableControllerAttachDetach": true,
        "configMapAndSecretChangeDetectionStrategy": "Watch", "volumeStatsAggPeriod": "1m0s",
        "volumePluginDir": "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
        "localStorageCapacityIsolation": true, "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s", "crashLoopBackOff": {"maxContainerRestartPeriod": "5m0s"},
    })
}

fn resources() -> Value {
    json!({
        "cgroupsPerQOS": true, "cgroupDriver": "cgroupfs", "cpuManagerPolicy": "none",
        "cpuManagerReconcilePeriod": "10s", "memoryManagerPolicy": "None", "topologyManagerPolicy": "none",
        "topologyManagerScope": "container", "cpuCFSQuota": true, "cpuCFSQuotaPeriod": "100ms",
        "enforceNodeAllocatable": ["pods"], "failSwapOn": true, "memorySwap": {}, "seccompDefault": false,
        "memoryThrottlingFactor": 0.9, "memoryReservationPolicy": "None",
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%",
            "imagefs.available": "15%", "imagefs.inodesFree": "5%",
        },
        "evictionPressureTransitionPeriod": "5m0s", "mergeDefaultEvictionSettings": false,
    })
}

fn images_and_logs() -> Value {
    json!({
        "registryPullQPS": 5, "registryBurst": 10, "runtimeRequestTimeout": "2m0s",
        "imageMinimumGCAge": "2m0s", "imageMaximumGCAge": "0s", "imageGCHighThresholdPercent": 85,
        "imageGCLowThresholdPercent": 80, "imagePullCredentialsVerificationPolicy": "NeverVerifyPreloadedImages",
        "containerLogMaxSize": "10Mi", "containerLogMaxFiles": 5, "containerLogMaxWorkers": 1,
        "containerLogMonitorInterval": "10s", "podLogsDir": "/var/log/pods",
    })
}

/// What was settled, where it may differ from what was written.
fn settled(config: &Config) -> Value {
    let duration = |period: std::time::Duration| {
        GoDuration::from_nanos(i64::try_from(period.as_nanos()).unwrap_or(i64::MAX)).to_string()
    };
    let socket = |path: &std::path::Path| format!("unix://{}", path.display());
    let mut settled = json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "syncFrequency": duration(config.sync_frequency),
        "fileCheckFrequency": duration(config.file_check_frequency),
        "runtimeRequestTimeout": duration(config.runtime_request_timeout),
        "containerRuntimeEndpoint": socket(&config.runtime_endpoint),
        "podLogsDir": config.pod_logs_dir.display().to_string(),
        "maxPods": config.max_pods,
        "seccompDefault": config.seccomp_default,
        "cpuCFSQuota": config.cpu_cfs_quota,
        "cpuCFSQuotaPeriod": duration(config.cpu_cfs_quota_period),
        "crashLoopBackOff": {"maxContainerRestartPeriod": duration(config.max_container_restart_period)},
        "cgroupDriver": match config.cgroup_driver {
            CgroupDriver::Cgroupfs => "cgroupfs",
            CgroupDriver::Systemd => "systemd",
        },
        "serializeImagePulls": config.parallel_image_pulls == 1,
        "maxParallelImagePulls": config.parallel_image_pulls,
        "enableServer": config.serving.is_some(),
        "logging": {"verbosity": config.verbosity},
        "failCgroupV1": config.file.fail_cgroup_v1.unwrap_or(false),
        "healthzPort": config.healthz.map_or(0, |address| address.port()),
    });
    if let (Value::Object(map), Some(serving)) = (&mut settled, &config.serving) {
        map.insert("port".to_owned(), serving.address.port().into());
        map.insert("address".to_owned(), serving.address.ip().to_string().into());
    }
    settled
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::effective::{Inputs, settle};
    use crate::config::flags::RunFlags;
    use crate::config::layer::typed;

    fn shown(file: Value) -> Value {
        let (flags, directory) = (RunFlags::for_root(Path::new("/var/lib/kubelet")), Path::new("/"));
        let (file, _) = typed("file", &file).unwrap();
        let inputs = Inputs { flags: &flags, file: &file, layers: &[], hostname: "n", directory };
        effective(&settle(inputs).unwrap())
    }

    #[test]
    fn defaults_are_upstreams_where_ours_are_not_others() {
        insta::assert_json_snapshot!(shown(json!({})));
    }

    #[test]
    fn it_is_a_v1beta1_object_that_says_the_same_when_read_again() {
        for file in [json!({}), json!({"maxPods": 5, "tlsCertFile": "/c", "tlsPrivateKeyFile": "/k"})] {
            let first = shown(file);
            let (_, unknown) = typed("configz", &first).unwrap();
            assert_eq!(unknown, Vec::<String>::new());
            assert_eq!((&first["apiVersion"], &first["kind"]), (&json!(API_VERSION), &json!(KIND)));
            assert_eq!(shown(first.clone()), first);
        }
    }

    #[test]
    fn zeros_mean_the_default_where_they_do_upstream() {
        let shown = shown(json!({
            "syncFrequency": "0s", "maxPods": 0, "hairpinMode": "", "eventBurst": 0, "eventRecordQPS": 0,
            "oomScoreAdj": 0, "healthzPort": 0, "enableDebuggingHandlers": false,
            "authentication": {"webhook": {"cacheTTL": "0s"}}, "nodeStatusUpdateFrequency": "20s",
        }));
        let get = |key: &str| shown[key].clone();
        assert_eq!((get("syncFrequency"), get("maxPods")), (json!("1m0s"), json!(110)));
        assert_eq!((get("hairpinMode"), get("eventBurst")), (json!("promiscuous-bridge"), json!(100)));
        assert_eq!(
            (get("eventRecordQPS"), get("oomScoreAdj"), get("healthzPort")),
            (json!(0), json!(0), json!(0))
        );
        assert_eq!(get("enableDebuggingHandlers"), json!(false));
        assert_eq!(shown["authentication"]["webhook"]["cacheTTL"], json!("2m0s"));
        assert_eq!(get("nodeStatusReportFrequency"), json!("20s"));
    }

    #[test]
    fn eviction_thresholds_take_the_defaults_place_unless_they_are_merged() {
        let hard = |merge: bool| {
            let file =
                json!({"evictionHard": {"pid.available": "5%"}, "mergeDefaultEvictionSettings": merge});
            shown(file)["evictionHard"].as_object().unwrap().len()
        };
        assert_eq!((hard(false), hard(true)), (1, 6));
    }
}
