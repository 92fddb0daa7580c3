//! `pinnace check`: what this machine lacks, with the fix. Needs no running agent.
//!
//! [`observe`] reads the machine into an [`observed::Observed`]; everything else judges those values and is pure.

pub mod cgroup;
pub mod cluster;
pub mod host;
pub mod network;
pub mod observe;
pub mod observed;
pub mod runtime;
pub mod storage;

use crate::view::{CheckLevel, CheckView};
use observed::Observed;
use runtime::RuntimeAnswer;

/// Every finding, in the order in which one would fix them.
#[must_use]
pub fn findings(seen: &Observed, answer: &Result<RuntimeAnswer, String>) -> Vec<CheckView> {
    let mut all = vec![
        host::root(seen.euid),
        host::kernel(&seen.kernel_release),
        host::time(seen.wall),
        cgroup::version(&seen.mounts),
        cgroup::controllers(&seen.mounts, seen.cgroup_controllers.as_deref(), &seen.cgroups_v1),
        host::swap(&seen.swaps),
        host::kmsg(&seen.kmsg),
        host::inotify(seen.inotify_instances.as_deref(), seen.inotify_watches.as_deref()),
        storage::overlay(&seen.filesystems),
        storage::writable(&seen.root_dir, &seen.root_dir_writable),
        storage::free(&seen.root_dir, seen.disk),
        runtime::answers(&seen.runtime_socket, answer),
    ];
    all.extend(answer.as_ref().ok().map(runtime::ready));
    all.extend(answer.as_ref().ok().and_then(|answer| answer.strangers).map(runtime::strangers));
    let network_ready = answer.as_ref().ok().map(|answer| answer.network_ready);
    all.extend([
        network::cni(&seen.cni_configs, &seen.cni_plugins, network_ready),
        network::forwarding(seen.ip_forward.as_deref()),
        network::bridge(seen.bridge_netfilter.as_deref()),
        network::other_kubelet(&seen.kubelets, seen.own_agent, seen.is_virtual),
        network::ports(&seen.listening, &seen.ports, seen.own_agent),
    ]);
    all
}

/// A finding that needs nothing.
fn ok(what: &str, found: impl Into<String>) -> CheckView {
    CheckView { what: what.to_owned(), level: CheckLevel::Ok, found: found.into(), fix: String::new() }
}

/// A finding that leaves less than full function.
fn warning(what: &str, found: impl Into<String>, fix: impl Into<String>) -> CheckView {
    CheckView { what: what.to_owned(), level: CheckLevel::Warning, found: found.into(), fix: fix.into() }
}

/// A finding without whose fix pods cannot run.
fn error(what: &str, found: impl Into<String>, fix: impl Into<String>) -> CheckView {
    CheckView { what: what.to_owned(), level: CheckLevel::Error, found: found.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::observed::{CniFile, Disk, Listing};
    use super::*;

    fn any_seen() -> impl Strategy<Value = Observed> {
        let text = "(\\PC{0,20}\n?){0,3}";
        let disk = prop::option::of((any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()));
        (prop::collection::vec(text, 13), any::<[bool; 3]>(), disk, any::<Vec<u32>>()).prop_map(
            |(texts, [present, kmsg, own_agent], disk, kubelets)| {
                let text = |index: usize| texts[index].clone();
                let maybe = |index: usize| present.then(|| text(index));
                Observed {
                    euid: u32::from(present),
                    kernel_release: text(0),
                    wall: jiff::Timestamp::UNIX_EPOCH,
                    mounts: text(1),
                    cgroup_controllers: maybe(2),
                    cgroups_v1: text(3),
                    swaps: text(4),
                    filesystems: text(5),
                    kmsg: if kmsg { Ok(()) } else { Err(text(6)) },
                    inotify_instances: maybe(7),
                    inotify_watches: maybe(8),
                    ip_forward: maybe(9),
                    bridge_netfilter: maybe(10),
                    listening: text(11),
                    kubelets,
                    own_agent,
                    is_virtual: !own_agent,
                    ports: vec![1],
                    root_dir: "/r".into(),
                    root_dir_writable: if kmsg { Ok(()) } else { Err(text(6)) },
                    disk: disk.map(|(bytes, bytes_free, inodes, inodes_free)| Disk {
                        bytes,
                        bytes_free,
                        inodes,
                        inodes_free,
                    }),
                    runtime_socket: "/s".into(),
                    cni_configs: (vec![], maybe(12).map(|text| CniFile { path: "/c".into(), text })),
                    cni_plugins: Listing::default(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_is_seen_only_what_is_wrong_has_a_fix(seen in any_seen(), reason in "\\PC{0,20}") {
            for finding in findings(&seen, &Err(reason)) {
                prop_assert_eq!(finding.fix.is_empty(), finding.level == CheckLevel::Ok, "{:?}", finding);
            }
        }
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let config = observe::Targets {
            root_dir: "/var/lib/kubelet".into(),
            runtime_socket: "/no/such.sock".into(),
            admin_socket: "/no/such.sock".into(),
            is_virtual: false,
            ports: vec![10_248],
        };
        let seen = observe::observe(&config, jiff::Timestamp::from_second(1_800_000_000).unwrap());
        let findings = findings(&seen, &Err("failed to connect".to_owned()));
        assert!(findings.len() > 10);
        assert!(findings.iter().any(|f| f.what == "runtime" && f.level == CheckLevel::Error));
        for finding in &findings {
            assert_eq!(finding.fix.is_empty(), finding.level == CheckLevel::Ok, "{finding:?}");
        }
    }
}
