//! The flags of `pinnace run`, by the kubelet's names where the kubelet has one.
//!
//! A flag that has a key in the configuration file becomes a layer above all files, so that one place
//! validates both.

use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::command_line::{self, Extra};
use super::duration::GoDuration;
use super::layer::Layer;
use super::node_flags::NodeFlags;

/// The kubelet's default root directory.
pub const DEFAULT_ROOT_DIR: &str = "/var/lib/kubelet";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Everything that `pinnace run` and `pinnace check` take.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RunFlags {
    /// KubeletConfiguration file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of drop-in files (*.conf), merged over the file in the order of their names
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Directory for the node's state; socket, lock and the default health port follow it
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ROOT_DIR)]
    pub root_dir: PathBuf,
    /// Socket for `pinnace pods` and its like [default: /run/pinnace/pinnace.sock, or pinnace.sock in the
    /// root directory if that is not the default one]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Name of this node instead of the host name
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// Address of this node; two, separated by a comma, for dual stack
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<String>,
    /// Log verbosity: 0 to 3 main steps, 4 debug, 6 trace, 8 also other libraries [default: 0]
    #[arg(long = "v", short = 'v', value_name = "LEVEL")]
    pub verbosity: Option<u32>,
    /// Log format
    #[arg(long, alias = "logging-format", value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as the description of the command")]
    pub settings: SettingFlags,
    /// How to reach the API server; without it only static pods run
    #[arg(long, value_name = "FILE", value_parser = path_or_empty())]
    pub kubeconfig: Option<PathBuf>,
    /// Accepted as long as the file of --kubeconfig is there: asking for a certificate is not built yet
    #[arg(long, value_name = "FILE", value_parser = path_or_empty())]
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// Directory of the node's certificates [default: pki in the root directory]
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Which programs know credentials for images: a CredentialProviderConfig file, or a directory of them
    #[arg(long, value_name = "PATH")]
    pub image_credential_provider_config: Option<PathBuf>,
    /// Directory of those programs
    #[arg(long, value_name = "DIR")]
    pub image_credential_provider_bin_dir: Option<PathBuf>,
    /// Be a node beside others on this machine, as virtual-kubelet is: with a taint, and only with pods of its own
    #[arg(long = "virtual")]
    pub virtual_node: bool,
    /// What the kubelet's other flags say.
    #[arg(skip)]
    pub extra: Extra,
}

/// Flags that stand for a key of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct SettingFlags {
    /// Directory, or single file, of static pod manifests
    #[arg(long, value_name = "PATH", value_parser = path_or_empty())]
    pub pod_manifest_path: Option<PathBuf>,
    /// Socket of the container runtime [default: unix:///run/containerd/containerd.sock]
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Socket of the image service, if it is not the runtime's
    #[arg(long, value_name = "SOCKET")]
    pub image_service_endpoint: Option<String>,
    /// Deadline of short runtime calls [default: 2m]
    #[arg(long, value_name = "DURATION")]
    pub runtime_request_timeout: Option<GoDuration>,
    /// Port of /healthz, 0 for none [default: 10248, or none if the root directory is not the default one]
    #[arg(long, value_name = "PORT")]
    pub healthz_port: Option<i32>,
    /// Address of /healthz [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub healthz_bind_address: Option<String>,
    /// Rescan period of the manifests [default: 20s]
    #[arg(long, value_name = "DURATION")]
    pub file_check_frequency: Option<GoDuration>,
    /// Longest time between two looks at one pod [default: 1m]
    #[arg(long, value_name = "DURATION")]
    pub sync_frequency: Option<GoDuration>,
    /// Pods that may run here [default: 110]
    #[arg(long, value_name = "NUMBER")]
    pub max_pods: Option<i32>,
    /// Processes per pod, -1 for no limit of its own [default: -1]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub pod_max_pids: Option<i64>,
    /// Use the runtime's seccomp profile where a pod names none [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub seccomp_default: Option<bool>,
    /// cgroupfs or systemd [default: cgroupfs]
    #[arg(long, value_name = "DRIVER")]
    pub cgroup_driver: Option<String>,
    /// Enforce CPU limits by quota [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub cpu_cfs_quota: Option<bool>,
    /// Period of that quota [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub cpu_cfs_quota_period: Option<GoDuration>,
    /// Pull images one at a time [default: three at a time]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub serialize_image_pulls: Option<bool>,
    /// DNS servers of pods, separated by commas
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub cluster_dns: Option<Vec<String>>,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Resolver file that pods inherit [default: /etc/resolv.conf]
    #[arg(long, value_name = "PATH", value_parser = path_or_empty())]
    pub resolv_conf: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as the description of the command")]
    pub node: NodeFlags,
}

impl RunFlags {
    /// No flag but the root directory.
    #[must_use]
    pub fn for_root(root_dir: &Path) -> Self {
        Self {
            config: None,
            config_dir: None,
            root_dir: root_dir.to_owned(),
            admin_socket: None,
            hostname_override: None,
            node_ip: None,
            verbosity: None,
            log_format: None,
            settings: SettingFlags::default(),
            kubeconfig: None,
            bootstrap_kubeconfig: None,
            cert_dir: None,
            image_credential_provider_config: None,
            image_credential_provider_bin_dir: None,
            virtual_node: false,
            extra: Extra::default(),
        }
    }

    /// The layers above all files, lowest first. Relative paths are made absolute from `directory`.
    #[must_use]
    pub fn layers(&self, directory: &Path) -> Vec<Layer> {
        let mut flags = self.settings.layer(directory);
        let mut cleared = Map::new();
        cleared.extend(command_line::replaced(&self.extra.keys).into_iter().map(|key| (key, Value::Null)));
        let name = flags.name.clone();
        anchor_paths(&mut flags.value, &self.extra.keys, directory);
        vec![Layer { name, value: Value::Object(cleared) }, flags]
    }
}

/// Adds keys to a layer, with the paths in them made absolute.
fn anchor_paths(layer: &mut Value, keys: &Map<String, Value>, directory: &Path) {
    let Value::Object(all) = layer else { return };
    all.extend(keys.clone());
    super::layer::anchor(layer, directory);
}

/// A path; empty is allowed, since it switches the setting off.
fn path_or_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl SettingFlags {
    /// The layer above all files. Relative paths are made absolute from `directory`.
    #[must_use]
    pub fn layer(&self, directory: &Path) -> Layer {
        let Self {
            pod_manifest_path,
            container_runtime_endpoint,
            image_service_endpoint,
            runtime_request_timeout,
            healthz_port,
            healthz_bind_address,
            file_check_frequency,
            sync_frequency,
            max_pods,
            pod_max_pids,
            seccomp_default,
            cgroup_driver,
            cpu_cfs_quota,
            cpu_cfs_quota_period,
            serialize_image_pulls,
            cluster_dns,
            cluster_domain,
            resolv_conf,
            node: _,
        } = self;
        let absolute = |path: &PathBuf| match path.as_os_str().is_empty() {
            true => Value::from(""),
            false => Value::from(directory.join(path).display().to_string()),
        };
        let duration = |duration: &GoDuration| Value::from(duration.to_string());
        let text = |text: &String| Value::from(text.as_str());
        let pairs = [
            ("staticPodPath", pod_manifest_path.as_ref().map(absolute)),
            ("containerRuntimeEndpoint", container_runtime_endpoint.as_ref().map(text)),
            ("imageServiceEndpoint", image_service_endpoint.as_ref().map(text)),
            ("runtimeRequestTimeout", runtime_request_timeout.as_ref().map(duration)),
            ("healthzPort", healthz_port.map(Value::from)),
            ("healthzBindAddress", healthz_bind_address.as_ref().map(text)),
            ("fileCheckFrequency", file_check_frequency.as_ref().map(duration)),
            ("syncFrequency", sync_frequency.as_ref().map(duration)),
            ("maxPods", max_pods.map(Value::from)),
            ("podPidsLimit", pod_max_pids.map(Value::from)),
            ("seccompDefault", seccomp_default.map(Value::from)),
            ("cgroupDriver", cgroup_driver.as_ref().map(text)),
            ("cpuCFSQuota", cpu_cfs_quota.map(Value::from)),
            ("cpuCFSQuotaPeriod", cpu_cfs_quota_period.as_ref().map(duration)),
            ("serializeImagePulls", serialize_image_pulls.map(Value::from)),
            ("clusterDNS", cluster_dns.clone().map(Value::from)),
            ("clusterDomain", cluster_domain.as_ref().map(text)),
            ("resolvConf", resolv_conf.as_ref().map(absolute)),
        ];
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let given = given.map(|(key, value)| (key.to_owned(), value));
        Layer { name: "command line".to_owned(), value: Value::Object(given.collect::<Map<_, _>>()) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Run {
        #[command(flatten)]
        flags: RunFlags,
    }

    fn parse(args: &[&str]) -> RunFlags {
        Run::try_parse_from([&["run"], args].concat()).map_err(|error| error.to_string()).unwrap().flags
    }

    #[test]
    fn flags_of_the_kubelet_become_a_layer() {
        let flags = parse(&[
            "--config=/etc/k.yaml",
            "--pod-manifest-path=manifests",
            "--healthz-port=0",
            "--pod-max-pids=-1",
            "--seccomp-default",
            "--cpu-cfs-quota=false",
            "--sync-frequency=90s",
            "--cluster-dns=10.0.0.1,10.0.0.2",
            "--resolv-conf=",
            "--v=4",
            "--log-format=json",
        ]);
        assert_eq!(flags.root_dir, PathBuf::from(DEFAULT_ROOT_DIR));
        assert_eq!(flags.verbosity, Some(4));
        assert_eq!(flags.log_format, Some(LogFormat::Json));
        assert_eq!(
            flags.settings.layer(Path::new("/srv")).value,
            json!({
                "staticPodPath": "/srv/manifests", "healthzPort": 0, "podPidsLimit": -1,
                "seccompDefault": true, "cpuCFSQuota": false, "syncFrequency": "1m30s",
                "clusterDNS": ["10.0.0.1", "10.0.0.2"], "resolvConf": "",
            })
        );
    }

    #[test]
    fn unset_flags_say_nothing() {
        assert_eq!(parse(&[]), RunFlags::for_root(Path::new(DEFAULT_ROOT_DIR)));
        assert_eq!(parse(&[]).settings.layer(Path::new("/")).value, json!({}));
        assert_eq!(parse(&["-v", "2"]).verbosity, Some(2));
    }

    #[test]
    fn a_bad_value_or_an_unknown_flag_is_a_usage_error() {
        for args in [&["--sync-frequency=10"][..], &["--no-such-flag"], &["--max-pods=many"]] {
            assert!(Run::try_parse_from([&["run"], args].concat()).is_err(), "{args:?}");
        }
    }
}
