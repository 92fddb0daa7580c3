//! What may be wrong with a pod's spec outside of its containers and volumes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Toleration};

use super::{Faults, container, host, names, ports, resources, security, volumes};

/// Longest time in seconds that upstream takes for a deadline: that of a 32-bit signed integer.
const MAX_DEADLINE_SECONDS: i64 = i32::MAX as i64;

pub(super) fn spec(spec: &PodSpec, faults: &mut Faults) {
    let policy = spec.restart_policy.as_deref();
    faults.one_of("spec.restartPolicy", policy, &["Always", "OnFailure", "Never"]);
    let dns = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    faults.one_of("spec.dnsPolicy", spec.dns_policy.as_deref(), &dns);
    faults.at_least("spec.terminationGracePeriodSeconds", spec.termination_grace_period_seconds, 0);
    if let Some(seconds) = spec.active_deadline_seconds.filter(|s| !(1..=MAX_DEADLINE_SECONDS).contains(s)) {
        let reason = format!("is {seconds}, expected 1 to {MAX_DEADLINE_SECONDS}");
        faults.add("spec.activeDeadlineSeconds", reason);
    }
    host::spec(spec, faults);
    faults.one_of(
        "spec.preemptionPolicy",
        spec.preemption_policy.as_deref(),
        &["PreemptLowerPriority", "Never"],
    );
    faults.one_of("spec.os.name", spec.os.as_ref().map(|os| os.name.as_str()), &["linux", "windows"]);
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        tolerate(&format!("spec.tolerations[{index}]"), toleration, faults);
    }
    selector(spec, faults);
    if let Some(context) = &spec.security_context {
        security::pod(context, faults);
    }
    if let Some(requirements) = &spec.resources {
        resources::of_the_whole(spec, requirements, faults);
    }
    resources::overhead(spec.overhead.as_ref(), faults);
    if let Some(class) = spec.runtime_class_name.as_deref().filter(|class| !class.is_empty()) {
        faults.check("spec.runtimeClassName", names::subdomain(class));
    }
    let volumes = volumes::volumes(spec.volumes.as_deref().unwrap_or_default(), faults);
    containers(spec, &volumes, faults);
    ports::host_ports(spec, faults);
}

fn selector(spec: &PodSpec, faults: &mut Faults) {
    for (key, value) in spec.node_selector.iter().flatten() {
        faults.check(format!("spec.nodeSelector[{key}]"), names::qualified(key));
        faults.check(format!("spec.nodeSelector[{key}]"), names::label_value(value));
    }
}

fn tolerate(at: &str, toleration: &Toleration, faults: &mut Faults) {
    let operator = toleration.operator.as_deref().filter(|operator| !operator.is_empty());
    faults.one_of(format!("{at}.operator"), operator, &["Exists", "Equal", "Lt", "Gt"]);
    let effect = toleration.effect.as_deref().filter(|effect| !effect.is_empty());
    faults.one_of(format!("{at}.effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() {
        faults.check(format!("{at}.key"), names::qualified(key));
    }
    let exists = operator == Some("Exists");
    faults.add_if(key.is_empty() && !exists, format!("{at}.operator"), "must be Exists when there is no key");
    let valued = toleration.value.as_ref().is_some_and(|value| !value.is_empty());
    faults.add_if(exists && valued, format!("{at}.value"), "must be empty with operator Exists");
    let timed = toleration.toleration_seconds.is_some() && effect != Some("NoExecute");
    faults.add_if(timed, format!("{at}.effect"), "must be NoExecute when tolerationSeconds is set");
}

fn containers(spec: &PodSpec, volumes: &BTreeSet<&str>, faults: &mut Faults) {
    faults.add_if(
        spec.containers.is_empty(),
        "spec.containers",
        "is missing, expected at least one container",
    );
    let ephemeral = spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty());
    faults.add_if(ephemeral, "spec.ephemeralContainers", "cannot be set in a manifest");
    let mut seen = BTreeSet::new();
    for (list, containers) in [
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
        ("containers", &spec.containers),
    ] {
        for (index, item) in containers.iter().enumerate() {
            let at = format!("spec.{list}[{index}]");
            container::container(&at, item, volumes, list == "initContainers", faults);
            if let Some(context) = &item.security_context {
                security::proc_mount(&at, context, spec.host_users != Some(false), faults);
            }
            if !item.name.is_empty() {
                faults.unique(&mut seen, item.name.as_str(), format!("{at}.name"), "container name");
            }
        }
    }
}
