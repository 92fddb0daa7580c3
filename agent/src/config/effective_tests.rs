//! Tests of `effective`.

use clap::Parser;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::layer::{merge, typed};

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    flags: RunFlags,
}

fn run(args: &[&str], file: Value) -> Result<Config, String> {
    let flags =
        Run::try_parse_from([&["run"], args].concat()).map_err(|error| error.to_string()).unwrap().flags;
    let directory = Path::new("/srv");
    let layers = [Layer { name: "/etc/k.yaml".to_owned(), value: file }, flags.settings.layer(directory)];
    let (file, _) = typed("merged", &merge(&layers)).unwrap();
    let inputs =
        Inputs { flags: &flags, file: &file, layers: &layers, hostname: "Node-1.Example.org\n", directory };
    settle(inputs).map_err(|errors| errors.to_string())
}

#[test]
fn without_files_and_flags_the_kubelets_defaults_hold() {
    let Config {
        node_name,
        node_ips,
        root_dir,
        static_pod_path,
        file_check_frequency,
        sync_frequency,
        runtime_endpoint,
        image_endpoint,
        runtime_request_timeout,
        healthz,
        serving,
        read_only,
        kubeconfig,
        cert_dir,
        admin_socket,
        pod_logs_dir,
        max_pods,
        pod_pids_limit,
        seccomp_default,
        allowed_unsafe_sysctls,
        ids_per_pod,
        cpu_cfs_quota,
        cpu_cfs_quota_period,
        max_container_restart_period,
        parallel_image_pulls,
        image_pulls,
        cgroup_driver,
        resolv_conf,
        cluster_dns,
        cluster_domain,
        verbosity,
        log_format,
        node,
        file,
    } = run(&[], json!({})).unwrap();
    assert_eq!(node_name, "node-1.example.org");
    assert_eq!(root_dir, Path::new("/var/lib/kubelet"));
    assert_eq!(static_pod_path, None);
    assert_eq!(serving.map(|serving| serving.address), Some("0.0.0.0:10250".parse().unwrap()));
    assert_eq!((read_only, kubeconfig, cert_dir), (None, None, PathBuf::from("/var/lib/kubelet/pki")));
    assert_eq!(file_check_frequency, Duration::from_secs(20));
    assert_eq!(sync_frequency, Duration::from_secs(60));
    assert_eq!(runtime_endpoint, Path::new("/run/containerd/containerd.sock"));
    assert_eq!(image_endpoint, runtime_endpoint);
    assert_eq!(runtime_request_timeout, Duration::from_secs(120));
    assert_eq!(healthz, Some("127.0.0.1:10248".parse().unwrap()));
    assert_eq!(admin_socket, Path::new("/run/pinnace/pinnace.sock"));
    assert_eq!(pod_logs_dir, Path::new("/var/log/pods"));
    assert_eq!((max_pods, pod_pids_limit, seccomp_default), (110, None, false));
    assert_eq!((allowed_unsafe_sysctls, ids_per_pod), (Vec::new(), 65_536));
    assert_eq!((cpu_cfs_quota, cpu_cfs_quota_period), (true, Duration::from_millis(100)));
    assert_eq!(max_container_restart_period, Duration::from_secs(300));
    assert_eq!((parallel_image_pulls, cgroup_driver), (3, CgroupDriver::Cgroupfs));
    assert_eq!((image_pulls.per_second, image_pulls.burst, image_pulls.providers), (5, 10, None));
    assert_eq!(resolv_conf.as_deref(), Some(Path::new("/etc/resolv.conf")));
    assert_eq!((node_ips, cluster_dns, cluster_domain.as_str()), (vec![], vec![], ""));
    assert_eq!((verbosity, log_format), (0, LogFormat::Text));
    assert!(node.register && !node.is_virtual);
    assert_eq!(*file, KubeletConfiguration::default());
}

#[test]
fn socket_and_port_follow_the_instance() {
    let second = run(&["--root-dir=second"], json!({})).unwrap();
    assert_eq!(second.root_dir, Path::new("/srv/second"));
    assert_eq!(second.admin_socket, Path::new("/srv/second/pinnace.sock"));
    assert_eq!(second.healthz, None);
    let told = run(&["--root-dir=/x", "--healthz-port=1", "--admin-socket=/y"], json!({})).unwrap();
    assert_eq!(told.healthz, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(told.admin_socket, Path::new("/y"));
}

#[test]
fn flags_win_over_files_and_zero_is_a_value_where_it_means_something() {
    let file = json!({"healthzPort": 0, "maxPods": 7, "syncFrequency": "0s", "resolvConf": "",
        "containerRuntimeEndpoint": "", "imageServiceEndpoint": "unix:///run/i.sock"});
    let config = run(&["--max-pods=9"], file).unwrap();
    assert_eq!(config.healthz, None);
    assert_eq!(config.max_pods, 9);
    assert_eq!(config.sync_frequency, Duration::from_secs(60));
    assert_eq!(config.resolv_conf, None);
    assert_eq!(config.runtime_endpoint, Path::new("/run/containerd/containerd.sock"));
    assert_eq!(config.image_endpoint, Path::new("/run/i.sock"));
}

#[test]
fn image_pulls_in_one_number() {
    let pulls = |file| run(&[], file).unwrap().parallel_image_pulls;
    assert_eq!(pulls(json!({"serializeImagePulls": true})), 1);
    assert_eq!(pulls(json!({"serializeImagePulls": false})), 3);
    assert_eq!(pulls(json!({"maxParallelImagePulls": 8})), 8);
    assert_eq!(pulls(json!({"serializeImagePulls": true, "maxParallelImagePulls": 1})), 1);
}

#[test]
fn every_fault_is_named_with_its_layer() {
    let file = json!({"healthzPort": -1, "evictionHard": {"memory.available": "lots"},
        "containerRuntimeEndpoint": "tcp://127.0.0.1:1", "staticPodPath": "manifests"});
    assert_eq!(
        run(&["--max-pods=5"], file).unwrap_err(),
        "/etc/k.yaml: healthzPort: must be at least 0, is -1\n\
         /etc/k.yaml: evictionHard[memory.available]: must be a quantity or 0% to 100%, is \"lots\"\n\
         /etc/k.yaml: containerRuntimeEndpoint: must be unix:// and an absolute path, is \"tcp://127.0.0.1:1\"\n\
         /etc/k.yaml: staticPodPath: must be an absolute path, is \"manifests\""
    );
    assert_eq!(
        run(&["--healthz-port=70000"], json!({"healthzPort": 1})).unwrap_err(),
        "command line: healthzPort: must be at most 65535, is 70000"
    );
}

#[test]
fn names_and_addresses_of_the_node_are_checked() {
    let error = |args: &[&str]| run(args, json!({})).unwrap_err();
    assert!(error(&["--hostname-override=a_b"]).contains("DNS subdomain"));
    assert!(error(&["--hostname-override="]).contains("DNS subdomain"));
    assert!(error(&["--node-ip=1.2.3"]).contains("--node-ip"));
    assert!(error(&["--node-ip=1.2.3.4,1.2.3.5"]).contains("--node-ip"));
    assert_eq!(run(&["--node-ip=1.2.3.4,fd00::1"], json!({})).unwrap().node_ips.len(), 2);
    assert_eq!(run(&["--hostname-override=Web-1"], json!({})).unwrap().node_name, "web-1");
}

#[test]
fn the_api_server_is_optional() {
    let kubeconfig = |args: &[&str]| run(args, json!({})).unwrap().kubeconfig;
    assert_eq!(kubeconfig(&["--kubeconfig=kubelet.conf"]), Some("/srv/kubelet.conf".into()));
    assert_eq!(kubeconfig(&["--kubeconfig="]), None);
}

#[test]
fn a_virtual_node_keeps_to_directories_of_its_own() {
    let config = run(&["--virtual", "--hostname-override=v1"], json!({})).unwrap();
    assert_eq!(config.root_dir, PathBuf::from("/var/lib/pinnace/v1"));
    assert_eq!(config.pod_logs_dir, PathBuf::from("/var/lib/pinnace/v1/logs"));
    assert!(config.node.is_virtual && config.healthz.is_none() && config.serving.is_none());
}

#[test]
fn a_flag_wins_over_the_file_also_for_the_log() {
    let file = json!({"logging": {"verbosity": 4, "format": "json"}});
    let told = run(&["--v=0", "--log-format=text"], file.clone()).unwrap();
    assert_eq!((told.verbosity, told.log_format), (0, LogFormat::Text));
    let from_file = run(&[], file).unwrap();
    assert_eq!((from_file.verbosity, from_file.log_format), (4, LogFormat::Json));
}

#[test]
fn defaults_are_those_of_an_empty_command_line() {
    let root = Path::new("/var/lib/kubelet");
    assert_eq!(Config::defaults("node-1.example.org", root).unwrap(), run(&[], json!({})).unwrap());
}

fn any_seconds() -> impl Strategy<Value = String> {
    (-5_i64..1_000).prop_map(|seconds| format!("{seconds}s"))
}

proptest! {
    /// Whatever the file says, the agent gets values that it can work with, or does not start.
    #[test]
    fn what_is_accepted_is_in_range(
        number in prop_oneof![-3_i32..5, any::<i32>()], port in -2_i32..70_000,
        period in any_seconds(), serialize in any::<Option<bool>>(),
    ) {
        let file = json!({
            "maxPods": number, "podPidsLimit": number, "maxParallelImagePulls": number, "healthzPort": port,
            "syncFrequency": period, "fileCheckFrequency": period, "runtimeRequestTimeout": period,
            "cpuCFSQuotaPeriod": "10ms", "serializeImagePulls": serialize,
            "crashLoopBackOff": {"maxContainerRestartPeriod": period},
        });
        if let Ok(config) = run(&[], file) {
            prop_assert!(config.max_pods > 0 && config.parallel_image_pulls > 0);
            prop_assert!(serialize != Some(true) || config.parallel_image_pulls == 1);
            prop_assert_eq!(config.healthz.map_or(0, |address| i32::from(address.port())), port);
            for period in [config.sync_frequency, config.file_check_frequency, config.runtime_request_timeout] {
                prop_assert!(period > Duration::ZERO);
            }
            let restart = config.max_container_restart_period;
            prop_assert!((Duration::from_secs(1)..=Duration::from_secs(300)).contains(&restart));
        }
    }
}
