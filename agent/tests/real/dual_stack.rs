//! Pods with an address of each family, on a node that has both (`deploy/vm/node`).

use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::manifest::{container, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

/// IPv6 is the node's primary family, while the network gives IPv4 first.
const NODE: &str = "2001:db8::7,192.0.2.7";

fn addresses(list: &str) -> Vec<IpAddr> {
    list.split(',').map(|ip| ip.parse().unwrap()).collect()
}

pub(crate) fn a_pod_has_addresses_of_both_families_the_nodes_first_one_first(runtime: &Runtime) {
    let node = Node::configured(runtime, "", &["--node-ip", NODE]);
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let says = "echo $IP $IPS $HOST $HOSTS; cat /etc/hosts; exec httpd -f -p [::]:8080 -h /var/www";
    let mut both = pod("both", "Always", says);
    main(&mut both)["env"] = json!([
        field("IP", "status.podIP"),
        field("IPS", "status.podIPs"),
        field("HOST", "status.hostIP"),
        field("HOSTS", "status.hostIPs"),
    ]);
    let second = container("second", "cat /etc/hosts; exec sleep 100000");
    both["spec"]["containers"].as_array_mut().unwrap().push(second);
    node.put(&both);
    let shown = node.until_running("both").ip.expect("an address");
    node.until("it has said who it is", SOON, |node| node.logs(&["both", "-c", "main"]).contains("both-"));

    let log = node.logs(&["both", "-c", "main"]);
    let (line, hosts) = log.split_once('\n').unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let ips = addresses(words[1]);
    assert!(ips.len() == 2 && ips[0].is_ipv6() && ips[1].is_ipv4(), "{line}");
    assert_eq!((words[0], words[2], words[3]), (&*ips[0].to_string(), "2001:db8::7", NODE));
    assert_eq!(shown, words[0], "pinnace shows the first");
    let sandbox = runtime.sandbox(runtime.sandboxes(&node.name)[0]["id"].as_str().unwrap());
    let network = &sandbox["status"]["network"];
    let told: [IpAddr; 2] =
        [&network["ip"], &network["additionalIps"][0]["ip"]].map(|ip| ip.as_str().unwrap().parse().unwrap());
    assert_eq!(told, [ips[1], ips[0]], "the runtime's order is the other");

    let name = format!("both-{}", node.name);
    let managed = hosts.lines().filter(|line| line.ends_with(&name)).collect::<Vec<_>>();
    assert_eq!(managed, [format!("{}\t{name}", ips[0]), format!("{}\t{name}", ips[1])]);
    assert_eq!(node.logs(&["both", "-c", "second"]), hosts, "one file for all containers");
    for ip in ips {
        let answers = || TcpStream::connect_timeout(&(ip, 8080).into(), Duration::from_secs(1)).is_ok();
        node.until(&format!("{ip} answers"), SOON, |_| answers());
    }
}
