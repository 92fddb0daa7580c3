//! What may be wrong with the ports of a container and of a pod.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerPort, PodSpec};

use super::{Faults, names};

pub(super) fn ports(at: &str, ports: &[ContainerPort], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("{at}.ports[{index}]");
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            faults.check(format!("{at}.name"), names::port_name(name));
            faults.unique(&mut seen, name, format!("{at}.name"), "port name");
        }
        if port.container_port == 0 {
            faults.add(format!("{at}.containerPort"), "is missing");
        } else {
            faults.check(format!("{at}.containerPort"), number(port.container_port));
        }
        if let Some(host) = port.host_port.filter(|host| *host != 0) {
            faults.check(format!("{at}.hostPort"), number(host));
        }
        faults.one_of(format!("{at}.protocol"), port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
        if let Some(ip) = port.host_ip.as_deref().filter(|ip| !ip.is_empty()) {
            faults.add_if(ip.parse::<IpAddr>().is_err(), format!("{at}.hostIP"), "is not an IP address");
        }
    }
}

/// A port's number is within 1 to 65535.
pub(super) fn number(port: i32) -> Result<(), String> {
    if (1..=65_535).contains(&port) { Ok(()) } else { Err(format!("is {port}, expected 1 to 65535")) }
}

/// No two containers take one port of the host; in the host's network a port is the host's own.
pub(super) fn host_ports(spec: &PodSpec, faults: &mut Faults) {
    let mut taken = BTreeSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        for (port_index, port) in container.ports.iter().flatten().enumerate() {
            let Some(host) = port.host_port.filter(|host| *host != 0) else { continue };
            let at = format!("spec.containers[{index}].ports[{port_index}].hostPort");
            let differs = spec.host_network == Some(true) && host != port.container_port;
            faults.add_if(differs, at.as_str(), "must equal containerPort with hostNetwork");
            let ip = port.host_ip.as_deref().unwrap_or_default();
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            faults.unique(&mut taken, (protocol, ip, host), at, "host port");
        }
    }
}
