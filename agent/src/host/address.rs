//! Decides which addresses of this machine the node has. Pure.
//!
//! The order is the kubelet's (`NodeAddress` in `pkg/kubelet/nodestatus/setters.go`): the addresses that it was told,
//! else a node name that is an address, else what the name resolves to, else the address of the interface that the
//! default route goes through. Nothing is ever published that is neither on a local interface nor the node's name.

use std::net::{IpAddr, Ipv6Addr};

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// The interface is up.
    pub up: bool,
    /// The interface is a loopback one.
    pub loopback: bool,
}

/// What the machine's network looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Every address, in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
    /// Interfaces of IPv4 default routes.
    pub default_v4: Vec<String>,
    /// Interfaces of IPv6 default routes.
    pub default_v6: Vec<String>,
}

/// The addresses to publish, one or two, or why there are none. `told` are `--node-ip`'s, `resolved` is what the
/// node's name resolves to.
pub fn choose(
    network: &Network,
    told: &[IpAddr],
    node_name: &str,
    resolved: &[IpAddr],
) -> Result<Vec<IpAddr>, String> {
    let specified = |ip: &&IpAddr| !ip.is_unspecified();
    if let Some(first) = told.first().filter(specified) {
        let mut chosen = vec![*first];
        chosen.extend(told.get(1).filter(specified));
        for ip in &chosen {
            validate(network, *ip)?;
        }
        return Ok(chosen);
    }
    let v4_first = told.first().is_none_or(IpAddr::is_ipv4);
    let named = node_name.parse().ok();
    let found = named
        .or_else(|| by_name(network, resolved, v4_first))
        .or_else(|| by_route(network, v4_first))
        .or_else(|| by_interface(network, v4_first));
    found.map(|ip| vec![ip]).ok_or_else(|| {
        format!("can't get ip address of node {node_name}: no interface that is up has a global address; name one with --node-ip")
    })
}

/// Whether an address may be the node's (`validateNodeIP` in `pkg/kubelet/kubelet_node_status.go`).
fn validate(network: &Network, ip: IpAddr) -> Result<(), String> {
    let reason = match ip {
        _ if ip.is_loopback() => "can't be loopback address",
        _ if ip.is_multicast() => "can't be a multicast address",
        _ if is_link_local(ip) => "can't be a link-local unicast address",
        _ if ip.is_unspecified() => "can't be an all zeros address",
        _ if network.addresses.iter().any(|address| address.ip == ip) => return Ok(()),
        _ => return Err(format!("node IP: \"{ip}\" not found in the host's network interfaces")),
    };
    Err(format!("nodeIP {reason}: {ip}"))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(&ip),
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_loopback() || ip.is_multicast() || is_link_local(ip) || ip.is_unspecified() || broadcast)
}

fn by_name(network: &Network, resolved: &[IpAddr], v4_first: bool) -> Option<IpAddr> {
    let valid = || resolved.iter().copied().filter(|ip| validate(network, *ip).is_ok());
    valid().find(|ip| ip.is_ipv4() == v4_first).or_else(|| valid().next())
}

/// A route through an interface without a global address means the loopback's global one (RFC 5549 set-ups).
fn by_route(network: &Network, v4_first: bool) -> Option<IpAddr> {
    families(v4_first).into_iter().find_map(|v4| {
        let interfaces = if v4 { &network.default_v4 } else { &network.default_v6 };
        let usable = |address: &&InterfaceAddress| {
            address.up && address.ip.is_ipv4() == v4 && is_global_unicast(address.ip)
        };
        interfaces.iter().find_map(|name| {
            let mut of_route = network.addresses.iter().filter(|address| address.interface == *name);
            let found = of_route.find(usable);
            let on_loopback = || network.addresses.iter().filter(|address| address.loopback).find(usable);
            found.or_else(on_loopback).map(|address| address.ip)
        })
    })
}

/// Without a default route, as on an island: the first global address of an interface that is up.
fn by_interface(network: &Network, v4_first: bool) -> Option<IpAddr> {
    families(v4_first).into_iter().find_map(|v4| {
        let usable = |address: &&InterfaceAddress| {
            address.up && !address.loopback && address.ip.is_ipv4() == v4 && is_global_unicast(address.ip)
        };
        network.addresses.iter().find(usable).map(|address| address.ip)
    })
}

fn families(v4_first: bool) -> [bool; 2] {
    [v4_first, !v4_first]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn on(interface: &str, text: &str) -> InterfaceAddress {
        InterfaceAddress {
            interface: interface.to_owned(),
            ip: ip(text),
            up: interface != "down0",
            loopback: interface == "lo",
        }
    }

    fn network() -> Network {
        Network {
            addresses: vec![
                on("lo", "127.0.0.1"),
                on("lo", "::1"),
                on("cni0", "10.88.0.1"),
                on("eth0", "fe80::1"),
                on("eth0", "192.0.2.7"),
                on("eth0", "2001:db8::7"),
                on("down0", "198.51.100.1"),
            ],
            default_v4: vec!["eth0".to_owned()],
            default_v6: vec!["eth0".to_owned()],
        }
    }

    fn chosen(network: &Network, told: &[&str], name: &str, resolved: &[&str]) -> Result<String, String> {
        let parse = |texts: &[&str]| texts.iter().map(|text| ip(text)).collect::<Vec<_>>();
        let ips = choose(network, &parse(told), name, &parse(resolved))?;
        Ok(ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn the_order_is_told_named_resolved_routed() {
        let network = network();
        let check = |told: &[&str], name: &str, resolved: &[&str], wanted: &str| {
            assert_eq!(
                chosen(&network, told, name, resolved).unwrap(),
                wanted,
                "{told:?} {name} {resolved:?}"
            );
        };
        check(&["10.88.0.1"], "n", &["192.0.2.7"], "10.88.0.1");
        check(&["192.0.2.7", "2001:db8::7"], "n", &[], "192.0.2.7,2001:db8::7");
        check(&[], "203.0.113.9", &[], "203.0.113.9");
        check(&[], "n", &["127.0.1.1", "2001:db8::7", "10.88.0.1"], "10.88.0.1");
        check(&[], "n", &["203.0.113.9"], "192.0.2.7");
        check(&[], "n", &[], "192.0.2.7");
        check(&["0.0.0.0"], "n", &[], "192.0.2.7");
        check(&["::"], "n", &[], "2001:db8::7");
    }

    #[test]
    fn a17_an_address_that_is_not_here_is_refused() {
        let network = network();
        let refused = |told: &str| chosen(&network, &[told], "n", &[]).unwrap_err();
        assert_eq!(
            refused("203.0.113.9"),
            "node IP: \"203.0.113.9\" not found in the host's network interfaces"
        );
        assert!(refused("127.0.0.1").contains("loopback"));
        assert!(refused("fe80::1").contains("link-local"));
    }

    #[test]
    fn without_a_route_any_interface_serves_and_without_that_none() {
        let island = Network { default_v4: vec![], default_v6: vec![], ..network() };
        assert_eq!(chosen(&island, &[], "n", &[]).unwrap(), "10.88.0.1");
        let nothing = Network { addresses: vec![on("lo", "127.0.0.1")], ..Network::default() };
        assert!(chosen(&nothing, &[], "n", &[]).unwrap_err().contains("--node-ip"));
    }

    #[test]
    fn a_global_address_on_the_loopback_serves_an_interface_without_one() {
        let network = Network {
            addresses: vec![on("lo", "127.0.0.1"), on("lo", "192.0.2.50"), on("eth0", "fe80::1")],
            default_v4: vec!["eth0".to_owned()],
            default_v6: vec![],
        };
        assert_eq!(chosen(&network, &[], "n", &[]).unwrap(), "192.0.2.50");
    }

    proptest! {
        /// A name may resolve to anything: only addresses of this machine come out.
        #[test]
        fn a17_only_local_addresses_are_published(resolved in prop::collection::vec(any::<IpAddr>(), 0..6)) {
            let network = network();
            let ips = choose(&network, &[], "node", &resolved).unwrap();
            prop_assert_eq!(ips.len(), 1);
            prop_assert!(network.addresses.iter().any(|address| address.ip == ips[0] && !address.loopback));
        }
    }
}
