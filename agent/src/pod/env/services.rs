//! Variables that tell a container of Services. Pure; names and order are those of `pkg/kubelet/envvars`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::objects::{ServiceInfo, ServicePort};

/// The Service that every container is told of, whatever its pod asks for: the API server itself.
pub(super) const API_SERVER: (&str, &str) = ("default", "kubernetes");

/// Variables for a container of this namespace; `links` is the pod's `enableServiceLinks`.
#[must_use]
pub fn variables(services: &[ServiceInfo], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut told: BTreeMap<&str, &ServiceInfo> = BTreeMap::new();
    for service in services.iter().filter(|service| service.has_address()) {
        if (service.namespace.as_str(), service.name.as_str()) == API_SERVER {
            told.entry(&service.name).or_insert(service);
        } else if service.namespace == namespace && links {
            // One of the same name in the pod's own namespace wins.
            told.insert(&service.name, service);
        }
    }
    told.into_values().flat_map(of_service).collect()
}

fn of_service(service: &ServiceInfo) -> Vec<(String, String)> {
    let name = variable_name(&service.name);
    let Some(first) = service.ports.first() else { return Vec::new() };
    let mut all = vec![
        (format!("{name}_SERVICE_HOST"), service.cluster_ip.clone()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
        (format!("{name}_PORT"), url(service, first)),
    ];
    for port in &service.ports {
        if !port.name.is_empty() {
            let port_name = variable_name(&port.name);
            all.push((format!("{name}_SERVICE_PORT_{port_name}"), port.port.to_string()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol(port).to_uppercase());
        all.push((format!("{prefix}_PROTO"), protocol(port)));
        all.push((format!("{prefix}_PORT"), port.port.to_string()));
        all.push((format!("{prefix}_ADDR"), service.cluster_ip.clone()));
        all.push((prefix, url(service, port)));
    }
    all
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

fn protocol(port: &ServicePort) -> String {
    if port.protocol.is_empty() { "tcp".to_owned() } else { port.protocol.to_lowercase() }
}

fn url(service: &ServiceInfo, port: &ServicePort) -> String {
    let is_v6 = service.cluster_ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
    format!("{}://{open}{}{close}:{}", protocol(port), service.cluster_ip, port.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str, ip: &str, ports: &[(&str, u16, &str)]) -> ServiceInfo {
        let port = |(name, port, protocol): &(&str, u16, &str)| ServicePort {
            name: (*name).to_owned(),
            port: *port,
            protocol: (*protocol).to_owned(),
        };
        ServiceInfo {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            cluster_ip: ip.to_owned(),
            ports: ports.iter().map(port).collect(),
        }
    }

    fn lines(variables: &BTreeMap<String, String>) -> Vec<String> {
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_services_variables_are_the_kubelets() {
        let services =
            [service("ns", "my-db", "10.0.0.5", &[("main-port", 5432, "TCP"), ("dns", 53, "UDP")])];
        assert_eq!(
            lines(&variables(&services, "ns", true)),
            [
                "MY_DB_PORT=tcp://10.0.0.5:5432",
                "MY_DB_PORT_53_UDP=udp://10.0.0.5:53",
                "MY_DB_PORT_53_UDP_ADDR=10.0.0.5",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_PORT_5432_TCP=tcp://10.0.0.5:5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.0.0.5",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_SERVICE_HOST=10.0.0.5",
                "MY_DB_SERVICE_PORT=5432",
                "MY_DB_SERVICE_PORT_DNS=53",
                "MY_DB_SERVICE_PORT_MAIN_PORT=5432",
            ]
        );
        let v6 = [service("ns", "a", "fd00::1", &[("", 1, "")])];
        assert!(lines(&variables(&v6, "ns", true)).contains(&"A_PORT=tcp://[fd00::1]:1".to_owned()));
    }

    #[test]
    fn only_services_with_an_address_of_the_own_namespace_and_the_api_servers() {
        let port = [("", 443, "TCP")];
        let services = [
            service("default", "kubernetes", "10.0.0.1", &port),
            service("default", "other", "10.0.0.2", &port),
            service("ns", "own", "10.0.0.3", &port),
            service("ns", "headless", "None", &port),
            service("ns", "new", "", &port),
            service("ns", "portless", "10.0.0.4", &[]),
        ];
        let hosts = |namespace: &str, links: bool| {
            let all = variables(&services, namespace, links);
            let hosts = all.into_iter().filter(|(name, _)| name.ends_with("_SERVICE_HOST"));
            hosts.map(|(_, host)| host).collect::<Vec<_>>()
        };
        assert_eq!(hosts("ns", true), ["10.0.0.1", "10.0.0.3"]);
        assert_eq!(hosts("ns", false), ["10.0.0.1"]);
        assert_eq!(hosts("default", true), ["10.0.0.1", "10.0.0.2"]);
        let shadowed = [services[0].clone(), service("ns", "kubernetes", "10.0.0.9", &port)];
        assert_eq!(variables(&shadowed, "ns", true)["KUBERNETES_SERVICE_HOST"], "10.0.0.9");
        assert_eq!(variables(&shadowed, "ns", false)["KUBERNETES_SERVICE_HOST"], "10.0.0.1");
    }
}
