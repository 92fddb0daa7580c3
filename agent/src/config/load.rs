//! Reads the configuration files: the one part of `config` that touches the disk. Called once, before start.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::command_line::table::{self, Flag, To};
use super::effective::{Config, Inputs, settle};
use super::error::{ConfigError, ConfigErrors};
use super::flags::RunFlags;
use super::layer::{COMMAND_LINE, Layer, merge, parse, typed};

/// Largest configuration file, in bytes. Real ones have a few kilobytes; the cap keeps a wrong path, such as a
/// device, from filling memory.
const MAX_FILE: u64 = 1 << 20;
/// Directories below the drop-in directory. A deeper tree is a loop or a mistake.
const MAX_DEPTH: usize = 8;

/// A configuration and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The validated configuration.
    pub config: Config,
    /// To be logged once: unknown keys, and known ones that this version does not act on.
    pub warnings: Vec<String>,
}

/// Keys that this version acts on. A key that is set and not in this list is named in a warning.
const IN_USE: &[&str] = &[
    "address",
    "allowedUnsafeSysctls",
    "apiVersion",
    "authentication",
    "authorization",
    "cgroupDriver",
    "cgroupRoot",
    "cgroupsPerQOS",
    "clusterDNS",
    "clusterDomain",
    "containerRuntimeEndpoint",
    "cpuCFSQuota",
    "cpuCFSQuotaPeriod",
    "crashLoopBackOff",
    "enableDebuggingHandlers",
    "enableServer",
    "enforceNodeAllocatable",
    "enableControllerAttachDetach",
    "eventBurst",
    "eventRecordQPS",
    "failCgroupV1",
    "failSwapOn",
    "fileCheckFrequency",
    "healthzBindAddress",
    "healthzPort",
    "imagePullCredentialsVerificationPolicy",
    "imageServiceEndpoint",
    "kind",
    "kubeReserved",
    "kubeReservedCgroup",
    "logging",
    "maxParallelImagePulls",
    "maxPods",
    "memorySwap",
    "nodeLeaseDurationSeconds",
    "nodeStatusMaxImages",
    "nodeStatusReportFrequency",
    "nodeStatusUpdateFrequency",
    "oomScoreAdj",
    "podLogsDir",
    "podPidsLimit",
    "port",
    "protectKernelDefaults",
    "preloadedImagesVerificationAllowlist",
    "readOnlyPort",
    "podsPerCore",
    "providerID",
    "registerNode",
    "registerWithTaints",
    "registryBurst",
    "registryPullQPS",
    "resolvConf",
    "runtimeRequestTimeout",
    "seccompDefault",
    "serializeImagePulls",
    "singleProcessOOMKill",
    "staticPodPath",
    "syncFrequency",
    "tlsCertFile",
    "tlsCipherSuites",
    "tlsMinVersion",
    "tlsPrivateKeyFile",
    "systemReserved",
    "systemReservedCgroup",
    "userNamespaces",
];

/// Reads, merges and validates. Errors name file and field.
pub fn load(flags: &RunFlags, hostname: &str, directory: &Path) -> Result<Loaded, ConfigErrors> {
    let mut layers = Vec::new();
    let mut warnings = Vec::new();
    for path in files(flags)? {
        let text = read(&path)?;
        let (layer, odd) = parse(&path, &text)?;
        layers.push(layer);
        warnings.extend(odd);
    }
    check_bootstrap(flags, directory)?;
    warnings.extend(flags.extra.warnings.iter().cloned());
    layers.extend(flags.layers(directory));
    let (file, _) = typed("merged configuration", &merge(&layers))?;
    warnings.extend(idle_keys(&layers));
    let config = settle(Inputs { flags, file: &file, layers: &layers, hostname, directory })?;
    Ok(Loaded { config, warnings })
}

/// Installers name both files; only the first start on a machine needs the second.
fn check_bootstrap(flags: &RunFlags, directory: &Path) -> Result<(), ConfigError> {
    let given = |path: &Option<PathBuf>| {
        path.as_ref().filter(|path| !path.as_os_str().is_empty()).map(|path| directory.join(path))
    };
    let Some(bootstrap) = given(&flags.bootstrap_kubeconfig) else { return Ok(()) };
    let at = |reason: String| Err(ConfigError::at("command line", "--bootstrap-kubeconfig", reason));
    match given(&flags.kubeconfig) {
        None => at("needs --kubeconfig beside it".to_owned()),
        Some(kubeconfig) if kubeconfig.exists() => Ok(()),
        Some(kubeconfig) => at(format!(
            "{} is missing, and asking for a certificate with {} is not supported yet: put a kubeconfig with the \
             node's own credentials there",
            kubeconfig.display(),
            bootstrap.display(),
        )),
    }
}

fn files(flags: &RunFlags) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files: Vec<PathBuf> = flags.config.iter().cloned().collect();
    if let Some(directory) = &flags.config_dir {
        drop_ins(directory, MAX_DEPTH, &mut files)?;
    }
    Ok(files)
}

/// Drop-ins in the order of their names, a directory in the place of its own name.
fn drop_ins(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ConfigError> {
    let failed = |path: &Path, error: &io::Error| {
        ConfigError::whole(&path.display().to_string(), format!("failed to read the directory: {error}"))
    };
    if depth == 0 {
        return Err(ConfigError::whole(&directory.display().to_string(), "directories are nested too deep"));
    }
    let entries = std::fs::read_dir(directory).map_err(|error| failed(directory, &error))?;
    let mut entries = entries.collect::<io::Result<Vec<_>>>().map_err(|error| failed(directory, &error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            drop_ins(&path, depth.saturating_sub(1), files)?;
        } else if path.extension().is_some_and(|extension| extension == "conf") && !path.is_dir() {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |reason: String| ConfigError::whole(&path.display().to_string(), reason);
    let file = File::open(path).map_err(|error| failed(format!("failed to open: {error}")))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(failed("not a regular file".to_owned()));
    }
    let mut text = String::new();
    file.take(MAX_FILE.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| failed(format!("failed to read: {error}")))?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed("larger than 1 MiB".to_owned()));
    }
    Ok(text)
}

/// The flag that sets a key.
fn flag_of(key: &str) -> String {
    let sets_it = |flag: &&Flag| matches!(flag.to, To::Key(path) if path == key);
    table::all().find(sets_it).map_or_else(|| key.to_owned(), |flag| format!("--{}", flag.name))
}

/// Known keys with a value that this version does not act on, by the layer that sets them; flags by their names.
/// Zero values of files are left out: those that kubeadm writes are full of them.
fn idle_keys(layers: &[Layer]) -> Vec<String> {
    let says_something = |value: &serde_json::Value| {
        use serde_json::Value::{Array, Bool, Null, Number, Object, String};
        match value {
            Null => false,
            Bool(_) => true,
            Number(number) => number.as_f64() != Some(0.0),
            String(text) => !text.is_empty() && text != "0s",
            Array(list) => !list.is_empty(),
            Object(map) => !map.is_empty(),
        }
    };
    let known = |key: &str| {
        let probe = serde_json::json!({ key: null });
        typed("probe", &probe).is_ok_and(|(_, unknown)| unknown.is_empty())
    };
    let idle = |layer: &Layer| {
        let entries = layer.value.as_object().into_iter().flatten();
        let is_flags = layer.name == COMMAND_LINE;
        let said = |value: &serde_json::Value| says_something(value) || (is_flags && !value.is_null());
        let keys = entries
            .filter(|(key, value)| !IN_USE.contains(&key.as_str()) && said(value) && known(key))
            .map(|(key, _)| if is_flags { flag_of(key) } else { key.clone() });
        let keys = keys.collect::<Vec<_>>().join(", ");
        (!keys.is_empty()).then(|| format!("{}: set, but this version does not act on: {keys}", layer.name))
    };
    layers.iter().filter_map(idle).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Run {
        #[command(flatten)]
        flags: RunFlags,
    }

    const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

    fn loaded(directory: &Path, args: &[&str]) -> Result<Loaded, String> {
        let flags = Run::try_parse_from([&["run"], args].concat()).unwrap_or_else(|e| panic!("{e}")).flags;
        load(&flags, "node", directory).map_err(|errors| errors.to_string())
    }

    fn write(directory: &Path, name: &str, text: &str) -> String {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{HEAD}{text}")).unwrap();
        path.display().to_string()
    }

    #[test]
    fn b21_drop_ins_merge_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let base = write(dir.path(), "base.yaml", "maxPods: 1\nsyncFrequency: 2m\nclusterDNS: [10.0.0.1]\n");
        write(dir.path(), "d/20-last.conf", "maxPods: 20\nhealthzPort: 0\n");
        write(dir.path(), "d/10-first.conf", "maxPods: 10\nclusterDNS: [10.0.0.2]\n");
        write(dir.path(), "d/15-sub/x.conf", "clusterDNS: [10.0.0.3]\n");
        write(dir.path(), "d/30-no.yaml", "maxPods: 30\n");
        let drop_ins = dir.path().join("d").display().to_string();
        let args = [&format!("--config={base}")[..], &format!("--config-dir={drop_ins}")];
        let config = loaded(dir.path(), &args).unwrap().config;
        assert_eq!(config.max_pods, 20);
        assert_eq!(config.healthz, None);
        assert_eq!(config.sync_frequency.as_secs(), 120);
        assert_eq!(config.cluster_dns, ["10.0.0.3".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn what_cannot_be_read_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let missing = loaded(dir.path(), &["--config=/no/such"]).unwrap_err();
        assert!(missing.starts_with("/no/such: failed to open: No such file"), "{missing}");
        let device = loaded(dir.path(), &["--config=/dev/zero"]).unwrap_err();
        assert_eq!(device, "/dev/zero: not a regular file");
        let large = write(dir.path(), "large", &"#".repeat(1 << 20));
        assert_eq!(
            loaded(dir.path(), &[&format!("--config={large}")]).unwrap_err(),
            format!("{large}: larger than 1 MiB")
        );
        let no_dir = loaded(dir.path(), &["--config-dir=/no/such"]).unwrap_err();
        assert!(no_dir.starts_with("/no/such: failed to read the directory"), "{no_dir}");
    }

    #[test]
    fn a_bootstrap_kubeconfig_needs_the_real_one_for_now() {
        let dir = tempfile::tempdir().unwrap();
        let bootstrap = "--bootstrap-kubeconfig=/etc/b";
        let error = loaded(dir.path(), &[bootstrap]).unwrap_err();
        assert_eq!(error, "command line: --bootstrap-kubeconfig: needs --kubeconfig beside it");
        let error = loaded(dir.path(), &[bootstrap, "--kubeconfig=/no/such"]).unwrap_err();
        assert!(error.contains("/no/such is missing, and asking for a certificate with /etc/b"), "{error}");
        std::fs::write(dir.path().join("k"), "").unwrap();
        let config = loaded(dir.path(), &[bootstrap, "--kubeconfig=k"]).unwrap().config;
        assert_eq!(config.kubeconfig, Some(dir.path().join("k")));
    }

    #[test]
    fn maps_of_flags_take_the_place_of_the_files_but_gates_are_merged() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            dir.path(),
            "k.yaml",
            "evictionHard: {memory.available: 1Gi}\nfeatureGates: {A: true, B: true}\ntlsMinVersion: VersionTLS13\n",
        );
        let mut flags = Run::try_parse_from(["run", &format!("--config={path}")]).unwrap().flags;
        let keys = serde_json::json!({
            "evictionHard": {"nodefs.available": "5%"}, "featureGates": {"B": false}, "tlsCertFile": "c",
            "tlsPrivateKeyFile": "/k",
        });
        flags.extra.keys = keys.as_object().unwrap().clone();
        flags.extra.warnings.push("odd".to_owned());
        let loaded = load(&flags, "node", Path::new("/srv")).unwrap();
        let file = loaded.config.file;
        assert_eq!(file.eviction_hard, Some([("nodefs.available".to_owned(), "5%".to_owned())].into()));
        assert_eq!(file.feature_gates.unwrap(), [("A".to_owned(), true), ("B".to_owned(), false)].into());
        assert_eq!(file.tls_cert_file.as_deref(), Some("/srv/c"));
        let idle = "command line: set, but this version does not act on: --eviction-hard, --feature-gates";
        assert!(loaded.warnings.contains(&"odd".to_owned()), "{:?}", loaded.warnings);
        assert!(loaded.warnings.contains(&idle.to_owned()), "{:?}", loaded.warnings);
    }

    #[test]
    fn a_file_as_kubeadm_writes_it_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "config.yaml", KUBEADM);
        let loaded = loaded(dir.path(), &[&format!("--config={path}")]).unwrap();
        assert_eq!(loaded.config.cgroup_driver, crate::config::effective::CgroupDriver::Systemd);
        assert_eq!(loaded.config.static_pod_path.as_deref(), Some(Path::new("/etc/kubernetes/manifests")));
        assert_eq!(
            loaded.warnings,
            [format!("{path}: set, but this version does not act on: rotateCertificates")]
        );
    }

    /// The shape of `/var/lib/kubelet/config.yaml` after `kubeadm init`, less its head.
    const KUBEADM: &str = "
authentication:
  anonymous: {enabled: false}
  webhook: {cacheTTL: 0s, enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization:
  mode: Webhook
  webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: \"\"
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
logging:
  flushFrequency: 0
  options: {json: {infoBufferSize: \"0\"}, text: {infoBufferSize: \"0\"}}
  verbosity: 0
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
";
}
