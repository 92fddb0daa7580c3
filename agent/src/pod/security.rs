//! Security contexts as the runtime takes them. Pure; the container's word goes before the pod's.
//!
//! CRI reads an absent seccomp profile as unconfined, so every message carries each choice explicitly. A spec that
//! cannot be followed to the letter makes no message at all, but a [`Refusal`].

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SELinuxOptions, SecurityContext};
use pinnace_cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, Mount, NamespaceMode,
    NamespaceOption, SeLinuxOption, SupplementalGroupsPolicy, UserNamespace,
};

use crate::source::desired::DesiredPod;

pub mod app_armor;
mod proc_paths;
pub mod seccomp;
pub mod sysctl;
pub mod user;

pub use user::User;

/// What the node adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// `seccompDefault`: RuntimeDefault where a spec says nothing.
    pub seccomp_default: bool,
    /// Where Localhost profiles are.
    pub seccomp_root: PathBuf,
    /// AppArmor is enabled in the kernel.
    pub app_armor: bool,
    /// SELinux is enabled in the kernel: what is mounted into containers gets their labels.
    pub se_linux: bool,
    /// Paths of this machine that containers do not see, beside those of every machine.
    pub masked: Vec<String>,
}

impl Defaults {
    /// A node that adds nothing.
    #[must_use]
    pub fn bare(seccomp_root: PathBuf) -> Self {
        Self { seccomp_default: false, seccomp_root, app_armor: false, se_linux: false, masked: Vec::new() }
    }
}

/// Why a sandbox or a container is not made. The texts on users are the kubelet's
/// (`pkg/kubelet/kuberuntime/security_context_others.go`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Root by its own word.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    AsksForRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// Root by the image's word.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageIsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// A name may be root's.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root \
         (pod: {pod:?}, container: {container})"
    )]
    ImageNamesUser {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// A Localhost profile without a name.
    #[error("{field}.localhostProfile must be set if {field}.type is Localhost")]
    NoProfile {
        /// The field that holds the profile.
        field: &'static str,
    },
    /// A profile's name that leads out of the profiles' directory, or is no name.
    #[error("{field}.localhostProfile {profile:?} {reason}")]
    BadProfile {
        /// The field that holds the profile.
        field: &'static str,
        /// What it says.
        profile: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value that this version does not know.
    #[error("unknown {field} {value:?}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A sysctl that would be read as something else.
    #[error("sysctl {name:?}: {reason}")]
    Sysctl {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What a container's context is made from.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The pod.
    pub pod: &'a DesiredPod,
    /// Its spec.
    pub spec: &'a PodSpec,
    /// The container.
    pub container: &'a Container,
    /// Whom it runs as.
    pub user: User,
    /// The pod's user namespace.
    pub userns: UserNamespace,
}

/// The user namespace of a pod that has none of its own. It is named, so that no runtime chooses.
#[must_use]
pub fn of_the_host() -> UserNamespace {
    UserNamespace { mode: NamespaceMode::Node.into(), ..UserNamespace::default() }
}

fn namespaces(spec: &PodSpec, userns: UserNamespace) -> NamespaceOption {
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
        userns_options: Some(userns),
    }
}

fn groups(pod: Option<&PodSecurityContext>) -> Vec<i64> {
    let supplemental = pod.and_then(|pod| pod.supplemental_groups.clone()).unwrap_or_default();
    pod.and_then(|pod| pod.fs_group).into_iter().chain(supplemental).collect()
}

fn policy(pod: Option<&PodSecurityContext>) -> Result<SupplementalGroupsPolicy, Refusal> {
    match pod.and_then(|pod| pod.supplemental_groups_policy.as_deref()) {
        None | Some("" | "Merge") => Ok(SupplementalGroupsPolicy::Merge),
        Some("Strict") => Ok(SupplementalGroupsPolicy::Strict),
        Some(other) => Err(Refusal::Unknown { field: "supplementalGroupsPolicy", value: other.to_owned() }),
    }
}

fn number(value: Option<i64>) -> Option<Int64Value> {
    value.map(|value| Int64Value { value })
}

fn se_linux(options: &SELinuxOptions) -> SeLinuxOption {
    let SELinuxOptions { user, role, type_, level } = options;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    SeLinuxOption { user: text(user), role: text(role), r#type: text(type_), level: text(level) }
}

/// Whether any container of the pod is privileged, which the sandbox must be told.
fn is_privileged(spec: &PodSpec) -> bool {
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.security_context);
    let others = spec.init_containers.iter().flatten().chain(&spec.containers);
    let contexts = others.map(|container| &container.security_context).chain(ephemeral);
    contexts.flatten().any(|context| context.privileged == Some(true))
}

/// For the sandbox. Its own process always gets the runtime's profiles.
pub fn of_sandbox(
    spec: &PodSpec,
    userns: UserNamespace,
    defaults: &Defaults,
) -> Result<LinuxSandboxSecurityContext, Refusal> {
    let pod = spec.security_context.as_ref();
    Ok(LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(spec, userns)),
        selinux_options: pod.and_then(|pod| pod.se_linux_options.as_ref()).map(se_linux),
        run_as_user: number(pod.and_then(|pod| pod.run_as_user)),
        run_as_group: number(pod.and_then(|pod| pod.run_as_group)),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: policy(pod)?.into(),
        privileged: is_privileged(spec),
        seccomp: Some(seccomp::runtime_default()),
        apparmor: Some(app_armor::unasked(defaults.app_armor).0),
        ..LinuxSandboxSecurityContext::default()
    })
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
#[expect(deprecated, reason = "runtimes that do not know the new field of AppArmor read the old one")]
pub fn of_container(asked: Asked<'_>, defaults: &Defaults) -> Result<LinuxContainerSecurityContext, Refusal> {
    let Asked { pod: whole, spec, container, user, userns } = asked;
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let group = own.and_then(|own| own.run_as_group).or(pod.and_then(|pod| pod.run_as_group));
    let labels = own.and_then(|own| own.se_linux_options.as_ref());
    let (run_as_user, run_as_username) = match user {
        User::Id(id) => (number(Some(id)), String::new()),
        User::Name(name) => (None, name),
    };
    let seccomp = seccomp::profile(
        own.and_then(|own| own.seccomp_profile.as_ref()),
        pod.and_then(|pod| pod.seccomp_profile.as_ref()),
        defaults,
    )?;
    let (apparmor, apparmor_profile) = app_armor::profile(&whole.pod, spec, container, defaults.app_armor)?;
    let hidden = proc_paths::of(own.and_then(|own| own.proc_mount.as_deref()), &defaults.masked)?;
    Ok(LinuxContainerSecurityContext {
        capabilities: capabilities(own),
        privileged: own.and_then(|own| own.privileged).unwrap_or(false),
        namespace_options: Some(namespaces(spec, userns)),
        selinux_options: labels.or(pod.and_then(|pod| pod.se_linux_options.as_ref())).map(se_linux),
        run_as_user,
        run_as_username,
        run_as_group: number(group),
        readonly_rootfs: own.and_then(|own| own.read_only_root_filesystem).unwrap_or(false),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: policy(pod)?.into(),
        apparmor_profile,
        // Whatever else it asks for: that escalation goes with privileged and CAP_SYS_ADMIN is for the API to see to.
        no_new_privs: own.and_then(|own| own.allow_privilege_escalation) == Some(false),
        masked_paths: hidden.masked,
        readonly_paths: hidden.read_only,
        seccomp: Some(seccomp),
        apparmor: Some(apparmor),
        ..LinuxContainerSecurityContext::default()
    })
}

/// Files on the node belong to the same users inside a pod with a user namespace of its own.
pub fn map_ids(mounts: &mut [Mount], context: &LinuxContainerSecurityContext) {
    let namespaces = context.namespace_options.as_ref();
    let Some(userns) = namespaces.and_then(|namespaces| namespaces.userns_options.as_ref()) else { return };
    for mount in mounts {
        mount.uid_mappings.clone_from(&userns.uids);
        mount.gid_mappings.clone_from(&userns.gids);
    }
}

#[cfg(test)]
mod tests;
