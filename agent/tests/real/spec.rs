//! What a spec asks for is what the process gets.

use std::fs;

use serde_json::json;

use crate::agree::get;
use crate::manifest::{WAIT, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;
use crate::traces::cgroups;

pub(crate) fn limits_reach_the_cgroup(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut manifest = pod("limited", "Always", WAIT);
    main(&mut manifest)["resources"] =
        json!({ "requests": { "cpu": "250m" }, "limits": { "cpu": "500m", "memory": "48Mi" } });
    node.put(&manifest);
    node.until_running("limited");
    let id = node.container("limited", "main").and_then(|main| main.id).unwrap();
    let dirs = cgroups(runtime.pid(&id));
    let read = |file: &str| {
        let found = dirs.iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok());
        found.map(|text| text.trim().to_owned())
    };
    if let Some(limit) = read("memory.max") {
        assert_eq!(limit, (48 << 20).to_string());
        assert_eq!(read("cpu.max").unwrap(), "50000 100000");
        return;
    }
    assert_eq!(read("memory.limit_in_bytes").unwrap(), (48 << 20).to_string());
    assert_eq!(read("cpu.shares").unwrap(), "256");
    assert_eq!(
        (read("cpu.cfs_quota_us").unwrap(), read("cpu.cfs_period_us").unwrap()),
        ("50000".into(), "100000".into())
    );
}

pub(crate) fn the_security_context_reaches_the_process(runtime: &Runtime) {
    let node = Node::start(runtime);
    let script = "id -u; id -g; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; \
        touch /file 2>/dev/null && echo wrote || echo read-only; hostname; echo $GREETING";
    let mut told = pod("told", "Never", script);
    told["spec"]["securityContext"] = json!({
        "runAsUser": 1000, "runAsGroup": 2000, "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    main(&mut told)["env"] = json!([{ "name": "GREETING", "value": "good day" }]);
    main(&mut told)["securityContext"] = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    let mut inherited = pod("inherited", "Never", "id -u");
    main(&mut inherited)["image"] = "pinnace.local/busybox-user:1.35".into();
    node.put(&told);
    node.put(&inherited);
    let phase = |name: &str| node.pod(name).map(|pod| pod.phase).unwrap_or_default();
    node.until("both have ended", SOON, |_| {
        phase("told") == "Succeeded" && phase("inherited") == "Succeeded"
    });
    let log = node.logs(&["told"]);
    let lines: Vec<_> =
        log.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let wanted = ["1000", "2000", "CapEff: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2", "read-only"];
    assert_eq!(lines[..wanted.len()], wanted);
    assert_eq!(lines[wanted.len()..], [format!("told-{}", node.name), "good day".to_owned()]);
    assert_eq!(node.logs(&["inherited"]), "1000\n");
}

/// Neither what is forbidden nor what is not built reaches the runtime.
pub(crate) fn refused_and_held_pods_run_nothing(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut root = pod("root", "Always", WAIT);
    main(&mut root)["securityContext"] = json!({ "runAsNonRoot": true, "runAsUser": 0 });
    let mut held = pod("held", "Always", WAIT);
    held["spec"]["schedulingGates"] = json!([{ "name": "gate" }]);
    node.put(&root);
    node.put(&held);
    let refused = node.until_main("root", "is refused", |main| main.reason == "CreateContainerConfigError");
    assert!(refused.message.contains("non-root"), "{}", refused.message);
    let waits = node.until_main("held", "is held", |main| main.reason == "Held");
    assert!(waits.message.contains("schedulingGates"), "{}", waits.message);
    assert_eq!(node.pod("held").unwrap().phase, "Pending");
    assert!(runtime.containers(&node.name).is_empty());
    assert!(runtime.sandboxes(&node.name).iter().all(|sandbox| sandbox["metadata"]["name"] != "held"));
}

/// Ports apart, so that both runtimes can be tested at once.
fn port(runtime: &Runtime, first: u16) -> u16 {
    first + u16::from(runtime.version == "debian")
}

pub(crate) fn the_nodes_network_and_host_ports(runtime: &Runtime) {
    let node = Node::start(runtime);
    let direct = port(runtime, 28_110);
    let mut host = pod("host", "Always", &format!("exec httpd -f -p 127.0.0.1:{direct} -h /var/www"));
    host["spec"]["hostNetwork"] = true.into();
    let mapped = port(runtime, 28_120);
    let mut port = pod("port", "Always", "exec httpd -f -p 8080 -h /var/www");
    main(&mut port)["ports"] = json!([{ "containerPort": 8080, "hostPort": mapped }]);
    node.put(&host);
    node.put(&port);
    node.until_running("host");
    let ip = node.until_running("port").ip.expect("an address");
    node.until("the node's own port answers", SOON, |_| get("127.0.0.1", direct).is_some());
    let sandbox = node.runtime.sandboxes(&node.name);
    let sandbox =
        sandbox.iter().find(|sandbox| sandbox["metadata"]["name"] == format!("port-{}", node.name)).unwrap();
    let status = runtime.sandbox(sandbox["id"].as_str().unwrap());
    let asked = &status["info"]["config"]["port_mappings"][0];
    assert_eq!((&asked["container_port"], &asked["host_port"]), (&json!(8080), &json!(mapped)));
    node.until("the pod's port answers", SOON, |_| get(&ip, 8080).is_some());
    node.until("the mapped port answers", SOON, |_| get("127.0.0.1", mapped).is_some());
}
