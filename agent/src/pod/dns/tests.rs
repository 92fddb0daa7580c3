//! Settings as upstream's own tests have them, and limits of any.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn host() -> DnsConfig {
    resolv_conf::parse("nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch example.com lab\noptions timeout:3\n")
}

fn settings(servers: &[&str]) -> Settings {
    Settings {
        servers: servers.iter().map(|ip| ip.parse().unwrap()).collect(),
        domain: "cluster.local".into(),
        resolv_conf: Some("/etc/resolv.conf".into()),
        in_cluster: true,
    }
}

fn formed(mut spec: Value, settings: &Settings) -> Formed {
    spec["containers"] = json!([]);
    let host = if settings.resolv_conf.is_some() { host() } else { DnsConfig::default() };
    let ips = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    form("ns", &serde_json::from_value(spec).unwrap(), host, settings, &ips)
}

/// The file as a runtime would write it.
fn file(config: &DnsConfig) -> String {
    let servers = config.servers.iter().map(|server| format!("nameserver {server}"));
    let search = (!config.searches.is_empty()).then(|| format!("search {}", config.searches.join(" ")));
    let options = (!config.options.is_empty()).then(|| format!("options {}", config.options.join(" ")));
    servers.chain(search).chain(options).collect::<Vec<_>>().join("\n")
}

#[test]
fn policies_are_the_kubelets() {
    let cluster = "nameserver 10.96.0.10\n\
        search ns.svc.cluster.local svc.cluster.local cluster.local example.com lab\noptions ndots:5";
    let node = "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch example.com lab\noptions timeout:3";
    for (spec, wanted) in [
        (json!({ "dnsPolicy": "ClusterFirst" }), cluster),
        (json!({}), cluster),
        (json!({ "dnsPolicy": "ClusterFirst", "hostNetwork": true }), node),
        (json!({ "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true }), cluster),
        (json!({ "dnsPolicy": "Default" }), node),
        (json!({ "dnsPolicy": "None" }), ""),
        (json!({ "dnsPolicy": "None", "dnsConfig": { "nameservers": ["1.1.1.1"] } }), "nameserver 1.1.1.1"),
    ] {
        let formed = formed(spec.clone(), &settings(&["10.96.0.10"]));
        assert_eq!(file(&formed.config), wanted, "{spec}");
        assert!(formed.cut.is_empty() && !formed.missing_cluster_dns, "{spec}");
    }
}

#[test]
fn without_a_cluster_dns_the_nodes_settings_serve() {
    let cluster_first = json!({ "dnsPolicy": "ClusterFirst" });
    let found = formed(cluster_first.clone(), &settings(&[]));
    assert_eq!(found.config, host());
    assert!(found.missing_cluster_dns);
    let alone = Settings { in_cluster: false, ..settings(&[]) };
    assert!(!formed(cluster_first, &alone).missing_cluster_dns);
    assert!(!formed(json!({ "dnsPolicy": "Default" }), &settings(&[])).missing_cluster_dns);
}

#[test]
fn without_a_file_the_node_itself_is_asked() {
    let none = Settings { resolv_conf: None, ..settings(&["10.96.0.10"]) };
    let config = formed(json!({ "dnsPolicy": "Default" }), &none).config;
    assert_eq!(file(&config), "nameserver 127.0.0.1\nnameserver ::1\nsearch .");
    let config = formed(json!({}), &none).config;
    assert_eq!(config.searches, ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
}

#[test]
fn the_pods_own_settings_are_added() {
    let own = json!({
        "nameservers": ["1.1.1.1", "10.96.0.10"], "searches": ["svc.cluster.local", "own"],
        "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }, { "name": "a", "value": "b:c" }],
    });
    let config = formed(json!({ "dnsConfig": own }), &settings(&["10.96.0.10"])).config;
    assert_eq!(
        file(&config),
        "nameserver 10.96.0.10\nnameserver 1.1.1.1\n\
         search ns.svc.cluster.local svc.cluster.local cluster.local example.com lab own\n\
         options ndots:2 edns0 a:b:c"
    );
}

#[test]
fn what_is_left_out_is_told() {
    let many: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let own = json!({ "nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3"], "searches": many });
    let found = formed(json!({ "dnsConfig": own }), &settings(&["10.96.0.10"]));
    assert_eq!(found.config.servers, ["10.96.0.10", "1.1.1.1", "1.1.1.2"]);
    assert_eq!(found.config.searches.len(), 32);
    assert_eq!(
        found.cut[0],
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 10.96.0.10 1.1.1.1 1.1.1.2"
    );
    let line = found.config.searches.join(" ");
    assert_eq!(
        found.cut[1],
        format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"
        )
    );
    let own = json!({ "searches": ["a".repeat(254), "b".repeat(253)] });
    let found = formed(json!({ "dnsConfig": own, "dnsPolicy": "None" }), &settings(&[]));
    assert_eq!(found.config.searches, ["b".repeat(253)]);
    assert_eq!(found.cut.len(), 1);
}

proptest! {
    #[test]
    fn limits_hold_and_nothing_is_left_out_without_need(
        searches in prop::collection::vec("[a-z]{1,260}", 0..40), servers in prop::collection::vec("[0-9]{1,3}", 0..6),
    ) {
        let own = json!({ "nameservers": servers, "searches": searches });
        let found = formed(json!({ "dnsPolicy": "None", "dnsConfig": own }), &settings(&[]));
        let line = found.config.searches.join(" ");
        prop_assert!(found.config.servers.len() <= 3 && found.config.searches.len() <= 32);
        prop_assert!(line.len() <= 2048);
        prop_assert!(found.config.searches.iter().all(|search| search.len() <= 253));
        let (mut all, mut asked) = (searches, servers);
        omit_duplicates(&mut all);
        omit_duplicates(&mut asked);
        let cut = found.config.searches.len() < all.len() || found.config.servers.len() < asked.len();
        prop_assert_eq!(cut, !found.cut.is_empty());
    }
}
