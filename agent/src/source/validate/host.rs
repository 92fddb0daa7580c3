//! What may be wrong with a pod's names, its DNS settings and what it shares with the host.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};

use super::{Faults, names};

/// Longest `hostnameOverride`.
const HOSTNAME: usize = 64;
/// Most DNS servers of a pod.
const SERVERS: usize = 3;
/// Most search domains of a pod.
const SEARCHES: usize = 32;
/// Most characters of the search line.
const SEARCH_CHARS: usize = 2048;

pub(super) fn spec(spec: &PodSpec, faults: &mut Faults) {
    let labels = [("spec.hostname", &spec.hostname), ("spec.subdomain", &spec.subdomain)];
    for (field, value) in labels {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            faults.check(field, names::label(value));
        }
    }
    let shared = spec.share_process_namespace == Some(true) && spec.host_pid == Some(true);
    faults.add_if(shared, "spec.shareProcessNamespace", "cannot be combined with hostPID");
    let host = [spec.host_network, spec.host_pid, spec.host_ipc].contains(&Some(true));
    faults.add_if(
        host && spec.host_users == Some(false),
        "spec.hostUsers",
        "false cannot be combined with hostNetwork, hostPID or hostIPC",
    );
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let at = format!("spec.hostAliases[{index}]");
        faults.add_if(alias.ip.parse::<IpAddr>().is_err(), format!("{at}.ip"), "is not an IP address");
        for name in alias.hostnames.iter().flatten() {
            faults.check(format!("{at}.hostnames"), names::subdomain(name));
        }
    }
    override_name(spec, faults);
    dns(spec, faults);
}

fn override_name(spec: &PodSpec, faults: &mut Faults) {
    const FIELD: &str = "spec.hostnameOverride";
    let Some(name) = &spec.hostname_override else { return };
    faults.check(FIELD, names::subdomain(name));
    let reason = format!("has {} characters, expected at most {HOSTNAME}", name.len());
    faults.add_if(name.len() > HOSTNAME, FIELD, reason);
    faults.add_if(spec.host_network == Some(true), FIELD, "cannot be combined with hostNetwork");
    faults.add_if(
        spec.set_hostname_as_fqdn == Some(true),
        FIELD,
        "cannot be combined with setHostnameAsFQDN",
    );
}

fn dns(spec: &PodSpec, faults: &mut Faults) {
    let none = spec.dns_policy.as_deref() == Some("None");
    let servers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten()).count();
    faults.add_if(
        none && servers == 0,
        "spec.dnsConfig.nameservers",
        "is missing, dnsPolicy None needs at least one",
    );
    if let Some(config) = &spec.dns_config {
        dns_config(config, faults);
    }
}

fn dns_config(config: &PodDNSConfig, faults: &mut Faults) {
    const AT: &str = "spec.dnsConfig";
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let many = |list: &str, count: usize, most: usize, faults: &mut Faults| {
        let reason = format!("has {count} entries, expected at most {most}");
        faults.add_if(count > most, format!("{AT}.{list}"), reason);
    };
    many("nameservers", servers.len(), SERVERS, faults);
    for (index, server) in servers.iter().enumerate() {
        let field = format!("{AT}.nameservers[{index}]");
        faults.add_if(server.parse::<IpAddr>().is_err(), field, "is not an IP address");
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    many("searches", searches.len(), SEARCHES, faults);
    let long = searches.join(" ").len() > SEARCH_CHARS;
    faults.add_if(long, format!("{AT}.searches"), format!("has more than {SEARCH_CHARS} characters"));
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        // Names of services may have an underscore, wherever a letter may be.
        let name = search.strip_suffix('.').unwrap_or(search).replace('_', "a");
        let good = names::subdomain(&name).is_ok();
        faults.add_if(
            !good,
            format!("{AT}.searches[{index}]"),
            format!("is {search:?}, expected a DNS name"),
        );
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        let missing = option.name.as_ref().is_none_or(String::is_empty);
        faults.add_if(missing, format!("{AT}.options[{index}].name"), "is missing");
    }
}
