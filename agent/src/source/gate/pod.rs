//! Which fields of a pod's spec hold it.

use k8s_openapi::api::core::v1::PodSpec;

use super::{Filled, Holds, container, security, volume};

pub(super) fn spec(spec: &PodSpec, holds: &mut Holds) {
    #[rustfmt::skip]
    let PodSpec {
        active_deadline_seconds: _, affinity: _, automount_service_account_token: _, containers,
        dns_config, dns_policy, enable_service_links: _, ephemeral_containers, host_aliases,
        host_ipc: _, host_network: _, host_pid: _, host_users: _, hostname: _, hostname_override,
        image_pull_secrets: _, init_containers, node_name: _, node_selector: _, os: _, overhead,
        preemption_policy: _, priority: _, priority_class_name: _, readiness_gates: _, resource_claims,
        resources, restart_policy: _, runtime_class_name, scheduler_name: _, scheduling_gates,
        scheduling_group, security_context, service_account: _, service_account_name: _,
        set_hostname_as_fqdn, share_process_namespace: _, subdomain,
        termination_grace_period_seconds: _, tolerations: _, topology_spread_constraints: _, volumes,
    } = spec;
    holds.hold_if(dns_config.is_some(), "spec", "dnsConfig");
    holds.hold_if(dns_policy.as_deref() == Some("None"), "spec", "dnsPolicy");
    holds.hold_if(ephemeral_containers.filled(), "spec", "ephemeralContainers");
    holds.hold_if(host_aliases.filled(), "spec", "hostAliases");
    holds.hold_if(hostname_override.filled(), "spec", "hostnameOverride");
    holds.hold_if(init_containers.filled(), "spec", "initContainers");
    holds.hold_if(overhead.filled(), "spec", "overhead");
    holds.hold_if(resource_claims.filled(), "spec", "resourceClaims");
    holds.hold_if(resources.as_ref().is_some_and(container::asks), "spec", "resources");
    holds.hold_if(runtime_class_name.filled(), "spec", "runtimeClassName");
    holds.hold_if(scheduling_gates.filled(), "spec", "schedulingGates");
    holds.hold_if(scheduling_group.is_some(), "spec", "schedulingGroup");
    if let Some(context) = security_context {
        security::pod(context, holds);
    }
    holds.hold_if(*set_hostname_as_fqdn == Some(true), "spec", "setHostnameAsFQDN");
    holds.hold_if(subdomain.filled(), "spec", "subdomain");
    for (index, volume) in volumes.iter().flatten().enumerate() {
        volume::volume(index, volume, holds);
    }
    for (index, container) in containers.iter().enumerate() {
        container::container(&format!("spec.containers[{index}]"), container, holds);
    }
}
