//! What a KubeletConfiguration file may say: every key of `kubelet.config.k8s.io/v1beta1`, typed.
//!
//! A key that is absent, or null, is `None`; defaults and ranges are [`super::effective`]'s. Names and JSON types
//! are those of `k8s.io/kubelet` v0.36 `config/v1beta1/types.go`; a test compares the list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::section::{
    Authentication, Authorization, CrashLoopBackOff, Logging, MemoryReservation, MemorySwap, ShutdownWindow,
    Taint, Tracing, UserNamespaces,
};

/// One configuration file, or the merge of several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletConfiguration {
    /// `kubelet.config.k8s.io/v1beta1`; checked before the rest is read.
    pub api_version: Option<String>,
    /// `KubeletConfiguration`; checked before the rest is read.
    pub kind: Option<String>,
    /// Whether the HTTPS server runs.
    pub enable_server: Option<bool>,
    /// Directory, or single file, of static pod manifests.
    pub static_pod_path: Option<String>,
    /// Where the runtime writes container logs.
    pub pod_logs_dir: Option<String>,
    /// Longest time between two looks at one pod.
    pub sync_frequency: Option<GoDuration>,
    /// Rescan period of the static pod directory.
    pub file_check_frequency: Option<GoDuration>,
    /// Period of the static pod URL.
    pub http_check_frequency: Option<GoDuration>,
    /// URL of static pod manifests.
    #[serde(rename = "staticPodURL")]
    pub static_pod_url: Option<String>,
    /// Headers sent to that URL.
    #[serde(rename = "staticPodURLHeader")]
    pub static_pod_url_header: Option<BTreeMap<String, Vec<String>>>,
    /// Address of the HTTPS server.
    pub address: Option<String>,
    /// Port of the HTTPS server.
    pub port: Option<i32>,
    /// Port of the unauthenticated read-only server; 0 is off.
    pub read_only_port: Option<i32>,
    /// Serving certificate.
    pub tls_cert_file: Option<String>,
    /// Key of the serving certificate.
    pub tls_private_key_file: Option<String>,
    /// Cipher suites of the server, by their IANA names.
    pub tls_cipher_suites: Option<Vec<String>>,
    /// Key exchange groups, by their IANA numbers.
    pub tls_curve_preferences: Option<Vec<i32>>,
    /// Lowest TLS version, such as `VersionTLS12`.
    pub tls_min_version: Option<String>,
    /// Whether the client certificate is renewed.
    pub rotate_certificates: Option<bool>,
    /// Whether the serving certificate is requested from the cluster.
    #[serde(rename = "serverTLSBootstrap")]
    pub server_tls_bootstrap: Option<bool>,
    /// Who may call the HTTPS server.
    pub authentication: Option<Authentication>,
    /// What a caller may do.
    pub authorization: Option<Authorization>,
    /// Image pulls per second; 0 is no limit.
    #[serde(rename = "registryPullQPS")]
    pub registry_pull_qps: Option<i32>,
    /// Image pulls above that rate at once.
    pub registry_burst: Option<i32>,
    /// When credentials are asked for an image that is already here.
    pub image_pull_credentials_verification_policy: Option<String>,
    /// Images exempt from that policy.
    pub preloaded_images_verification_allowlist: Option<Vec<String>>,
    /// Events per second; 0 is no limit.
    #[serde(rename = "eventRecordQPS")]
    pub event_record_qps: Option<i32>,
    /// Events above that rate at once.
    pub event_burst: Option<i32>,
    /// Whether exec, attach, logs and the like are served.
    pub enable_debugging_handlers: Option<bool>,
    /// Lock profiling of the Go kubelet.
    pub enable_contention_profiling: Option<bool>,
    /// Port of `/healthz`; 0 is off.
    pub healthz_port: Option<i32>,
    /// Address of `/healthz`.
    pub healthz_bind_address: Option<String>,
    /// OOM score adjustment of the agent itself, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// DNS domain of the cluster.
    pub cluster_domain: Option<String>,
    /// DNS servers that pods get.
    #[serde(rename = "clusterDNS")]
    pub cluster_dns: Option<Vec<String>>,
    /// How long an idle exec or port-forward may last.
    pub streaming_connection_idle_timeout: Option<GoDuration>,
    /// How often the node's state is computed.
    pub node_status_update_frequency: Option<GoDuration>,
    /// How often an unchanged node state is reported.
    pub node_status_report_frequency: Option<GoDuration>,
    /// Duration of the node lease, in seconds.
    pub node_lease_duration_seconds: Option<i32>,
    /// Youngest age at which an unused image may be removed.
    #[serde(rename = "imageMinimumGCAge")]
    pub image_minimum_gc_age: Option<GoDuration>,
    /// Age at which an unused image is removed anyway; 0 is never.
    #[serde(rename = "imageMaximumGCAge")]
    pub image_maximum_gc_age: Option<GoDuration>,
    /// Disk use at which image garbage collection begins, 0 to 100.
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: Option<i32>,
    /// Disk use at which it ends, 0 to 100.
    #[serde(rename = "imageGCLowThresholdPercent")]
    pub image_gc_low_threshold_percent: Option<i32>,
    /// How often volume use is measured.
    pub volume_stats_agg_period: Option<GoDuration>,
    /// Cgroup that the agent is accounted to.
    pub kubelet_cgroups: Option<String>,
    /// Cgroup for processes that are in none.
    pub system_cgroups: Option<String>,
    /// Cgroup under which pods live.
    pub cgroup_root: Option<String>,
    /// Whether each QoS class has a cgroup.
    #[serde(rename = "cgroupsPerQOS")]
    pub cgroups_per_qos: Option<bool>,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: Option<String>,
    /// CPU manager policy.
    pub cpu_manager_policy: Option<String>,
    /// Whether an OOM kill takes one process instead of the container.
    #[serde(rename = "singleProcessOOMKill")]
    pub single_process_oom_kill: Option<bool>,
    /// Options of the CPU manager policy.
    pub cpu_manager_policy_options: Option<BTreeMap<String, String>>,
    /// Period of the CPU manager.
    pub cpu_manager_reconcile_period: Option<GoDuration>,
    /// Memory manager policy.
    pub memory_manager_policy: Option<String>,
    /// Topology manager policy.
    pub topology_manager_policy: Option<String>,
    /// `container` or `pod`.
    pub topology_manager_scope: Option<String>,
    /// Options of the topology manager policy.
    pub topology_manager_policy_options: Option<BTreeMap<String, String>>,
    /// Share of a resource reserved for higher QoS classes, in per cent.
    pub qos_reserved: Option<BTreeMap<String, String>>,
    /// Deadline of a runtime call that is not expected to take long.
    pub runtime_request_timeout: Option<GoDuration>,
    /// How a pod reaches itself through its service.
    pub hairpin_mode: Option<String>,
    /// Pods that may run here.
    pub max_pods: Option<i32>,
    /// Pod addresses, in standalone mode only.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<String>,
    /// Processes per pod; -1 leaves it to the node.
    pub pod_pids_limit: Option<i64>,
    /// Resolver file that pods inherit; empty is none.
    pub resolv_conf: Option<String>,
    /// Deprecated upstream: run the static pods once and end.
    pub run_once: Option<bool>,
    /// Whether CPU limits are enforced by quota.
    #[serde(rename = "cpuCFSQuota")]
    pub cpu_cfs_quota: Option<bool>,
    /// Period of that quota, 1 ms to 1 s.
    #[serde(rename = "cpuCFSQuotaPeriod")]
    pub cpu_cfs_quota_period: Option<GoDuration>,
    /// Images named in the node's status; -1 is no limit.
    pub node_status_max_images: Option<i32>,
    /// Files that the agent may open.
    pub max_open_files: Option<i64>,
    /// Content type of API requests.
    pub content_type: Option<String>,
    /// API requests per second.
    #[serde(rename = "kubeAPIQPS")]
    pub kube_api_qps: Option<i32>,
    /// API requests above that rate at once.
    #[serde(rename = "kubeAPIBurst")]
    pub kube_api_burst: Option<i32>,
    /// Whether images are pulled one at a time.
    pub serialize_image_pulls: Option<bool>,
    /// Pulls at once, when they are not serialised.
    pub max_parallel_image_pulls: Option<i32>,
    /// Thresholds that evict at once, by signal.
    pub eviction_hard: Option<BTreeMap<String, String>>,
    /// Thresholds that evict after a grace period, by signal.
    pub eviction_soft: Option<BTreeMap<String, String>>,
    /// Grace periods of the soft thresholds, by signal.
    pub eviction_soft_grace_period: Option<BTreeMap<String, String>>,
    /// How long a pressure condition stays after the signal is gone.
    pub eviction_pressure_transition_period: Option<GoDuration>,
    /// Longest grace period of a pod that is evicted by a soft threshold, in seconds.
    pub eviction_max_pod_grace_period: Option<i32>,
    /// How much is reclaimed beyond the threshold, by signal.
    pub eviction_minimum_reclaim: Option<BTreeMap<String, String>>,
    /// Whether unnamed signals keep their default threshold.
    pub merge_default_eviction_settings: Option<bool>,
    /// Pods per core; 0 is no limit of its own.
    pub pods_per_core: Option<i32>,
    /// Whether the controller attaches volumes.
    pub enable_controller_attach_detach: Option<bool>,
    /// Whether wrong kernel settings are an error.
    pub protect_kernel_defaults: Option<bool>,
    /// Whether the utility iptables chains are made.
    #[serde(rename = "makeIPTablesUtilChains")]
    pub make_iptables_util_chains: Option<bool>,
    /// Packet mark bit for masquerading.
    pub iptables_masquerade_bit: Option<i32>,
    /// Packet mark bit for dropping.
    pub iptables_drop_bit: Option<i32>,
    /// Feature gates of the Go kubelet.
    pub feature_gates: Option<BTreeMap<String, bool>>,
    /// Whether swap is an error.
    pub fail_swap_on: Option<bool>,
    /// How pods may use swap.
    pub memory_swap: Option<MemorySwap>,
    /// Size at which a container log is rotated.
    pub container_log_max_size: Option<String>,
    /// Log files kept per container.
    pub container_log_max_files: Option<i32>,
    /// Rotations at once.
    pub container_log_max_workers: Option<i32>,
    /// How often logs are looked at.
    pub container_log_monitor_interval: Option<GoDuration>,
    /// `Get`, `Cache` or `Watch`.
    pub config_map_and_secret_change_detection_strategy: Option<String>,
    /// Resources kept for the system.
    pub system_reserved: Option<BTreeMap<String, String>>,
    /// Resources kept for the node's own services.
    pub kube_reserved: Option<BTreeMap<String, String>>,
    /// CPUs kept for the system, as a list of ranges.
    #[serde(rename = "reservedSystemCPUs")]
    pub reserved_system_cpus: Option<String>,
    /// Version whose hidden metrics are shown.
    pub show_hidden_metrics_for_version: Option<String>,
    /// Cgroup of the system's processes.
    pub system_reserved_cgroup: Option<String>,
    /// Cgroup of the node's own services.
    pub kube_reserved_cgroup: Option<String>,
    /// Which cgroups are limited to what is allocatable.
    pub enforce_node_allocatable: Option<Vec<String>>,
    /// Sysctls that pods may set beyond the safe ones.
    pub allowed_unsafe_sysctls: Option<Vec<String>>,
    /// Directory of exec volume plugins.
    pub volume_plugin_dir: Option<String>,
    /// Id of this machine at its cloud provider.
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
    /// Whether the kernel announces memory thresholds.
    pub kernel_memcg_notification: Option<bool>,
    /// Log format and verbosity.
    pub logging: Option<Logging>,
    /// Whether `/logs/` is served.
    pub enable_system_log_handler: Option<bool>,
    /// Whether `/logs/?query=` is served.
    pub enable_system_log_query: Option<bool>,
    /// How long a node shutdown is delayed for pods; 0 is off.
    pub shutdown_grace_period: Option<GoDuration>,
    /// The part of that kept for critical pods.
    pub shutdown_grace_period_critical_pods: Option<GoDuration>,
    /// Shutdown windows by pod priority, in place of the two above.
    pub shutdown_grace_period_by_pod_priority: Option<Vec<ShutdownWindow>>,
    /// Restart backoff of containers.
    pub crash_loop_back_off: Option<CrashLoopBackOff>,
    /// Memory kept per NUMA node.
    pub reserved_memory: Option<Vec<MemoryReservation>>,
    /// Whether profiles are served.
    pub enable_profiling_handler: Option<bool>,
    /// Whether the verbosity may be set by request.
    pub enable_debug_flags_handler: Option<bool>,
    /// Whether the runtime's default seccomp profile is used where a pod names none.
    pub seccomp_default: Option<bool>,
    /// Share of the memory limit at which throttling begins, 0 to 1.
    pub memory_throttling_factor: Option<f64>,
    /// How memory requests are protected by the kernel.
    pub memory_reservation_policy: Option<String>,
    /// Taints that the node registers with.
    pub register_with_taints: Option<Vec<Taint>>,
    /// Whether the node registers itself.
    pub register_node: Option<bool>,
    /// Where traces are sent.
    pub tracing: Option<Tracing>,
    /// Whether local storage is limited and accounted.
    pub local_storage_capacity_isolation: Option<bool>,
    /// Socket of the runtime.
    pub container_runtime_endpoint: Option<String>,
    /// Socket of the image service, if it is another one.
    pub image_service_endpoint: Option<String>,
    /// Whether cgroup v1 is an error.
    pub fail_cgroup_v1: Option<bool>,
    /// Ids that a user namespace gets.
    pub user_namespaces: Option<UserNamespaces>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    /// Every key of `types.go` at v0.36.0, in its order.
    const KEYS: &str = "
        enableServer staticPodPath podLogsDir syncFrequency fileCheckFrequency httpCheckFrequency
        staticPodURL staticPodURLHeader address port readOnlyPort tlsCertFile tlsPrivateKeyFile
        tlsCipherSuites tlsCurvePreferences tlsMinVersion rotateCertificates serverTLSBootstrap
        authentication authorization registryPullQPS registryBurst imagePullCredentialsVerificationPolicy
        preloadedImagesVerificationAllowlist eventRecordQPS eventBurst enableDebuggingHandlers
        enableContentionProfiling healthzPort healthzBindAddress oomScoreAdj clusterDomain clusterDNS
        streamingConnectionIdleTimeout nodeStatusUpdateFrequency nodeStatusReportFrequency
        nodeLeaseDurationSeconds imageMinimumGCAge imageMaximumGCAge imageGCHighThresholdPercent
        imageGCLowThresholdPercent volumeStatsAggPeriod kubeletCgroups systemCgroups cgroupRoot
        cgroupsPerQOS cgroupDriver cpuManagerPolicy singleProcessOOMKill cpuManagerPolicyOptions
        cpuManagerReconcilePeriod memoryManagerPolicy topologyManagerPolicy topologyManagerScope
        topologyManagerPolicyOptions qosReserved runtimeRequestTimeout hairpinMode maxPods podCIDR
        podPidsLimit resolvConf runOnce cpuCFSQuota cpuCFSQuotaPeriod nodeStatusMaxImages maxOpenFiles
        contentType kubeAPIQPS kubeAPIBurst serializeImagePulls maxParallelImagePulls evictionHard
        evictionSoft evictionSoftGracePeriod evictionPressureTransitionPeriod evictionMaxPodGracePeriod
        evictionMinimumReclaim mergeDefaultEvictionSettings podsPerCore enableControllerAttachDetach
        protectKernelDefaults makeIPTablesUtilChains iptablesMasqueradeBit iptablesDropBit featureGates
        failSwapOn memorySwap containerLogMaxSize containerLogMaxFiles containerLogMaxWorkers
        containerLogMonitorInterval configMapAndSecretChangeDetectionStrategy systemReserved kubeReserved
        reservedSystemCPUs showHiddenMetricsForVersion systemReservedCgroup kubeReservedCgroup
        enforceNodeAllocatable allowedUnsafeSysctls volumePluginDir providerID kernelMemcgNotification
        logging enableSystemLogHandler enableSystemLogQuery shutdownGracePeriod
        shutdownGracePeriodCriticalPods shutdownGracePeriodByPodPriority crashLoopBackOff reservedMemory
        enableProfilingHandler enableDebugFlagsHandler seccompDefault memoryThrottlingFactor
        memoryReservationPolicy registerWithTaints registerNode tracing localStorageCapacityIsolation
        containerRuntimeEndpoint imageServiceEndpoint failCgroupV1 userNamespaces";

    #[test]
    fn every_key_of_upstream_is_known() {
        let all: Map<String, Value> =
            KEYS.split_whitespace().map(|key| (key.to_owned(), Value::Null)).collect();
        assert_eq!(all.len(), 125);
        let mut unknown = Vec::new();
        let _: KubeletConfiguration =
            serde_ignored::deserialize(Value::Object(all), |path| unknown.push(path.to_string())).unwrap();
        assert_eq!(unknown, Vec::<String>::new());
    }
}
