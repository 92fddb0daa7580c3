//! What a container finds about itself and its surroundings, read from inside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::text;
use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::{ControlPlane, until};
use crate::say;

/// What the runtime adds of its own.
const OF_THE_RUNTIME: [&str; 3] = ["PATH=", "HOSTNAME=", "HOME="];
/// Prints all that names are looked up by.
const TELL: &str = "cat /etc/hosts; echo ---; cat /etc/resolv.conf; echo ---; hostname";

pub(crate) fn each_source_of_the_environment_is_read_inside(cluster: &ControlPlane) {
    let case = Case::start(cluster, "environment");
    let namespace = case.namespace.name.as_str();
    objects(&case);
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let resource = |name: &str, resource: &str, divisor: &str| {
        let selector = json!({ "resource": resource, "divisor": divisor });
        json!({ "name": name, "valueFrom": { "resourceFieldRef": selector } })
    };
    let key = |name: &str, kind: &str, object: &str, key: &str| {
        let source = json!({ "name": object, "key": key, "optional": object == "absent" });
        json!({ "name": name, "valueFrom": { kind: source } })
    };
    let mut teller = pod("teller", "Never", "");
    teller["metadata"]["annotations"] = json!({ "note": "some \"text\"" });
    let main = &mut teller["spec"]["containers"][0];
    main["command"] = json!(["env"]);
    main["resources"] = json!({ "requests": { "cpu": "1m" }, "limits": { "memory": "64Mi" } });
    main["envFrom"] = json!([
        { "configMapRef": { "name": "settings" } },
        { "prefix": "S_", "secretRef": { "name": "keys" } },
        { "secretRef": { "name": "absent", "optional": true } },
    ]);
    main["env"] = json!([
        { "name": "B", "value": "own" },
        field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("UID", "metadata.uid"),
        field("LABEL", "metadata.labels['app']"), field("NOTE", "metadata.annotations['note']"),
        field("NODE", "spec.nodeName"), field("ACCOUNT", "spec.serviceAccountName"),
        field("POD_IP", "status.podIP"), field("POD_IPS", "status.podIPs"),
        field("HOST_IP", "status.hostIP"), field("HOST_IPS", "status.hostIPs"),
        resource("MEMORY", "limits.memory", "1Mi"), resource("MILLI", "requests.cpu", "1m"),
        resource("CPUS", "limits.cpu", "1"), resource("NOTHING", "requests.ephemeral-storage", "1"),
        key("FROM_MAP", "configMapKeyRef", "settings", "B"), key("FROM_SECRET", "secretKeyRef", "keys", "K"),
        key("NOWHERE", "secretKeyRef", "absent", "K"),
        { "name": "FROM_FILE", "valueFrom": { "fileKeyRef": { "volumeName": "v", "path": "f", "key": "K" } } },
        { "name": "ALL", "value": "$(A)-$(S_K)-$(FRONT_SERVICE_PORT)-$$(A)-$(NOWHERE)-$(NAME" },
    ]);
    // The file is written by a container of the same pod, for which the variable waits.
    let mut writer =
        pod("writer", "Never", "sleep 1; echo \"K='of a file' # and no more\" >/v/f")["spec"]["containers"]
            [0]
        .take();
    writer["name"] = json!("writer");
    writer["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
    teller["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
    teller["spec"]["containers"].as_array_mut().unwrap().push(writer);
    case.namespace.create(&teller);
    let mut speaker = pod("speaker", "Never", "");
    speaker["spec"]["containers"][0]["env"] = json!([{ "name": "W", "value": "word" }]);
    speaker["spec"]["containers"][0]["command"] = json!(["echo", "$(W)", "$$(W)"]);
    speaker["spec"]["containers"][0]["args"] = json!(["$(W)$(W)", "$(UNKNOWN)"]);
    speaker["spec"]["enableServiceLinks"] = json!(false);
    case.namespace.create(&speaker);

    let told = case.until_phase("teller", "Succeeded");
    let log = case.namespace.kubectl(&["logs", "teller", "-c", "main"]);
    let mut found: Vec<&str> = log.lines().filter(|line| !is_of_the_runtime(line)).collect();
    found.sort_unstable();
    let node = case.admin.node(&case.agent.name).unwrap();
    let service = case.namespace.get(&["service", "front"]).unwrap();
    let ip = text(&service["spec"]["clusterIP"]);
    let (pod_ip, host_ip) = (text(&told["status"]["podIP"]), text(&told["status"]["hostIP"]));
    let mut wanted = vec![
        "A=map-a".to_owned(),
        "a.b-c=odd name".to_owned(),
        "B=own".to_owned(),
        "FROM_FILE=of a file".to_owned(),
        "S_K=key".to_owned(),
        "S_CANARY=c4nary".to_owned(),
        "NAME=teller".to_owned(),
        format!("NAMESPACE={namespace}"),
        format!("UID={}", text(&told["metadata"]["uid"])),
        "LABEL=teller".to_owned(),
        "NOTE=some \"text\"".to_owned(),
        format!("NODE={}", case.agent.name),
        "ACCOUNT=default".to_owned(),
        format!("POD_IP={pod_ip}"),
        format!("POD_IPS={}", joined(&told["status"]["podIPs"])),
        format!("HOST_IP={host_ip}"),
        format!("HOST_IPS={}", joined(&told["status"]["hostIPs"])),
        "MEMORY=64".to_owned(),
        "MILLI=1".to_owned(),
        format!("CPUS={}", cpus(&node)),
        "NOTHING=0".to_owned(),
        "FROM_MAP=map-b".to_owned(),
        "FROM_SECRET=key".to_owned(),
        "ALL=map-a-key-80-$(A)-$(NOWHERE)-$(NAME".to_owned(),
        format!("FRONT_SERVICE_HOST={ip}"),
        "FRONT_SERVICE_PORT=80".to_owned(),
        "FRONT_SERVICE_PORT_WEB=80".to_owned(),
        format!("FRONT_PORT=tcp://{ip}:80"),
        format!("FRONT_PORT_80_TCP=tcp://{ip}:80"),
        "FRONT_PORT_80_TCP_PROTO=tcp".to_owned(),
        "FRONT_PORT_80_TCP_PORT=80".to_owned(),
        format!("FRONT_PORT_80_TCP_ADDR={ip}"),
    ];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert!(log.lines().any(|line| line == "KUBERNETES_SERVICE_PORT_HTTPS=443"), "{log}");
    case.until_phase("speaker", "Succeeded");
    assert_eq!(case.namespace.kubectl(&["logs", "speaker"]), "word $(W) wordword $(UNKNOWN)\n");
    assert!(!case.agent.log().contains("c4nary"), "a secret is in the log");
    case.agent.a80_was_never_refused();
}

fn objects(case: &Case<'_>) {
    for (kind, name, field, values) in [
        ("ConfigMap", "settings", "data", json!({ "A": "map-a", "B": "map-b", "a.b-c": "odd name" })),
        ("Secret", "keys", "stringData", json!({ "K": "key", "CANARY": "c4nary" })),
    ] {
        let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
        object[field] = values;
        case.namespace.create(&object);
    }
    case.namespace.create(&json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "front" },
        "spec": { "selector": { "app": "x" }, "ports": [{ "name": "web", "port": 80 }] } }));
}

/// The API server's own variables are looked at apart.
fn is_of_the_runtime(line: &str) -> bool {
    line.starts_with("KUBERNETES_") || OF_THE_RUNTIME.iter().any(|start| line.starts_with(start))
}

fn joined(ips: &Value) -> String {
    let ips: Vec<_> = ips.as_array().unwrap().iter().map(|ip| text(&ip["ip"])).collect();
    ips.join(",")
}

/// What the node has for pods, rounded up.
fn cpus(node: &Value) -> u64 {
    let amount = text(&node["status"]["allocatable"]["cpu"]);
    match amount.strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().unwrap().div_ceil(1000),
        None => amount.parse().unwrap(),
    }
}

pub(crate) fn names_are_looked_up_in_files_that_are_right_to_the_byte(cluster: &ControlPlane) {
    let mut case = Case::prepared("debian", cluster, "names");
    let file = case.agent.path("resolv.conf");
    std::fs::write(&file, "nameserver 192.0.2.53\nsearch lab.example.\noptions timeout:3\n").unwrap();
    case.agent.configure(&[("resolvConf", json!(file))]);
    case.agent.launch();
    case.until_node_ready(Instant::now(), SOON);
    let namespace = case.namespace.name.clone();

    let mut named = pod("named", "Never", TELL);
    named["spec"]["hostname"] = json!("h");
    named["spec"]["subdomain"] = json!("s");
    named["spec"]["setHostnameAsFQDN"] = json!(true);
    named["spec"]["hostAliases"] = json!([{ "ip": "192.0.2.1", "hostnames": ["one", "two"] }]);
    named["spec"]["dnsConfig"] =
        json!({ "searches": ["own"], "options": [{ "name": "ndots", "value": "2" }] });
    let mut host = pod("host", "Never", TELL);
    host["spec"]["hostNetwork"] = json!(true);
    let mut bare = pod("bare", "Never", TELL);
    bare["spec"]["dnsPolicy"] = json!("None");
    bare["spec"]["dnsConfig"] = json!({ "nameservers": ["192.0.2.54"] });
    let mut served = pod("served", "Always", &format!("httpd -p 8080 -h /var/www; {WAIT}"));
    let port = free_port();
    served["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 8080, "hostPort": port }]);
    for pod in [&named, &host, &bare, &served] {
        case.namespace.create(pod);
    }

    let local = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    let full = format!("h.s.{namespace}.svc.cluster.local");
    let lines = |pod: &Value, names: &str| -> String {
        let ips = pod["status"]["podIPs"].as_array().unwrap().iter();
        ips.map(|ip| format!("{}\t{names}\n", text(&ip["ip"]))).collect()
    };
    let pod = case.until_phase("named", "Succeeded");
    let hosts = lines(&pod, &format!("{full}\th"));
    assert_eq!(
        case.namespace.kubectl(&["logs", "named"]),
        format!(
            "{local}{hosts}\n# Entries added by HostAliases.\n192.0.2.1\tone\ttwo\n---\n\
             search {namespace}.svc.cluster.local svc.cluster.local cluster.local lab.example own\n\
             nameserver 10.96.0.10\noptions ndots:2\n---\n{full}\n"
        )
    );
    let pod = case.until_phase("bare", "Succeeded");
    let hosts = lines(&pod, "bare");
    let wanted = format!("{local}{hosts}---\nnameserver 192.0.2.54\n---\nbare\n");
    assert_eq!(case.namespace.kubectl(&["logs", "bare"]), wanted);

    case.until_phase("host", "Succeeded");
    let of_node = std::fs::read_to_string("/etc/hosts").unwrap();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(
        case.namespace.kubectl(&["logs", "host"]),
        format!(
            "# Kubernetes-managed hosts file (host network).\n{of_node}---\nsearch lab.example\n\
             nameserver 192.0.2.53\noptions timeout:3\n---\n{name}"
        )
    );
    case.until_phase("served", "Running");
    let answered = Instant::now();
    until("the port of the node", || get(port));
    say(&format!("the mapped port answers {:.1?} after the pod runs", answered.elapsed()));
    case.agent.a80_was_never_refused();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16) -> Result<(), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    if answer.contains("hello from a pod") { Ok(()) } else { Err(answer) }
}
