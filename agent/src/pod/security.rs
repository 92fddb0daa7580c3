//! Security contexts as the runtime takes them (kubelet.md §2.23). Pure; the container's word goes before the pod's.
//!
//! CRI reads an absent seccomp profile as unconfined, so every message carries one explicitly.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};
use pinnace_cri::v1::security_profile::ProfileType;
use pinnace_cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, SecurityProfile, SupplementalGroupsPolicy, UserNamespace,
};

/// Paths that a container without `procMount: Unmasked` does not see (`pkg/securitycontext/util.go`).
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that it sees read-only (the same source).
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the node's configuration adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// `seccompDefault`: RuntimeDefault where a spec says nothing.
    pub seccomp_default: bool,
    /// Where Localhost profiles are.
    pub seccomp_root: std::path::PathBuf,
}

fn namespaces(spec: &PodSpec) -> NamespaceOption {
    let node =
        |host: Option<bool>| if host.unwrap_or(false) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: node(spec.host_network).into(),
        ipc: node(spec.host_ipc).into(),
        pid: pid.into(),
        target_id: String::new(),
        userns_options: Some(UserNamespace { mode: NamespaceMode::Node.into(), ..UserNamespace::default() }),
    }
}

fn profile(kind: ProfileType, localhost_ref: String) -> SecurityProfile {
    SecurityProfile { profile_type: kind.into(), localhost_ref }
}

fn seccomp(
    container: Option<&SeccompProfile>,
    pod: Option<&SeccompProfile>,
    defaults: &Defaults,
) -> SecurityProfile {
    let Some(chosen) = container.or(pod) else {
        let kind =
            if defaults.seccomp_default { ProfileType::RuntimeDefault } else { ProfileType::Unconfined };
        return profile(kind, String::new());
    };
    match chosen.type_.as_str() {
        "Unconfined" => profile(ProfileType::Unconfined, String::new()),
        "Localhost" => {
            let file = chosen.localhost_profile.as_deref().unwrap_or_default();
            let path = defaults.seccomp_root.join(file);
            profile(ProfileType::Localhost, path.to_string_lossy().into_owned())
        }
        // Validation admits no other value; one that came by another way gets the safe profile.
        _ => profile(ProfileType::RuntimeDefault, String::new()),
    }
}

fn groups(pod: Option<&PodSecurityContext>) -> Vec<i64> {
    let supplemental = pod.and_then(|pod| pod.supplemental_groups.clone()).unwrap_or_default();
    pod.and_then(|pod| pod.fs_group).into_iter().chain(supplemental).collect()
}

fn policy(pod: Option<&PodSecurityContext>) -> SupplementalGroupsPolicy {
    match pod.and_then(|pod| pod.supplemental_groups_policy.as_deref()) {
        Some("Strict") => SupplementalGroupsPolicy::Strict,
        _ => SupplementalGroupsPolicy::Merge,
    }
}

fn number(value: Option<i64>) -> Option<Int64Value> {
    value.map(|value| Int64Value { value })
}

/// Whether any container of the pod is privileged, which the sandbox must be told.
fn is_privileged(spec: &PodSpec) -> bool {
    spec.containers
        .iter()
        .filter_map(|container| container.security_context.as_ref())
        .any(|context| context.privileged.unwrap_or(false))
}

/// For the sandbox. Its own process always gets the runtime's seccomp profile.
#[must_use]
pub fn of_sandbox(spec: &PodSpec) -> LinuxSandboxSecurityContext {
    let pod = spec.security_context.as_ref();
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(spec)),
        run_as_user: number(pod.and_then(|pod| pod.run_as_user)),
        run_as_group: number(pod.and_then(|pod| pod.run_as_group)),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: policy(pod).into(),
        privileged: is_privileged(spec),
        seccomp: Some(profile(ProfileType::RuntimeDefault, String::new())),
        ..LinuxSandboxSecurityContext::default()
    }
}

fn capabilities(own: Option<&SecurityContext>) -> Option<Capability> {
    let asked = own?.capabilities.as_ref()?;
    Some(Capability {
        add_capabilities: asked.add.clone().unwrap_or_default(),
        drop_capabilities: asked.drop.clone().unwrap_or_default(),
        ..Capability::default()
    })
}

/// For a container.
#[must_use]
pub fn of_container(
    spec: &PodSpec,
    container: &Container,
    defaults: &Defaults,
) -> LinuxContainerSecurityContext {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let privileged = own.and_then(|own| own.privileged).unwrap_or(false);
    let user = own.and_then(|own| own.run_as_user).or(pod.and_then(|pod| pod.run_as_user));
    let group = own.and_then(|own| own.run_as_group).or(pod.and_then(|pod| pod.run_as_group));
    let masks = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    LinuxContainerSecurityContext {
        capabilities: capabilities(own),
        privileged,
        namespace_options: Some(namespaces(spec)),
        run_as_user: number(user),
        run_as_group: number(group),
        readonly_rootfs: own.and_then(|own| own.read_only_root_filesystem).unwrap_or(false),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: policy(pod).into(),
        no_new_privs: own.and_then(|own| own.allow_privilege_escalation) == Some(false),
        masked_paths: if privileged { Vec::new() } else { masks(&MASKED) },
        readonly_paths: if privileged { Vec::new() } else { masks(&READ_ONLY) },
        seccomp: Some(seccomp(
            own.and_then(|own| own.seccomp_profile.as_ref()),
            pod.and_then(|pod| pod.seccomp_profile.as_ref()),
            defaults,
        )),
        ..LinuxContainerSecurityContext::default()
    }
}

/// Why a container that must not run as root may not be made; none if it may. A user that only the image names is
/// not looked up yet: the gate holds such a pod.
#[must_use]
pub fn refuses_root(spec: &PodSpec, container: &Container) -> Option<String> {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let must = own.and_then(|own| own.run_as_non_root).or(pod.and_then(|pod| pod.run_as_non_root))?;
    let user = own.and_then(|own| own.run_as_user).or(pod.and_then(|pod| pod.run_as_user));
    (must && user == Some(0)).then(|| {
        let name = &container.name;
        format!("container's runAsUser breaks non-root policy (container: {name})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaults(seccomp_default: bool) -> Defaults {
        Defaults { seccomp_default, seccomp_root: "/r/seccomp".into() }
    }

    fn spec(pod: serde_json::Value, own: serde_json::Value) -> PodSpec {
        let value =
            json!({ "securityContext": pod, "containers": [{ "name": "c", "securityContext": own }] });
        serde_json::from_value(value).unwrap()
    }

    fn set(pod: serde_json::Value, own: serde_json::Value) -> LinuxContainerSecurityContext {
        let spec = spec(pod, own);
        of_container(&spec, &spec.containers[0], &defaults(false))
    }

    #[test]
    fn each_field_of_the_container_changes_the_message() {
        let plain = set(json!({}), json!({}));
        for own in [
            json!({ "privileged": true }),
            json!({ "runAsUser": 0 }),
            json!({ "runAsGroup": 0 }),
            json!({ "readOnlyRootFilesystem": true }),
            json!({ "allowPrivilegeEscalation": false }),
            json!({ "capabilities": { "add": ["NET_ADMIN"] } }),
            json!({ "capabilities": { "drop": ["ALL"] } }),
            json!({ "seccompProfile": { "type": "RuntimeDefault" } }),
            json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "a.json" } }),
        ] {
            assert_ne!(set(json!({}), own.clone()), plain, "{own} changed nothing");
        }
    }

    #[test]
    fn each_field_of_the_pod_changes_the_message() {
        let plain = set(json!({}), json!({}));
        for pod in [
            json!({ "runAsUser": 7 }),
            json!({ "runAsGroup": 7 }),
            json!({ "supplementalGroups": [7] }),
            json!({ "fsGroup": 7 }),
            json!({ "supplementalGroupsPolicy": "Strict" }),
            json!({ "seccompProfile": { "type": "RuntimeDefault" } }),
        ] {
            assert_ne!(set(pod.clone(), json!({})), plain, "{pod} changed nothing");
        }
    }

    #[test]
    fn seccomp_is_always_explicit_and_the_container_goes_first() {
        let kind = |context: LinuxContainerSecurityContext| context.seccomp.unwrap().profile_type();
        assert_eq!(kind(set(json!({}), json!({}))), ProfileType::Unconfined);
        let strict = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        let open = json!({ "seccompProfile": { "type": "Unconfined" } });
        assert_eq!(kind(set(strict, open)), ProfileType::Unconfined);
        let spec = spec(json!({}), json!({}));
        assert_eq!(
            kind(of_container(&spec, &spec.containers[0], &defaults(true))),
            ProfileType::RuntimeDefault
        );
        assert_eq!(of_sandbox(&spec).seccomp.unwrap().profile_type(), ProfileType::RuntimeDefault);
    }

    #[test]
    fn a41_root_is_refused_where_non_root_is_asked_for() {
        let refused = |pod, own| {
            let spec = spec(pod, own);
            refuses_root(&spec, &spec.containers[0]).is_some()
        };
        assert!(refused(json!({ "runAsNonRoot": true, "runAsUser": 0 }), json!({})));
        assert!(refused(json!({ "runAsNonRoot": true, "runAsUser": 7 }), json!({ "runAsUser": 0 })));
        assert!(!refused(json!({ "runAsNonRoot": true, "runAsUser": 7 }), json!({})));
        assert!(!refused(json!({ "runAsNonRoot": true }), json!({ "runAsNonRoot": false, "runAsUser": 0 })));
        assert!(!refused(json!({ "runAsUser": 0 }), json!({})));
    }

    #[test]
    fn a_localhost_profile_is_looked_up_beneath_the_root() {
        let own = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "a.json" } });
        assert_eq!(set(json!({}), own).seccomp.unwrap().localhost_ref, "/r/seccomp/a.json");
    }
}
