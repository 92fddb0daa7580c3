//! The configuration that the agent runs with: every value set, every range checked. Pure.
//!
//! Defaults are the kubelet's (`pkg/kubelet/apis/config/v1beta1/defaults.go`) unless a comment says otherwise.
//! As there, an empty or zero value of a key that has no meaning at zero stands for the default: files that
//! kubeadm writes are full of `0s`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::duration::GoDuration;
use super::error::{ConfigError, ConfigErrors};
use super::file::KubeletConfiguration;
use super::flags::{DEFAULT_ROOT_DIR, LogFormat, RunFlags};
use super::images::{self, ImagePulls};
use super::layer::{Layer, origin};
use super::node::{self, NodeSettings};
use super::range;
use super::serving::{self, Serving};
use crate::pod::userns::blocks::UNIT;

/// Socket of the admin server of the instance in the default root directory.
pub const DEFAULT_ADMIN_SOCKET: &str = "/run/pinnace/pinnace.sock";
/// Socket of containerd.
const DEFAULT_RUNTIME: &str = "unix:///run/containerd/containerd.sock";
/// Where virtual nodes have their root directories.
const VIRTUAL_ROOT_DIRS: &str = "/var/lib/pinnace";
/// Where container logs go.
const DEFAULT_POD_LOGS_DIR: &str = "/var/log/pods";
/// Resolver file that pods inherit.
const DEFAULT_RESOLV_CONF: &str = "/etc/resolv.conf";
/// Port of `/healthz`.
const DEFAULT_HEALTHZ_PORT: u16 = 10_248;
/// Image pulls at once. The kubelet's default is one; three is a decision of this project: one slow registry
/// must not hold up every other pod, and more would compete for the same disk.
const DEFAULT_PARALLEL_PULLS: usize = 3;
/// Names of nodes are DNS subdomains: `k8s.io/apimachinery` `validation.DNS1123SubdomainMaxLength`.
const MAX_NODE_NAME: usize = 253;

/// How cgroup names are given to the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Paths below the cgroup root.
    Cgroupfs,
    /// Slices and scopes of systemd.
    Systemd,
}

/// Everything that the agent needs to know before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of this node, in lower case, a DNS subdomain.
    pub node_name: String,
    /// Addresses that the node was told to have; at most two. Empty: not told.
    pub node_ips: Vec<IpAddr>,
    /// Root directory of the instance, absolute.
    pub root_dir: PathBuf,
    /// Static pod manifests, absolute: a directory or one file.
    pub static_pod_path: Option<PathBuf>,
    /// Rescan period of the manifests; above zero.
    pub file_check_frequency: Duration,
    /// Longest time between two looks at one pod; above zero.
    pub sync_frequency: Duration,
    /// The runtime's Unix socket, absolute.
    pub runtime_endpoint: PathBuf,
    /// The image service's Unix socket, absolute; the runtime's unless another is configured.
    pub image_endpoint: PathBuf,
    /// Deadline of short runtime calls; above zero.
    pub runtime_request_timeout: Duration,
    /// Where `/healthz` listens; none if it is switched off.
    pub healthz: Option<SocketAddr>,
    /// The HTTPS server; none if it is switched off.
    pub serving: Option<Serving>,
    /// Where the read-only server listens, in plain HTTP; none if it is switched off.
    pub read_only: Option<SocketAddr>,
    /// How to reach the API server, absolute; none if there is none.
    pub kubeconfig: Option<PathBuf>,
    /// Directory of the node's certificates, absolute.
    pub cert_dir: PathBuf,
    /// Socket of the admin server, absolute.
    pub admin_socket: PathBuf,
    /// Where the runtime writes container logs, absolute.
    pub pod_logs_dir: PathBuf,
    /// Pods that may run here.
    pub max_pods: u32,
    /// Processes per pod; none if there is no limit of its own.
    pub pod_pids_limit: Option<u64>,
    /// Whether the runtime's seccomp profile is used where a pod names none.
    pub seccomp_default: bool,
    /// Kernel parameters that pods may set beside the safe ones; each a name, or the beginning of names with `*`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// Ids in each pod's user namespace, a multiple of 65536.
    pub ids_per_pod: u32,
    /// Whether CPU limits are enforced by quota.
    pub cpu_cfs_quota: bool,
    /// Period of that quota, 1 ms to 1 s.
    pub cpu_cfs_quota_period: Duration,
    /// Cap of the restart backoff, 1 s to 300 s. Below 10 s it is the first delay as well (KEP-4603).
    pub max_container_restart_period: Duration,
    /// Image pulls at once, at least 1: `serializeImagePulls` and `maxParallelImagePulls` in one number.
    pub parallel_image_pulls: usize,
    /// How they are made.
    pub image_pulls: ImagePulls,
    /// How cgroup names are given to the runtime; a runtime that says what it uses overrules it.
    pub cgroup_driver: CgroupDriver,
    /// Resolver file that pods inherit; none means an empty resolver configuration.
    pub resolv_conf: Option<PathBuf>,
    /// DNS servers of pods.
    pub cluster_dns: Vec<IpAddr>,
    /// DNS domain of the cluster, may be empty.
    pub cluster_domain: String,
    /// Log verbosity, as `--v`.
    pub verbosity: u32,
    /// Log format.
    pub log_format: LogFormat,
    /// How the node appears in the API.
    pub node: NodeSettings,
    /// The merged file, for keys that later parts act on.
    pub file: Box<KubeletConfiguration>,
}

/// What goes into a [`Config`].
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The flags.
    pub flags: &'a RunFlags,
    /// The merge of all layers, typed.
    pub file: &'a KubeletConfiguration,
    /// The layers, to name the one that is at fault.
    pub layers: &'a [Layer],
    /// This machine's host name.
    pub hostname: &'a str,
    /// The working directory, absolute: relative flags start from it.
    pub directory: &'a Path,
}

/// The validated configuration, or every fault that was found.
pub fn settle(inputs: Inputs<'_>) -> Result<Config, ConfigErrors> {
    let mut faults = Faults { layers: inputs.layers, found: Vec::new() };
    for (field, reason) in range::faults(inputs.file) {
        faults.field(&field, reason);
    }
    let config = build(inputs, &mut faults);
    if faults.found.is_empty() { Ok(config) } else { Err(ConfigErrors(faults.found)) }
}

impl Config {
    /// The configuration without files and with no flag but the root directory, which must be absolute.
    pub fn defaults(node_name: &str, root_dir: &Path) -> Result<Self, ConfigErrors> {
        let (flags, file) = (RunFlags::for_root(root_dir), KubeletConfiguration::default());
        settle(Inputs { flags: &flags, file: &file, layers: &[], hostname: node_name, directory: root_dir })
    }
}

/// Collects faults and finds out which layer said what.
struct Faults<'a> {
    layers: &'a [Layer],
    found: Vec<ConfigError>,
}

impl Faults<'_> {
    fn field(&mut self, field: &str, reason: String) {
        let key = field.split_once('[').map_or(field, |(key, _)| key);
        self.found.push(ConfigError::at(origin(self.layers, key), field, reason));
    }

    fn flag(&mut self, flag: &str, reason: impl Into<String>) {
        self.found.push(ConfigError::at("command line", flag, reason));
    }
}

/// Virtual nodes share a machine with others: each has a directory of its own, named after it.
fn root_dir(flags: &RunFlags, node_name: &str, directory: &Path) -> PathBuf {
    if flags.virtual_node && flags.root_dir == Path::new(DEFAULT_ROOT_DIR) {
        return Path::new(VIRTUAL_ROOT_DIRS).join(node_name);
    }
    directory.join(&flags.root_dir)
}

fn pod_logs_dir(flags: &RunFlags, root_dir: &Path) -> PathBuf {
    if flags.virtual_node { root_dir.join("logs") } else { PathBuf::from(DEFAULT_POD_LOGS_DIR) }
}

fn build(inputs: Inputs<'_>, faults: &mut Faults<'_>) -> Config {
    let Inputs { flags, file, hostname, directory, .. } = inputs;
    let node_name = node_name(flags.hostname_override.as_deref(), hostname, faults);
    let root_dir = root_dir(flags, &node_name, directory);
    let is_default_instance = root_dir == Path::new(DEFAULT_ROOT_DIR);
    let admin_socket = match &flags.admin_socket {
        Some(path) => directory.join(path),
        None if is_default_instance => PathBuf::from(DEFAULT_ADMIN_SOCKET),
        None => root_dir.join("pinnace.sock"),
    };
    let runtime_endpoint =
        socket(&file.container_runtime_endpoint, DEFAULT_RUNTIME, "containerRuntimeEndpoint", faults);
    let own_image_endpoint = given(&file.image_service_endpoint);
    let image_endpoint = match own_image_endpoint {
        Some(_) => socket(&file.image_service_endpoint, "", "imageServiceEndpoint", faults),
        None => runtime_endpoint.clone(),
    };
    let logging = file.logging.clone().unwrap_or_default();
    let cert_dir = flags.cert_dir.as_ref().map_or_else(|| root_dir.join("pki"), |dir| directory.join(dir));
    let mut server_faults = Vec::new();
    let serving = serving::serving(file, &cert_dir, is_default_instance, &mut server_faults);
    for (field, reason) in server_faults {
        faults.field(field, reason);
    }
    let mut image_faults = Vec::new();
    let image_pulls = images::settle(flags, file, directory, &mut image_faults);
    for (name, reason) in image_faults {
        if name.starts_with("--") { faults.flag(name, reason) } else { faults.field(name, reason) }
    }
    let mut node = node_settings(flags, file, faults);
    node.port = serving.as_ref().map_or(0, |serving| serving.address.port());
    Config {
        node_name,
        node_ips: node_ips(flags.node_ip.as_deref(), faults),
        static_pod_path: absolute(&file.static_pod_path, "staticPodPath", faults),
        file_check_frequency: period(file.file_check_frequency, Duration::from_secs(20)),
        sync_frequency: period(file.sync_frequency, Duration::from_secs(60)),
        runtime_endpoint,
        image_endpoint,
        runtime_request_timeout: period(file.runtime_request_timeout, Duration::from_secs(120)),
        healthz: healthz(file, is_default_instance),
        serving,
        read_only: serving::read_only(file),
        kubeconfig: flags
            .kubeconfig
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
            .map(|p| directory.join(p)),
        cert_dir,
        admin_socket,
        pod_logs_dir: absolute(&file.pod_logs_dir, "podLogsDir", faults)
            .unwrap_or_else(|| pod_logs_dir(flags, &root_dir)),
        max_pods: positive(file.max_pods).unwrap_or(110),
        pod_pids_limit: file.pod_pids_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|n| *n > 0),
        seccomp_default: file.seccomp_default.unwrap_or(false),
        allowed_unsafe_sysctls: file.allowed_unsafe_sysctls.clone().unwrap_or_default(),
        ids_per_pod: ids_per_pod(file),
        cpu_cfs_quota: file.cpu_cfs_quota.unwrap_or(true),
        cpu_cfs_quota_period: period(file.cpu_cfs_quota_period, Duration::from_millis(100)),
        max_container_restart_period: restart_period(file),
        parallel_image_pulls: parallel_pulls(file),
        image_pulls,
        cgroup_driver: match file.cgroup_driver.as_deref() {
            Some("systemd") => CgroupDriver::Systemd,
            _ => CgroupDriver::Cgroupfs,
        },
        resolv_conf: match file.resolv_conf.as_deref() {
            Some("") => None,
            Some(path) => Some(PathBuf::from(path)),
            None => Some(PathBuf::from(DEFAULT_RESOLV_CONF)),
        },
        cluster_dns: file.cluster_dns.iter().flatten().filter_map(|text| text.parse().ok()).collect(),
        cluster_domain: file.cluster_domain.clone().unwrap_or_default(),
        verbosity: flags.verbosity.or(logging.verbosity).unwrap_or(0),
        log_format: flags.log_format.unwrap_or(match logging.format.as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        }),
        node,
        file: Box::new(file.clone()),
        root_dir,
    }
}

fn node_settings(flags: &RunFlags, file: &KubeletConfiguration, faults: &mut Faults<'_>) -> NodeSettings {
    let (node, found) = node::settle(&flags.settings.node, flags.virtual_node, file);
    for (name, reason) in found {
        if name.starts_with("--") { faults.flag(&name, reason) } else { faults.field(&name, reason) }
    }
    node
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn period(configured: Option<GoDuration>, default: Duration) -> Duration {
    configured.and_then(GoDuration::to_std).filter(|period| !period.is_zero()).unwrap_or(default)
}

fn positive(configured: Option<i32>) -> Option<u32> {
    configured.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

fn ids_per_pod(file: &KubeletConfiguration) -> u32 {
    let asked = file.user_namespaces.as_ref().and_then(|section| section.ids_per_pod);
    asked.and_then(|ids| u32::try_from(ids).ok()).filter(|ids| *ids > 0).unwrap_or(UNIT)
}

fn restart_period(file: &KubeletConfiguration) -> Duration {
    let section = file.crash_loop_back_off.as_ref();
    period(section.and_then(|section| section.max_container_restart_period), Duration::from_secs(300))
}

fn parallel_pulls(file: &KubeletConfiguration) -> usize {
    match (file.serialize_image_pulls, positive(file.max_parallel_image_pulls)) {
        (_, Some(pulls)) => usize::try_from(pulls).unwrap_or(DEFAULT_PARALLEL_PULLS),
        (Some(true), None) => 1,
        (Some(false) | None, None) => DEFAULT_PARALLEL_PULLS,
    }
}

/// A second instance on the machine gets no health port unless it is given one of its own.
fn healthz(file: &KubeletConfiguration, is_default_instance: bool) -> Option<SocketAddr> {
    let address = file.healthz_bind_address.as_deref().and_then(|text| text.parse().ok());
    let default = if is_default_instance { DEFAULT_HEALTHZ_PORT } else { 0 };
    let port = file.healthz_port.map_or(default, |port| u16::try_from(port).unwrap_or(0));
    (port > 0).then(|| SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port))
}

fn absolute(text: &Option<String>, field: &str, faults: &mut Faults<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(given(text)?);
    if path.is_relative() {
        faults.field(field, format!("must be an absolute path, is {:?}", path.display().to_string()));
    }
    Some(path)
}

/// The path of a Unix socket, with or without the scheme. There is no other transport.
fn socket(text: &Option<String>, default: &str, field: &str, faults: &mut Faults<'_>) -> PathBuf {
    let text = given(text).unwrap_or(default);
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if !path.starts_with('/') {
        faults.field(field, format!("must be unix:// and an absolute path, is {text:?}"));
    }
    PathBuf::from(path)
}

fn node_ips(text: Option<&str>, faults: &mut Faults<'_>) -> Vec<IpAddr> {
    let parts: Vec<&str> =
        text.filter(|text| !text.is_empty()).into_iter().flat_map(|t| t.split(',')).collect();
    let ips: Vec<IpAddr> = parts.iter().filter_map(|part| part.trim().parse().ok()).collect();
    let one_family = ips.iter().all(IpAddr::is_ipv4) || ips.iter().all(IpAddr::is_ipv6);
    if ips.len() != parts.len() || ips.len() > 2 || (ips.len() == 2 && one_family) {
        faults.flag("--node-ip", "must be an IP address, or one of each family separated by a comma");
    }
    ips
}

/// The host name in lower case, as the kubelet names a node.
fn node_name(given: Option<&str>, hostname: &str, faults: &mut Faults<'_>) -> String {
    let name = given.unwrap_or(hostname).trim().to_lowercase();
    if !is_subdomain(&name) {
        let reason = format!("the node's name must be a DNS subdomain, is {name:?}");
        faults.flag("--hostname-override", reason);
    }
    name
}

fn is_subdomain(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    name.len() <= MAX_NODE_NAME && name.split('.').all(is_label)
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
