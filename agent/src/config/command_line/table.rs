//! Every flag that `pinnace run` takes: those of kubelet 1.36 and its own, and what becomes of each. Data.
//!
//! The kubelet's are those of `cmd/kubelet/app/options` (`options.go`, `globalflags*.go`), of
//! `k8s.io/component-base/logs/api/v1` and of `k8s.io/component-base/version/verflag` at v1.36. A test holds the list.

/// How the text of a flag is read, as pflag reads it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false; true if the flag stands alone.
    Switch,
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// A duration such as `1m30s`.
    Duration,
    /// Texts with commas between them; a repeated flag adds to the list.
    List,
    /// `key=value` with commas between them; a repeated flag adds to the map.
    Map,
    /// `key<value` with commas between them; a repeated flag adds to the map.
    Thresholds,
    /// One `key=value`; a repeated flag adds to the map.
    Pair,
    /// `key=true` with commas between them; a repeated flag adds to the map.
    Gates,
    /// `key:value` with commas between them; a repeated key has several values.
    Headers,
    /// `key=value:effect` with commas between them.
    Taints,
    /// `node:type=quantity,...` with semicolons between them.
    Memory,
}

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// An argument of `pinnace run` of the same name.
    Argument,
    /// A key of the configuration file, as a path of names with dots.
    Key(&'static str),
    /// Nothing: the reason ends the warning `--flag has no effect here: ...`.
    Nothing(&'static str),
}

/// One flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Name, with hyphens.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// What becomes of it.
    pub to: To,
}

const fn arg(name: &'static str, kind: Kind) -> Flag {
    Flag { name, kind, to: To::Argument }
}

const fn key(name: &'static str, kind: Kind, path: &'static str) -> Flag {
    Flag { name, kind, to: To::Key(path) }
}

const fn nothing(name: &'static str, kind: Kind, reason: &'static str) -> Flag {
    Flag { name, kind, to: To::Nothing(reason) }
}

const CADVISOR: &str = "it belongs to cAdvisor, which is not part of Pinnace";
const DEAD_CONTAINERS: &str = "dead containers go by Pinnace's own rule";
const NOT_BUILT: &str = "what it is for is not built yet";
const LOGS: &str = "log lines are written at once, to standard error";
const REMOVED: &str = "the kubelet no longer has it since 1.35";

/// Flags that only Pinnace has.
pub const OWN: [Flag; 3] =
    [arg("admin-socket", Kind::Text), arg("log-format", Kind::Text), arg("virtual", Kind::Switch)];

/// Flags that kubelets before 1.36 had and that older installers still write.
pub const FORMER: [Flag; 1] = [nothing("pod-infra-container-image", Kind::Text, REMOVED)];

/// Flags of the kubelet.
pub const KUBELET: &[Flag] = &[
    key("address", Kind::Text, "address"),
    key("allowed-unsafe-sysctls", Kind::List, "allowedUnsafeSysctls"),
    key("anonymous-auth", Kind::Switch, "authentication.anonymous.enabled"),
    nothing("application-metrics-count-limit", Kind::Number, CADVISOR),
    key("authentication-token-webhook", Kind::Switch, "authentication.webhook.enabled"),
    key("authentication-token-webhook-cache-ttl", Kind::Duration, "authentication.webhook.cacheTTL"),
    key("authorization-mode", Kind::Text, "authorization.mode"),
    key(
        "authorization-webhook-cache-authorized-ttl",
        Kind::Duration,
        "authorization.webhook.cacheAuthorizedTTL",
    ),
    key(
        "authorization-webhook-cache-unauthorized-ttl",
        Kind::Duration,
        "authorization.webhook.cacheUnauthorizedTTL",
    ),
    nothing("boot-id-file", Kind::Text, CADVISOR),
    arg("bootstrap-kubeconfig", Kind::Text),
    arg("cert-dir", Kind::Text),
    arg("cgroup-driver", Kind::Text),
    key("cgroup-root", Kind::Text, "cgroupRoot"),
    key("cgroups-per-qos", Kind::Switch, "cgroupsPerQOS"),
    key("client-ca-file", Kind::Text, "authentication.x509.clientCAFile"),
    arg("cloud-provider", Kind::Text),
    arg("cluster-dns", Kind::List),
    arg("cluster-domain", Kind::Text),
    arg("config", Kind::Text),
    arg("config-dir", Kind::Text),
    nothing("container-hints", Kind::Text, CADVISOR),
    key("container-log-max-files", Kind::Number, "containerLogMaxFiles"),
    key("container-log-max-size", Kind::Text, "containerLogMaxSize"),
    arg("container-runtime-endpoint", Kind::Text),
    nothing("containerd", Kind::Text, CADVISOR),
    nothing("containerd-namespace", Kind::Text, CADVISOR),
    key("contention-profiling", Kind::Switch, "enableContentionProfiling"),
    arg("cpu-cfs-quota", Kind::Switch),
    arg("cpu-cfs-quota-period", Kind::Duration),
    key("cpu-manager-policy", Kind::Text, "cpuManagerPolicy"),
    key("cpu-manager-policy-options", Kind::Pair, "cpuManagerPolicyOptions"),
    key("cpu-manager-reconcile-period", Kind::Duration, "cpuManagerReconcilePeriod"),
    key("enable-controller-attach-detach", Kind::Switch, "enableControllerAttachDetach"),
    key("enable-debugging-handlers", Kind::Switch, "enableDebuggingHandlers"),
    nothing("enable-load-reader", Kind::Switch, CADVISOR),
    key("enable-server", Kind::Switch, "enableServer"),
    key("enforce-node-allocatable", Kind::List, "enforceNodeAllocatable"),
    key("event-burst", Kind::Number, "eventBurst"),
    key("event-qps", Kind::Number, "eventRecordQPS"),
    nothing("event-storage-age-limit", Kind::Text, CADVISOR),
    nothing("event-storage-event-limit", Kind::Text, CADVISOR),
    key("eviction-hard", Kind::Thresholds, "evictionHard"),
    key("eviction-max-pod-grace-period", Kind::Number, "evictionMaxPodGracePeriod"),
    key("eviction-minimum-reclaim", Kind::Map, "evictionMinimumReclaim"),
    key("eviction-pressure-transition-period", Kind::Duration, "evictionPressureTransitionPeriod"),
    key("eviction-soft", Kind::Thresholds, "evictionSoft"),
    key("eviction-soft-grace-period", Kind::Map, "evictionSoftGracePeriod"),
    nothing("exit-on-lock-contention", Kind::Switch, "there is no --lock-file here"),
    nothing("experimental-allocatable-ignore-eviction", Kind::Switch, NOT_BUILT),
    nothing("experimental-mounter-path", Kind::Text, "the kernel mounts"),
    key("fail-cgroupv1", Kind::Switch, "failCgroupV1"),
    key("fail-swap-on", Kind::Switch, "failSwapOn"),
    key("feature-gates", Kind::Gates, "featureGates"),
    arg("file-check-frequency", Kind::Duration),
    nothing("global-housekeeping-interval", Kind::Duration, CADVISOR),
    key("hairpin-mode", Kind::Text, "hairpinMode"),
    arg("healthz-bind-address", Kind::Text),
    arg("healthz-port", Kind::Number),
    arg("hostname-override", Kind::Text),
    nothing("housekeeping-interval", Kind::Duration, CADVISOR),
    key("http-check-frequency", Kind::Duration, "httpCheckFrequency"),
    arg("image-credential-provider-bin-dir", Kind::Text),
    arg("image-credential-provider-config", Kind::Text),
    key("image-gc-high-threshold", Kind::Number, "imageGCHighThresholdPercent"),
    key("image-gc-low-threshold", Kind::Number, "imageGCLowThresholdPercent"),
    arg("image-service-endpoint", Kind::Text),
    key("kernel-memcg-notification", Kind::Switch, "kernelMemcgNotification"),
    key("kube-api-burst", Kind::Number, "kubeAPIBurst"),
    key("kube-api-content-type", Kind::Text, "contentType"),
    key("kube-api-qps", Kind::Number, "kubeAPIQPS"),
    key("kube-reserved", Kind::Map, "kubeReserved"),
    key("kube-reserved-cgroup", Kind::Text, "kubeReservedCgroup"),
    arg("kubeconfig", Kind::Text),
    key("kubelet-cgroups", Kind::Text, "kubeletCgroups"),
    key("local-storage-capacity-isolation", Kind::Switch, "localStorageCapacityIsolation"),
    nothing("lock-file", Kind::Text, "the root directory is locked, whatever this says"),
    nothing("log-cadvisor-usage", Kind::Switch, CADVISOR),
    nothing("log-flush-frequency", Kind::Duration, LOGS),
    nothing("log-json-info-buffer-size", Kind::Text, LOGS),
    nothing("log-json-split-stream", Kind::Switch, LOGS),
    nothing("log-text-info-buffer-size", Kind::Text, LOGS),
    nothing("log-text-split-stream", Kind::Switch, LOGS),
    arg("logging-format", Kind::Text),
    nothing("machine-id-file", Kind::Text, CADVISOR),
    key("make-iptables-util-chains", Kind::Switch, "makeIPTablesUtilChains"),
    key("manifest-url", Kind::Text, "staticPodURL"),
    key("manifest-url-header", Kind::Headers, "staticPodURLHeader"),
    key("max-open-files", Kind::Number, "maxOpenFiles"),
    arg("max-pods", Kind::Number),
    nothing("maximum-dead-containers", Kind::Number, DEAD_CONTAINERS),
    nothing("maximum-dead-containers-per-container", Kind::Number, DEAD_CONTAINERS),
    key("memory-manager-policy", Kind::Text, "memoryManagerPolicy"),
    nothing("minimum-container-ttl-duration", Kind::Duration, DEAD_CONTAINERS),
    key("minimum-image-ttl-duration", Kind::Duration, "imageMinimumGCAge"),
    arg("node-ip", Kind::Text),
    arg("node-labels", Kind::Map),
    key("node-status-max-images", Kind::Number, "nodeStatusMaxImages"),
    key("node-status-update-frequency", Kind::Duration, "nodeStatusUpdateFrequency"),
    key("oom-score-adj", Kind::Number, "oomScoreAdj"),
    key("pod-cidr", Kind::Text, "podCIDR"),
    arg("pod-manifest-path", Kind::Text),
    arg("pod-max-pids", Kind::Number),
    key("pods-per-core", Kind::Number, "podsPerCore"),
    key("port", Kind::Number, "port"),
    key("protect-kernel-defaults", Kind::Switch, "protectKernelDefaults"),
    key("provider-id", Kind::Text, "providerID"),
    key("qos-reserved", Kind::Map, "qosReserved"),
    key("read-only-port", Kind::Number, "readOnlyPort"),
    key("register-node", Kind::Switch, "registerNode"),
    key("register-with-taints", Kind::Taints, "registerWithTaints"),
    key("registry-burst", Kind::Number, "registryBurst"),
    key("registry-qps", Kind::Number, "registryPullQPS"),
    key("reserved-cpus", Kind::Text, "reservedSystemCPUs"),
    key("reserved-memory", Kind::Memory, "reservedMemory"),
    arg("resolv-conf", Kind::Text),
    arg("root-dir", Kind::Text),
    key("rotate-certificates", Kind::Switch, "rotateCertificates"),
    key("rotate-server-certificates", Kind::Switch, "serverTLSBootstrap"),
    key("runonce", Kind::Switch, "runOnce"),
    nothing("runtime-cgroups", Kind::Text, NOT_BUILT),
    arg("runtime-request-timeout", Kind::Duration),
    arg("seccomp-default", Kind::Switch),
    arg("serialize-image-pulls", Kind::Switch),
    nothing("storage-driver-buffer-duration", Kind::Duration, CADVISOR),
    nothing("storage-driver-db", Kind::Text, CADVISOR),
    nothing("storage-driver-host", Kind::Text, CADVISOR),
    nothing("storage-driver-password", Kind::Text, CADVISOR),
    nothing("storage-driver-secure", Kind::Switch, CADVISOR),
    nothing("storage-driver-table", Kind::Text, CADVISOR),
    nothing("storage-driver-user", Kind::Text, CADVISOR),
    key("streaming-connection-idle-timeout", Kind::Duration, "streamingConnectionIdleTimeout"),
    arg("sync-frequency", Kind::Duration),
    key("system-cgroups", Kind::Text, "systemCgroups"),
    key("system-reserved", Kind::Map, "systemReserved"),
    key("system-reserved-cgroup", Kind::Text, "systemReservedCgroup"),
    key("tls-cert-file", Kind::Text, "tlsCertFile"),
    key("tls-cipher-suites", Kind::List, "tlsCipherSuites"),
    key("tls-min-version", Kind::Text, "tlsMinVersion"),
    key("tls-private-key-file", Kind::Text, "tlsPrivateKeyFile"),
    key("topology-manager-policy", Kind::Text, "topologyManagerPolicy"),
    key("topology-manager-policy-options", Kind::Map, "topologyManagerPolicyOptions"),
    key("topology-manager-scope", Kind::Text, "topologyManagerScope"),
    arg("v", Kind::Number),
    arg("version", Kind::Switch),
    nothing("vmodule", Kind::Text, "verbosity is one number for the whole of Pinnace"),
    key("volume-plugin-dir", Kind::Text, "volumePluginDir"),
    key("volume-stats-agg-period", Kind::Duration, "volumeStatsAggPeriod"),
];

/// The flag of that name; underscores count as hyphens, as in the kubelet.
#[must_use]
pub fn find(name: &str) -> Option<&'static Flag> {
    let name = name.replace('_', "-");
    all().find(|flag| flag.name == name)
}

/// Every flag.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    KUBELET.iter().chain(&OWN).chain(&FORMER)
}
