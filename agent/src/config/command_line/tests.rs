//! Tests of the command line: the table against upstream's list, and the lines that installers write.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// Every flag of kubelet 1.36 but `help`.
const UPSTREAM: &str = "
    address allowed-unsafe-sysctls anonymous-auth application-metrics-count-limit
    authentication-token-webhook authentication-token-webhook-cache-ttl authorization-mode
    authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl
    boot-id-file bootstrap-kubeconfig cert-dir cgroup-driver cgroup-root cgroups-per-qos
    client-ca-file cloud-provider cluster-dns cluster-domain config config-dir container-hints
    container-log-max-files container-log-max-size container-runtime-endpoint containerd
    containerd-namespace contention-profiling cpu-cfs-quota cpu-cfs-quota-period cpu-manager-policy
    cpu-manager-policy-options cpu-manager-reconcile-period enable-controller-attach-detach
    enable-debugging-handlers enable-load-reader enable-server enforce-node-allocatable event-burst
    event-qps event-storage-age-limit event-storage-event-limit eviction-hard
    eviction-max-pod-grace-period eviction-minimum-reclaim eviction-pressure-transition-period
    eviction-soft eviction-soft-grace-period exit-on-lock-contention
    experimental-allocatable-ignore-eviction experimental-mounter-path fail-cgroupv1 fail-swap-on
    feature-gates file-check-frequency global-housekeeping-interval hairpin-mode
    healthz-bind-address healthz-port hostname-override housekeeping-interval http-check-frequency
    image-credential-provider-bin-dir image-credential-provider-config image-gc-high-threshold
    image-gc-low-threshold image-service-endpoint kernel-memcg-notification kube-api-burst
    kube-api-content-type kube-api-qps kube-reserved kube-reserved-cgroup kubeconfig kubelet-cgroups
    local-storage-capacity-isolation lock-file log-cadvisor-usage log-flush-frequency
    log-json-info-buffer-size log-json-split-stream log-text-info-buffer-size log-text-split-stream
    logging-format machine-id-file make-iptables-util-chains manifest-url manifest-url-header
    max-open-files max-pods maximum-dead-containers maximum-dead-containers-per-container
    memory-manager-policy minimum-container-ttl-duration minimum-image-ttl-duration node-ip
    node-labels node-status-max-images node-status-update-frequency oom-score-adj pod-cidr
    pod-manifest-path pod-max-pids pods-per-core port protect-kernel-defaults provider-id
    qos-reserved read-only-port register-node register-with-taints registry-burst registry-qps
    reserved-cpus reserved-memory resolv-conf root-dir rotate-certificates
    rotate-server-certificates runonce runtime-cgroups runtime-request-timeout seccomp-default
    serialize-image-pulls storage-driver-buffer-duration storage-driver-db storage-driver-host
    storage-driver-password storage-driver-secure storage-driver-table storage-driver-user
    streaming-connection-idle-timeout sync-frequency system-cgroups system-reserved
    system-reserved-cgroup tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file
    topology-manager-policy topology-manager-policy-options topology-manager-scope v version vmodule
    volume-plugin-dir volume-stats-agg-period";

fn line(text: &str) -> (Vec<String>, Extra) {
    let words = text.split_whitespace().map(|word| word.trim_matches('\'').to_owned());
    match translate(words, &[]) {
        Ok(Translated::Run { arguments, extra }) => (arguments, extra),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_table_has_every_flag_of_the_kubelet_once_and_in_order() {
    let names: Vec<&str> = table::KUBELET.iter().map(|flag| flag.name).collect();
    assert_eq!(names, UPSTREAM.split_whitespace().collect::<Vec<_>>());
    let all: BTreeSet<&str> = table::all().map(|flag| flag.name).collect();
    assert_eq!(all.len(), table::all().count(), "no name twice");
}

#[test]
fn every_key_is_one_of_the_configuration_file_and_takes_what_its_flag_says() {
    for flag in table::all() {
        let To::Key(path) = flag.to else { continue };
        let text = match flag.kind {
            Kind::Switch => "true",
            Kind::Text => "text",
            Kind::Number => "1",
            Kind::Duration => "1s",
            Kind::List => "a,b",
            Kind::Map | Kind::Pair => "a=b",
            Kind::Thresholds => "a<b",
            Kind::Gates => "a=true",
            Kind::Headers => "a:b",
            Kind::Taints => "a=b:NoExecute",
            Kind::Memory => "0:memory=1Gi",
        };
        let mut keys = Map::new();
        put(&mut keys, path, value::add(None, flag.kind, text).unwrap());
        let typed = crate::config::layer::typed(flag.name, &Value::Object(keys));
        assert_eq!(typed.map(|(_, unknown)| unknown), Ok(Vec::new()), "--{}", flag.name);
    }
}

#[test]
fn arguments_of_the_table_are_those_of_run() {
    use clap::CommandFactory;

    #[derive(clap::Parser)]
    struct Run {
        #[command(flatten)]
        _flags: crate::config::flags::RunFlags,
    }
    let command = Run::command();
    let mut of_run = BTreeSet::new();
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        of_run.extend(argument.get_long());
        of_run.extend(argument.get_all_aliases().unwrap_or_default());
    }
    let of_table: BTreeSet<&str> = table::all()
        .filter(|flag| flag.to == To::Argument && flag.name != "version")
        .map(|flag| flag.name)
        .collect();
    assert_eq!(of_table, of_run);
}

/// The unit's drop-in of kubeadm's packages, with the files that `kubeadm init` of 1.36 writes.
#[test]
fn the_line_of_kubeadm_is_taken() {
    let (arguments, extra) = line(
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
         --config=/var/lib/kubelet/config.yaml \
         --container-runtime-endpoint=unix:///var/run/containerd/containerd.sock \
         --hostname-override=node-1 --node-ip=172.18.0.2 --node-labels= --provider-id=kind://docker/kind/kind-1 \
         --register-with-taints=node-role.kubernetes.io/control-plane:NoSchedule",
    );
    assert_eq!(
        arguments,
        [
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
            "--config=/var/lib/kubelet/config.yaml",
            "--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock",
            "--hostname-override=node-1",
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
            "--node-ip=172.18.0.2",
            "--node-labels=",
        ]
    );
    let taint = json!({"key": "node-role.kubernetes.io/control-plane", "value": "", "effect": "NoSchedule"});
    let keys = json!({"providerID": "kind://docker/kind/kind-1", "registerWithTaints": [taint]});
    assert_eq!((Value::Object(extra.keys), extra.warnings), (keys, Vec::new()));
}

/// kubeadm before 1.35 still named the pause image.
#[test]
fn the_line_of_an_older_kubeadm_is_taken() {
    let (_, extra) = line("--pod-infra-container-image=images.test/pause:3.10 --cgroup-driver=systemd");
    let reason = "--pod-infra-container-image has no effect here: the kubelet no longer has it since 1.35";
    assert_eq!(extra.warnings, [reason]);
}

/// What k3s gives to its kubelet since it writes a configuration directory.
#[test]
fn the_line_of_k3s_is_taken() {
    let (arguments, extra) = line(
        "--cert-dir=/var/lib/kubelet/pki --cloud-provider=external \
         --config-dir=/var/lib/rancher/k3s/agent/etc/kubelet.conf.d --hostname-override=k3s-1 \
         --kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig --node-ip=10.0.0.4 --node-labels=a=b,c=d \
         --read-only-port=0 --root-dir=/var/lib/kubelet --runtime-cgroups=/k3s \
         --image-credential-provider-bin-dir=/x --image-credential-provider-config=/y",
    );
    assert!(arguments.contains(&"--node-labels=a=b,c=d".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&"--cert-dir=/var/lib/kubelet/pki".to_owned()), "{arguments:?}");
    assert_eq!(extra.keys, *json!({"readOnlyPort": 0}).as_object().unwrap());
    let named: Vec<&str> = extra.warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
    assert_eq!(named, ["--runtime-cgroups"]);
    assert!(arguments.contains(&"--image-credential-provider-config=/y".to_owned()), "{arguments:?}");
}

/// What k3s gave when everything was a flag.
#[test]
fn the_line_of_an_older_k3s_is_taken() {
    let (arguments, extra) = line(
        "--address=0.0.0.0 --allowed-unsafe-sysctls=net.ipv4.ip_forward,net.ipv6.conf.all.forwarding \
         --anonymous-auth=false --authentication-token-webhook=true --authorization-mode=Webhook \
         --cgroup-driver=systemd --client-ca-file=/ca.crt --cluster-dns=10.43.0.10 \
         --cluster-domain=cluster.local --container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock \
         --containerd=/run/k3s/containerd/containerd.sock --eviction-hard=imagefs.available<5%,nodefs.available<5% \
         --eviction-minimum-reclaim=imagefs.available=10%,nodefs.available=10% --fail-swap-on=false \
         --feature-gates=CloudDualStackNodeIPs=true --healthz-bind-address=127.0.0.1 --kubelet-cgroups=/k3s \
         --pod-manifest-path=/m --read-only-port=0 --resolv-conf=/etc/resolv.conf --serialize-image-pulls=false \
         --tls-cert-file=/serving.crt --tls-private-key-file=/serving.key --v=0",
    );
    assert!(arguments.contains(&"--serialize-image-pulls=false".to_owned()), "{arguments:?}");
    let keys = Value::Object(extra.keys);
    assert_eq!(
        keys["authentication"],
        json!({
            "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": "/ca.crt"},
        })
    );
    assert_eq!(keys["evictionHard"], json!({"imagefs.available": "5%", "nodefs.available": "5%"}));
    let replaced = replaced(keys.as_object().unwrap());
    assert_eq!(replaced, ["evictionHard", "evictionMinimumReclaim"], "feature gates are merged");
}

#[test]
fn repeated_flags_add_up_or_the_last_one_counts() {
    let (arguments, extra) = line(
        "--node-labels a=b --node-labels c=d --config=/a --config=/b --feature-gates=A=true \
              --feature-gates B=false --cluster-dns=10.0.0.1 --cluster-dns=10.0.0.2 --virtual --v=1 -v 2",
    );
    assert_eq!(
        arguments,
        ["--cluster-dns=10.0.0.1,10.0.0.2", "--config=/b", "--node-labels=a=b,c=d", "--v=2", "--virtual"]
    );
    assert_eq!(extra.keys, *json!({"featureGates": {"A": true, "B": false}}).as_object().unwrap());
}

#[test]
fn version_and_bad_values() {
    let translate = |word: &str| translate([word.to_owned()], &[]);
    assert_eq!(translate("--version"), Ok(Translated::Version));
    assert_eq!(translate("--version=raw"), Ok(Translated::Version));
    assert!(matches!(translate("--version=false"), Ok(Translated::Run { .. })));
    assert_eq!(translate("--port=x").unwrap_err().0, "--port=x: must be a whole number");
    assert_eq!(translate("--fail-swap-on=no").unwrap_err().0, "--fail-swap-on=no: must be true or false");
}
