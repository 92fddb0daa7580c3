//! Which fields of a container hold its pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerPort, EnvVar, Lifecycle, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Filled, Holds, security, volume};

pub(super) fn container(at: &str, container: &Container, holds: &mut Holds) {
    #[rustfmt::skip]
    let Container {
        args, command, env, env_from, image: _, image_pull_policy: _, lifecycle, liveness_probe,
        name: _, ports, readiness_probe, resize_policy: _, resources, restart_policy,
        restart_policy_rules, security_context, startup_probe, stdin: _, stdin_once: _,
        termination_message_path: _, termination_message_policy: _, tty: _, volume_devices,
        volume_mounts, working_dir: _,
    } = container;
    expandable(at, "command", command, holds);
    expandable(at, "args", args, holds);
    for (index, variable) in env.iter().flatten().enumerate() {
        environment(&format!("{at}.env[{index}]"), variable, holds);
    }
    holds.hold_if(env_from.filled(), at, "envFrom");
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

/// `$(NAME)` and `$$` mean something else after expansion, so text with them cannot be passed on as it is.
fn needs_expansion(text: &str) -> bool {
    text.contains("$(") || text.contains("$$")
}

fn expandable(at: &str, name: &str, words: &Option<Vec<String>>, holds: &mut Holds) {
    for (index, word) in words.iter().flatten().enumerate() {
        holds.hold_if(needs_expansion(word), at, &format!("{name}[{index}]"));
    }
}

fn environment(at: &str, variable: &EnvVar, holds: &mut Holds) {
    let EnvVar { name: _, value, value_from } = variable;
    holds.hold_if(value.as_deref().is_some_and(needs_expansion), at, "value");
    holds.hold_if(value_from.is_some(), at, "valueFrom");
}

fn requirements(at: &str, resources: &ResourceRequirements, holds: &mut Holds) {
    let ResourceRequirements { claims, limits, requests } = resources;
    holds.hold_if(claims.filled(), at, "claims");
    beyond_cpu_and_memory(at, "limits", limits, holds);
    beyond_cpu_and_memory(at, "requests", requests, holds);
}

fn beyond_cpu_and_memory(
    at: &str,
    list: &str,
    quantities: &Option<BTreeMap<String, Quantity>>,
    holds: &mut Holds,
) {
    for name in quantities.iter().flatten().map(|(name, _)| name) {
        holds.hold_if(name != "cpu" && name != "memory", at, &format!("{list}[{name}]"));
    }
}

/// Whether resource requirements ask for anything.
pub(super) fn asks(resources: &ResourceRequirements) -> bool {
    let ResourceRequirements { claims, limits, requests } = resources;
    claims.filled() || limits.filled() || requests.filled()
}

fn hooks(at: &str, lifecycle: &Lifecycle, holds: &mut Holds) {
    let Lifecycle { post_start, pre_stop, stop_signal } = lifecycle;
    holds.hold_if(post_start.is_some(), at, "postStart");
    holds.hold_if(pre_stop.is_some(), at, "preStop");
    holds.hold_if(stop_signal.filled(), at, "stopSignal");
}
