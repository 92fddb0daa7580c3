//! Which fields of a pod's spec hold it.

use k8s_openapi::api::core::v1::{HostAlias, PodDNSConfig, PodDNSConfigOption, PodSpec};

use super::{Filled, Holds, container, security, volume};

pub(super) fn spec(spec: &PodSpec, holds: &mut Holds) {
    #[rustfmt::skip]
    let PodSpec {
        active_deadline_seconds: _, affinity: _, automount_service_account_token: _, containers,
        dns_config, dns_policy: _, enable_service_links: _, ephemeral_containers, host_aliases,
        host_ipc: _, host_network: _, host_pid: _, host_users: _, hostname: _, hostname_override: _,
        image_pull_secrets: _, init_containers, node_name: _, node_selector: _, os: _, overhead: _,
        preemption_policy: _, priority: _, priority_class_name: _, readiness_gates: _, resource_claims,
        resources, restart_policy: _, runtime_class_name: _, scheduler_name: _, scheduling_gates,
        scheduling_group, security_context, service_account: _, service_account_name: _,
        set_hostname_as_fqdn: _, share_process_namespace: _, subdomain: _,
        termination_grace_period_seconds: _, tolerations: _, topology_spread_constraints: _, volumes,
    } = spec;
    if let Some(PodDNSConfig { nameservers: _, options, searches: _ }) = dns_config {
        // All of it is built; taken apart so that a new field is noticed.
        for PodDNSConfigOption { name: _, value: _ } in options.iter().flatten() {}
    }
    holds.hold_if(ephemeral_containers.filled(), "spec", "ephemeralContainers");
    for HostAlias { hostnames: _, ip: _ } in host_aliases.iter().flatten() {}
    holds.hold_if(init_containers.filled(), "spec", "initContainers");
    holds.hold_if(resource_claims.filled(), "spec", "resourceClaims");
    if let Some(resources) = resources {
        container::requirements("spec.resources", resources, holds);
    }
    holds.hold_if(scheduling_gates.filled(), "spec", "schedulingGates");
    holds.hold_if(scheduling_group.is_some(), "spec", "schedulingGroup");
    if let Some(context) = security_context {
        security::pod(context, holds);
    }
    for (index, volume) in volumes.iter().flatten().enumerate() {
        volume::volume(index, volume, holds);
    }
    for (index, container) in containers.iter().enumerate() {
        container::container(&format!("spec.containers[{index}]"), container, holds);
    }
}
