//! `/etc/hosts` of a container: its text (pure), and the file that is mounted there. The file is the pod's, in the pod's
//! own directory, and every start of one of its containers sees that it holds what it should.
//!
//! The text is that of `pkg/kubelet/kubelet_pods.go`, to the byte.

use std::net::IpAddr;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, HostAlias};
use pinnace_cri::v1::Mount;

use crate::pod::act::Actor;
use crate::pod::hostname::{self, Names};
use crate::pod::job::Failure;
use crate::pod::prepare::{Instance, REASON};

/// The file, on the node and in the container.
const PATH: &str = "/etc/hosts";
/// Longest file of the node that is taken over, in bytes.
const MOST: u64 = 1 << 20;

const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HEADER_OF_HOST: &str = "# Kubernetes-managed hosts file (host network).\n";
const LOCAL: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";

/// The text for a pod in a network of its own.
#[must_use]
pub fn managed(ips: &[IpAddr], names: &Names, aliases: &[HostAlias]) -> String {
    let mut text = format!("{HEADER}{LOCAL}");
    let Names { host, domain } = names;
    for ip in ips {
        let line = if domain.is_empty() {
            format!("{ip}\t{host}\n")
        } else {
            format!("{ip}\t{host}.{domain}\t{host}\n")
        };
        text.push_str(&line);
    }
    text.push_str(&entries(aliases));
    text
}

/// The text for a pod in the node's network, from the node's own file.
#[must_use]
pub fn of_host(file: &[u8], aliases: &[HostAlias]) -> Vec<u8> {
    [HEADER_OF_HOST.as_bytes(), file, entries(aliases).as_bytes()].concat()
}

fn entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// Sees that the pod's file is right; where it is mounted. None if a volume is mounted there, or the pod has no
/// address to tell of.
pub(crate) async fn mount(
    actor: &Actor,
    instance: Instance<'_>,
    ips: &[IpAddr],
) -> Result<Option<Mount>, Failure> {
    let Instance { pod, spec, container, names, .. } = instance;
    let host_network = spec.host_network == Some(true);
    if has_own(container) || (ips.is_empty() && !host_network) {
        return Ok(None);
    }
    let aliases = spec.host_aliases.clone().unwrap_or_default();
    let managed = managed(ips, &hostname::names(pod, spec, &actor.site.dns.domain), &aliases);
    let file = actor.dirs.hosts(names.uid());
    let written = file.clone();
    actor
        .on_disk(REASON, move |disk| {
            let text = if host_network {
                of_host(&optional(disk.read(Path::new(PATH), MOST))?, &aliases)
            } else {
                managed.into_bytes()
            };
            // Other containers of the pod may be reading it: what is right is not written again.
            if disk.read(&written, MOST).is_ok_and(|found| found == text) {
                return Ok(());
            }
            disk.overwrite(&written, &text)
        })
        .await?;
    Ok(Some(Mount {
        container_path: PATH.to_owned(),
        host_path: file.to_string_lossy().into_owned(),
        selinux_relabel: actor.site.security.se_linux,
        ..Mount::default()
    }))
}

/// A node without the file has nothing to add.
fn optional(read: std::io::Result<Vec<u8>>) -> std::io::Result<Vec<u8>> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

fn has_own(container: &Container) -> bool {
    container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == PATH)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn aliases(value: Value) -> Vec<HostAlias> {
        serde_json::from_value(value).unwrap()
    }

    fn text(ips: &[&str], domain: &str, aliases: &[HostAlias]) -> String {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        managed(&ips, &Names { host: "web".into(), domain: domain.into() }, aliases)
    }

    #[test]
    fn the_text_is_the_kubelets_to_the_byte() {
        let wanted = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
            ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n\
            fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
        assert_eq!(text(&["10.0.0.9"], "", &[]), format!("{wanted}10.0.0.9\tweb\n"));
        let names = "web.sub.ns.svc.cluster.local\tweb\n";
        assert_eq!(
            text(&["10.0.0.9", "fd00::9"], "sub.ns.svc.cluster.local", &[]),
            format!("{wanted}10.0.0.9\t{names}fd00::9\t{names}")
        );
        let more = aliases(json!([
            { "ip": "123.45.67.89", "hostnames": ["some", "names"] }, { "ip": "::2" },
        ]));
        assert_eq!(
            text(&["10.0.0.9"], "", &more),
            format!(
                "{wanted}10.0.0.9\tweb\n\n# Entries added by HostAliases.\n123.45.67.89\tsome\tnames\n::2\t\n"
            )
        );
    }

    #[test]
    fn in_the_nodes_network_it_is_the_nodes_file() {
        let file = b"127.0.0.1 localhost\n\xff";
        let header = b"# Kubernetes-managed hosts file (host network).\n".as_slice();
        assert_eq!(of_host(file, &[]), [header, file].concat());
        let more = aliases(json!([{ "ip": "::2", "hostnames": ["a"] }]));
        let entries = b"\n# Entries added by HostAliases.\n::2\ta\n".as_slice();
        assert_eq!(of_host(file, &more), [header, file, entries].concat());
    }

    #[test]
    fn a_volume_at_the_place_is_left_alone() {
        let container = |path: &str| -> Container {
            let mounts = json!([{ "name": "v", "mountPath": path }]);
            serde_json::from_value(json!({ "name": "c", "volumeMounts": mounts })).unwrap()
        };
        assert!(has_own(&container("/etc/hosts")));
        assert!(!has_own(&container("/etc")));
    }
}
