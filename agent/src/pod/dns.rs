//! The DNS settings of a pod's sandbox. Pure; after `pkg/kubelet/network/dns/dns.go`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PodDNSConfig, PodDNSConfigOption, PodSpec};
use pinnace_cri::v1::DnsConfig;

use crate::source::desired::DesiredPod;

pub mod limits;
pub mod resolv_conf;

/// Most servers that are used (`MaxDNSNameservers` of `pkg/apis/core/validation`).
const MAX_SERVERS: usize = 3;
/// Most search domains (`MaxDNSSearchPaths`).
const MAX_SEARCHES: usize = 32;
/// Most characters of the search line (`MaxDNSSearchListChars`).
const MAX_SEARCH_CHARS: usize = 2048;
/// Longest single search domain: some resolvers abort on a longer one.
const MAX_SEARCH: usize = 253;

/// What the node was told of DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `clusterDNS`.
    pub servers: Vec<IpAddr>,
    /// `clusterDomain`; may be empty.
    pub domain: String,
    /// `resolvConf`; none: pods that use the node's settings look up nothing.
    pub resolv_conf: Option<PathBuf>,
    /// The node is one of a cluster, which should have a DNS of its own.
    pub in_cluster: bool,
}

/// The settings of one sandbox, and what its events should say: reason and message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Formed {
    /// For the runtime.
    pub config: DnsConfig,
    /// The cluster has no DNS that this node knows of, and the pod has asked for it.
    pub missing_cluster_dns: bool,
    /// Messages of `DNSConfigForming`: what was left out.
    pub cut: Vec<String>,
}

/// Message of `MissingClusterDNS` for the node.
pub const MISSING: &str = "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy.";

/// Message of `MissingClusterDNS` for the pod.
#[must_use]
pub fn missing(pod: &DesiredPod) -> String {
    format!("pod: \"{}_{}({})\". {MISSING}", pod.name, pod.namespace, pod.uid)
}

/// Where a policy takes settings from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Cluster,
    Host,
    Nothing,
}

fn base(spec: &PodSpec) -> Base {
    match spec.dns_policy.as_deref() {
        Some("None") => Base::Nothing,
        Some("Default") => Base::Host,
        Some("ClusterFirstWithHostNet") => Base::Cluster,
        // In the node's network `ClusterFirst` is `Default`.
        _ if spec.host_network == Some(true) => Base::Host,
        _ => Base::Cluster,
    }
}

/// Forms the settings. `host` is what `resolvConf` says, `node_ips` are the node's addresses.
#[must_use]
pub fn form(
    namespace: &str,
    spec: &PodSpec,
    host: DnsConfig,
    settings: &Settings,
    node_ips: &[IpAddr],
) -> Formed {
    let base = base(spec);
    let is_missing = base == Base::Cluster && settings.servers.is_empty();
    let mut config = match base {
        Base::Nothing => DnsConfig::default(),
        Base::Cluster if !is_missing => of_cluster(namespace, host, settings),
        Base::Cluster | Base::Host => of_host(host, settings, node_ips),
    };
    if let Some(own) = &spec.dns_config {
        add(&mut config, own);
    }
    let missing_cluster_dns = is_missing && settings.in_cluster;
    let mut formed = Formed { config, missing_cluster_dns, cut: Vec::new() };
    fit(&mut formed);
    formed
}

fn of_cluster(namespace: &str, host: DnsConfig, settings: &Settings) -> DnsConfig {
    let domain = &settings.domain;
    let mut searches = match domain.as_str() {
        "" => Vec::new(),
        _ => vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()],
    };
    searches.extend(host.searches);
    if !domain.is_empty() {
        omit_duplicates(&mut searches);
    }
    let servers = settings.servers.iter().map(ToString::to_string).collect();
    DnsConfig { servers, searches, options: vec!["ndots:5".to_owned()] }
}

/// Without a file there is nobody to ask but the node itself, and nothing to look below.
fn of_host(host: DnsConfig, settings: &Settings, node_ips: &[IpAddr]) -> DnsConfig {
    if settings.resolv_conf.is_some() {
        return host;
    }
    let local = |ip: &IpAddr| if ip.is_ipv6() { "::1" } else { "127.0.0.1" };
    let mut servers: Vec<String> = node_ips.iter().map(|ip| local(ip).to_owned()).collect();
    if servers.is_empty() {
        servers.push("127.0.0.1".to_owned());
    }
    DnsConfig { servers, searches: vec![".".to_owned()], options: host.options }
}

/// The pod's own settings come after those of its policy; an option of the same name is replaced.
fn add(config: &mut DnsConfig, own: &PodDNSConfig) {
    config.servers.extend(own.nameservers.iter().flatten().cloned());
    config.searches.extend(own.searches.iter().flatten().cloned());
    omit_duplicates(&mut config.servers);
    omit_duplicates(&mut config.searches);
    let mut options: Vec<(String, String)> = Vec::new();
    let old = config.options.iter().map(|option| match option.split_once(':') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (option.clone(), String::new()),
    });
    for (name, value) in old.chain(own.options.iter().flatten().map(named)) {
        match options.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => options.push((name, value)),
        }
    }
    let text =
        |(name, value): (String, String)| if value.is_empty() { name } else { format!("{name}:{value}") };
    config.options = options.into_iter().map(text).collect();
}

fn named(option: &PodDNSConfigOption) -> (String, String) {
    (option.name.clone().unwrap_or_default(), option.value.clone().unwrap_or_default())
}

fn omit_duplicates(all: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    all.retain(|one| seen.insert(one.clone()));
}

/// Leaves out what resolvers would not read, and says so.
fn fit(formed: &mut Formed) {
    let Formed { config, cut, .. } = formed;
    if config.servers.len() > MAX_SERVERS {
        config.servers.truncate(MAX_SERVERS);
        let line = config.servers.join(" ");
        cut.push(format!("Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {line}"));
    }
    let searches = &mut config.searches;
    let before = searches.len();
    searches.truncate(MAX_SEARCHES);
    searches.retain(|search| search.len() <= MAX_SEARCH);
    while searches.join(" ").len() > MAX_SEARCH_CHARS {
        searches.pop();
    }
    if searches.len() < before {
        let line = searches.join(" ");
        cut.push(format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"));
    }
}

#[cfg(test)]
mod tests;
