//! Judges pod networking and ports. Pure.

use std::path::PathBuf;

use serde_json::Value;

use super::observed::{CniFile, Listing};
use super::{error, ok, warning};
use crate::view::CheckView;

/// Port of the kubelet's HTTPS server: taken means that one runs here.
const KUBELET_PORT: u16 = 10_250;

/// CNI configuration and the plugins that it names. The runtime's own word, if it gave one, counts more than
/// what lies in the usual directories: it may be told to look elsewhere.
#[must_use]
pub fn cni(
    (directories, config): &(Vec<PathBuf>, Option<CniFile>),
    plugins: &Listing,
    network_ready: Option<bool>,
) -> CheckView {
    let found = match config {
        None => Err((
            format!("no network configuration in {}", paths(directories)),
            "put a .conflist there (deploy/ has a sample) and install the plugins: apt-get install containernetworking-plugins"
                .to_owned(),
        )),
        Some(config) => judge(config, plugins),
    };
    match (found, network_ready) {
        (Ok(found), None | Some(true)) => ok("network", found),
        (Err(_), Some(true)) => ok("network", "ready, says the runtime; it is configured to look elsewhere"),
        (Ok(found), Some(false)) => {
            let found = format!("not ready, says the runtime, although: {found}");
            error("network", found, "see the runtime's log; only pods with hostNetwork can run")
        }
        (Err((found, fix)), None | Some(false)) => error("network", found, fix),
    }
}

fn judge(config: &CniFile, plugins: &Listing) -> Result<String, (String, String)> {
    let path = config.path.display();
    let types = plugin_types(&config.text)
        .ok_or_else(|| (format!("{path} is no CNI configuration"), "correct it or remove it".to_owned()))?;
    let missing: Vec<&str> = types.iter().map(String::as_str).filter(|name| !has(plugins, name)).collect();
    if missing.is_empty() {
        return Ok(format!("{path} with {}", types.join(", ")));
    }
    let found = format!("{path} needs plugins that are not there: {}", missing.join(", "));
    let fix = format!("install them into {}", paths(&plugins.directories));
    Err((found, fix))
}

fn has(plugins: &Listing, name: &str) -> bool {
    plugins.names.iter().any(|there| there == name)
}

fn paths(directories: &[PathBuf]) -> String {
    directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// The plugins that a configuration names: of a list each one's, and of its address management.
fn plugin_types(text: &str) -> Option<Vec<String>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let single = [value.clone()];
    let plugins = value.get("plugins").and_then(Value::as_array).map_or(&single[..], Vec::as_slice);
    let mut types = Vec::new();
    for plugin in plugins {
        types.push(plugin.get("type")?.as_str()?.to_owned());
        types.extend(plugin.pointer("/ipam/type").and_then(Value::as_str).map(str::to_owned));
    }
    types.dedup();
    Some(types)
}

/// Routing between pods and the world.
#[must_use]
pub fn forwarding(ip_forward: Option<&str>) -> CheckView {
    match ip_forward.map(str::trim) {
        Some("1") => ok("ip_forward", "on"),
        _ => warning(
            "ip_forward",
            "off: pods reach nothing beyond this machine",
            "sysctl -w net.ipv4.ip_forward=1, and put it into /etc/sysctl.d/",
        ),
    }
}

/// Bridged traffic through iptables.
#[must_use]
pub fn bridge(call_iptables: Option<&str>) -> CheckView {
    match call_iptables.map(str::trim) {
        Some("1") => ok("br_netfilter", "on"),
        Some(_) => warning(
            "br_netfilter",
            "off: services do not work between pods of this machine",
            "sysctl -w net.bridge.bridge-nf-call-iptables=1, and put it into /etc/sysctl.d/",
        ),
        None => warning(
            "br_netfilter",
            "not loaded: services do not work between pods of this machine",
            "modprobe br_netfilter, and put it into /etc/modules-load.d/pinnace.conf",
        ),
    }
}

/// Another kubelet on the same runtime would kill our pods.
#[must_use]
pub fn other_kubelet(kubelets: &[u32], own_agent: bool, is_virtual: bool) -> CheckView {
    match kubelets {
        [] if own_agent => ok("kubelet", "none but this agent, which is running"),
        [] => ok("kubelet", "none is running"),
        kubelets => {
            let ids: Vec<String> = kubelets.iter().map(u32::to_string).collect();
            if is_virtual {
                let found =
                    format!("running as process {}: it kills pods that it does not know", ids.join(", "));
                return warning("kubelet", found, "see that its runtime is another one than this node's");
            }
            error(
                "kubelet",
                format!("running as process {}: each would kill the other's pods", ids.join(", ")),
                "systemctl disable --now kubelet, or give Pinnace a runtime of its own",
            )
        }
    }
}

/// Ports that are taken, from `/proc/net/tcp` and `tcp6`. `wanted` are the agent's own.
#[must_use]
pub fn ports(listening: &str, wanted: &[u16], own_agent: bool) -> CheckView {
    let in_use = listening_ports(listening);
    let taken: Vec<String> = wanted.iter().filter(|port| in_use.contains(port)).map(u16::to_string).collect();
    if !taken.is_empty() && !own_agent {
        let fix = format!("see who listens: ss -ltnp '( sport = :{} )'", taken.join(" or sport = :"));
        return error("ports", format!("in use: {}", taken.join(", ")), fix);
    }
    if in_use.contains(&KUBELET_PORT) && !wanted.contains(&KUBELET_PORT) {
        let found = format!("{KUBELET_PORT} is in use: another kubelet?");
        return warning("ports", found, format!("see who listens: ss -ltnp sport = :{KUBELET_PORT}"));
    }
    match (wanted, own_agent) {
        (_, true) => ok("ports", "in use by the agent, which is running"),
        ([], false) => ok("ports", "none needed"),
        (wanted, false) => {
            let names = wanted.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            ok("ports", format!("{names} free"))
        }
    }
}

/// Ports of sockets in state LISTEN (0A).
fn listening_ports(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok())?;
        (state == "0A").then_some(port)
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CheckLevel::{Error, Ok as Fine, Warning};

    const LIST: &str = r#"{"cniVersion":"1.0.0","name":"n","plugins":[
        {"type":"bridge","ipam":{"type":"host-local"}},{"type":"portmap"}]}"#;

    fn config(text: &str) -> (Vec<PathBuf>, Option<CniFile>) {
        let file = CniFile { path: "/etc/cni/net.d/10.conflist".into(), text: text.to_owned() };
        (vec!["/etc/cni/net.d".into()], Some(file))
    }

    fn plugins(names: &[&str]) -> Listing {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Listing { directories: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()], names }
    }

    #[test]
    fn network_configuration_and_plugins() {
        let all = plugins(&["bridge", "host-local", "portmap"]);
        assert_eq!(
            cni(&config(LIST), &all, None).found,
            "/etc/cni/net.d/10.conflist with bridge, host-local, portmap"
        );
        let some = cni(&config(LIST), &plugins(&["bridge"]), None);
        assert_eq!(some.level, Error);
        assert!(some.found.ends_with("not there: host-local, portmap"), "{some:?}");
        assert!(some.fix.ends_with("/opt/cni/bin or /usr/lib/cni"), "{some:?}");
        assert_eq!(cni(&config("{}"), &all, None).level, Error);
        assert_eq!(cni(&config("x"), &all, None).level, Error);
        assert_eq!(cni(&(vec!["/etc/cni/net.d".into()], None), &all, None).level, Error);
        let single = config(r#"{"type":"ptp"}"#);
        assert_eq!(cni(&single, &plugins(&["ptp"]), None).level, Fine);
    }

    #[test]
    fn the_runtimes_word_counts_more() {
        let none = (Vec::new(), None);
        let no_plugins = plugins(&[]);
        assert_eq!(cni(&none, &no_plugins, Some(true)).level, Fine);
        assert_eq!(cni(&none, &no_plugins, Some(false)).level, Error);
        let all = plugins(&["bridge", "host-local", "portmap"]);
        assert_eq!(cni(&config(LIST), &all, Some(false)).level, Error);
    }

    #[test]
    fn sysctls() {
        assert_eq!(forwarding(Some("1\n")).level, Fine);
        assert_eq!(forwarding(Some("0\n")).level, Warning);
        assert_eq!(forwarding(None).level, Warning);
        assert_eq!(bridge(Some("1\n")).level, Fine);
        assert!(bridge(Some("0\n")).fix.starts_with("sysctl"));
        assert!(bridge(None).fix.starts_with("modprobe"));
    }

    #[test]
    fn ports_and_other_kubelets() {
        // 2808 is 10248, 280A is 10250; 0A is LISTEN, 01 is a connection.
        let table = "  sl  local_address rem_address   st tx_queue\n\
            \x20  0: 0100007F:2808 00000000:0000 0A 00000000:00000000\n\
            \x20  1: 0100007F:280A 0100007F:1234 01 00000000:00000000\n";
        assert_eq!(listening_ports(table), [10_248]);
        assert_eq!(ports(table, &[10_248], false).level, Error);
        assert_eq!(ports(table, &[10_248], true).level, Fine);
        assert_eq!(ports(table, &[], false).level, Fine);
        let kubelet = "0: 0100007F:280A 00000000:0000 0A 00000000:00000000\n";
        assert_eq!(ports(kubelet, &[10_248], false).level, Warning);
        assert_eq!(ports(kubelet, &[10_248, 10_250], true).level, Fine, "it is this agent's own");
        assert_eq!(ports(kubelet, &[10_248, 10_250], false).level, Error);
        assert_eq!(ports("garbage\n\n0: x 0A\n", &[1], false).level, Fine);
        assert_eq!(other_kubelet(&[], false, false).level, Fine);
        assert_eq!(other_kubelet(&[7, 9], true, false).level, Error);
        assert_eq!(other_kubelet(&[7, 9], false, true).level, Warning);
    }
}
