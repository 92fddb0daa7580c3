//! Which fields of a container hold its pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, Lifecycle, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Filled, Holds, security, volume};
use crate::pod::resources::HUGEPAGES;

pub(super) fn container(at: &str, container: &Container, holds: &mut Holds) {
    #[rustfmt::skip]
    let Container {
        args: _, command: _, env, env_from, image: _, image_pull_policy: _, lifecycle, liveness_probe,
        name: _, ports, readiness_probe, resize_policy: _, resources, restart_policy,
        restart_policy_rules, security_context, startup_probe, stdin: _, stdin_once: _,
        termination_message_path: _, termination_message_policy: _, tty: _, volume_devices,
        volume_mounts, working_dir: _,
    } = container;
    env.iter().flatten().for_each(environment);
    for source in env_from.iter().flatten() {
        // All of it is built; taken apart so that a new field is noticed.
        let EnvFromSource { config_map_ref: _, prefix: _, secret_ref: _ } = source;
    }
    for port in ports.iter().flatten() {
        // All of a port is built; taken apart so that a new field is noticed.
        let ContainerPort { container_port: _, host_ip: _, host_port: _, name: _, protocol: _ } = port;
    }
    if let Some(resources) = resources {
        requirements(&format!("{at}.resources"), resources, holds);
    }
    if let Some(lifecycle) = lifecycle {
        hooks(&format!("{at}.lifecycle"), lifecycle, holds);
    }
    holds.hold_if(liveness_probe.is_some(), at, "livenessProbe");
    holds.hold_if(readiness_probe.is_some(), at, "readinessProbe");
    holds.hold_if(startup_probe.is_some(), at, "startupProbe");
    holds.hold_if(restart_policy.is_some(), at, "restartPolicy");
    holds.hold_if(restart_policy_rules.filled(), at, "restartPolicyRules");
    if let Some(context) = security_context {
        security::container(at, context, holds);
    }
    holds.hold_if(volume_devices.filled(), at, "volumeDevices");
    volume_mounts.iter().flatten().for_each(volume::mount);
}

/// All of a variable is built; taken apart so that a new source is noticed.
fn environment(variable: &EnvVar) {
    let EnvVar { name: _, value: _, value_from } = variable;
    let Some(EnvVarSource {
        config_map_key_ref: _,
        field_ref: _,
        file_key_ref: _,
        resource_field_ref: _,
        secret_key_ref: _,
    }) = value_from
    else {
        return;
    };
}

pub(super) fn requirements(at: &str, resources: &ResourceRequirements, holds: &mut Holds) {
    let ResourceRequirements { claims, limits, requests } = resources;
    holds.hold_if(claims.filled(), at, "claims");
    of_devices(at, "limits", limits, holds);
    of_devices(at, "requests", requests, holds);
}

/// Resources that are not the node's own. A limit of ephemeral-storage is kept by eviction, not by the runtime.
fn of_devices(at: &str, list: &str, quantities: &Option<BTreeMap<String, Quantity>>, holds: &mut Holds) {
    for name in quantities.iter().flatten().map(|(name, _)| name) {
        let own =
            matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGEPAGES);
        holds.hold_if(!own, at, &format!("{list}[{name}]"));
    }
}

fn hooks(at: &str, lifecycle: &Lifecycle, holds: &mut Holds) {
    let Lifecycle { post_start, pre_stop, stop_signal } = lifecycle;
    holds.hold_if(post_start.is_some(), at, "postStart");
    holds.hold_if(pre_stop.is_some(), at, "preStop");
    holds.hold_if(stop_signal.filled(), at, "stopSignal");
}
