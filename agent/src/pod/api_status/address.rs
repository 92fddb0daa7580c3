//! Addresses of the pod and of its node. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostIP, PodIP, PodStatus};
use pinnace_cri::sandbox::SandboxState;

use super::Around;

/// Fills in `hostIP`, `hostIPs`, `podIP` and `podIPs`.
pub(super) fn fill(around: Around<'_>, new: &mut PodStatus) {
    let (before, host) = (around.before, &around.host.ips);
    if host.is_empty() {
        new.host_ip.clone_from(&before.host_ip);
        new.host_ips.clone_from(&before.host_ips);
    } else {
        new.host_ip = host.first().map(ToString::to_string);
        new.host_ips = Some(host.iter().map(|ip| HostIP { ip: ip.to_string() }).collect());
    }
    let ips = of_pod(around);
    if ips.is_empty() && !has_ready_sandbox(around) {
        // A pod that has ended keeps the addresses that it had.
        new.pod_ip.clone_from(&before.pod_ip);
        new.pod_ips.clone_from(&before.pod_ips);
        return;
    }
    new.pod_ip = ips.first().cloned();
    new.pod_ips = (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect());
}

fn has_ready_sandbox(around: Around<'_>) -> bool {
    let sandboxes = around.subject.seen.map(|seen| seen.sandboxes.as_slice()).unwrap_or_default();
    sandboxes.iter().any(|sandbox| sandbox.record.state == SandboxState::Ready)
}

fn of_pod(around: Around<'_>) -> Vec<String> {
    if around.spec.host_network == Some(true) {
        return of_host_network(around);
    }
    let newest = around.subject.seen.and_then(|seen| seen.newest_sandbox());
    let status = newest
        .filter(|newest| newest.record.state == SandboxState::Ready)
        .and_then(|newest| newest.status.as_ref());
    let ips = status.map(|status| status.ips.as_slice()).unwrap_or_default();
    sorted(ips, &around.host.ips).iter().map(ToString::to_string).collect()
}

/// The node's addresses; those that were told stay, and a second family that the node got later is added.
fn of_host_network(around: Around<'_>) -> Vec<String> {
    let told = around.before.pod_ips.iter().flatten();
    let mut ips: Vec<String> = told.map(|ip| ip.ip.clone()).filter(|ip| !ip.is_empty()).collect();
    for ip in &around.host.ips {
        let same_family =
            |told: &String| told.parse::<IpAddr>().is_ok_and(|told| told.is_ipv4() == ip.is_ipv4());
        if !ips.iter().any(same_family) {
            ips.push(ip.to_string());
        }
    }
    ips
}

/// One address of each family, the node's primary family first.
pub(crate) fn sorted(ips: &[IpAddr], host: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v4 = host.first().or(ips.first()).is_none_or(IpAddr::is_ipv4);
    let of = |v4: bool| ips.iter().copied().find(move |ip| ip.is_ipv4() == v4);
    of(first_is_v4).into_iter().chain(of(!first_is_v4)).collect()
}
