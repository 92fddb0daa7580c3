//! Decides the values of fields that a manifest leaves out, as core/v1's defaulting does before the kubelet
//! looks at a static pod. Applying it twice changes nothing.
//!
//! Values are those of `pkg/apis/core/v1/defaults.go` of Kubernetes 1.36.

use k8s_openapi::api::core::v1::{
    Container, LifecycleHandler, Pod, PodSecurityContext, PodSpec, Probe, ResourceRequirements,
};

mod volumes;

/// `spec.terminationGracePeriodSeconds` of a pod that does not say, in seconds.
pub const GRACE_SECONDS: i64 = 30;

/// `terminationMessagePath` of a container that does not say.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// Fills in what `pod` leaves out.
pub fn apply(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    pod_fields(spec);
    let host_network = spec.host_network == Some(true);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container_fields(container);
        if host_network {
            host_ports(container);
        }
    }
    for volume in spec.volumes.iter_mut().flatten() {
        volumes::volume(volume);
    }
    // What the pod asks for as a whole where it only names limits follows from its containers: `pod::resources::sums`.
}

fn pod_fields(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    spec.termination_grace_period_seconds.get_or_insert(GRACE_SECONDS);
    spec.enable_service_links.get_or_insert(true);
}

fn container_fields(container: &mut Container) {
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    text(&mut container.image_pull_policy, policy);
    text(&mut container.termination_message_path, TERMINATION_MESSAGE_PATH);
    text(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
    for variable in container.env.iter_mut().flatten() {
        if let Some(field) = variable.value_from.as_mut().and_then(|from| from.field_ref.as_mut()) {
            text(&mut field.api_version, "v1");
        }
    }
    if let Some(resources) = &mut container.resources {
        requests_from_limits(resources);
    }
    let probes =
        [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten().for_each(hook);
    }
}

/// The field's default if it is absent or empty: core/v1 does not tell the two apart.
fn text(field: &mut Option<String>, default: &str) {
    if field.as_ref().is_none_or(String::is_empty) {
        *field = Some(default.to_owned());
    }
}

/// Absent and zero are one to core/v1.
fn number(field: &mut Option<i32>, default: i32) {
    if field.is_none_or(|value| value == 0) {
        *field = Some(default);
    }
}

/// `Always` for the tag `latest` or none, `IfNotPresent` for any other tag and for a digest.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        (Some(_), _) | (None, Some(_)) => "IfNotPresent",
    }
}

/// In the host's network a container's port is the host's port.
fn host_ports(container: &mut Container) {
    for port in container.ports.iter_mut().flatten() {
        if port.host_port.is_none_or(|host| host == 0) {
            port.host_port = Some(port.container_port);
        }
    }
}

fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = resources.limits.as_ref().filter(|limits| !limits.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

fn probe(probe: &mut Probe) {
    number(&mut probe.timeout_seconds, 1);
    number(&mut probe.period_seconds, 10);
    number(&mut probe.success_threshold, 1);
    number(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        text(&mut get.path, "/");
        text(&mut get.scheme, "HTTP");
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn hook(hook: &mut LifecycleHandler) {
    if let Some(get) = &mut hook.http_get {
        text(&mut get.path, "/");
        text(&mut get.scheme, "HTTP");
    }
}

#[cfg(test)]
mod tests;
