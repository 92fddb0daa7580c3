//! Who a container is and what it may, as it sees it itself.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::manifest::{WAIT, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

/// An image whose user is 1000.
const SOMEBODY: &str = "pinnace.local/busybox-user:1.35";
/// What every line of is a word and its value.
const STATUS: &str = "cat /proc/self/status; echo Range: `cat /proc/sys/net/ipv4/ip_local_port_range`; \
    echo Kcore: `head -c 1 /proc/kcore | wc -c`; mkdir /tmp/d 2>/dev/null && echo Mkdir: yes || echo Mkdir: no";

fn seen(node: &Node, pod: &str) -> BTreeMap<String, String> {
    let log = node.logs(&[pod]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    log.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), words(value)))
        .collect()
}

fn with(mut pod: Value, context: Value) -> Value {
    pod["spec"]["securityContext"] = context;
    pod
}

pub(crate) fn the_process_is_what_the_spec_says(runtime: &Runtime) {
    let node = Node::start(runtime);
    let profiles = node.root().join("seccomp");
    fs::create_dir_all(&profiles).expect("a directory of profiles");
    let no_mkdir = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] });
    fs::write(profiles.join("no-mkdir.json"), no_mkdir.to_string()).expect("a profile");

    let mut confined = with(
        pod("confined", "Never", STATUS),
        json!({ "runAsNonRoot": true, "fsGroup": 3000, "supplementalGroups": [4000],
            "sysctls": [{ "name": "net/ipv4/ip_local_port_range", "value": "20000 30000" }],
            "seccompProfile": { "type": "Localhost", "localhostProfile": "no-mkdir.json" } }),
    );
    main(&mut confined)["image"] = SOMEBODY.into();
    main(&mut confined)["securityContext"] =
        json!({ "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] } });
    let mut open = pod("open", "Never", STATUS);
    main(&mut open)["securityContext"] = json!({ "privileged": true, "runAsGroup": 77, "runAsUser": 0 });
    let groups = json!({ "runAsUser": 1000, "runAsGroup": 5000, "supplementalGroups": [4000],
        "supplementalGroupsPolicy": "Strict" });
    let strict = with(pod("strict", "Never", STATUS), groups);
    for pod in [&confined, &open, &strict] {
        node.put(pod);
    }
    let ended = |name: &str| node.pod(name).is_some_and(|pod| pod.phase == "Succeeded");
    node.until("both have ended", SOON, |_| ended("confined") && ended("open"));

    let of = seen(&node, "confined");
    let get = |name: &str| of.get(name).map(String::as_str);
    assert_eq!(get("Uid"), Some("1000 1000 1000 1000"));
    let groups = get("Groups").unwrap();
    assert!(["3000", "4000"].iter().all(|group| groups.split(' ').any(|known| known == *group)), "{groups}");
    assert_eq!(get("CapBnd"), Some("0000000000001000"), "NET_ADMIN alone");
    assert_eq!((get("Seccomp"), get("NoNewPrivs"), get("Mkdir")), (Some("2"), Some("0"), Some("no")));
    assert_eq!((get("Range"), get("Kcore")), (Some("20000 30000"), Some("0")));
    let of = seen(&node, "open");
    assert_eq!((of["Uid"].as_str(), of["Gid"].as_str()), ("0 0 0 0", "77 77 77 77"));
    assert_eq!((of["Seccomp"].as_str(), of["Mkdir"].as_str()), ("0", "yes"));
    let own = fs::read_to_string("/proc/self/status").expect("this process's own status");
    let own = own.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    assert_eq!(Some(of["CapEff"].as_str()), own, "all that the node has");
    if runtime.version == "debian" {
        // Older than the feature.
        node.until("strict", SOON, |node| {
            node.pod("strict").is_some_and(|pod| pod.status == "SupplementalGroupsPolicyNotSupported")
        });
    } else {
        node.until("strict has ended", SOON, |_| ended("strict"));
        assert_eq!(seen(&node, "strict")["Groups"], "4000 5000");
    }
}

pub(crate) fn what_cannot_be_enforced_does_not_run(runtime: &Runtime) {
    let node = Node::start(runtime);
    let root = with(pod("root", "Always", WAIT), json!({ "runAsNonRoot": true }));
    let profile = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "missing.json" } });
    let missing = with(pod("missing", "Always", WAIT), profile);
    let sysctl = |value: &str| json!({ "sysctls": [{ "name": "kernel.shm_rmid_forced", "value": value }] });
    let injected = with(pod("injected", "Always", WAIT), sysctl("1+kernel.core_pattern=x"));
    let unsafe_one = json!({ "sysctls": [{ "name": "net.core.somaxconn", "value": "1" }] });
    let forbidden = with(pod("forbidden", "Always", WAIT), unsafe_one);
    for pod in [&root, &missing, &injected, &forbidden] {
        node.put(pod);
    }
    let main = node.until_main("root", "is refused", |main| main.reason == "CreateContainerConfigError");
    assert!(
        main.message.starts_with("container has runAsNonRoot and image will run as root"),
        "{}",
        main.message
    );
    let main = node.until_main("missing", "is refused", |main| main.reason == "CreateContainerConfigError");
    assert!(main.message.contains("missing.json"), "{}", main.message);
    for name in ["injected", "forbidden"] {
        node.until(name, SOON, |node| node.pod(name).is_some_and(|pod| pod.phase == "Failed"));
        assert_eq!(node.pod(name).unwrap().status, "SysctlForbidden");
    }
    if !std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        node.put(&with(
            pod("armor", "Always", WAIT),
            json!({ "appArmorProfile": { "type": "RuntimeDefault" } }),
        ));
        node.until("armor", SOON, |node| node.pod("armor").is_some_and(|pod| pod.status == "AppArmor"));
    }
    assert!(node.runtime.containers(&node.name).is_empty());
}
